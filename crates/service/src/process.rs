//! The process itself: what it needs before anything else, and what it uses.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Of the times in /proc: Linux shows them in hundredths of a second to every program.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_OCTETS: f64 = 4096.0;

/// To be called first in `main`: the crypto provider, panics in the log, as many open files as are allowed.
pub fn prepare() {
    crate::tls::install_provider();
    crate::telemetry::log_panics();
    raise_open_files();
}

/// A connection is an open file; many systems give a process 1024 unless it asks for more.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the number of open files stays as it is (`ulimit -n`)");
    }
}

/// Puts the process's own use into the metrics, under the names that Prometheus's clients agree on.
pub(crate) fn measure() {
    if let Some(usage) = usage() {
        metrics::gauge!("process_cpu_seconds_total").set(usage.cpu.as_secs_f64());
        metrics::gauge!("process_resident_memory_bytes").set(usage.resident_octets);
        metrics::gauge!("process_threads").set(usage.threads);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(files.count() as f64);
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        metrics::gauge!("process_max_fds").set(soft as f64);
    }
}

struct Usage {
    cpu: Duration,
    resident_octets: f64,
    threads: f64,
}

/// From /proc/self/stat (proc(5)); none where there is none.
fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, which may hold anything: the rest is behind the last.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<f64>().ok();
    let cpu = (field(14)? + field(15)?) / TICKS_PER_SECOND;
    Some(Usage {
        cpu: Duration::try_from_secs_f64(cpu).ok()?,
        resident_octets: field(24)? * PAGE_OCTETS,
        threads: field(20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_uses() {
        let usage = usage().unwrap();
        assert!(usage.threads >= 1.0 && usage.resident_octets > 100_000.0);
        assert!(usage.cpu < Duration::from_secs(3600));
    }

    #[test]
    fn after_preparing_as_many_files_as_are_allowed_may_be_open() {
        prepare();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
