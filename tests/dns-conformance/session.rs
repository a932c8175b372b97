//! A check against a server: its questions are asked, and each reply is compared with what the lines say.

use std::net::SocketAddr;

use super::message::{Edns, FLAGS, OPT, Question, Record, Reply, name_octets, rcode_name, type_number};
use super::script::{Check, Step, hex, octets};
use super::transport::{self, Stream};

/// What a check led to.
#[derive(Clone, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    /// Of a failure: the step, and the reply that does not fit.
    pub answer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    Fails,
    /// The server does not offer what the check is about.
    Lacks,
}

const COOKIE: u16 = 10;
const NSID: u16 = 3;
const CLIENT_COOKIE: [u8; 8] = *b"\x24\x64\xc4\xab\xcf\x10\xc9\x57";

struct Session {
    server: SocketAddr,
    stream: Option<Stream>,
    next_id: u16,
    asked: Vec<u8>,
    /// The last reply; `None`: silence.
    reply: Option<Reply>,
    cookie: Vec<u8>,
    /// The lines of the last `answer`.
    expected: Vec<String>,
}

/// Carries out a check.
pub fn run(check: &Check, server: SocketAddr) -> Finding {
    let mut session = Session {
        server,
        stream: None,
        next_id: 7,
        asked: Vec::new(),
        reply: None,
        cookie: CLIENT_COOKIE.to_vec(),
        expected: Vec::new(),
    };
    for step in &check.steps {
        match session.step(step) {
            Ok(true) => {}
            Ok(false) => return Finding { verdict: Verdict::Lacks, answer: step.shown() },
            Err(why) => {
                let reply = session.reply.as_ref().map_or("silence".to_owned(), Reply::summary);
                let why = if why.is_empty() { reply } else { format!("{why}; {reply}") };
                return Finding { verdict: Verdict::Fails, answer: format!("`{}`: {why}", step.shown()) };
            }
        }
    }
    Finding { verdict: Verdict::Passes, answer: String::new() }
}

/// An error with nothing to add to the reply, unless `fine`.
fn check(fine: bool) -> Result<bool, String> {
    if fine { Ok(true) } else { Err(String::new()) }
}

impl Session {
    /// False: the check does not apply.
    fn step(&mut self, step: &Step) -> Result<bool, String> {
        let rest = step.rest();
        match step.verb.as_str() {
            "ask" => return self.ask(rest).map(|()| true),
            "send" => return self.send(rest).map(|()| true),
            "pipeline" => return self.pipeline(rest).map(|()| true),
            "connections" => return self.connections(rest).map(|()| true),
            "alive" => return self.alive().map(|()| true),
            "rcode" => {
                let code =
                    self.reply.as_ref().map_or("silence".to_owned(), |reply| rcode_name(reply.rcode()));
                return check(rest.split('|').any(|allowed| allowed == code));
            }
            _ => {}
        }
        let reply = self.reply.clone().ok_or("")?;
        match step.verb.as_str() {
            "flags" => check(rest.split(' ').all(|flag| {
                let (set, name) = flag.strip_prefix('-').map_or((true, flag), |name| (false, name));
                let bit = FLAGS.iter().find(|(known, _)| *known == name).expect("a flag").1;
                (reply.flags & bit != 0) == set
            })),
            "answer" => {
                if !rest.starts_with("has") {
                    self.expected.clone_from(&step.lines);
                }
                section(&reply.sections[0], &step.lines)
            }
            "authority" => section(&reply.sections[1], &step.lines),
            "additional" => section(&reply.sections[2], &step.lines),
            "answers" => check(reply.sections[0].len() == number(rest)),
            "additionals" => check(plain(&reply.sections[2]).count() == number(rest)),
            "ordered" => check(
                reply.sections[0].iter().zip(&self.expected).all(|(record, line)| fits(record, line, false)),
            ),
            "distinct" => {
                let records: Vec<String> =
                    reply.sections.iter().flat_map(|s| plain(s)).map(Record::text).collect();
                let twice =
                    records.iter().enumerate().find(|(index, record)| records[..*index].contains(record));
                twice.map_or(Ok(true), |(_, record)| Err(format!("twice {record}")))
            }
            "answered" => Ok(true),
            "size" => check(reply.octets.len() <= number(rest.trim_start_matches("<="))),
            "question" => check(
                reply.question == self.asked[12..12 + reply.question.len().min(self.asked.len() - 12)]
                    && !reply.question.is_empty(),
            ),
            "octets" => {
                let wanted = octets(rest);
                check(reply.octets.windows(wanted.len()).any(|window| window == wanted))
            }
            "edns" => check(edns(&reply, rest)),
            "option" => {
                let (code, wanted) = rest.split_once(' ').expect("option CODE some|none");
                let option = reply.option(number(code) as u16);
                check(if wanted == "none" {
                    option.is_none()
                } else {
                    option.is_some_and(|data| !data.is_empty())
                })
            }
            "cookie" => {
                let cookie = reply.option(COOKIE).unwrap_or_default();
                let fine = (16..=40).contains(&cookie.len()) && cookie.starts_with(&CLIENT_COOKIE);
                self.cookie = cookie;
                check(fine)
            }
            "needs" => Ok(match rest.split_once(' ').unwrap_or((rest, "")) {
                ("option", code) => reply.option(number(code) as u16).is_some(),
                ("answers", count) => reply.sections[0].len() >= number(count),
                ("authority", _) => !reply.sections[1].is_empty(),
                ("rcode", codes) => codes.split('|').any(|code| code == rcode_name(reply.rcode())),
                _ => panic!("needs {rest}?"),
            }),
            verb => panic!("{verb}?"),
        }
    }

