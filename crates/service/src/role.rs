//! The `main` of the thin binaries: `postroad-mta -c FILE`, `postroad-mta -c FILE health`.
//!
//! Exit codes are those of sysexits.h, so that a supervisor can tell a wrong configuration, which no restart
//! cures, from a port that is taken.

use std::fmt::Display;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Arg, Command, value_parser};
use postroad_config::Config;
use postroad_rpc::Channel;
use postroad_types::Role;

use crate::drain::Drain;
use crate::node::{Node, channel_options};
use crate::{identity, process, telemetry};

/// Where the configuration is when nobody says.
pub const CONFIG_FILE: &str = "/etc/postroad/postroad.toml";
/// The environment's word for it.
pub const CONFIG_ENV: &str = "POSTROAD_CONFIG";

const EX_UNHEALTHY: u8 = 1;
/// A service or port that is needed is not there.
pub const EX_UNAVAILABLE: u8 = 69;
/// The role ended with an error.
pub const EX_SOFTWARE: u8 = 70;
const EX_OSERR: u8 = 71;
const EX_CONFIG: u8 = 78;

/// How long `health` waits for the service's answer.
const HEALTH_WITHIN: Duration = Duration::from_secs(4);

/// Runs one role until it is told to stop. `run` returns when the role has drained, or with what ended it.
pub fn main<F, R, E>(role: Role, run: F) -> ExitCode
where
    F: FnOnce(Node) -> R,
    R: Future<Output = Result<(), E>>,
    E: Display,
{
    process::prepare();
    let matches = command(role).get_matches();
    let path = matches.get_one::<PathBuf>("config").cloned().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    if matches.subcommand_matches("check").is_some() {
        return match Config::load(&path) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail(EX_CONFIG, error),
        };
    }
    if matches.subcommand_matches("health").is_some() {
        return ask_health(role, &path);
    }
    serve(role, &path, run)
}

/// Runs one role with the configuration in `path` until it is told to stop; installs the crypto provider and the
/// log. The exit code is the process's.
pub fn serve<F, R, E>(role: Role, path: &Path, run: F) -> ExitCode
where
    F: FnOnce(Node) -> R,
    R: Future<Output = Result<(), E>>,
    E: Display,
{
    process(path, async |config, drain: Drain| {
        let node = match Node::alone(config, role, drain.clone()) {
            Ok(node) => node,
            Err(error) => return fail(EX_UNAVAILABLE, error),
        };
        let whole = node.clone();
        tracing::info!(%role, node = node.name(), version = env!("CARGO_PKG_VERSION"), "starting");
        let outcome = run(node).await;
        // A role that ended by itself still has tasks that listen to the drain.
        drain.stop();
        let cut = whole.finish().await;
        match outcome {
            Ok(()) => {
                tracing::info!(%role, cut, "stopped");
                ExitCode::SUCCESS
            }
            Err(error) => fail(EX_SOFTWARE, format_args!("{role} cannot go on: {error}")),
        }
    })
}

/// What every service process begins with: provider, configuration, log, runtime, signals. `body` gets the drain
/// that SIGTERM and SIGINT begin.
pub fn process<F>(path: &Path, body: F) -> ExitCode
where
    F: AsyncFnOnce(Arc<Config>, Drain) -> ExitCode,
{
    process::prepare();
    let config = match Config::load(path) {
        Ok(config) => Arc::new(config),
        Err(error) => return fail(EX_CONFIG, error),
    };
    if let Err(error) = telemetry::init(&config.log) {
        return fail(EX_CONFIG, error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EX_OSERR, format_args!("no threads to run on: {error}")),
    };
    let code = runtime.block_on(async {
        let drain = Drain::new(config.node.drain);
        if let Err(error) = drain.on_signals() {
            return fail(EX_OSERR, format_args!("signals cannot be received: {error}"));
        }
        body(config, drain).await
    });
    // Threads that still read a disk must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(5));
    code
}

fn ask_health(role: Role, path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return fail(EX_CONFIG, error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EX_OSERR, format_args!("no thread to run on: {error}")),
    };
    match runtime.block_on(health(&config, role)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(EX_UNHEALTHY, why),
    }
}

fn command(role: Role) -> Command {
    let (name, about) = match role {
        Role::Dns => (
            "postroad-dns",
            "Postroad's name server: authoritative for its zones, recursive for its own hosts",
        ),
        Role::Mta => ("postroad-mta", "Postroad's MTA: submission, queue, relay"),
        Role::Mda => ("postroad-mda", "Postroad's MDA: directory and mailboxes"),
        Role::Mra => ("postroad-mra", "Postroad's MRA: IMAP and POP3"),
        Role::Operator => ("postroad", "Postroad"),
    };
    let config = Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .env(CONFIG_ENV)
        .global(true)
        .value_parser(value_parser!(PathBuf))
        .help(format!("The configuration [default: {CONFIG_FILE}]"));
    Command::new(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .arg(config)
        .subcommand(
            Command::new("health").about("Asks the running service whether it takes calls; 0 if it does"),
        )
        .subcommand(Command::new("check").about("Checks the configuration and ends"))
}

/// Whether the service of `role` on this machine takes calls, asked over its own gRPC port.
pub async fn health(config: &Config, role: Role) -> Result<(), String> {
    let Some(address) = config.rpc_listen(role).first() else {
        return Err(format!("[{role}] rpc_listen is empty: the service cannot be asked"));
    };
    let tls = identity::load(config, &[role], SystemTime::now()).map_err(|error| error.to_string())?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let channel = Channel::new(role, vec![(ip.to_string(), address.port())], tls, channel_options(config));
    if channel.ready(HEALTH_WITHIN).await {
        Ok(())
    } else {
        Err(format!("{role} at {address} does not take calls: {}", channel.last_failure()))
    }
}

/// Ends with `code` after saying why on standard error.
pub fn fail(code: u8, why: impl Display) -> ExitCode {
    // Nobody to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(code)
}
