//! rspamd's verdict on a message, asked over HTTP (`POST /checkv2`).
//!
//! The message goes as the client sent it, without our Received, in one request with its length; what is known of
//! it besides goes in header fields (IP, Helo, From, Rcpt, User …). Servers are tried in their order until one
//! answers; `timeout` is for all of them together. If none does, mail passes or is put off, by setting.
//!
//! | action | what becomes of the message |
//! | --- | --- |
//! | `no action`, `greylist` | taken; rspamd's own greylisting says `soft reject` where it wants a delay |
//! | `add header` | taken, with the field of `spam_header` |
//! | `rewrite subject` | taken, with the subject that rspamd gives |
//! | `soft reject` | 451 |
//! | `reject`, and what is not known | 554; nothing is ever dropped in silence |

mod answer;
mod http;

use std::time::Duration;

use postroad_config::{OnFailure, Rspamd as Settings};
use postroad_types::{Address, QueueId, ReversePath};

use super::{Changes, Hold};
use crate::consignment::reply;
use crate::policy::client::Client;
use crate::policy::verdict::Finding;

const CHECK: &str = "rspamd";

/// The message that is asked about, besides its octets.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub id: &'a QueueId,
    /// Our name.
    pub hostname: &'a str,
    pub sender: &'a ReversePath,
    pub recipients: &'a [Address],
}

/// The filter as the configuration gives it.
#[derive(Debug)]
pub struct Rspamd {
    settings: Settings,
}

impl Rspamd {
    /// Nothing if no server is given.
    pub fn new(settings: &Settings) -> Option<Self> {
        (!settings.server.is_empty()).then(|| Rspamd { settings: settings.clone() })
    }

    /// Whether this client's messages are shown to it.
    pub fn looks_at(&self, client: &Client) -> bool {
        client.is_stranger() || (client.account.is_some() && self.settings.submissions)
    }

    pub async fn check(&self, client: &Client, subject: Subject<'_>, held: &mut Hold) -> (Finding, Changes) {
        if held.size() > self.settings.size_max {
            let reason = format!("not looked at: {} octets are more than size_max", held.size());
            return (Finding::pass(CHECK, reason), Changes::default());
        }
        let asked = self.ask(client, subject, held);
        let late = || Err(format!("no answer within {:?}", self.settings.timeout));
        match tokio::time::timeout(self.settings.timeout, asked).await.unwrap_or_else(|_| late()) {
            Ok(answer) => answer.judge(CHECK, &self.settings.spam_header),
            Err(why) => (self.failed(&why), Changes::default()),
        }
    }

    fn failed(&self, why: &str) -> Finding {
        tracing::error!(why, "rspamd can not be asked; see [mta.policy.rspamd]");
        match self.settings.on_failure {
            OnFailure::Accept => Finding::pass(CHECK, format!("not asked: {why}")),
            OnFailure::Defer => {
                let text = "the content filter does not answer, try again later";
                let finding = Finding::refuse(CHECK, reply(451, (4, 7, 1), text));
                Finding { reason: format!("not asked: {why}"), ..finding }
            }
        }
    }

    async fn ask(
        &self,
        client: &Client,
        subject: Subject<'_>,
        held: &mut Hold,
    ) -> Result<answer::Answer, String> {
        let fields = fields(client, subject);
        // So that a server that hangs leaves time for the next.
        let share = self.settings.timeout / u32::try_from(self.settings.server.len()).unwrap_or(1).max(1);
        let mut failures = Vec::new();
        for server in &self.settings.server {
            let asked = http::post(server, "/checkv2", &fields, held);
            let answer = match tokio::time::timeout(share.max(Duration::from_millis(1)), asked).await {
                Ok(Ok(body)) => answer::Answer::parse(&body),
                Ok(Err(why)) => Err(why),
                Err(_) => Err(format!("no answer within {share:?}")),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(why) => failures.push(format!("{server}: {why}")),
            }
        }
        Err(failures.join("; "))
    }
}

/// What rspamd is told besides the message; names as its documentation has them.
fn fields(client: &Client, subject: Subject<'_>) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("IP", client.peer.to_string()),
        ("From", subject.sender.to_string()),
        ("Queue-Id", subject.id.to_string()),
        ("MTA-Tag", subject.hostname.to_owned()),
    ];
    if let Some(hello) = &client.hello {
        fields.push(("Helo", hello.name.clone()));
    }
    if let Some(name) = &client.name {
        fields.push(("Hostname", name.clone()));
    }
    if client.tls {
        fields.push(("TLS-Cipher", "yes".to_owned()));
    }
    if let Some(account) = &client.account {
        fields.push(("User", account.address.clone()));
    }
    fields.extend(subject.recipients.iter().map(|to| ("Rcpt", to.to_string())));
    if let [only] = subject.recipients {
        fields.push(("Deliver-To", only.to_string()));
    }
    fields
}
