//! `[mta.policy]`: what is asked of those who bring us mail.
//!
//! A *stranger* is a client on port 25 that is neither in `relay_networks` nor in `exempt_networks`. Accounts and
//! trusted networks skip whatever is there against unwanted mail.

use std::time::Duration;

use ipnet::IpNet;
use postroad_types::Domain;
use serde::{Deserialize, Serialize};

use crate::units::{HostPort, Rate, domains, duration, hosts, networks, size};

/// What a finding of a check leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckAction {
    /// The check is not done.
    Off,
    /// The message is taken, with the finding in its timeline and in its `Postroad-Policy` header.
    #[default]
    Mark,
    /// The command or message is refused with 5xx.
    Refuse,
}

/// What happens when a check can't be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// As if the check had found nothing (failing open).
    #[default]
    Accept,
    /// 451: the client tries again later (failing closed).
    Defer,
}

/// What VRFY and EXPN tell (RFC 5321 section 3.5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// 252: send mail and see.
    #[default]
    Noncommittal,
    /// 502: they are not there.
    Off,
    /// Whether the address exists and who is behind an alias, to who may relay; 252 to others.
    Trusted,
}

/// `[mta.policy]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Networks that are no strangers, but may not relay either.
    #[serde(with = "networks")]
    pub exempt_networks: Vec<IpNet>,
    /// All look-ups of one stage take at most so long; what is not known by then is not held against a client.
    #[serde(with = "duration")]
    pub lookup_timeout: Duration,
    /// Sum of the marks from which on a message is refused; 0: never.
    pub refuse_score: u32,

    /// A stranger waits so long for the greeting; who talks meanwhile is no mail server.
    #[serde(with = "duration")]
    pub greet_delay: Duration,
    /// A client that talks before the greeting.
    pub early_talker: CheckAction,
    /// An address without a name that leads back to it.
    pub reverse_dns: CheckAction,
    /// Sum of the weights of block lists from which on a client is refused; a smaller one above 0 is a mark.
    pub dnsbl_refuse_score: i32,

    /// A client that calls itself by our name or address.
    pub helo_ours: CheckAction,
    /// An address literal of another address than the client's.
    pub helo_literal: CheckAction,
    /// A name without a dot, or what is no name at all.
    pub helo_not_fqdn: CheckAction,
    /// A name that does not exist in DNS.
    pub helo_unresolvable: CheckAction,

    /// A sender whose domain does not exist or takes no mail.
    pub sender_domain: CheckAction,
    /// What happens when that can't be found out.
    pub sender_domain_failure: OnFailure,
    /// A sender in a domain of ours, from who has not logged in and may not relay.
    pub own_sender: CheckAction,

    /// VRFY and EXPN.
    pub verify: Verify,
    /// Refused recipients of a session before its answers come later and later; 0: never.
    pub tarpit_after: u32,
    /// By how much each further refused recipient delays its answer more.
    #[serde(with = "duration")]
    pub tarpit_delay: Duration,
    /// The longest such delay.
    #[serde(with = "duration")]
    pub tarpit_max: Duration,

    /// Fields of a message's header section.
    pub header_fields_max: usize,
    /// A message without Date or From (RFC 5322 section 3.6).
    pub header_missing: CheckAction,
    /// A field twice that may be there once.
    pub header_duplicated: CheckAction,
    /// MIME parts of a message, 0: not counted.
    pub mime_parts_max: usize,
    /// How deep MIME parts lie in each other, 0: not counted.
    pub mime_depth_max: usize,
    /// Endings of attachments' names, without the dot.
    pub attachment_extensions: Vec<String>,
    /// Content types of attachments, such as `application/x-msdownload`.
    pub attachment_types: Vec<String>,

    /// A submitted message whose From and Sender both belong to others than the account.
    pub submission_from: CheckAction,
    /// Received does not tell from where an account submitted a message.
    pub hide_submitter: bool,
    /// Domains whose accounts want it otherwise than the rest.
    #[serde(with = "domains")]
    pub hide_submitter_except: Vec<Domain>,

    pub rate: Rates,
    pub greylist: Greylist,
    pub rspamd: Rspamd,
    /// Block lists, and with a negative weight allow lists (RFC 5782).
    pub dnsbl: Vec<Dnsbl>,
}

/// `[mta.policy.rate]`: how much in how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Connections of one address; strangers and submission.
    pub connections_per_address: Rate,
    /// Connections of one network: IPv4 /24, IPv6 /64.
    pub connections_per_network: Rate,
    /// Messages and recipients that one stranger's address brings.
    pub messages_per_address: Rate,
    pub recipients_per_address: Rate,
    /// What one account sends.
    pub messages_per_account: Rate,
    pub recipients_per_account: Rate,
    /// What all accounts of a domain send.
    pub messages_per_domain: Rate,
    pub recipients_per_domain: Rate,
    /// Recipients of one message of an account; 0: recipients_max alone counts.
    pub account_recipients_max: usize,
}

