//! What happens in the lab: a mail with an attachment from alice to bob, read back over POP3 and IMAP, and
//! one to nobody that comes back. Every step is checked, and the first that fails ends the story.

use std::time::{Duration, Instant};

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::plan::{DomainPlan, Person, Plan};
use super::reader::{self, Account};
use super::say;

/// How long a mail may take from submission to mailbox before the lab says that it is lost.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// alice to bob, with an attachment; read back over POP3 and over IMAP. Returns the queue id.
pub async fn exchange(plan: &Plan) -> Result<String, String> {
    let (alice, bob) = (&plan.alpha().people[0], &plan.beta().people[0]);
    say::chapter(1, &format!("{} writes to {}", alice.address, bob.address));

    let message = letter(alice, bob)?;
    let octets = message.formatted();
    say::note(&format!(
        "{} octets with an attachment, over submission with TLS and a password",
        octets.len()
    ));
    let queue_id = submit(plan, plan.alpha(), alice, &message).await?;
    say::done(&format!("{} took it: queued as {queue_id}", plan.alpha().mail_host()));

    let subject = subject_of(&message);
    let pop3 = await_mail(|| reader::pop3_find(plan, account(plan.beta(), bob), &subject)).await?;
    same_octets("POP3", &pop3, &octets)?;
    say::done(&format!(
        "{} reads it over POP3: {} octets, what was sent is in it unchanged",
        bob.name,
        pop3.len()
    ));

    let imap = await_mail(|| reader::imap_find(plan, account(plan.beta(), bob), &subject)).await?;
    same_octets("IMAP", &imap, &octets)?;
    if imap != pop3 {
        return Err("POP3 and IMAP do not show the same octets".into());
    }
    say::done(&format!("{} reads it over IMAP: the same {} octets", bob.name, imap.len()));
    Ok(queue_id)
}

/// alice to nobody; the bounce arrives in alice's mailbox. Returns the queue id.
pub async fn bounce(plan: &Plan) -> Result<String, String> {
    let alice = &plan.alpha().people[0];
    let nobody = format!("nobody@{}", plan.beta().name);
    say::chapter(2, &format!("{} writes to {nobody}, who does not exist", alice.address));

    let subject = format!("Is anybody there? ({})", stamp());
    let message = builder(alice, &nobody, &subject)?
        .singlepart(SinglePart::plain("Hello?\r\n".to_owned()))
        .map_err(|error| format!("the letter can't be built: {error}"))?;
    let queue_id = submit(plan, plan.alpha(), alice, &message).await?;
    say::done(&format!("{} took it: queued as {queue_id}", plan.alpha().mail_host()));

    // The bounce carries the header of what it is about, so the subject is in it.
    let notice =
        await_mail(|| reader::imap_find_text(plan, account(plan.alpha(), alice), &queue_id, &nobody)).await?;
    let text = String::from_utf8_lossy(&notice);
    for wanted in ["multipart/report", "message/delivery-status", "Action: failed", "5.1.1"] {
        if !text.contains(wanted) {
            return Err(format!("the bounce lacks {wanted:?}:\n{text}"));
        }
    }
    say::done(&format!("the bounce is in {}'s mailbox:", alice.name));
    say::quote(&human_part(&text));
    Ok(queue_id)
}

/// A letter with a small picture: a drawing of the way that the mail will take.
fn letter(from: &Person, to: &Person) -> Result<Message, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the letter can't be built: {error}");
    let picture = include_bytes!("way.svg").to_vec();
    let svg: ContentType = "image/svg+xml".parse().map_err(|error| failed(&error))?;
    builder(from, &to.address, &format!("A picture of the way ({})", stamp()))?
        .multipart(
            MultiPart::mixed()
                .singlepart(SinglePart::plain(format!(
                    "Dear {},\r\n\r\nthis letter went from my mail program to my domain's relay, asked the root\r\n\
                     where you live, crossed to your domain's relay and into your mailbox.\r\n\r\n\
                     .A line that begins with a dot, and an umlaut: Grüße.\r\n\r\n{}\r\n",
                    to.name, from.name
                )))
                .singlepart(Attachment::new("way.svg".into()).body(picture, svg)),
        )
        .map_err(|error| failed(&error))
}

