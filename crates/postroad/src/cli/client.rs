//! The operator's way to the services of a node: found by the configuration, opened with a certificate that
//! names the operator.

use std::path::Path;
use std::time::Duration;

use postroad_config::Config;
use postroad_rpc::Channel;
use postroad_service::node::operator_channel;
use postroad_types::Role;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A service that is there answers within this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A command may take so long, a search through all mailboxes' logs included.
const CALL_MAX: Duration = Duration::from_secs(60);

/// The services that a configuration names.
#[derive(Debug)]
pub struct Services {
    config: Config,
}

impl Services {
    /// Reads the configuration. Whoever may read the installation's CA key may act as its operator; where the
    /// configuration names certificate files, `operator.pem` and `operator.key` beside the CA's are taken.
    pub fn load(file: &Path) -> Result<Services, String> {
        let config = Config::load(file).map_err(|error| error.to_string())?;
        let own_ca = config.pki_dir().join("ca.key");
        if config.rpc.cert_file.is_none() && !own_ca.exists() {
            return Err(format!(
                "{}: not there; the node makes it when it first starts, and only the user it runs as may read it",
                own_ca.display()
            ));
        }
        Ok(Services { config })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A channel to a role of this node, once it answers.
    pub async fn channel(&self, role: Role) -> Result<Channel, String> {
        let peers = self.config.peers(role);
        if peers.is_empty() {
            return Err(format!("the configuration does not say where {role} is: set rpc.peers.{role}"));
        }
        let channel = operator_channel(&self.config, role, CALL_MAX).map_err(|error| error.to_string())?;
        if channel.ready(CONNECT_MAX).await {
            return Ok(channel);
        }
        let names: Vec<String> = peers.iter().map(ToString::to_string).collect();
        Err(format!(
            "{role} does not answer at {}: is it running? ({})",
            names.join(", "),
            channel.last_failure()
        ))
    }
}

/// What a service answered instead, in its own words.
pub fn said(status: tonic::Status) -> String {
    match status.code() {
        tonic::Code::Unavailable => format!("the service does not answer: {}", status.message()),
        tonic::Code::DeadlineExceeded => "the service did not answer in time".to_owned(),
        tonic::Code::PermissionDenied => format!("not allowed: {}", status.message()),
        _ => status.message().to_owned(),
    }
}

/// `postroad health [ROLE]`
pub async fn health(config: &Path, role: Option<Role>) -> Result<(), String> {
    let services = Services::load(config)?;
    let roles = role.map_or(Role::SERVICES.to_vec(), |role| vec![role]);
    let mut sick = Vec::new();
    for role in roles {
        let state = match services.channel(role).await {
            Err(why) => Err(why),
            Ok(channel) => HealthClient::new(channel)
                .check(HealthCheckRequest { service: String::new() })
                .await
                .map(|reply| reply.into_inner().status().as_str_name().to_lowercase())
                .map_err(said),
        };
        match state {
            Ok(state) if state == "serving" => println!("{role}  serving"),
            Ok(other) | Err(other) => {
                println!("{role}  {other}");
                sick.push(role.name());
            }
        }
    }
    if sick.is_empty() { Ok(()) } else { Err(format!("not healthy: {}", sick.join(", "))) }
}
