//! Messages as octets: written without any check, so that wrong ones can be sent too, and read strictly (RFC 1035
//! section 4). Shares no code with the server that is looked at.

/// Octets of a header.
pub const HEADER: usize = 12;
pub const OPT: u16 = 41;

const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("NULL", 10),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("DNAME", 39),
    ("OPT", 41),
    ("DS", 43),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
];

const RCODES: &[(&str, u16)] = &[
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("NOTAUTH", 9),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];

/// `MX` or `TYPE15`.
pub fn type_number(text: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    known.or_else(|| text.strip_prefix("TYPE")?.parse().ok())
}

fn type_name(number: u16) -> String {
    let known = TYPES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("TYPE{number}"), |(name, _)| (*name).to_owned())
}

pub fn rcode_name(number: u16) -> String {
    let known = RCODES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| format!("RCODE{number}"), |(name, _)| (*name).to_owned())
}

/// A name's octets; `\DDD` stands for an octet.
pub fn name_octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        let mut octets = Vec::new();
        let mut rest = label.as_bytes();
        while let [octet, after @ ..] = rest {
            rest = after;
            match (octet, after) {
                (b'\\', [a, b, c, after @ ..]) => {
                    let digits = [a, b, c].map(|digit| u32::from(*digit - b'0'));
                    octets.push((digits[0] * 100 + digits[1] * 10 + digits[2]) as u8);
                    rest = after;
                }
                _ => octets.push(*octet),
            }
        }
        out.push(octets.len() as u8);
        out.extend(octets);
    }
    out.push(0);
    out
}

/// The OPT record of a question.
#[derive(Clone, Debug)]
pub struct Edns {
    pub size: u16,
    pub version: u8,
    /// DO is 0x8000.
    pub flags: u16,
    pub options: Vec<(u16, Vec<u8>)>,
}

/// A question with all that can be said about it.
#[derive(Clone, Debug)]
pub struct Question {
    pub name: Vec<u8>,
    pub rtype: u16,
    pub class: u16,
    pub opcode: u8,
    /// Bits of the header's second pair of octets beside the opcode.
    pub flags: u16,
    /// As many OPT records.
    pub opts: usize,
    pub edns: Edns,
    /// Of a SOA in authority, by which IXFR says what the asker has (RFC 1995 section 3).
    pub serial: Option<u32>,
}

impl Question {
    pub fn octets(&self, id: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let flags = self.flags | u16::from(self.opcode) << 11;
        for value in [id, flags, 1, 0, u16::from(self.serial.is_some()), self.opts as u16] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.rtype.to_be_bytes());
        out.extend_from_slice(&self.class.to_be_bytes());
        if let Some(serial) = self.serial {
            out.extend_from_slice(&[0xc0, HEADER as u8, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&[0; 16]);
        }
        for _ in 0..self.opts {
            out.push(0);
            out.extend_from_slice(&OPT.to_be_bytes());
            out.extend_from_slice(&self.edns.size.to_be_bytes());
            out.extend_from_slice(&[0, self.edns.version]);
            out.extend_from_slice(&self.edns.flags.to_be_bytes());
            let options: Vec<u8> =
                self.edns.options.iter().flat_map(|(code, data)| option(*code, data)).collect();
            out.extend_from_slice(&(options.len() as u16).to_be_bytes());
            out.extend(options);
        }
        out
    }
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// A record of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub owner: String,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// As zone files show it; types that are not known here as `\# LENGTH HEX`.
    pub data: String,
    raw: Vec<u8>,
}

impl Record {
    pub fn text(&self) -> String {
        format!("{} {} {} {}", self.owner, self.ttl, type_name(self.rtype), self.data)
    }
}

/// A reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub octets: Vec<u8>,
    pub id: u16,
    pub flags: u16,
    /// Question as it came: octets of name, type and class.
    pub question: Vec<u8>,
    pub sections: [Vec<Record>; 3],
}

impl Reply {
    /// Reads a whole message. Whatever is malformed is an error.
    pub fn parse(octets: &[u8]) -> Result<Reply, String> {
        let mut reader = Reader { octets, at: 0 };
        let [id, flags, questions, answers, authorities, additionals] = reader.u16s::<6>()?;
        if questions > 1 {
            return Err(format!("{questions} questions in a reply"));
        }
        if questions == 1 {
            reader.name()?;
            reader.take(4)?;
        }
        let question = octets[HEADER..reader.at].to_vec();
        let mut sections = [vec![], vec![], vec![]];
        for (section, count) in sections.iter_mut().zip([answers, authorities, additionals]) {
            for _ in 0..count {
                section.push(reader.record()?);
            }
        }
        if reader.at != octets.len() {
            return Err(format!("{} octets after the last record", octets.len() - reader.at));
        }
        Ok(Reply { octets: octets.to_vec(), id, flags, question, sections })
    }

    fn opt(&self) -> Option<&Record> {
        self.sections[2].iter().find(|record| record.rtype == OPT)
    }

    pub fn has_edns(&self) -> bool {
        self.opt().is_some()
    }

    /// UDP size, version and flags of OPT.
    pub fn edns(&self) -> Option<(u16, u8, u16)> {
        self.opt().map(|opt| (opt.class, (opt.ttl >> 16) as u8, opt.ttl as u16))
    }

