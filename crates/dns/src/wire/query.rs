//! Reads a request as far as a server must understand it: header, question, OPT (RFC 1035 section 4, RFC 6891).
//!
//! Strict where leniency helps only attackers: a response is no request, a question is one, names in it are not
//! compressed, record counts must match the octets, a signature is the last record. Nothing is allocated.

use postroad_types::limits::DNS_NAME_OCTETS_MAX;

use super::Rtype;
use super::options::code;

/// Octets of a message header.
pub(super) const HEADER_OCTETS: usize = 12;

pub const OPCODE_QUERY: u8 = 0;
/// A primary tells that a zone has changed (RFC 1996).
pub const OPCODE_NOTIFY: u8 = 4;
/// Records of a zone are to be changed (RFC 2136); the question is the zone.
pub const OPCODE_UPDATE: u8 = 5;

/// The one question of a request.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Uncompressed wire form, case as asked.
    pub name: &'a [u8],
    pub rtype: Rtype,
    pub class: u16,
}

/// What the OPT record of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns<'a> {
    pub version: u8,
    /// The greatest UDP response that the asker takes, in octets, 512 at least.
    pub udp_octets: u16,
    pub dnssec_ok: bool,
    /// Codes, lengths and data, one after the other; whole.
    options: &'a [u8],
}

impl<'a> Edns<'a> {
    /// The data of the first option of a code.
    pub fn option(&self, code: u16) -> Option<&'a [u8]> {
        let mut options = self.options;
        loop {
            let (here, length) = (u16_at(options, 0)?, usize::from(u16_at(options, 2)?));
            let (option, rest) = options.get(4..)?.split_at_checked(length)?;
            if here == code {
                return Some(option);
            }
            options = rest;
        }
    }
}

/// A request that can be answered.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub id: u16,
    /// [`OPCODE_QUERY`], [`OPCODE_NOTIFY`] or [`OPCODE_UPDATE`].
    pub opcode: u8,
    pub recursion_desired: bool,
    pub checking_disabled: bool,
    /// The asker understands AD in the response (RFC 6840 section 5.7).
    pub authentic_data: bool,
    pub question: Question<'a>,
    pub edns: Option<Edns<'a>>,
    /// Where the signature begins (TSIG, RFC 8945), in octets from the start.
    pub tsig: Option<usize>,
    /// The serial of a SOA: in authority what someone who asks for IXFR has (RFC 1995 section 3), in the answers of a
    /// notification what its sender has (RFC 1996 section 3.7).
    pub serial: Option<u32>,
    /// Header and question as they came: a response starts with them.
    pub(super) start: &'a [u8],
}

/// Why octets are no request that can be answered, and so what is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not answered: too short for a header, or a response. Answering responses would let two servers
    /// answer each other for ever.
    #[error("no request")]
    NoRequest,
    /// Answered with FORMERR.
    #[error("the request is malformed")]
    Malformed,
    /// Answered with NOTIMP: an opcode other than QUERY, NOTIFY and UPDATE.
    #[error("opcode {0} is not served")]
    Opcode(u8),
}

pub(super) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk::<2>().map(|pair| u16::from_be_bytes(*pair))
}

/// Length of the uncompressed name at `at`, with its final zero.
fn plain_name_octets(octets: &[u8], at: usize) -> Option<usize> {
    let mut length = 0;
    loop {
        let label = *octets.get(at + length)?;
        length += 1 + usize::from(label);
        if label > 63 || length > DNS_NAME_OCTETS_MAX {
            return None;
        }
        if label == 0 {
            return Some(length);
        }
    }
}

