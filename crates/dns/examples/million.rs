//! What a large zone costs: signed from nothing, changed, signed anew by the clock, and read back by a server that starts
//! again; the time of each, and the most memory that was resident meanwhile.
//!
//! ```text
//! cargo run --release -p postroad-dns --example million -- /tmp/million unsigned|nsec|nsec3 [names]
//! ```
//!
//! The folder keeps the zone, the keys and the signed version: the first run signs from nothing, the second shows a restart and
//! what is due a week later. Each name has an
//! address, every fourth an IPv6 address besides, and every tenth a mail host. On Linux.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use postroad_dns::keys::{Denial, Policy};
use postroad_dns::signing::{Settings, Signer};
use postroad_dns::wire::Name;
use postroad_dns::zone::{Commit, Hosted, ZoneSource};
use postroad_service::{Clock, FakeClock};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DAY: Duration = Duration::from_secs(86_400);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, how, rest @ ..] = &arguments[..] else {
        println!("million FOLDER unsigned|nsec|nsec3 [NAMES]");
        return;
    };
    let (folder, names) = (Path::new(folder), rest.first().map_or(1_000_000, |names| names.parse().unwrap()));
    let file = folder.join("zone");
    if !file.exists() {
        fs::create_dir_all(folder).unwrap();
        write(&file, names);
    }
    let denial = match how.as_str() {
        "unsigned" => None,
        "nsec3" => Some(Denial::Nsec3),
        _ => Some(Denial::Nsec),
    };
    run(folder, &file, denial);
}

fn write(file: &Path, names: u32) {
    let mut out = BufWriter::new(File::create(file).unwrap());
    writeln!(out, "$TTL 3600\n@ SOA ns hostmaster 1 1h 15m 1w 300\n@ NS ns\nns A 192.0.2.1").unwrap();
    for number in 0..names {
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(out, "host{number} A 10.{a}.{b}.{c}").unwrap();
        if number % 4 == 0 {
            writeln!(out, "host{number} AAAA 2001:db8::{:x}:{:x}", number >> 16, number & 0xffff).unwrap();
        }
        if number % 10 == 0 {
            writeln!(out, "host{number} MX 10 host{}", number / 2).unwrap();
        }
    }
    out.into_inner().unwrap().sync_all().unwrap();
}

fn run(folder: &Path, file: &Path, denial: Option<Denial>) {
    let origin: Name = "million.example".parse().unwrap();
    let clock = FakeClock::new(SystemTime::now());
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let source = ZoneSource { origin: origin.clone(), file: Some(file.to_owned()), secondary: false };
    let keys = |denial: Denial| folder.join(if denial == Denial::Nsec { "nsec" } else { "nsec3" });
    let is_restart = denial.is_some_and(|denial| keys(denial).exists());
    let signers = denial.map(|denial| {
        let policy = Policy { denial, ..Policy::default() };
        let settings = Settings { zone: origin.clone(), policy, folder: keys(denial) };
        Arc::new(Signer::open(settings, Arc::clone(&shared)).unwrap())
    });
    let hosted =
        shown("start", || Hosted::load_signing(vec![source], signers.into_iter().collect()).unwrap());
    let served = hosted.zones().load().get(&origin).cloned().unwrap();
    println!("{} names, {} records, serial {}", served.names(), served.records(), served.serial());
    drop(served);
    let commit = |text: String| {
        let commit = Commit::read(&origin, None, &[], &[text]).unwrap();
        let new = hosted.change(&origin, |zone| Ok(commit.apply(zone).unwrap())).unwrap();
        assert!(new.is_some());
    };
    let salt = std::process::id();
    shown("first update", || commit(format!("new-{salt} 60 A 192.0.2.9")));
    shown("second update", || commit(format!("new-{salt} 60 TXT two")));
    shown("third update", || commit(format!("x.y.new-{salt} 60 TXT three")));
    if denial.is_some() {
        shown("nothing due", || hosted.sign_anew(&origin).unwrap());
    }
    // Only now: a server that starts again has signatures that are yet to come, as the clock goes back.
    if is_restart {
        clock.advance(8 * DAY + DAY / 48);
        shown("first signatures due", || hosted.sign_anew(&origin).unwrap());
        clock.advance(DAY / 24);
        shown("an hour later", || hosted.sign_anew(&origin).unwrap());
    }
}

fn shown<T>(what: &str, work: impl FnOnce() -> T) -> T {
    // From now on the most that is resident counts anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (start, processor) = (Instant::now(), processor_seconds());
    let done = work();
    let (took, processor) = (start.elapsed().as_secs_f64(), processor_seconds() - processor);
    let (most, then) = (status("VmHWM:"), status("VmRSS:"));
    println!(
        "{what:22} {took:9.3} s, {processor:7.2} of processors   at most {most:5} MiB, then {then:5} MiB"
    );
    done
}

/// Of all threads, the kernel's part included.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()).map_or(0, |kib| kib.parse().unwrap());
    kib / 1024
}
