//! What all roles of a node share: its name, its state, logs, timelines, TLS, the services' own network.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{PeerUrl, duration, peers, size};

/// `[node]`: the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The host's fully qualified name, as in its MX record: greeting of SMTP, Received headers, Message-IDs.
    pub name: String,
    /// Everything that must outlive a restart: queue, mailboxes, directory, keys, timelines.
    #[serde(default = "Node::default_state_dir")]
    pub state_dir: PathBuf,
    /// How long connections may finish after SIGTERM before they are cut.
    #[serde(default = "Node::default_drain", with = "duration")]
    pub drain: Duration,
}

impl Node {
    fn default_state_dir() -> PathBuf {
        PathBuf::from("/var/lib/postroad")
    }

    fn default_drain() -> Duration {
        Duration::from_secs(30)
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` otherwise.
    #[default]
    Auto,
    Human,
    Json,
}

/// `[log]`: to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `auto`, `human` or `json`.
    pub format: LogFormat,
    /// Levels by module as in tracing-subscriber's `EnvFilter`: `info,postroad_mta=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// `[trace]`: the timelines of messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// Whether steps are recorded.
    pub enabled: bool,
    /// Where to; without it `trace` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Bound of all timeline files of one role together; the oldest go first.
    #[serde(with = "size")]
    pub max_bytes: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { enabled: true, dir: None, max_bytes: 256 << 20 }
    }
}

/// `[tls]`: the certificate that mail programs and other hosts see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM, the host's certificate first, then the chain. Without it one is made from the node's own CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM, the key of `cert_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// PEM, CAs that other domains' MTAs are checked against besides the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_ca_file: Option<PathBuf>,
}

/// `[rpc]`: how the services of this installation trust and find each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rpc {
    /// PEM, the installation's own CA. Without it one is made in `pki` of the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM, this service's certificate, naming its role (`mta.postroad.internal`). Without it one is issued
    /// by the node's own CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM, the key of `cert_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// How long one call may take when the caller says nothing else.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long a connection may take to be made.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often the names of peers are resolved again, and dead ones tried again.
    #[serde(with = "duration")]
    pub resolve_every: Duration,
    pub peers: Peers,
}

impl Default for Rpc {
    fn default() -> Self {
        Rpc {
            ca_file: None,
            cert_file: None,
            key_file: None,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            resolve_every: Duration::from_secs(5),
            peers: Peers::default(),
        }
    }
}

/// `[rpc.peers]`: where the other roles are. A name that resolves to several addresses is several replicas.
/// A role that is not given is taken to be on this machine, at the `rpc_listen` of its own section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    #[serde(with = "peers", skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<PeerUrl>,
    #[serde(with = "peers", skip_serializing_if = "Vec::is_empty")]
    pub mta: Vec<PeerUrl>,
    #[serde(with = "peers", skip_serializing_if = "Vec::is_empty")]
    pub mda: Vec<PeerUrl>,
    #[serde(with = "peers", skip_serializing_if = "Vec::is_empty")]
    pub mra: Vec<PeerUrl>,
}