/// The position after the name at `at`, which may end in a compression pointer.
pub(super) fn skip_name(octets: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *octets.get(at)? {
            0 => return Some(at + 1),
            label if label <= 63 => at += 1 + usize::from(label),
            label if label >= 0xc0 => return octets.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a request.
    pub fn parse(octets: &'a [u8]) -> Result<Self, RequestError> {
        let flags = u16_at(octets, 2).ok_or(RequestError::NoRequest)?;
        if octets.len() < HEADER_OCTETS || flags & 0x8000 != 0 {
            return Err(RequestError::NoRequest);
        }
        let opcode = (flags >> 11 & 0xf) as u8;
        if !matches!(opcode, OPCODE_QUERY | OPCODE_NOTIFY | OPCODE_UPDATE) {
            return Err(RequestError::Opcode(opcode));
        }
        Self::parse_query(octets, flags, opcode).ok_or(RequestError::Malformed)
    }

    fn parse_query(octets: &'a [u8], flags: u16, opcode: u8) -> Option<Self> {
        if u16_at(octets, 4)? != 1 {
            return None;
        }
        let name_octets = plain_name_octets(octets, HEADER_OCTETS)?;
        let name = octets.get(HEADER_OCTETS..HEADER_OCTETS + name_octets)?;
        let mut at = HEADER_OCTETS + name_octets;
        let question = Question { name, rtype: Rtype(u16_at(octets, at)?), class: u16_at(octets, at + 2)? };
        at += 4;
        let start = octets.get(..at)?;

        let answers = usize::from(u16_at(octets, 6)?);
        let plain = answers + usize::from(u16_at(octets, 8)?);
        let records = plain + usize::from(u16_at(octets, 10)?);
        let (mut edns, mut tsig, mut serial) = (None, None, None);
        for index in 0..records {
            let owner = at;
            at = skip_name(octets, at)?;
            let rtype = Rtype(u16_at(octets, at)?);
            if rtype == Rtype::OPT {
                // RFC 6891 section 6.1.1: one OPT at most, in the additional section, owned by the root.
                if edns.is_some() || index < plain || at != owner + 1 {
                    return None;
                }
                edns = Some(Edns {
                    version: *octets.get(at + 5)?,
                    udp_octets: u16_at(octets, at + 2)?.max(512),
                    dnssec_ok: *octets.get(at + 6)? & 0x80 != 0,
                    options: octets.get(at + 10..)?.get(..usize::from(u16_at(octets, at + 8)?))?,
                });
            }
            if rtype == Rtype::TSIG {
                // RFC 8945 section 5.1: one at most, as the last record.
                if index < plain || index + 1 != records {
                    return None;
                }
                tsig = Some(owner);
            }
            let data = at + 10;
            at = data + usize::from(u16_at(octets, at + 8)?);
            let telling = if opcode == OPCODE_NOTIFY { 0..answers } else { answers..plain };
            if rtype == Rtype::SOA && telling.contains(&index) {
                // Serial, refresh, retry, expire and minimum end the data, whatever names stand before them.
                let numbers = octets.get(data..at)?.last_chunk::<20>()?;
                serial = numbers.first_chunk::<4>().map(|serial| u32::from_be_bytes(*serial));
            }
            if at > octets.len() || (rtype == Rtype::OPT && !options_are_whole(octets.get(data..at)?)) {
                return None;
            }
        }
        if at != octets.len() {
            return None;
        }
        Some(Self {
            id: u16_at(octets, 0)?,
            opcode,
            recursion_desired: flags & 0x0100 != 0,
            checking_disabled: flags & 0x0010 != 0,
            authentic_data: flags & 0x0020 != 0,
            question,
            edns,
            tsig,
            serial,
            start,
        })
    }
}

/// Seconds for which a response is true (RFC 8484 section 5.1): the least TTL of its answers, or else of the SOA in its
/// authority section, which for a negative answer is no longer than that record's minimum field. 0 for one without
/// either, and for octets that are no response.
pub fn lifetime(response: &[u8]) -> u32 {
    least_ttl(response).unwrap_or(0)
}

fn least_ttl(response: &[u8]) -> Option<u32> {
    let answers = u16_at(response, 6)?;
    let records = if answers > 0 { answers } else { u16_at(response, 8)? };
    let mut at = skip_name(response, HEADER_OCTETS)? + 4;
    let mut least = None;
    for _ in 0..records {
        at = skip_name(response, at)?;
        let rtype = Rtype(u16_at(response, at)?);
        let ttl = response.get(at + 4..)?.first_chunk::<4>().map(|ttl| u32::from_be_bytes(*ttl))?;
        if answers > 0 || rtype == Rtype::SOA {
            least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
        }
        at += 10 + usize::from(u16_at(response, at + 8)?);
    }
    least
}

/// Makes a question a multiple of `block` octets long (RFC 8467 section 4.1) by an option in its OPT record, if that is
/// the one record behind the question; else it is left as it is.
pub fn pad_query(query: &mut Vec<u8>, block: usize) {
    let opt = || {
        let at = skip_name(query, HEADER_OCTETS)? + 4;
        let alone = query.get(4..HEADER_OCTETS)? == [0, 1, 0, 0, 0, 0, 0, 1];
        let is_opt = query.get(at) == Some(&0) && u16_at(query, at + 1)? == Rtype::OPT.0;
        let options = usize::from(u16_at(query, at + 9)?);
        (alone && is_opt && at + 11 + options == query.len()).then_some((at + 9, options))
    };
    let Some((length_at, options)) = opt() else { return };
    let padding = (query.len() + 4).next_multiple_of(block.max(1)) - (query.len() + 4);
    let Ok(length) = u16::try_from(options + 4 + padding) else { return };
    if let Some(place) = query.get_mut(length_at..length_at + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    query.extend_from_slice(&code::PADDING.to_be_bytes());
    query.extend_from_slice(&(padding as u16).to_be_bytes());
    query.resize(query.len() + padding, 0);
}

/// EDNS options are code, length and data each (RFC 6891 section 6.1.2).
fn options_are_whole(mut options: &[u8]) -> bool {
    while !options.is_empty() {
        let length = u16_at(options, 2).map(usize::from);
        match length.and_then(|length| options.get(4 + length..)) {
            Some(rest) => options = rest,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut octets = vec![0x12, 0x34, 0x01, 0x00];
        octets.extend(counts.iter().flat_map(|count| [0, *count]));
        octets.extend_from_slice(rest);
        octets
    }

    const QUESTION: &[u8] = b"\x03wWw\x04test\x00\x00\x01\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";

    #[test]
    fn a_plain_query_and_one_with_opt() {
        let octets = query([1, 0, 0, 0], QUESTION);
        let request = Request::parse(&octets).unwrap();
        assert_eq!((request.id, request.recursion_desired, request.edns), (0x1234, true, None));
        assert_eq!(request.question.name, b"\x03wWw\x04test\x00");
        let octets = query([1, 0, 0, 1], &[QUESTION, OPT].concat());
        let edns = Request::parse(&octets).unwrap().edns.unwrap();
        assert_eq!(edns, Edns { version: 0, udp_octets: 4096, dnssec_ok: true, options: &[] });
    }

    const TSIG: &[u8] = b"\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00";

    #[test]
    fn a_signature_and_the_serial_of_who_wants_differences_are_found() {
        let soa = [b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00", &[0, 0, 1, 2][..], &[0; 16]]
            .concat();
        let octets = query([1, 0, 1, 2], &[QUESTION, &soa, OPT, TSIG].concat());
        let request = Request::parse(&octets).unwrap();
        assert_eq!((request.serial, request.tsig), (Some(258), Some(octets.len() - TSIG.len())));
        let mut notify = query([1, 1, 0, 0], &[QUESTION, &soa].concat());
        notify[2] = OPCODE_NOTIFY << 3;
        let request = Request::parse(&notify).unwrap();
        assert_eq!((request.opcode, request.serial), (OPCODE_NOTIFY, Some(258)));
    }

    #[test]
    fn a_response_is_true_as_long_as_its_least_ttl() {
        let record = |rtype: u8, ttl: u8| [&[0xc0, 12, 0, rtype, 0, 1, 0, 0, 0, ttl, 0, 1, 0][..]].concat();
        let ttl = |counts: [u8; 4], records: &[Vec<u8>]| {
            lifetime(&query(counts, &[QUESTION, &records.concat()].concat()))
        };
        assert_eq!(ttl([1, 2, 1, 0], &[record(1, 60), record(1, 30), record(6, 5)]), 30);
        assert_eq!(ttl([1, 0, 2, 0], &[record(2, 5), record(6, 60)]), 60, "the SOA's, not another's");
        assert_eq!(ttl([1, 0, 0, 0], &[]), 0);
        assert_eq!(ttl([1, 0, 1, 0], &[record(2, 5)]), 0, "a referral");
        assert_eq!(ttl([1, 2, 0, 0], &[record(1, 60)]), 0);
        assert_eq!(lifetime(&[0; 5]), 0);
    }

    #[test]
    fn questions_are_padded_behind_their_options() {
        let with_option =
            [QUESTION, b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x05\x00\x08\x00\x01x"].concat();
        for records in [[QUESTION, OPT].concat(), with_option] {
            let mut octets = query([1, 0, 0, 1], &records);
            pad_query(&mut octets, 128);
            assert_eq!(octets.len(), 128);
            let edns = Request::parse(&octets).unwrap().edns.unwrap();
            assert!(edns.option(code::PADDING).unwrap().iter().all(|octet| *octet == 0));
        }
        let plain = query([1, 0, 0, 0], QUESTION);
        let signed = query([1, 0, 0, 2], &[QUESTION, OPT, TSIG].concat());
        for unpadded in [plain, signed, vec![0; 3], query([1, 0, 0, 1], QUESTION)] {
            let mut octets = unpadded.clone();
            pad_query(&mut octets, 128);
            assert_eq!(octets, unpadded);
        }
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        assert_eq!(Request::parse(&[0; 11]).unwrap_err(), RequestError::NoRequest);
        let mut response = query([1, 0, 0, 0], QUESTION);
        response[2] |= 0x80;
        assert_eq!(Request::parse(&response).unwrap_err(), RequestError::NoRequest);
        let mut status = query([1, 0, 0, 0], QUESTION);
        status[2] = 2 << 3;
        assert_eq!(Request::parse(&status).unwrap_err(), RequestError::Opcode(2));
        let longer = [QUESTION, &[0]].concat();
        let short_option = [QUESTION, b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x03\x00\x0a\x00"].concat();
        for wrong in [
            query([0, 0, 0, 0], b""),
            query([2, 0, 0, 0], &[QUESTION, QUESTION].concat()),
            query([1, 0, 0, 1], QUESTION),
            query([1, 0, 0, 0], &longer),
            query([1, 0, 0, 0], b"\xc0\x0c\x00\x01\x00\x01"),
            query([1, 0, 0, 0], b"\x03ww"),
            query([1, 0, 0, 2], &[QUESTION, OPT, OPT].concat()),
            query([1, 1, 0, 0], &[QUESTION, OPT].concat()),
            query([1, 0, 0, 1], &short_option),
            query([1, 0, 0, 2], &[QUESTION, TSIG, OPT].concat()),
            query([1, 0, 1, 0], &[QUESTION, TSIG].concat()),
            query(
                [1, 0, 1, 0],
                &[QUESTION, b"\x00\x00\x06\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00"].concat(),
            ),
        ] {
            assert_eq!(
                Request::parse(&wrong).unwrap_err(),
                RequestError::Malformed,
                "{}",
                wrong.escape_ascii()
            );
        }
    }
}
