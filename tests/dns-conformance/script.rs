//! The checks as they are written: a text file for each subject, a dialogue for each check.
//!
//! ```text
//! # About the file.
//! == RFC 1034 §4.3.2: an authoritative answer has AA
//! ask host.alpha.test A +edns  # asks; what follows is about the reply. All that may be added: see `ask` in session.rs
//! send [tcp] 1234 <a.test> {00*9}  # octets as they are: hexadecimal, names, repetitions
//! rcode NOERROR|NXDOMAIN       # one of these; "silence" where no reply is right too
//! flags aa -tc                 # set and clear
//! answer a.test. 60 A 1.2.3.4  # these records and no others; a TTL of "-" and data of "*" may be anything
//! answer has …                 # this record among others
//! answer cased …               # in just this case
//! answer none                  # likewise: authority, additional (without OPT)
//! answers 3, additionals 3     # so many
//! ordered                      # the answer in the order of the lines before
//! distinct                     # no record twice
//! edns once, edns none, edns version 0, edns size>=512, edns flags 0x8000, edns flags -0x8000
//! option 3 some, option 3 none # an EDNS option by its code
//! cookie                       # COOKIE with our client cookie and a server cookie
//! question same                # the very octets
//! octets 0161                  # these are somewhere in the reply
//! size <=512
//! answered                     # whatever the code
//! alive                        # the server still answers
//! pipeline 20 n$.a.test TXT    # so many questions in one write over TCP: all are answered
//! connections 20 a.test A      # so many connections at a time, each of which gets an answer
//! needs option 3, needs answers 2, needs authority, needs rcode NOTAUTH  # else the check does not apply
//! ```

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// `RFC 1034 §4.3.2`
    pub section: String,
    pub name: String,
    pub steps: Vec<Step>,
}

/// One line of a dialogue; several where lines say together what a section must hold.
#[derive(Clone, Debug)]
pub struct Step {
    pub verb: String,
    pub lines: Vec<String>,
}

impl Step {
    /// What stands after the verb.
    pub fn rest(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    pub fn shown(&self) -> String {
        format!("{} {}", self.verb, self.rest()).trim_end().to_owned()
    }
}

/// Reads a file of checks.
pub fn parse(file: &str, text: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(head) = line.strip_prefix("== ") {
            let (section, name) =
                head.split_once(": ").unwrap_or_else(|| panic!("{file}:{}: {line}", index + 1));
            checks.push(Check { section: section.to_owned(), name: name.to_owned(), steps: Vec::new() });
            continue;
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let check =
            checks.last_mut().unwrap_or_else(|| panic!("{file}:{}: no check begins before", index + 1));
        let joins = is_section(verb) && !is_special(rest);
        match check.steps.last_mut() {
            Some(last) if joins && last.verb == verb && !is_special(last.rest()) => {
                last.lines.push(rest.to_owned())
            }
            _ => check.steps.push(Step { verb: verb.to_owned(), lines: vec![rest.to_owned()] }),
        }
    }
    checks
}

fn is_section(verb: &str) -> bool {
    ["answer", "authority", "additional"].contains(&verb)
}

fn is_special(rest: &str) -> bool {
    ["none", "has", "cased"].contains(&rest.split(' ').next().unwrap_or_default())
}

/// The octets of a `send`.
pub fn octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        if let Some(name) = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')) {
            out.extend(super::message::name_octets(name));
        } else if let Some(repeated) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            let (digits, times) = repeated.split_once('*').expect("{hex*times}");
            out.extend(hex(digits).repeat(times.parse().expect("a number")));
        } else {
            out.extend(hex(word));
        }
    }
    out
}

pub fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{digits:?} is no hexadecimal");
    let octet = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(octet).collect()
}
