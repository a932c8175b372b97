//! The command line: what an operator types. Each group of commands has its own file.

mod account;
mod client;
mod config;
mod dns;
mod pki;
mod queue;
mod send;
mod table;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postroad_types::Role;

pub use client::Services;
pub use dns::resolved;
pub use trace::{Finding, find as find_steps, render as render_timeline};

/// Postroad: a complete mail system. MTA, MDA, MRA and DNS as separate services, or all in one process.
#[derive(Debug, Parser)]
#[command(name = "postroad", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// Configuration of the node; commands find its services by it
    #[arg(short, long, global = true, default_value = "postroad.toml", env = "POSTROAD_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all four roles of a node in this process
    Up,
    /// Run one role, as the program postroad-ROLE does
    Run {
        /// dns, mta, mda or mra
        role: Role,
    },
    /// Start a little internet with two mail domains on this machine, and send mail through it
    Lab(crate::lab::Args),
    /// Why was this mail (not) delivered? Every step of a message over all services
    Trace(trace::Args),
    /// Look into the queue, and change what is in it
    Queue(queue::Args),
    /// Domains that are ours
    Domain(account::DomainArgs),
    /// Accounts: who may log in and gets mail
    Account(account::AccountArgs),
    /// Aliases: addresses that lead to others
    Alias(account::AliasArgs),
    /// Ask the resolver, look into its cache, manage zones
    Dns(dns::Args),
    /// Write a mail and submit it
    Send(send::Args),
    /// Certificates for services that do not share a disk
    Pki(pki::Args),
    /// Check a configuration, or print one with every option explained
    Config(config::Args),
    /// Whether a role answers on its gRPC port; exit code 0 when it does
    Health {
        /// All that the configuration knows when none is given
        role: Option<Role>,
    },
}

/// Parses the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        // These two tell their own errors, through the log.
        Command::Up => crate::node::up(&cli.config),
        Command::Run { role } => crate::node::run(role, &cli.config),
        Command::Config(args) => config::main(&cli.config, args),
        Command::Lab(args) => block_on(crate::lab::main(args)),
        Command::Trace(args) => block_on(trace::main(&cli.config, args)),
        Command::Queue(args) => block_on(queue::main(&cli.config, args)),
        Command::Domain(args) => block_on(account::domain_main(&cli.config, args)),
        Command::Account(args) => block_on(account::account_main(&cli.config, args)),
        Command::Alias(args) => block_on(account::alias_main(&cli.config, args)),
        Command::Dns(args) => block_on(dns::main(&cli.config, args)),
        Command::Pki(args) => block_on(async { pki::main(&cli.config, args) }),
        Command::Send(args) => block_on(send::main(&cli.config, args)),
        Command::Health { role } => block_on(client::health(&cli.config, role)),
    }
}

/// Runs a command that ends by itself; an error goes to standard error as one message.
fn block_on(command: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("postroad: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    postroad_service::tls::install_provider();
    let outcome = runtime.block_on(command);
    // Name look-ups of a command that failed must not hold up its end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("postroad: {message}");
            ExitCode::FAILURE
        }
    }
}