    /// `NAME TYPE` and any of: `+rd +ad +cd +z +aa +tc +ra` (bits of the header), `+class=3 +opcode=4`, `+edns`
    /// (1232 octets), `+size=700 +version=1 +do +optflags=0x1 +opt=CODE:HEX +nsid +cookie[=full|wrong] +twice`,
    /// `+serial=1` (a SOA in authority, as IXFR has it), `+tcp`, `+same` (connection as before), `+split` (in pieces),
    /// `+half` (nothing more will be sent).
    fn ask(&mut self, text: &str) -> Result<(), String> {
        let mut words = text.split(' ');
        let name = name_octets(words.next().expect("a name"));
        let rtype = type_number(words.next().expect("a type")).expect("a known type");
        let edns = Edns { size: 1232, version: 0, flags: 0, options: Vec::new() };
        let mut question =
            Question { name, rtype, class: 1, opcode: 0, flags: 0, opts: 0, edns, serial: None };
        let (mut tcp, mut same, mut split, mut half) = (false, false, false, false);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let is_edns =
                ["+edns", "+size", "+version", "+do", "+optflags", "+opt", "+nsid", "+cookie", "+twice"];
            if is_edns.contains(&key) {
                question.opts = question.opts.max(1);
            }
            match key {
                "+edns" => {}
                "+size" => question.edns.size = number(value) as u16,
                "+version" => question.edns.version = number(value) as u8,
                "+do" => question.edns.flags |= 0x8000,
                "+optflags" => question.edns.flags |= hexadecimal(value),
                "+opt" => {
                    let (code, data) = value.split_once(':').expect("+opt=CODE:HEX");
                    question.edns.options.push((number(code) as u16, hex(data)));
                }
                "+nsid" => question.edns.options.push((NSID, Vec::new())),
                "+cookie" => question.edns.options.push((COOKIE, self.cookie_for(value))),
                "+twice" => question.opts = 2,
                "+class" => question.class = number(value) as u16,
                "+opcode" => question.opcode = number(value) as u8,
                "+serial" => question.serial = Some(number(value) as u32),
                "+tcp" => tcp = true,
                "+same" => (tcp, same) = (true, true),
                "+split" => (tcp, split) = (true, true),
                "+half" => (tcp, half) = (true, true),
                flag => {
                    let name = flag.trim_start_matches('+');
                    question.flags |= FLAGS.iter().find(|(known, _)| *known == name).expect("a flag").1;
                }
            }
        }
        let id = self.id();
        self.asked = question.octets(id);
        self.reply = None;
        let octets = if tcp {
            let mut stream = match self.stream.take().filter(|_| same) {
                Some(stream) => stream,
                None => Stream::connect(self.server)?,
            };
            stream.send(&self.asked, split, half)?;
            let octets = stream.receive()?;
            self.stream = Some(stream);
            octets
        } else {
            transport::udp(self.server, &self.asked)?
        };
        self.take(&octets.ok_or("no reply")?, id, question.opcode)
    }

    fn cookie_for(&self, kind: &str) -> Vec<u8> {
        match kind {
            "full" => self.cookie.clone(),
            "wrong" => [&CLIENT_COOKIE[..], &[1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]].concat(),
            _ => CLIENT_COOKIE.to_vec(),
        }
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn take(&mut self, octets: &[u8], id: u16, opcode: u8) -> Result<(), String> {
        let reply = Reply::parse(octets).map_err(|why| format!("a malformed reply: {why}"))?;
        let fine = reply.id == id && reply.flags & 0x8000 != 0 && (reply.flags >> 11 & 0xf) as u8 == opcode;
        self.reply = Some(reply);
        if fine { Ok(()) } else { Err("another identifier or opcode, or no reply".to_owned()) }
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        let (tcp, text) = text.strip_prefix("tcp").map_or((false, text), |text| (true, text));
        self.asked = octets(text);
        self.reply = None;
        let octets = if tcp {
            let mut stream = Stream::connect(self.server)?;
            stream.send(&self.asked, false, false)?;
            stream.receive_or_end()
        } else {
            transport::udp_once(self.server, &self.asked)?
        };
        match octets {
            Some(octets) => self.take(&octets, 0x1234, 0),
            None => Ok(()),
        }
    }

    fn alive(&mut self) -> Result<(), String> {
        let before = self.reply.take();
        self.ask("alpha.test SOA")?;
        let fine = self.reply.as_ref().is_some_and(|reply| reply.sections[0].len() == 1);
        self.reply = before;
        if fine { Ok(()) } else { Err("the server does not answer any more".to_owned()) }
    }

    fn connections(&mut self, text: &str) -> Result<(), String> {
        let (count, question) = text.split_once(' ').expect("connections COUNT NAME TYPE");
        let open: Result<Vec<Stream>, String> =
            (0..number(count)).map(|_| Stream::connect(self.server)).collect();
        for stream in open?.into_iter().rev() {
            self.stream = Some(stream);
            self.ask(&format!("{question} +same"))?;
        }
        Ok(())
    }

    fn pipeline(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [count, name, rtype] = words[..] else { panic!("pipeline COUNT NAME TYPE") };
        let edns = Edns { size: 1232, version: 0, flags: 0, options: Vec::new() };
        let mut asked = Vec::new();
        for index in 0..number(count) {
            let name = name_octets(&name.replace('$', &index.to_string()));
            let rtype = type_number(rtype).expect("a known type");
            let edns = edns.clone();
            let question =
                Question { name, rtype, class: 1, opcode: 0, flags: 0, opts: 0, edns, serial: None };
            asked.push(question.octets(index as u16));
        }
        let mut stream = Stream::connect(self.server)?;
        stream.send_all(&asked)?;
        let mut seen = vec![false; asked.len()];
        for _ in 0..asked.len() {
            let octets = stream.receive()?.ok_or("the connection ended before all was answered")?;
            let reply = Reply::parse(&octets)?;
            let index = usize::from(reply.id);
            let question =
                asked.get(index).and_then(|asked| asked.get(12..)).ok_or("an identifier never sent")?;
            if reply.question != question || std::mem::replace(&mut seen[index], true) {
                return Err(format!("identifier {index} has a reply to another question, or two"));
            }
            self.reply = Some(reply);
        }
        Ok(())
    }
}

