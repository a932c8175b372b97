//! How much memory there is for the queue: what a container may have, or what the machine has.

use std::fs;

/// Octets of memory that one queued recipient takes, its message's part with it.
const RECIPIENT_OCTETS: u64 = 1024;
/// Recipients that every machine takes.
const RECIPIENTS_MIN: u64 = 20_000;
const RECIPIENTS_MAX: u64 = 2_000_000;

/// Recipients for which half of the memory is enough: beyond, mail is put off with 452, before there is a lack.
pub fn queue_recipients() -> u64 {
    let limits = [
        number("/sys/fs/cgroup/memory.max"),
        number("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)),
    ];
    recipients(limits.into_iter().flatten().min())
}

fn recipients(octets: Option<u64>) -> u64 {
    octets
        .map_or(RECIPIENTS_MAX, |octets| octets / 2 / RECIPIENT_OCTETS)
        .clamp(RECIPIENTS_MIN, RECIPIENTS_MAX)
}

/// "max" is no number, and no limit.
fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// `MemTotal:       16384 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_memory_counts_within_bounds() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2097152 kB\n"), Some(2 << 30));
        assert_eq!(recipients(Some(2 << 30)), 1 << 20);
        assert_eq!(recipients(Some(1 << 20)), RECIPIENTS_MIN);
        assert_eq!((recipients(Some(u64::MAX)), recipients(None)), (RECIPIENTS_MAX, RECIPIENTS_MAX));
        assert!((RECIPIENTS_MIN..=RECIPIENTS_MAX).contains(&queue_recipients()));
    }
}
