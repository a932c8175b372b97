//! `SEARCH [RETURN (options)] [CHARSET name] keys` (RFC 3501 §6.4.4, RFC 4731, RFC 7162 §3.1.5).

use postroad_types::limits::{IMAP_NESTING_MAX, IMAP_SEARCH_KEYS_MAX};
use time::Date;

use crate::flag::Flag;
use crate::reader::{Parsed, Reader, Refusal, expected};
use crate::response::Code;
use crate::sequence::SequenceSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The answer is in uids.
    pub by_uid: bool,
    /// What the client wants back; `None` for the plain SEARCH response.
    pub result: Option<SearchReturn>,
    pub key: SearchKey,
}

/// RETURN's options (RFC 4731); `RETURN ()` is ALL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    All,
    Flag(Flag),
    NoFlag(Flag),
    Recent,
    Old,
    New,
    Messages(SequenceSet),
    Uids(SequenceSet),
    Before(Date),
    On(Date),
    Since(Date),
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Larger(u64),
    Smaller(u64),
    /// FROM, TO, CC, BCC and SUBJECT are this, too.
    Header {
        name: String,
        text: String,
    },
    Body(String),
    Text(String),
    ModSeq(u64),
    Not(Box<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    And(Vec<SearchKey>),
}

impl SearchKey {
    /// Whether it asks for mod-sequences, which switches CONDSTORE on.
    pub fn has_mod_seq(&self) -> bool {
        match self {
            SearchKey::ModSeq(_) => true,
            SearchKey::Not(key) => key.has_mod_seq(),
            SearchKey::Or(a, b) => a.has_mod_seq() || b.has_mod_seq(),
            SearchKey::And(keys) => keys.iter().any(SearchKey::has_mod_seq),
            _ => false,
        }
    }
}

pub(super) fn parse(reader: &mut Reader<'_>, by_uid: bool) -> Parsed<Search> {
    let mut result = None;
    if reader.eat_word("RETURN") {
        reader.space()?;
        result = Some(parse_return(reader)?);
        reader.space()?;
    }
    if reader.eat_word("CHARSET") {
        reader.space()?;
        let charset = reader.astring("expected the name of a charset")?;
        if ![&b"UTF-8"[..], b"US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
            return Err(Refusal::No(Some(Code::BadCharset), "search strings are read as UTF-8".into()));
        }
        reader.space()?;
    }
    let mut keys = Keys { reader, count: 0 };
    let key = keys.parse_list(0)?;
    Ok(Search { by_uid, result, key })
}

fn parse_return(reader: &mut Reader<'_>) -> Parsed<SearchReturn> {
    const WHAT: &str = "expected MIN, MAX, ALL and COUNT in parentheses behind RETURN";
    let mut options = SearchReturn::default();
    reader.expect(b'(', WHAT)?;
    while !reader.eat(b')') {
        match () {
            () if reader.eat_word("MIN") => options.min = true,
            () if reader.eat_word("MAX") => options.max = true,
            () if reader.eat_word("ALL") => options.all = true,
            () if reader.eat_word("COUNT") => options.count = true,
            () => return expected(WHAT),
        }
        if reader.peek() != Some(b')') {
            reader.space()?;
        }
    }
    if options == SearchReturn::default() {
        options.all = true;
    }
    Ok(options)
}

struct Keys<'r, 'a> {
    reader: &'r mut Reader<'a>,
    count: usize,
}

impl Keys<'_, '_> {
    /// Keys with a space between them: all must hold.
    fn parse_list(&mut self, depth: usize) -> Parsed<SearchKey> {
        let first = self.parse_key(depth)?;
        if self.reader.peek() != Some(b' ') {
            return Ok(first);
        }
        let mut keys = vec![first];
        while self.reader.eat(b' ') {
            keys.push(self.parse_key(depth)?);
        }
        Ok(SearchKey::And(keys))
    }