fn number(text: &str) -> usize {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn hexadecimal(text: &str) -> u16 {
    u16::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn plain(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| record.rtype != OPT)
}

fn edns(reply: &Reply, what: &str) -> bool {
    let (size, version, flags) = reply.edns().unwrap_or_default();
    match what.split_once(' ').unwrap_or((what, "")) {
        ("none", _) => !reply.has_edns(),
        ("once", _) => reply.opt_count() == 1,
        ("version", wanted) => reply.has_edns() && usize::from(version) == number(wanted),
        ("flags", wanted) => match wanted.strip_prefix('-') {
            Some(clear) => reply.has_edns() && flags & hexadecimal(clear) == 0,
            None => reply.has_edns() && flags & hexadecimal(wanted) == hexadecimal(wanted),
        },
        _ => reply.has_edns() && usize::from(size) >= number(what.trim_start_matches("size>=")),
    }
}

/// Whether a section holds what the lines say.
fn section(records: &[Record], lines: &[String]) -> Result<bool, String> {
    let records: Vec<&Record> = plain(records).collect();
    let first = lines.first().map_or("", String::as_str);
    if first == "none" {
        return check(records.is_empty());
    }
    if let Some(wanted) = first.strip_prefix("has ") {
        return check(records.iter().any(|record| fits(record, wanted, false)));
    }
    if let Some(wanted) = first.strip_prefix("cased ") {
        return check(records.len() == 1 && fits(records[0], wanted, true));
    }
    for line in lines {
        if !records.iter().any(|record| fits(record, line, false)) {
            return Err(format!("no {line}"));
        }
    }
    if records.len() != lines.len() {
        return Err(format!("{} records, expected {}", records.len(), lines.len()));
    }
    Ok(true)
}

/// Whether a record is the one of the line `OWNER TTL TYPE DATA`.
fn fits(record: &Record, line: &str, cased: bool) -> bool {
    let mut parts = line.splitn(4, ' ');
    let mut part = || parts.next().unwrap_or_default().trim();
    let (owner, ttl, rtype, data) = (part(), part(), part(), part());
    let same = |left: &str, right: &str| if cased { left == right } else { left.eq_ignore_ascii_case(right) };
    same(&record.owner, owner)
        && (ttl == "-" || ttl.parse() == Ok(record.ttl))
        && type_number(rtype) == Some(record.rtype)
        && record.class == 1
        && (data == "*" || same(&record.data, data))
}
