//! Flags as the letters of a file name. The letters of keywords stand in `dovecot-keywords`, a line "number
//! name" for each of a..z, which other servers and tools read and write too.
//!
//! A folder has letters for its first 26 keywords; others are known to the index alone and are forgotten
//! with it.

use std::path::Path;

use postroad_store::StoreError;
use postroad_store::mailbox::Flags;

use super::{read_if_there, replace_file};

const FILE: &str = "dovecot-keywords";
const LETTERS: usize = 26;
/// The one keyword that Maildir has a letter for: "passed" (resent, forwarded or bounced).
const FORWARDED: &str = "$Forwarded";

/// A folder's keywords by letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Vec<String>,
}

impl Keywords {
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let octets = read_if_there(&folder.join(FILE))?.unwrap_or_default();
        let mut names = Vec::new();
        for line in String::from_utf8_lossy(&octets).lines() {
            let Some((number, name)) = line.split_once(' ') else { continue };
            let Ok(number @ 0..LETTERS) = number.parse::<usize>() else { continue };
            if names.len() <= number {
                names.resize(number + 1, String::new());
            }
            if let Some(slot) = names.get_mut(number) {
                name.clone_into(slot);
            }
        }
        Ok(Keywords { names })
    }

    /// Gives letters to the flags' keywords that have none, as long as there are some; durable then.
    pub fn learn(&mut self, folder: &Path, flags: &Flags) -> Result<(), StoreError> {
        let new: Vec<&String> = flags.keywords.iter().filter(|k| *k != FORWARDED && !self.knows(k)).collect();
        let room = LETTERS.saturating_sub(self.names.len());
        if new.is_empty() || room == 0 {
            return Ok(());
        }
        let mut wider = self.clone();
        wider.names.extend(new.into_iter().take(room).cloned());
        let lines = wider.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let text: String = lines.map(|(number, name)| format!("{number} {name}\n")).collect();
        replace_file(&folder.join(FILE), text.as_bytes())?;
        *self = wider;
        Ok(())
    }

    fn knows(&self, keyword: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(keyword))
    }

    /// Whether the letters say all of the flags.
    pub fn cover(&self, flags: &Flags) -> bool {
        flags.keywords.iter().all(|k| k == FORWARDED || self.knows(k))
    }

    /// In the order of ASCII, as the Maildir specification asks.
    pub fn letters(&self, flags: &Flags) -> String {
        let forwarded = flags.keywords.iter().any(|k| k == FORWARDED);
        let system = [
            (flags.draft, 'D'),
            (flags.flagged, 'F'),
            (forwarded, 'P'),
            (flags.answered, 'R'),
            (flags.seen, 'S'),
            (flags.deleted, 'T'),
        ];
        let mut letters: String =
            system.into_iter().filter_map(|(set, letter)| set.then_some(letter)).collect();
        for (letter, name) in ('a'..='z').zip(&self.names) {
            if flags.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name)) {
                letters.push(letter);
            }
        }
        letters
    }

    /// The flags that letters mean; `known` are flags of the same message, whose keywords without a letter stay.
    pub fn flags(&self, letters: &str, known: &Flags) -> Flags {
        let has = |letter| letters.contains(letter);
        let without_letter = |k: &&String| *k != FORWARDED && !self.knows(k);
        let mut keywords: Vec<String> = known.keywords.iter().filter(without_letter).cloned().collect();
        for (letter, name) in ('a'..='z').zip(&self.names) {
            if has(letter) && !name.is_empty() {
                keywords.push(name.clone());
            }
        }
        if has('P') {
            keywords.push(FORWARDED.to_owned());
        }
        keywords.sort_unstable_by_key(|k| k.to_ascii_lowercase());
        Flags {
            answered: has('R'),
            flagged: has('F'),
            deleted: has('T'),
            seen: has('S'),
            draft: has('D'),
            keywords,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keywords: &[&str]) -> Flags {
        Flags { seen: true, keywords: keywords.iter().map(|k| k.to_string()).collect(), ..Flags::default() }
    }

    #[test]
    fn letters_mean_the_flags_they_were_made_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut keywords = Keywords::default();
        let flags = Flags { draft: true, deleted: true, ..with(&["$Forwarded", "$Junk", "work"]) };
        keywords.learn(dir.path(), &flags).unwrap();
        let letters = keywords.letters(&flags);
        assert_eq!(letters, "DPSTab");
        let read = Keywords::read(dir.path()).unwrap();
        assert_eq!(read.flags(&letters, &Flags::default()), flags);
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), "0 $Junk\n1 work\n");
    }

    #[test]
    fn the_twenty_seventh_keyword_has_no_letter_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut keywords = Keywords::default();
        let names: Vec<String> = (0..27).map(|i| format!("k{i:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let flags = with(&names);
        keywords.learn(dir.path(), &flags).unwrap();
        assert!(!keywords.cover(&flags) && keywords.cover(&with(&names[..26])));
        let letters = keywords.letters(&flags);
        assert_eq!(letters, format!("S{}", ('a'..='z').collect::<String>()));
        assert_eq!(keywords.flags(&letters, &flags), flags);
        assert_eq!(keywords.flags("S", &flags), with(&["k26"]));
    }

    #[test]
    fn a_file_of_others_with_gaps_and_rubbish_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "2 third\nrubbish\n99 far\n0 first\n").unwrap();
        let keywords = Keywords::read(dir.path()).unwrap();
        assert_eq!(keywords.flags("abc", &Flags::default()).keywords, ["first", "third"]);
    }
}