    fn parse_key(&mut self, depth: usize) -> Parsed<SearchKey> {
        let limit = |why: &'static str| Err(Refusal::No(Some(Code::Limit), why.into()));
        self.count += 1;
        if self.count > IMAP_SEARCH_KEYS_MAX {
            return limit("too many search keys");
        }
        if depth > IMAP_NESTING_MAX {
            return limit("search keys are nested too deep");
        }
        match self.reader.peek() {
            Some(b'(') => {
                self.reader.eat(b'(');
                let key = self.parse_list(depth + 1)?;
                self.reader.expect(b')', "expected ) behind search keys")?;
                Ok(key)
            }
            Some(b'0'..=b'9' | b'*') => Ok(SearchKey::Messages(self.reader.sequence_set()?)),
            _ => {
                let name = self.reader.atom("expected a search key")?.to_ascii_uppercase();
                self.parse_named(&name, depth)
            }
        }
    }

    fn parse_named(&mut self, name: &str, depth: usize) -> Parsed<SearchKey> {
        use SearchKey::{Flag as Has, NoFlag};
        Ok(match name {
            "ALL" => SearchKey::All,
            "ANSWERED" => Has(Flag::Answered),
            "UNANSWERED" => NoFlag(Flag::Answered),
            "DELETED" => Has(Flag::Deleted),
            "UNDELETED" => NoFlag(Flag::Deleted),
            "DRAFT" => Has(Flag::Draft),
            "UNDRAFT" => NoFlag(Flag::Draft),
            "FLAGGED" => Has(Flag::Flagged),
            "UNFLAGGED" => NoFlag(Flag::Flagged),
            "SEEN" => Has(Flag::Seen),
            "UNSEEN" => NoFlag(Flag::Seen),
            "RECENT" => SearchKey::Recent,
            "OLD" => SearchKey::Old,
            "NEW" => SearchKey::New,
            "KEYWORD" => Has(self.keyword()?),
            "UNKEYWORD" => NoFlag(self.keyword()?),
            "UID" => {
                self.reader.space()?;
                SearchKey::Uids(self.reader.sequence_set()?)
            }
            "BEFORE" => SearchKey::Before(self.date()?),
            "ON" => SearchKey::On(self.date()?),
            "SINCE" => SearchKey::Since(self.date()?),
            "SENTBEFORE" => SearchKey::SentBefore(self.date()?),
            "SENTON" => SearchKey::SentOn(self.date()?),
            "SENTSINCE" => SearchKey::SentSince(self.date()?),
            "LARGER" => SearchKey::Larger(self.size()?),
            "SMALLER" => SearchKey::Smaller(self.size()?),
            "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
                SearchKey::Header { name: name.to_owned(), text: self.text()? }
            }
            "HEADER" => {
                let name = self.text()?;
                SearchKey::Header { name, text: self.text()? }
            }
            "BODY" => SearchKey::Body(self.text()?),
            "TEXT" => SearchKey::Text(self.text()?),
            "MODSEQ" => self.mod_seq()?,
            "NOT" => {
                self.reader.space()?;
                SearchKey::Not(Box::new(self.parse_key(depth + 1)?))
            }
            "OR" => {
                self.reader.space()?;
                let first = self.parse_key(depth + 1)?;
                self.reader.space()?;
                SearchKey::Or(Box::new(first), Box::new(self.parse_key(depth + 1)?))
            }
            _ => return expected("unknown search key"),
        })
    }

    fn text(&mut self) -> Parsed<String> {
        self.reader.space()?;
        self.reader.text("expected a search string")
    }

    fn date(&mut self) -> Parsed<Date> {
        self.reader.space()?;
        self.reader.date()
    }

    fn size(&mut self) -> Parsed<u64> {
        self.reader.space()?;
        self.reader.number64("expected a size in octets")
    }

    fn keyword(&mut self) -> Parsed<Flag> {
        self.reader.space()?;
        let name = self.reader.atom("expected a keyword")?;
        match Flag::parse(name) {
            Some(flag) => Ok(flag),
            None => expected("expected a keyword"),
        }
    }

    /// `MODSEQ ["/flags/\\Seen" all] n`: one mod-sequence is kept for all flags of a message, so the entry
    /// makes no difference (RFC 7162 §3.1.5).
    fn mod_seq(&mut self) -> Parsed<SearchKey> {
        self.reader.space()?;
        if self.reader.peek() == Some(b'"') {
            self.reader.string()?;
            self.reader.space()?;
            self.reader.atom("expected all, priv or shared")?;
            self.reader.space()?;
        }
        Ok(SearchKey::ModSeq(self.reader.number64("expected a mod-sequence")?))
    }
}