fn builder(from: &Person, to: &str, subject: &str) -> Result<lettre::message::MessageBuilder, String> {
    let parse = |address: &str| {
        address.parse::<lettre::message::Mailbox>().map_err(|error| format!("{address}: {error}"))
    };
    Ok(Message::builder().from(parse(&from.address)?).to(parse(to)?).subject(subject).message_id(None))
}

/// Marks a subject, so that the letter of this run is told from those of earlier ones.
fn stamp() -> String {
    let now = time::OffsetDateTime::now_utc();
    format!("{:02}:{:02}:{:02}.{:06}", now.hour(), now.minute(), now.second(), now.microsecond())
}

fn subject_of(message: &Message) -> String {
    message.headers().get_raw("Subject").unwrap_or_default().to_owned()
}

fn account<'a>(domain: &'a DomainPlan, person: &'a Person) -> Account<'a> {
    Account { domain, person }
}

/// Submits over TLS with a password and returns the queue id that the server answered.
async fn submit(
    plan: &Plan,
    domain: &DomainPlan,
    person: &Person,
    message: &Message,
) -> Result<String, String> {
    let to = plan.socket(domain.mta, plan.ports.submissions);
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("submission to {to}: {what}: {error}");
    let pem = std::fs::read(plan.ca_file()).map_err(|error| failed("the lab's CA can't be read", &error))?;
    let ca = Certificate::from_pem(&pem).map_err(|error| failed("the lab's CA is no certificate", &error))?;
    let tls = TlsParameters::builder(domain.mail_host())
        .add_root_certificate(ca)
        .build()
        .map_err(|error| failed("TLS", &error))?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(to.ip().to_string())
        .port(to.port())
        .tls(Tls::Wrapper(tls))
        .credentials(Credentials::new(person.address.clone(), person.password.clone()))
        .timeout(Some(ARRIVAL_MAX))
        .build();
    // The client ends what it is given with a CRLF of its own before the dot.
    let octets = message.formatted();
    let octets = octets.strip_suffix(b"\r\n").unwrap_or(&octets);
    let response =
        transport.send_raw(message.envelope(), octets).await.map_err(|error| failed("refused", &error))?;
    let text: String = response.message().collect::<Vec<_>>().join(" ");
    text.split_whitespace()
        .find(|word| word.parse::<postroad_types::QueueId>().is_ok())
        .map(str::to_owned)
        .ok_or_else(|| format!("submission to {to}: the reply names no queue id: {text}"))
}

/// Asks again until the mail is there or its time is over.
async fn await_mail<F, Fut>(find: F) -> Result<Vec<u8>, String>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Option<Vec<u8>>, String>>,
{
    let begin = Instant::now();
    loop {
        if let Some(mail) = find().await? {
            return Ok(mail);
        }
        if begin.elapsed() > ARRIVAL_MAX {
            return Err(format!(
                "the mail did not arrive within {} s; `postroad queue list` and `postroad trace` tell where it is",
                ARRIVAL_MAX.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Hosts on the way put header lines in front and change nothing else.
fn same_octets(over: &str, received: &[u8], sent: &[u8]) -> Result<(), String> {
    if received.ends_with(sent) {
        Ok(())
    } else {
        Err(format!("what {over} shows does not end with the {} octets that were sent", sent.len()))
    }
}

/// The first part of a report: what it tells a person.
fn human_part(report: &str) -> String {
    let text = report.splitn(3, "\r\n\r\n").nth(2).unwrap_or_default();
    text.split("\r\n--").next().unwrap_or_default().trim_end().to_owned()
}
