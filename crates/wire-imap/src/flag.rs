//! Message flags (RFC 3501 §2.3.2).

use std::fmt;

use postroad_types::limits::{IMAP_KEYWORD_OCTETS_MAX, IMAP_KEYWORDS_MAX};

/// The system flags that a client may change, in the order they are shown.
const SYSTEM: [&str; 5] = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

/// A flag that can be stored; `\Recent` cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    Answered,
    Flagged,
    Deleted,
    Seen,
    Draft,
    /// `$Forwarded`, `NonJunk` …; compared without regard to case.
    Keyword(Box<str>),
}

impl Flag {
    /// `\Seen` or a keyword, as on the wire and in the Mailbox service.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('\\') {
            let at = SYSTEM.iter().position(|name| name.eq_ignore_ascii_case(text))?;
            return Some(match at {
                0 => Flag::Answered,
                1 => Flag::Flagged,
                2 => Flag::Deleted,
                3 => Flag::Seen,
                _ => Flag::Draft,
            });
        }
        let fine = !text.is_empty()
            && text.len() <= IMAP_KEYWORD_OCTETS_MAX
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b));
        fine.then(|| Flag::Keyword(text.into()))
    }

    fn system(&self) -> Option<usize> {
        match self {
            Flag::Answered => Some(0),
            Flag::Flagged => Some(1),
            Flag::Deleted => Some(2),
            Flag::Seen => Some(3),
            Flag::Draft => Some(4),
            Flag::Keyword(_) => None,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Flag::Answered => "\\Answered",
            Flag::Flagged => "\\Flagged",
            Flag::Deleted => "\\Deleted",
            Flag::Seen => "\\Seen",
            Flag::Draft => "\\Draft",
            Flag::Keyword(name) => name,
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The flags of one message, kept small: a folder's view holds one for every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    system: u8,
    keywords: Vec<Box<str>>,
}

impl Flags {
    /// Of the names that the Mailbox service gives; what is no flag is left out.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut flags = Flags::default();
        names.into_iter().filter_map(Flag::parse).for_each(|flag| flags.insert(flag));
        flags
    }

    /// At most [`IMAP_KEYWORDS_MAX`] keywords are kept.
    pub fn insert(&mut self, flag: Flag) {
        match flag {
            Flag::Keyword(name) => {
                let known = self.keywords.iter().any(|k| k.eq_ignore_ascii_case(&name));
                if !known && self.keywords.len() < IMAP_KEYWORDS_MAX {
                    self.keywords.push(name);
                }
            }
            flag => self.system |= flag.system().map_or(0, |bit| 1 << bit),
        }
    }

    pub fn contains(&self, flag: &Flag) -> bool {
        match (flag, flag.system()) {
            (Flag::Keyword(name), _) => self.keywords.iter().any(|k| k.eq_ignore_ascii_case(name)),
            (_, Some(bit)) => self.system & 1 << bit != 0,
            (_, None) => false,
        }
    }

    /// System flags first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let system = SYSTEM.iter().enumerate().filter(|(bit, _)| self.system & 1 << bit != 0);
        system.map(|(_, name)| *name).chain(self.keywords.iter().map(|k| &**k))
    }

    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.keywords.iter().map(|k| &**k)
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut out = Flags::default();
        flags.into_iter().for_each(|flag| out.insert(flag));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_shown_in_one() {
        let flags =
            Flags::from_names(["$Forwarded", "\\seen", "\\Recent", "\\ANSWERED", "$forwarded", "a b"]);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["\\Answered", "\\Seen", "$Forwarded"]);
        assert!(flags.contains(&Flag::Seen) && !flags.contains(&Flag::Draft));
        assert!(flags.contains(&Flag::Keyword("$FORWARDED".into())));
    }
}
