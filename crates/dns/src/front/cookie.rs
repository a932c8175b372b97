//! DNS cookies (RFC 7873) in the form that all servers share (RFC 9018): a client that shows a cookie of ours has got
//! an answer at its address before, so the address is not forged.
//!
//! The secret is made at the start: after it clients get new cookies with their next answer, and lose nothing.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::wire::options::COOKIE_OCTETS;

const CLIENT_OCTETS: usize = 8;
const VERSION: u8 = 1;
/// Seconds (RFC 9018 §4.3).
const AGE_MAX: u32 = 3600;
const AHEAD_MAX: u32 = 300;
const RENEWED_AFTER: u32 = 1800;

/// The option is too short or too long (RFC 7873 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cookie has 8 octets, or 16 to 40 with the server's")]
pub struct Malformed;

/// What a client's cookie is worth, and what it gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// It holds a server cookie that we gave to this address not long ago.
    pub is_ours: bool,
    pub reply: [u8; COOKIE_OCTETS],
}

/// Makes and checks cookies.
#[derive(Clone)]
pub struct Cookies {
    secret: [u8; 16],
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies(…)")
    }
}

impl Cookies {
    pub fn new(secret: [u8; 16]) -> Self {
        Cookies { secret }
    }

    /// Looks at a COOKIE option. `now`: seconds since 1970, of which the low 32 bits count.
    pub fn check(&self, option: &[u8], client: IpAddr, now: u32) -> Result<Cookie, Malformed> {
        let (from_client, rest) = option.split_first_chunk::<CLIENT_OCTETS>().ok_or(Malformed)?;
        if !matches!(rest.len(), 0 | 8..=32) {
            return Err(Malformed);
        }
        let made_at = match rest {
            [VERSION, _, _, _, a, b, c, d, ..] if rest.len() == 16 => {
                let made_at = u32::from_be_bytes([*a, *b, *c, *d]);
                // Serial arithmetic (RFC 1982), as the clock's 32 bits go round.
                let age = now.wrapping_sub(made_at).cast_signed();
                let fresh = age <= AGE_MAX.cast_signed() && age >= -AHEAD_MAX.cast_signed();
                // Who guesses 64 bits does not learn them by the time of a comparison in a datagram.
                (fresh && self.made(from_client, client, made_at) == option).then_some((made_at, age))
            }
            _ => None,
        };
        let again = made_at.filter(|(_, age)| *age <= RENEWED_AFTER.cast_signed());
        let reply = self.made(from_client, client, again.map_or(now, |(made_at, _)| made_at));
        Ok(Cookie { is_ours: made_at.is_some(), reply })
    }

    fn made(&self, from_client: &[u8; CLIENT_OCTETS], client: IpAddr, at: u32) -> [u8; COOKIE_OCTETS] {
        let mut cookie = [0; COOKIE_OCTETS];
        cookie[..8].copy_from_slice(from_client);
        cookie[8] = VERSION;
        cookie[12..16].copy_from_slice(&at.to_be_bytes());
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&cookie[..16]);
        match client.to_canonical() {
            IpAddr::V4(v4) => hasher.write(&v4.octets()),
            IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
        cookie[16..].copy_from_slice(&hasher.finish().to_le_bytes());
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    fn cookies() -> Cookies {
        Cookies::new(octets("e5e973e5a6b2a43f48e7dc849e37bfcf").try_into().unwrap())
    }

    #[test]
    fn the_example_of_rfc_9018_is_made() {
        // Appendix A.1.
        let client = "198.51.100.100".parse().unwrap();
        let made = cookies().check(&octets("2464c4abcf10c957"), client, 1_559_731_985).unwrap();
        assert!(!made.is_ours);
        assert_eq!(made.reply.to_vec(), octets("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));
    }

    #[test]
    fn a_cookie_is_known_for_an_hour_at_its_address_alone() {
        let cookies = cookies();
        let client: IpAddr = "2001:db8::1".parse().unwrap();
        let now = u32::MAX - 100;
        let given = cookies.check(b"01234567", client, now).unwrap().reply;
        for (later, is_ours, same) in [
            (0, true, true),
            (1800, true, true),
            (1801, true, false),
            (3600, true, false),
            (3601, false, false),
        ] {
            let seen = cookies.check(&given, client, now.wrapping_add(later)).unwrap();
            assert_eq!((seen.is_ours, seen.reply == given), (is_ours, same), "{later} s later");
        }
        assert!(cookies.check(&given, client, now - 300).unwrap().is_ours);
        assert!(!cookies.check(&given, client, now - 301).unwrap().is_ours);
        assert!(!cookies.check(&given, "2001:db8::2".parse().unwrap(), now).unwrap().is_ours);
        for at in 0..COOKIE_OCTETS {
            let mut other = given;
            other[at] ^= 1;
            assert!(!cookies.check(&other, client, now).unwrap().is_ours, "octet {at}");
        }
    }

    #[test]
    fn lengths_are_checked() {
        for length in 0..50 {
            let checked = cookies().check(&vec![1; length], "192.0.2.1".parse().unwrap(), 0);
            assert_eq!(checked.is_ok(), length == 8 || (16..=40).contains(&length), "{length}");
        }
    }
}
