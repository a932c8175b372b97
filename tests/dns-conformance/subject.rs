//! Postroad with the zones of the checks: the real program, in a directory that goes with it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It answers within this after its start, on a slow machine too.
const READY: Duration = Duration::from_secs(60);

/// The zones, by their origins; each is in `zones/ORIGIN.zone`.
const ZONES: [&str; 4] = ["alpha.test", "beta.test", "hosted.alpha.test", "example"];

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Postroad {
    pub address: SocketAddr,
    child: Child,
    state: tempfile::TempDir,
}

impl Postroad {
    pub fn start() -> Postroad {
        let state = tempfile::tempdir().expect("a directory");
        // The process id keeps test programs that run at the same time apart; 250 keeps them apart from labs.
        let process = std::process::id();
        let ip = [127, 64 + (process % 128) as u8, 250, (process / 128 % 254 + 1) as u8];
        let at = |port: u16| SocketAddr::from((ip, port));
        let zones = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dns-conformance/zones");
        let mut config = format!(
            "[node]\nname = \"dns.alpha.test\"\nstate_dir = {:?}\n[dns]\nnsid = \"postroad\"\nlisten = [\"{}\"]\nrpc_listen = \"{}\"\n\
             admin_listen = \"{}\"\n[dns.recursion]\nallow = []\n",
            state.path().join("state"),
            at(5353),
            at(7601),
            at(7701)
        );
        for origin in ZONES {
            let file = zones.join(format!("{origin}.zone"));
            config += &format!("[[dns.zones]]\norigin = \"{origin}\"\nfile = {file:?}\n");
        }
        let file = state.path().join("postroad.toml");
        std::fs::write(&file, config).expect("the configuration");
        let log = std::fs::File::create(state.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_postroad"))
            .args(["run", "dns", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("postroad starts");
        let mut postroad = Postroad { address: at(5353), child, state };
        postroad.wait();
        postroad
    }

    fn wait(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("its state").is_some();
            if ended || begin.elapsed() > READY {
                let log = std::fs::read_to_string(self.state.path().join("log")).unwrap_or_default();
                panic!("postroad does not answer at {}:\n{log}", self.address);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postroad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
