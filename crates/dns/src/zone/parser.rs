//! Reads zone files (RFC 1035 section 5, RFC 2308 section 4 for $TTL) into records, and says for every line that is
//! wrong where and what is expected. Goes on after an error, so that one run shows all of them.
//!
//! Relative to other servers: `$GENERATE` is read as BIND does (`generate.rs`); a record's class must be IN; the TTL of
//! a record that names none is $TTL, else the last one named, else (for the SOA itself) the SOA's own minimum.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postroad_types::limits::{
    DNS_GENERATED_RECORDS_MAX, DNS_INCLUDE_DEPTH_MAX, DNS_ZONE_ERRORS_MAX, DNS_ZONE_FILE_OCTETS_MAX,
};

use super::generate::{self, Range};
use super::lexer::{Entry, Lexer};
use crate::wire::{Name, Rtype, Word, parse_rdata, parse_ttl};

/// What is wrong in a zone file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    /// Empty for a text that came without a file.
    pub file: PathBuf,
    /// From 1; 0 when the zone as a whole is wrong.
    pub line: u32,
    /// In octets, from 1.
    pub column: u32,
    pub message: String,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:", self.file.display())?;
        }
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.file.as_os_str().is_empty() || self.line > 0 {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a zone; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneErrors(pub Vec<ZoneError>);

impl fmt::Display for ZoneErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ZoneErrors {}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub file: Arc<PathBuf>,
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub(super) fn error(&self, message: impl Into<String>) -> ZoneError {
        ZoneError {
            file: self.file.as_ref().clone(),
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

/// A record of a zone file.
#[derive(Debug)]
pub(super) struct ParsedRecord {
    pub owner: Name,
    pub rtype: Rtype,
    pub ttl: u32,
    pub rdata: Vec<u8>,
    pub place: Place,
}

/// How `$INCLUDE` gets at files.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Reads the text of a zone file and hands each record to `take`; what is wrong with it. `file` is its path for errors
/// and for relative `$INCLUDE`.
pub(super) fn parse(
    text: &[u8],
    file: &Path,
    origin: &Name,
    read_file: ReadFile<'_>,
    take: &mut dyn FnMut(ParsedRecord),
) -> Vec<ZoneError> {
    parse_after(None, text, file, origin, read_file, take)
}

/// The same, as it would be behind a record with this TTL.
fn parse_after(
    last_ttl: Option<u32>,
    text: &[u8],
    file: &Path,
    origin: &Name,
    read_file: ReadFile<'_>,
    take: &mut dyn FnMut(ParsedRecord),
) -> Vec<ZoneError> {
    let mut parser = Parser {
        take,
        errors: Vec::new(),
        read_file,
        octets: text.len() as u64,
        generated: 0,
        default_ttl: None,
        last_ttl,
    };
    parser.file(text, file, origin.clone(), 0);
    parser.errors
}

/// Owner, type and data of a record.
pub(crate) type PlainRecord = (Name, Rtype, Vec<u8>);

/// The records of a file that is no zone (root hints, trust anchors); they need no TTL.
pub(crate) fn parse_records(
    text: &[u8],
    file: &Path,
    origin: &Name,
    read_file: ReadFile<'_>,
) -> Result<Vec<PlainRecord>, ZoneErrors> {
    let mut records = Vec::new();
    let errors = parse_after(Some(0), text, file, origin, read_file, &mut |record| {
        records.push((record.owner, record.rtype, record.rdata));
    });
    if errors.is_empty() { Ok(records) } else { Err(ZoneErrors(errors)) }
}

struct Parser<'a> {
    take: &'a mut dyn FnMut(ParsedRecord),
    errors: Vec<ZoneError>,
    read_file: ReadFile<'a>,
    octets: u64,
    /// Records of all `$GENERATE` so far.
    generated: u64,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
}

impl Parser<'_> {
    fn file(&mut self, text: &[u8], path: &Path, mut origin: Name, depth: usize) {
        let file = Arc::new(path.to_owned());
        let mut owner: Option<Name> = None;
        let mut lexer = Lexer::new(text);
        while self.errors.len() < DNS_ZONE_ERRORS_MAX {
            let entry = match lexer.entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => return,
                Err(error) => {
                    let place = Place { file: file.clone(), line: error.line, column: error.column };
                    self.errors.push(place.error(error.message));
                    lexer.skip_line();
                    continue;
                }
            };
            let directive = entry.words.first().filter(|word| word.text.starts_with(b"$") && !word.quoted);
            let result = match directive {
                Some(_) if !entry.continues_owner => self.directive(&entry, &file, &mut origin, depth),
                _ => self.record(&entry, &file, &origin, &mut owner),
            };
            if let Err(error) = result {
                self.errors.push(error);
            }
        }
    }

    fn directive(
        &mut self,
        entry: &Entry,
        file: &Arc<PathBuf>,
        origin: &mut Name,
        depth: usize,
    ) -> Result<(), ZoneError> {
        let [directive, arguments @ ..] = entry.words.as_slice() else { return Ok(()) };
        let here = place(file, directive);
        let argument = |index: usize, expected: &str| {
            arguments.get(index).ok_or_else(|| end(file, entry).error(format!("expected {expected}")))
        };
        let nothing_after = |count: usize| match arguments.get(count) {
            Some(word) => Err(place(file, word).error("expected the end of the line here")),
            None => Ok(()),
        };
        match directive.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => {
                let word = argument(0, "a domain name after $ORIGIN")?;
                nothing_after(1)?;
                *origin = name(file, word, origin)?;
            }
            b"$TTL" => {
                let word = argument(0, "a period of time after $TTL")?;
                nothing_after(1)?;
                let ttl = parse_ttl(&word.text).ok_or_else(|| {
                    place(file, word)
                        .error("expected a period of time such as 3600 or 1h, at most 2147483647 seconds")
                })?;
                self.default_ttl = Some(ttl);
            }
            b"$INCLUDE" => {
                let word = argument(0, "a file name after $INCLUDE")?;
                let included_origin = match arguments.get(1) {
                    Some(word) => name(file, word, origin)?,
                    None => origin.clone(),
                };
                nothing_after(2)?;
                if depth == DNS_INCLUDE_DEPTH_MAX {
                    return Err(here.error(format!("$INCLUDE is nested deeper than {DNS_INCLUDE_DEPTH_MAX}")));
                }
                let path = String::from_utf8_lossy(&word.text).into_owned();
                let path = file.parent().map_or_else(|| PathBuf::from(&path), |folder| folder.join(&path));
                let text = (self.read_file)(&path).map_err(|error| {
                    place(file, word).error(format!("cannot read {}: {error}", path.display()))
                })?;
                self.add_octets(text.len(), &here)?;
                self.file(&text, &path, included_origin, depth + 1);
            }
            b"$GENERATE" => {
                let word = argument(0, "a range such as 1-254 after $GENERATE")?;
                let range = Range::parse(&word.text).ok_or_else(|| {
                    place(file, word).error("expected a range such as 1-254 or 0-100/2, up to 2147483647")
                })?;
                argument(1, "an owner such as host-$ after the range")?;
                self.generate(range, entry, arguments.get(1..).unwrap_or_default(), file, origin)?;
            }
            other => {
                let text = other.escape_ascii();
                return Err(here.error(format!(
                    "unknown directive {text}; expected $ORIGIN, $TTL, $INCLUDE or $GENERATE"
                )));
            }
        }
        Ok(())
    }

    fn add_octets(&mut self, octets: usize, place: &Place) -> Result<(), ZoneError> {
        self.octets = self.octets.saturating_add(octets as u64);
        if self.octets > DNS_ZONE_FILE_OCTETS_MAX {
            return Err(place.error(format!("the zone is longer than {DNS_ZONE_FILE_OCTETS_MAX} octets")));
        }
        Ok(())
    }

    /// Makes a record of `words` for every number. Ends at the first that is wrong: the others would be so too.
    fn generate(
        &mut self,
        range: Range,
        line: &Entry,
        words: &[Word],
        file: &Arc<PathBuf>,
        origin: &Name,
    ) -> Result<(), ZoneError> {
        let here = Place { file: file.clone(), line: line.line, column: 1 };
        self.generated = self.generated.saturating_add(range.count());
        if self.generated > DNS_GENERATED_RECORDS_MAX {
            let message =
                format!("$GENERATE makes more than {DNS_GENERATED_RECORDS_MAX} records in this zone");
            return Err(here.error(message));
        }
        for number in range.numbers() {
            let entry = generate::entry(line, words, number).map_err(|(index, expected)| {
                let at = words.get(index).map_or_else(|| here.clone(), |word| place(file, word));
                at.error(format!("expected {expected}"))
            })?;
            self.add_octets(entry.words.iter().map(|word| word.text.len()).sum(), &here)?;
            self.record(&entry, file, origin, &mut None)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        entry: &Entry,
        file: &Arc<PathBuf>,
        origin: &Name,
        last_owner: &mut Option<Name>,
    ) -> Result<(), ZoneError> {
        let mut words = entry.words.as_slice();
        if !entry.continues_owner
            && let [word, rest @ ..] = words
        {
            *last_owner = Some(name(file, word, origin)?);
            words = rest;
        }
        let owner = last_owner.clone().ok_or_else(|| {
            let start = Place { file: file.clone(), line: entry.line, column: 1 };
            start.error("the line begins with white space, but no record before it names an owner")
        })?;

        // [TTL] [class] type, or [class] [TTL] type.
        let (mut ttl, mut class) = (None, false);
        let (rtype, type_word, rdata_words) = loop {
            let [word, rest @ ..] = words else {
                return Err(
                    end(file, entry).error("the record ends too early; expected a type such as A or MX")
                );
            };
            let text = String::from_utf8_lossy(&word.text);
            if ttl.is_none() && word.text.first().is_some_and(u8::is_ascii_digit) {
                let seconds = parse_ttl(&word.text).ok_or_else(|| {
                    place(file, word)
                        .error(format!("\"{text}\": expected a TTL such as 3600 or 1h, or a type"))
                })?;
                ttl = Some(seconds);
            } else if !class && text.eq_ignore_ascii_case("IN") {
                class = true;
            } else if ["CH", "HS", "CS", "ANY"].iter().any(|other| text.eq_ignore_ascii_case(other)) {
                return Err(place(file, word).error(format!("class {text} is not served; expected IN")));
            } else {
                let rtype: Rtype = text.parse().map_err(|_| {
                    place(file, word)
                        .error(format!("\"{text}\": expected a TTL, the class IN or a type such as A or MX"))
                })?;
                break (rtype, word, rest);
            }
            words = rest;
        };
        if rtype.is_meta() || rtype.0 == 0 {
            return Err(
                place(file, type_word).error(format!("{rtype} is a type for questions; no zone holds it"))
            );
        }
        let rdata = parse_rdata(rtype, rdata_words, Some(origin)).map_err(|error| {
            let at = rdata_words.get(error.word).map_or_else(|| end(file, entry), |word| place(file, word));
            at.error(error.message)
        })?;
        let soa_minimum = || {
            let minimum = rdata.last_chunk::<4>().map(|octets| u32::from_be_bytes(*octets));
            minimum.filter(|_| rtype == Rtype::SOA)
        };
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl).or_else(soa_minimum).ok_or_else(|| {
            place(file, type_word)
                .error("the record has no TTL; put a $TTL line such as \"$TTL 1h\" at the top of the file")
        })?;
        self.last_ttl = Some(ttl);
        (self.take)(ParsedRecord { owner, rtype, ttl, rdata, place: place(file, type_word) });
        Ok(())
    }
}

