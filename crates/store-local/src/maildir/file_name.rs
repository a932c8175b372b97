//! Names of messages' files, ours and others'.

use std::fmt::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use postroad_types::TraceId;

/// Begins the flags at the end of a name.
pub const INFO: &str = ":2,";

/// What a name says of its message besides the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    pub size_octets: u64,
    /// UIDVALIDITY of the folder that gave the UID, and the UID.
    pub uid: Option<(u32, u32)>,
    /// Digest of the delivery's key.
    pub key: Option<[u8; 16]>,
    pub trace_id: Option<TraceId>,
}

/// The name up to the flags, and the flags' letters.
pub fn split(file_name: &str) -> (&str, &str) {
    file_name.split_once(INFO).unwrap_or((file_name, ""))
}

/// The name of a file in cur/.
pub fn join(base: &str, letters: &str) -> String {
    format!("{base}{INFO}{letters}")
}

/// The part that is unique in the whole world: time, process, a running number and the host.
pub fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static HOST: LazyLock<String> = LazyLock::new(host);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.M{}P{}Q{count}.{}", now.as_secs(), now.subsec_micros(), std::process::id(), *HOST)
}

fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned());
    // As the Maildir specification asks; a comma would begin a tag.
    name.chars().take(64).map(|c| if "/:,".contains(c) { '_' } else { c }).collect()
}

impl Tags {
    /// The name up to the flags.
    pub fn base(&self, unique: &str) -> String {
        let mut base = format!("{unique},S={}", self.size_octets);
        // Writing into a String does not fail.
        if let Some((validity, uid)) = self.uid {
            let _ = write!(base, ",Q={validity}.{uid}");
        }
        if let Some(key) = self.key {
            let _ = write!(base, ",K={:032x}", u128::from_be_bytes(key));
        }
        if let Some(trace_id) = self.trace_id {
            let _ = write!(base, ",T={trace_id}");
        }
        base
    }

    /// Reads a name up to the flags; other programs' tags are passed over.
    pub fn parse(base: &str) -> Tags {
        let mut tags = Tags::default();
        for tag in base.split(',').skip(1) {
            match tag.split_once('=') {
                Some(("S", size)) => tags.size_octets = size.parse().unwrap_or(0),
                Some(("Q", uid)) => {
                    let pair =
                        uid.split_once('.').and_then(|(v, u)| Some((v.parse().ok()?, u.parse().ok()?)));
                    tags.uid = pair.filter(|(validity, uid)| *validity > 0 && *uid > 0);
                }
                Some(("K", key)) if key.len() == 32 => {
                    tags.key = u128::from_str_radix(key, 16).ok().map(u128::to_be_bytes);
                }
                Some(("T", id)) => tags.trace_id = id.parse().ok(),
                _ => {}
            }
        }
        tags
    }
}

/// The unique part of a name that may have tags.
pub fn unique_part(base: &str) -> &str {
    base.split(',').next().unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_what_the_index_would() {
        let tags = Tags {
            size_octets: 4096,
            uid: Some((1_790_000_000, 17)),
            key: Some([0xAB; 16]),
            trace_id: Some(TraceId::new([1; 16])),
        };
        let base = tags.base("1700000000.M1P2Q3.host");
        assert_eq!(
            base,
            "1700000000.M1P2Q3.host,S=4096,Q=1790000000.17,K=abababababababababababababababab,\
             T=01010101010101010101010101010101"
        );
        assert_eq!(Tags::parse(&base), tags);
        assert_eq!(split(&join(&base, "FS")), (base.as_str(), "FS"));
        assert_eq!(unique_part(&base), "1700000000.M1P2Q3.host");
        assert!(base.len() + 40 < 255);
    }

    #[test]
    fn names_of_others_are_read_as_far_as_they_go() {
        let tags = Tags::parse("1700000000.M1P2V0I5.host,S=12,W=13,U=9");
        assert_eq!(tags, Tags { size_octets: 12, ..Tags::default() });
        assert_eq!(Tags::parse("x,Q=0.1").uid, None);
        assert_eq!(Tags::parse("x,Q=1").uid, None);
        assert_eq!(split("new-without-flags"), ("new-without-flags", ""));
    }

    #[test]
    fn unique_is_unique() {
        let names: std::collections::HashSet<_> = (0..1000).map(|_| unique()).collect();
        assert_eq!(names.len(), 1000);
    }

    proptest! {
        #[test]
        fn any_name_is_read(name in "\\PC{0,60}") {
            let (base, _) = split(&name);
            Tags::parse(base);
        }
    }
}