/// `[mta.policy.greylist]`: an unknown sender is asked to come again, which programs that spread junk seldom do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Greylist {
    pub enabled: bool,
    /// Who comes again earlier is asked again.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// Who comes again later is unknown again.
    #[serde(with = "duration")]
    pub retry_within: Duration,
    /// Who has passed passes for so long after each mail.
    #[serde(with = "duration")]
    pub keep: Duration,
    /// A client of whom so many have passed is not asked any more; 0: each sender is.
    pub auto_allow: u32,
}

/// `[mta.policy.rspamd]`: rspamd's verdict on each message, over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rspamd {
    /// Its normal or proxy workers, host and port; the first that answers counts. Empty: none is asked.
    #[serde(with = "hosts")]
    pub server: Vec<HostPort>,
    /// Its answer takes at most so long, all servers together.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// What happens when none answers.
    pub on_failure: OnFailure,
    /// Larger messages are not shown to it.
    #[serde(with = "size")]
    pub size_max: u64,
    /// Accounts' messages are shown to it too.
    pub submissions: bool,
    /// Name of the header field, with `Yes`, that "add header" asks for.
    pub spam_header: String,
}

/// `[[mta.policy.dnsbl]]`: a list of addresses in DNS (RFC 5782).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dnsbl {
    pub zone: String,
    /// What a listing counts; below 0 it speaks for the client.
    #[serde(default = "one")]
    pub weight: i32,
    /// Answers that count as a listing.
    #[serde(with = "networks", default = "all_codes")]
    pub codes: Vec<IpNet>,
}

/// `[[mta.rewrite]]`: an address of the envelope becomes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// An address, or `@domain` for all of a domain's.
    pub from: String,
    /// What stands for it; `@domain` keeps the local part.
    pub to: String,
    /// Where: `sender`, `recipient` or `both`.
    #[serde(default)]
    pub applies: RewriteSide,
}

/// Which addresses of the envelope are rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewriteSide {
    Sender,
    Recipient,
    #[default]
    Both,
}

fn one() -> i32 {
    1
}

fn all_codes() -> Vec<IpNet> {
    crate::loopback_networks().into_iter().take(1).collect()
}

/// What Windows runs when it is clicked on.
const EXECUTABLES: [&str; 27] = [
    "bat", "chm", "cmd", "com", "cpl", "exe", "gadget", "hta", "inf", "ins", "isp", "jar", "js", "jse",
    "lnk", "msc", "msi", "msp", "pif", "reg", "scr", "sct", "vb", "vbe", "vbs", "wsf", "wsh",
];

impl Default for Policy {
    fn default() -> Self {
        use CheckAction::{Mark, Refuse};
        Policy {
            exempt_networks: crate::loopback_networks(),
            lookup_timeout: Duration::from_secs(5),
            refuse_score: 0,
            greet_delay: Duration::ZERO,
            early_talker: Refuse,
            reverse_dns: Mark,
            dnsbl_refuse_score: 1,
            helo_ours: Refuse,
            helo_literal: Mark,
            helo_not_fqdn: Mark,
            helo_unresolvable: Mark,
            sender_domain: Refuse,
            sender_domain_failure: OnFailure::Accept,
            own_sender: Refuse,
            verify: Verify::Noncommittal,
            tarpit_after: 3,
            tarpit_delay: Duration::from_secs(1),
            tarpit_max: Duration::from_secs(10),
            header_fields_max: 1000,
            header_missing: Mark,
            header_duplicated: Mark,
            mime_parts_max: 1000,
            mime_depth_max: 20,
            attachment_extensions: EXECUTABLES.iter().map(|name| (*name).to_owned()).collect(),
            attachment_types: Vec::new(),
            submission_from: Refuse,
            hide_submitter: true,
            hide_submitter_except: Vec::new(),
            rate: Rates::default(),
            greylist: Greylist::default(),
            rspamd: Rspamd::default(),
            dnsbl: Vec::new(),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        Rates {
            connections_per_address: Rate::new(600, minute),
            connections_per_network: Rate::new(3000, minute),
            messages_per_address: Rate::OFF,
            recipients_per_address: Rate::OFF,
            messages_per_account: Rate::new(1000, hour),
            recipients_per_account: Rate::new(5000, hour),
            messages_per_domain: Rate::OFF,
            recipients_per_domain: Rate::OFF,
            account_recipients_max: 0,
        }
    }
}

impl Default for Greylist {
    fn default() -> Self {
        Greylist {
            enabled: false,
            delay: Duration::from_secs(300),
            retry_within: Duration::from_secs(2 * 86_400),
            keep: Duration::from_secs(35 * 86_400),
            auto_allow: 5,
        }
    }
}

impl Default for Rspamd {
    fn default() -> Self {
        Rspamd {
            server: Vec::new(),
            timeout: Duration::from_secs(20),
            on_failure: OnFailure::Accept,
            size_max: 20 << 20,
            submissions: false,
            spam_header: "X-Spam".to_owned(),
        }
    }
}