fn place(file: &Arc<PathBuf>, word: &Word) -> Place {
    Place { file: file.clone(), line: word.line, column: word.column }
}

fn end(file: &Arc<PathBuf>, entry: &Entry) -> Place {
    Place { file: file.clone(), line: entry.end.0, column: entry.end.1 }
}

fn name(file: &Arc<PathBuf>, word: &Word, origin: &Name) -> Result<Name, ZoneError> {
    Name::from_text(&word.text, Some(origin)).map_err(|error| {
        let text = word.text.escape_ascii();
        place(file, word).error(format!("\"{text}\": expected a domain name; {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::display_rdata;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let origin = "alpha.test".parse().unwrap();
        let files = |path: &Path| match path.to_str() {
            Some("zones/hosts") => Ok(b"www A 192.0.2.80\n\n$ORIGIN deep\nx A 192.0.2.81".to_vec()),
            Some("zones/loop") => Ok(b"$INCLUDE loop".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let mut records = Vec::new();
        let errors = parse(text.as_bytes(), Path::new("zones/alpha"), &origin, &files, &mut |r| {
            records.push(format!("{} {} {} {}", r.owner, r.ttl, r.rtype, display_rdata(r.rtype, &r.rdata)));
        });
        (records, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn owners_classes_and_ttls_in_every_order() {
        let (records, errors) = read(
            "$TTL 1h\n@ IN SOA ns host 1 1h 15m 1w 5m\n  NS ns\nns 60 IN A 192.0.2.1\n\tIN 61 AAAA 2001:db8::1\n\
             $ORIGIN sub\nmx IN MX 10 ns.alpha.test.\n\
             odd\\.name TYPE65280 \\# 1 ff\n",
        );
        assert_eq!(errors, [""; 0]);
        assert_eq!(
            records,
            [
                "alpha.test. 3600 SOA ns.alpha.test. host.alpha.test. 1 3600 900 604800 300",
                "alpha.test. 3600 NS ns.alpha.test.",
                "ns.alpha.test. 60 A 192.0.2.1",
                "ns.alpha.test. 61 AAAA 2001:db8::1",
                "mx.sub.alpha.test. 3600 MX 10 ns.alpha.test.",
                "odd\\.name.sub.alpha.test. 3600 TYPE65280 \\# 1 FF",
            ]
        );
    }

    #[test]
    fn an_included_file_keeps_its_origin_to_itself() {
        let (records, errors) = read("$TTL 5\n$INCLUDE hosts lab\nmail A 192.0.2.25\n");
        assert_eq!(errors, [""; 0]);
        assert_eq!(
            records,
            [
                "www.lab.alpha.test. 5 A 192.0.2.80",
                "x.deep.lab.alpha.test. 5 A 192.0.2.81",
                "mail.alpha.test. 5 A 192.0.2.25"
            ]
        );
    }

    #[test]
    fn without_any_ttl_the_soas_minimum_serves() {
        let (records, errors) = read("@ SOA ns host 1 1h 15m 1w 5m\nns A 192.0.2.1\n");
        assert_eq!(errors, [""; 0]);
        assert_eq!(records[1], "ns.alpha.test. 300 A 192.0.2.1");
        assert_eq!(read("ns A 192.0.2.1").1.len(), 1);
    }

    #[test]
    fn every_error_has_file_line_column_and_what_is_expected() {
        let (records, errors) = read(
            "$TTL 1h\n  A 192.0.2.1\na A 192.0.2\nb MX 10\nc CH A 192.0.2.1\nd 5x A 192.0.2.1\ne AA 192.0.2.1\n\
             $TTLL 5\n$INCLUDE none\nf TXT \"open\ng ANY x\nh A (192.0.2.1\n",
        );
        assert_eq!(records, [""; 0]);
        let starts: Vec<&str> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
        let expected = ["2:1", "3:5", "4:8", "5:3", "6:3", "7:3", "8:1", "9:10", "10:7", "11:3", "12:5"];
        let expected: Vec<String> = expected.iter().map(|at| format!("zones/alpha:{at}")).collect();
        assert_eq!(starts, expected, "{errors:#?}");
        assert!(errors[1].contains("expected an IPv4 address"), "{}", errors[1]);
    }

    #[test]
    fn generated_records_are_those_of_their_lines() {
        let (records, errors) = read(
            "$TTL 5\n$GENERATE 1-3/2 h${1,2} A 192.0.2.$\n$GENERATE 7-7 $ 60 IN MX \"10 mx$.$$\"\n\
             $GENERATE 1-2 t$ TXT \"\\\"a $\\\" b\"\n$GENERATE 1-1 u$ SRV 0 $ 25 h$\n",
        );
        assert_eq!(errors, [""; 0]);
        assert_eq!(
            records,
            [
                "h02.alpha.test. 5 A 192.0.2.1",
                "h04.alpha.test. 5 A 192.0.2.3",
                "7.alpha.test. 60 MX 10 mx7.\\$.alpha.test.",
                "t1.alpha.test. 5 TXT \"a 1\" \"b\"",
                "t2.alpha.test. 5 TXT \"a 2\" \"b\"",
                "u1.alpha.test. 5 SRV 0 1 25 h1.alpha.test.",
            ]
        );
    }

    #[test]
    fn what_cannot_be_generated_is_said_once_and_where() {
        for (text, expected) in [
            ("$GENERATE 1-2000000 h$ 5 A 192.0.2.1", "1:1: $GENERATE makes more than 1000000 records"),
            ("$GENERATE 2-1 h$ 5 A 192.0.2.1", "1:11: expected a range"),
            ("$GENERATE 1-2", "1:14: expected an owner"),
            ("$GENERATE 1-300 h$ 5 A 192.0.2.$", "1:24: \"192.0.2.256\": expected an IPv4 address"),
            ("$GENERATE 1-2 h${x} A 192.0.2.1", "1:15: expected a modifier"),
            ("$GENERATE 1-2 h$ MX \"10 (\"", "1:21: expected the data"),
        ] {
            let (_, errors) = read(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(errors[0].starts_with(&format!("zones/alpha:{expected}")), "{text}: {}", errors[0]);
        }
    }

    #[test]
    fn an_include_loop_ends() {
        let (_, errors) = read("$INCLUDE loop");
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("nested deeper than 8"), "{}", errors[0]);
    }
}
