//! Record types: a number with a mnemonic, or `TYPE65280` (RFC 3597 section 5).

use std::fmt;
use std::str::FromStr;

use hickory_proto::rr::RecordType;

/// The type of a resource record, RFC 1035 section 3.2.2 and IANA's registry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtype(pub u16);

macro_rules! rtypes {
    ($($name:ident = $number:literal),* $(,)?) => {
        #[allow(missing_docs)]
        impl Rtype {
            $(pub const $name: Rtype = Rtype($number);)*
        }

        const MNEMONICS: &[(u16, &str)] = &[$(($number, stringify!($name))),*];
    };
}

rtypes! {
    A = 1, NS = 2, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, PTR = 12, HINFO = 13, MINFO = 14,
    MX = 15, TXT = 16, RP = 17, AFSDB = 18, SIG = 24, KEY = 25, AAAA = 28, LOC = 29, SRV = 33, NAPTR = 35,
    KX = 36, CERT = 37, DNAME = 39, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46,
    NSEC = 47, DNSKEY = 48,
    DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, CDS = 59, CDNSKEY = 60,
    OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, SPF = 99, NID = 104, L32 = 105,
    L64 = 106, LP = 107, EUI48 = 108, EUI64 = 109,
    TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253, MAILA = 254, ANY = 255, URI = 256,
    CAA = 257,
}

impl Rtype {
    /// True for types that are asked for but never stored (RFC 6895 section 3.1): OPT and 128 to 255.
    pub fn is_meta(self) -> bool {
        self == Self::OPT || (128..=255).contains(&self.0)
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(number, _)| *number == self.0) {
            Some((_, mnemonic)) => f.write_str(mnemonic),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is neither a mnemonic nor `TYPEnnn`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no record type; expected one such as A, MX or TYPE65280")]
pub struct UnknownRtype(pub String);

impl FromStr for Rtype {
    type Err = UnknownRtype;

    fn from_str(text: &str) -> Result<Self, UnknownRtype> {
        if let Some((number, _)) = MNEMONICS.iter().find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text))
        {
            return Ok(Self(*number));
        }
        let number = text.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("TYPE")).and(text.get(4..));
        number
            .filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| UnknownRtype(text.to_owned()))
    }
}

impl From<RecordType> for Rtype {
    fn from(value: RecordType) -> Self {
        Self(value.into())
    }
}

impl From<Rtype> for RecordType {
    fn from(value: Rtype) -> Self {
        value.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_and_numbers_name_the_same_types() {
        assert_eq!("mx".parse(), Ok(Rtype::MX));
        assert_eq!("TYPE15".parse(), Ok(Rtype::MX));
        assert_eq!("type65280".parse::<Rtype>().unwrap().to_string(), "TYPE65280");
        assert_eq!(Rtype(39).to_string(), "DNAME");
        for wrong in ["", "TYPE", "TYPE+1", "TYPE65536", "MXX", "ТYPE1"] {
            assert!(wrong.parse::<Rtype>().is_err(), "{wrong}");
        }
    }
}
