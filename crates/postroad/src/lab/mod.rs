//! `postroad lab`: a little internet with two mail domains on one machine, as separate processes, one for each
//! service. It is how a newcomer sees what Postroad does, and what the tests of the whole run on.

pub mod files;
mod join;
pub mod plan;
pub mod processes;
pub mod reader;
pub mod say;
mod story;
pub mod timeline;

use std::path::PathBuf;
use std::time::Instant;

use plan::{Plan, Ports};
use processes::Running;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// End after the story; exit code 0 only if all of it happened
    #[arg(long)]
    once: bool,
    /// Keep everything there, and begin again on what is there; without it all is removed at the end
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// First three octets of all addresses
    #[arg(long, global = true, default_value = "127.0.0", value_parser = plan::parse_net)]
    net: [u8; 3],
    /// The ports of the real internet instead of ports that anybody may use
    #[arg(long, global = true)]
    real_ports: bool,
}

/// Parts of the lab, for hosts that start the processes themselves (containers).
#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Write certificates, zones and configurations into --state, and start nothing
    Files,
    /// Wait until the lab of --state is ready and play the story in it
    Story,
}

pub async fn main(args: Args) -> Result<(), String> {
    let temporary = match &args.state {
        Some(_) => None,
        None => Some(Temporary::make()?),
    };
    let state = match (&args.state, &temporary) {
        (Some(dir), _) => absolute(dir)?,
        (None, Some(dir)) => dir.0.clone(),
        (None, None) => return Err("no place for the lab's files".into()),
    };
    let ports = if args.real_ports { Ports::REAL } else { Ports::LOOPBACK };
    let program =
        std::env::current_exe().map_err(|error| format!("this program can't be found again: {error}"))?;
    let mut plan = Plan::new(program, state, args.net, ports);
    files::recall_passwords(&mut plan)?;
    match args.part {
        Some(Part::Files) => files::write(&plan),
        Some(Part::Story) => {
            wait_for_all(&plan).await?;
            settle(&plan).await?;
            story(&plan).await
        }
        None => whole(&plan, args.once).await,
    }
}

/// Files, processes, accounts, story; then up until Ctrl-C, or until one of the processes ends.
async fn whole(plan: &Plan, once: bool) -> Result<(), String> {
    say::title(&format!("Postroad lab: two mail domains and their internet on {}", network(plan)));
    processes::check_ports(plan)?;
    files::write(plan)?;
    let mut running = start_all(plan).await?;
    let outcome = async {
        settle(plan).await?;
        story(plan).await?;
        if !once {
            join::print(plan);
            stay(&mut running).await?;
        }
        Ok(())
    };
    // Ctrl-C may come at any time, also while the story is being told.
    let outcome: Result<(), String> = tokio::select! {
        outcome = outcome => outcome,
        () = interrupted(), if once => Err("interrupted".into()),
    };
    if let Err(why) = &outcome {
        say::failed(why.lines().next().unwrap_or_default());
    }
    let stopped = stop_all(&mut running).await;
    outcome.and(stopped)
}

async fn start_all(plan: &Plan) -> Result<Vec<Running>, String> {
    let begin = Instant::now();
    let mut running = Vec::new();
    // All at once: each retries what it needs from the others until it is there.
    for process in plan.processes() {
        running.push(processes::start(plan, &process)?);
    }
    for one in &mut running {
        one.ready(plan).await?;
        let process = &one.process;
        let owner = process
            .domain
            .and_then(|index| plan.domains.get(index))
            .map_or("", |domain| domain.name.as_str());
        say::done(&format!(
            "{:<10} {:<13} {:<12} {}",
            process.name,
            process.ip,
            owner,
            say::dim(&process.what)
        ));
    }
    say::note(&format!("{} processes are up after {:.1} s", running.len(), begin.elapsed().as_secs_f64()));
    Ok(running)
}

/// For a lab whose processes somebody else starts.
async fn wait_for_all(plan: &Plan) -> Result<(), String> {
    let begin = Instant::now();
    for process in plan.processes() {
        let admin = plan.socket(process.ip, plan.ports.admin);
        while !processes::is_ready(admin).await {
            if begin.elapsed().as_secs() > 120 {
                return Err(format!("{} ({admin}) is not ready after 2 minutes", process.name));
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Domains and accounts; those that are there already keep what they have.
async fn settle(plan: &Plan) -> Result<(), String> {
    for domain in &plan.domains {
        timeline::make_accounts(plan, domain)
            .await
            .map_err(|why| format!("accounts of {}: {why}", domain.name))?;
    }
    Ok(())
}

async fn story(plan: &Plan) -> Result<(), String> {
    timeline::show_resolution(plan).await?;
    let letter = story::exchange(plan).await?;
    timeline::show(plan, &letter, &["accepted", "dns", "delivered", "stored"]).await?;
    let notice = story::bounce(plan).await?;
    timeline::show(plan, &notice, &["accepted", "rejected", "bounced", "stored"]).await?;
    say::title("All of it happened.");
    Ok(())
}

/// Until Ctrl-C; a process that ends by itself ends the lab.
async fn stay(running: &mut [Running]) -> Result<(), String> {
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
        }
        for one in running.iter_mut() {
            if !one.is_running() {
                one.ended().await?;
                return Err(format!("{} has ended by itself", one.process.name));
            }
        }
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Without a handler the signal ends the process by itself.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

async fn stop_all(running: &mut Vec<Running>) -> Result<(), String> {
    say::title("Stopping");
    for one in running.iter() {
        one.terminate();
    }
    let mut outcome = Ok(());
    for mut one in running.drain(..) {
        outcome = outcome.and(one.ended().await);
    }
    outcome
}

fn network(plan: &Plan) -> String {
    let [a, b, c, _] = plan.root.octets();
    format!("{a}.{b}.{c}.x")
}

fn absolute(dir: &std::path::Path) -> Result<PathBuf, String> {
    std::path::absolute(dir).map_err(|error| format!("{}: {error}", dir.display()))
}

/// Removed with all that is in it when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn make() -> Result<Temporary, String> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = std::env::temp_dir().join(format!(
            "postroad-lab-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        ));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Temporary(dir))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("postroad: {} is left behind: {error}", self.0.display());
        }
    }
}
