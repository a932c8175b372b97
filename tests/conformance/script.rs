//! The checks as they are written: a text file for each RFC or subject, a dialogue for each check.
//!
//! ```text
//! # Checks by section of RFC 5321.
//! == RFC 5321 §4.1.1.1: EHLO lists the extensions
//! connect relay            # or submission, submissions (TLS from the first octet)
//! S 220                    # the reply's code: one of 250|251, or 5xx; then perhaps an enhanced code's beginning
//! C EHLO $CLIENT           # a command, CRLF is added
//! S 250
//! many 100 250             # so many replies, all like this
//! E PIPELINING             # the last reply has a line that begins with these words
//! c MAIL FROM:<$FROM>\r\n  # octets as they are; \r \n \0 \\ \xHH, and {x*300} for 300 times x
//! silence                  # nothing comes for half a second
//! tls                      # a handshake, after STARTTLS
//! needs CHUNKING           # where the last EHLO's reply does not list it, the check does not apply
//! alive                    # NOOP gets 250
//! closed                   # the server closes the connection
//! ```
//! `greeted relay` stands for `connect relay`, `S 220`, `C EHLO $CLIENT`, `S 250`; `login` for STARTTLS where it is
//! needed, EHLO, and AUTH PLAIN as the account.

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// `RFC 5321 §4.1.1.1`
    pub section: String,
    pub name: String,
    pub steps: Vec<Step>,
}

/// One line of a dialogue.
#[derive(Clone, Debug)]
pub struct Step {
    pub line: String,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    Connect(Door),
    Send(String),
    Expect(Pattern),
    /// So many replies, each of which fits.
    ExpectMany(usize, Pattern),
    Lists(String),
    Needs(String),
    Tls,
    Login,
    Silence,
    Alive,
    Closed,
}

/// Where to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Relay,
    Submission,
    Submissions,
}

/// What a reply must be.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// `250`, `5xx`
    codes: Vec<String>,
    /// `5.7.`
    enhanced: Option<String>,
}

impl Pattern {
    fn parse(text: &str) -> Pattern {
        let mut words = text.split_whitespace();
        let codes = words.next().unwrap_or_default().split('|').map(str::to_owned).collect();
        Pattern { codes, enhanced: words.next().map(str::to_owned) }
    }

    /// Whether the reply fits. Enhanced codes are asked for only of servers that use them.
    pub fn fits(&self, reply: &str, has_enhanced: bool) -> bool {
        let code = reply.get(..3).unwrap_or_default();
        let fits = |wanted: &String| match wanted.strip_suffix("xx") {
            Some(class) => code.starts_with(class) && code.len() == 3,
            None => code == wanted,
        };
        let text = reply.get(4..).unwrap_or_default();
        let enhanced_fits = |wanted: &String| !has_enhanced || text.starts_with(wanted.as_str());
        self.codes.iter().any(fits) && self.enhanced.as_ref().is_none_or(enhanced_fits)
    }
}

/// Reads a file of checks. A line that is not understood is a mistake in the file, and ends the run.
pub fn parse(file: &str, text: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| -> ! { panic!("{file}:{}: {what}: {line}", number + 1) };
        let line = line.split(" # ").next().unwrap_or_default().trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            let Some((section, name)) = title.split_once(": ") else { wrong("no section") };
            checks.push(Check { section: section.to_owned(), name: name.to_owned(), steps: Vec::new() });
            continue;
        }
        let Some(check) = checks.last_mut() else { wrong("a step before the first check") };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut step = |act| check.steps.push(Step { line: line.to_owned(), act });
        let door = || match rest {
            "relay" => Door::Relay,
            "submission" => Door::Submission,
            "submissions" => Door::Submissions,
            _ => wrong("no such door"),
        };
        match verb {
            "connect" => step(Act::Connect(door())),
            "greeted" => {
                step(Act::Connect(door()));
                step(Act::Expect(Pattern::parse("220")));
                step(Act::Send("EHLO $CLIENT\\r\\n".to_owned()));
                step(Act::Expect(Pattern::parse("250")));
            }
            "C" => step(Act::Send(format!("{rest}\\r\\n"))),
            "c" => step(Act::Send(rest.to_owned())),
            "S" => step(Act::Expect(Pattern::parse(rest))),
            "many" => {
                let Some((count, pattern)) = rest.split_once(' ') else { wrong("no pattern") };
                let Ok(count) = count.parse() else { wrong("no number") };
                step(Act::ExpectMany(count, Pattern::parse(pattern)));
            }
            "E" => step(Act::Lists(rest.to_owned())),
            "needs" => step(Act::Needs(rest.to_owned())),
            "tls" => step(Act::Tls),
            "login" => step(Act::Login),
            "silence" => step(Act::Silence),
            "alive" => step(Act::Alive),
            "closed" => step(Act::Closed),
            _ => wrong("no such step"),
        }
    }
    checks
}

/// The octets of a text: variables, escapes and repetitions undone.
pub fn octets(text: &str, variables: &[(&'static str, String)]) -> Vec<u8> {
    let mut text = text.to_owned();
    for (name, value) in variables {
        text = text.replace(name, value);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let Some(escape) = rest.chars().next() else { break };
                rest = &rest[escape.len_utf8()..];
                match escape {
                    'r' => out.push(b'\r'),
                    'n' => out.push(b'\n'),
                    '0' => out.push(0),
                    'x' => {
                        let (hex, after) = rest.split_at(2);
                        out.push(u8::from_str_radix(hex, 16).expect("two hex digits behind \\x"));
                        rest = after;
                    }
                    other => out.extend_from_slice(other.to_string().as_bytes()),
                }
            }
            '{' => match rest.split_once('}') {
                Some((inside, after)) if inside.contains('*') => {
                    let (piece, times) = inside.rsplit_once('*').expect("a star");
                    let piece = octets(piece, variables);
                    let times: usize = times.parse().expect("a number behind the star");
                    out.extend(piece.repeat(times));
                    rest = after;
                }
                _ => out.push(b'{'),
            },
            other => out.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    out
}