    pub fn opt_count(&self) -> usize {
        self.sections[2].iter().filter(|record| record.rtype == OPT).count()
    }

    /// The data of the first EDNS option with this code.
    pub fn option(&self, code: u16) -> Option<Vec<u8>> {
        let mut rest = self.opt()?.raw.as_slice();
        while rest.len() >= 4 {
            let (this, length) =
                (u16::from_be_bytes([rest[0], rest[1]]), u16::from_be_bytes([rest[2], rest[3]]));
            let data = rest.get(4..4 + usize::from(length))?;
            if this == code {
                return Some(data.to_vec());
            }
            rest = &rest[4 + usize::from(length)..];
        }
        None
    }

    /// With the upper bits that OPT carries (RFC 6891 section 6.1.3).
    pub fn rcode(&self) -> u16 {
        self.flags & 0xf | self.opt().map_or(0, |opt| (opt.ttl >> 24) as u16) << 4
    }

    /// For people.
    pub fn summary(&self) -> String {
        let mut out = rcode_name(self.rcode());
        for (name, bit) in FLAGS {
            if *name != "qr" && self.flags & bit != 0 {
                out += &format!(" {name}");
            }
        }
        for (name, section) in ["answer", "authority", "additional"].iter().zip(&self.sections) {
            let records: Vec<String> =
                section.iter().filter(|record| record.rtype != OPT).map(Record::text).collect();
            if !records.is_empty() {
                out += &format!("; {name}: {}", records.join(", "));
            }
        }
        out
    }
}

pub const FLAGS: &[(&str, u16)] = &[
    ("qr", 0x8000),
    ("aa", 0x0400),
    ("tc", 0x0200),
    ("rd", 0x0100),
    ("ra", 0x0080),
    ("z", 0x0040),
    ("ad", 0x0020),
    ("cd", 0x0010),
];

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.octets.get(self.at..self.at + count).ok_or("the message ends too early")?;
        self.at += count;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn u16s<const N: usize>(&mut self) -> Result<[u16; N], String> {
        let mut out = [0; N];
        for value in &mut out {
            *value = self.u16()?;
        }
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    }

    /// A name, compressed or not, with its case.
    fn name(&mut self) -> Result<String, String> {
        let (mut out, mut at, mut end) = (String::new(), self.at, None);
        loop {
            let length = *self.octets.get(at).ok_or("a name ends too early")?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self
                        .octets
                        .get(at + 1..at + 1 + usize::from(length))
                        .ok_or("a label ends too early")?;
                    for &octet in label {
                        match octet {
                            b'.' | b'\\' | 0..=0x20 | 0x7f.. => out += &format!("\\{octet:03}"),
                            _ => out.push(char::from(octet)),
                        }
                    }
                    out.push('.');
                    at += 1 + usize::from(length);
                }
                0xc0.. => {
                    let low = *self.octets.get(at + 1).ok_or("a pointer ends too early")?;
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    end.get_or_insert(at + 2);
                    if target >= at {
                        return Err("a pointer that does not point backwards".to_owned());
                    }
                    at = target;
                }
                _ => return Err(format!("a label of kind {length:#x}")),
            }
        }
        self.at = end.unwrap_or(at + 1);
        Ok(if out.is_empty() { ".".to_owned() } else { out })
    }

    fn record(&mut self) -> Result<Record, String> {
        let owner = self.name()?;
        let [rtype, class] = self.u16s()?;
        let ttl = self.u32()?;
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        let raw = self.octets.get(self.at..end).ok_or("data ends too early")?.to_vec();
        let data = self.data(rtype, &raw)?;
        if self.at != end {
            return Err(format!("the data of {owner} {} is of another length", type_name(rtype)));
        }
        Ok(Record { owner, rtype, class, ttl, data, raw })
    }

    fn data(&mut self, rtype: u16, raw: &[u8]) -> Result<String, String> {
        Ok(match rtype {
            1 => {
                let address: [u8; 4] = self.take(4)?.try_into().map_err(|_| "no address")?;
                std::net::Ipv4Addr::from(address).to_string()
            }
            28 => {
                let address: [u8; 16] = self.take(16)?.try_into().map_err(|_| "no address")?;
                std::net::Ipv6Addr::from(address).to_string()
            }
            2 | 5 | 12 | 39 => self.name()?,
            15 => format!("{} {}", self.u16()?, self.name()?),
            33 => {
                let [priority, weight, port] = self.u16s()?;
                format!("{priority} {weight} {port} {}", self.name()?)
            }
            6 => {
                let mut out = format!("{} {}", self.name()?, self.name()?);
                for _ in 0..5 {
                    out += &format!(" {}", self.u32()?);
                }
                out
            }
            16 => {
                let (end, mut strings) = (self.at + raw.len(), Vec::new());
                while self.at < end {
                    let length = usize::from(self.take(1)?[0]);
                    strings.push(format!("\"{}\"", self.take(length)?.escape_ascii()));
                }
                strings.join(" ")
            }
            _ => {
                self.take(raw.len())?;
                let hex: String = raw.iter().map(|octet| format!("{octet:02x}")).collect();
                format!("\\# {} {hex}", raw.len()).trim_end().to_owned()
            }
        })
    }
}
