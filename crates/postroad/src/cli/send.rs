//! `postroad send`: write a mail and submit it, over TLS and with a password, to any submission server.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use postroad_config::Config;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    from: Mailbox,
    #[arg(long, required = true)]
    to: Vec<Mailbox>,
    #[arg(long, default_value = "")]
    subject: String,
    /// A file to attach; may be given several times
    #[arg(long)]
    attach: Vec<PathBuf>,
    /// The text; read from standard input when not given
    #[arg(long)]
    text: Option<String>,
    /// Host and port that speak TLS from the first octet (465); without it this node's own
    #[arg(long)]
    server: Option<String>,
    /// Name in the server's certificate; without it the host of --server, or the node's name
    #[arg(long)]
    server_name: Option<String>,
    /// PEM file of the CA that signed the server's certificate; without it the node's own CA and the public ones
    #[arg(long)]
    ca: Option<PathBuf>,
    /// File with the password in its first line; or set POSTROAD_PASSWORD
    #[arg(long)]
    password_file: Option<PathBuf>,
}

pub async fn main(config: &Path, args: Args) -> Result<(), String> {
    let message = message(&args)?;
    let end = Submission::find(config, &args)?;
    let mut tls = TlsParameters::builder(end.name.clone());
    if let Some(file) = &end.ca_file {
        let pem = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let ca = Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", file.display()))?;
        tls = tls.add_root_certificate(ca);
    }
    let tls = tls.build().map_err(|error| format!("TLS: {error}"))?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(end.host.clone())
        .port(end.port)
        .tls(Tls::Wrapper(tls))
        .credentials(Credentials::new(args.from.email.to_string(), password(&args)?))
        .timeout(Some(Duration::from_secs(60)))
        .build();
    let response = transport
        .send(message)
        .await
        .map_err(|error| format!("{}:{} did not take the mail: {error}", end.host, end.port))?;
    println!("{}", response.message().collect::<Vec<_>>().join(" "));
    Ok(())
}

fn message(args: &Args) -> Result<Message, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the mail can't be built: {error}");
    let text = match &args.text {
        Some(text) => text.clone(),
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| failed(&error))?;
            text
        }
    };
    let mut builder = Message::builder().from(args.from.clone()).subject(&args.subject).message_id(None);
    for to in &args.to {
        builder = builder.to(to.clone());
    }
    let text = SinglePart::plain(text);
    if args.attach.is_empty() {
        return builder.singlepart(text).map_err(|error| failed(&error));
    }
    let mut parts = MultiPart::mixed().singlepart(text);
    for file in &args.attach {
        let body = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind: ContentType = "application/octet-stream".parse().map_err(|error| failed(&error))?;
        parts = parts.singlepart(Attachment::new(name).body(body, kind));
    }
    builder.multipart(parts).map_err(|error| failed(&error))
}

fn password(args: &Args) -> Result<String, String> {
    if let Some(file) = &args.password_file {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    if let Ok(password) = std::env::var("POSTROAD_PASSWORD") {
        return Ok(password);
    }
    if args.text.is_none() || !std::io::stdin().is_terminal() {
        return Err("no password: give --password-file, or set POSTROAD_PASSWORD".into());
    }
    eprint!("Password of {} (shown while you type): ", args.from.email);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| format!("the password can't be read: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Where to, and how it is recognised.
struct Submission {
    host: String,
    port: u16,
    name: String,
    ca_file: Option<PathBuf>,
}

impl Submission {
    fn find(config: &Path, args: &Args) -> Result<Submission, String> {
        if let Some(server) = &args.server {
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "465"));
            let port = port.parse().map_err(|_| format!("{server:?}: expected host:port"))?;
            let name = args.server_name.clone().unwrap_or_else(|| host.to_owned());
            return Ok(Submission { host: host.to_owned(), port, name, ca_file: args.ca.clone() });
        }
        let config = Config::load(config).map_err(|error| format!("{error}\nor give --server host:465"))?;
        let at = config
            .mta
            .submissions_listen
            .first()
            .ok_or("this node has no mta.submissions_listen; give --server")?;
        let host = if at.ip().is_unspecified() { "127.0.0.1".to_owned() } else { at.ip().to_string() };
        let own_ca = config.rpc.ca_file.clone().unwrap_or_else(|| config.pki_dir().join("ca.pem"));
        Ok(Submission {
            host,
            port: at.port(),
            name: args.server_name.clone().unwrap_or_else(|| config.node.name.clone()),
            ca_file: args.ca.clone().or(config.tls.cert_file.is_none().then_some(own_ca)),
        })
    }
}
