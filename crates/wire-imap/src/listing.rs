//! Which folders LIST and LSUB name, and how (RFC 3501 §6.3.8, §6.3.9, RFC 5258).

use std::collections::BTreeMap;

use crate::command::{List, Lsub};
use crate::response::ListItem;

/// A folder as the mailbox tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// UTF-8 with `/` between levels.
    pub name: String,
    pub subscribed: bool,
    /// `\Sent` … (RFC 6154)
    pub special_use: Option<String>,
    /// A name only, that holds others.
    pub no_select: bool,
}

/// All folders by name, levels that are missing in between filled in as names only.
struct Tree<'a>(BTreeMap<&'a str, Option<&'a Folder>>);

impl<'a> Tree<'a> {
    fn new(folders: &'a [Folder]) -> Self {
        let mut tree = BTreeMap::new();
        for folder in folders {
            tree.insert(folder.name.as_str(), Some(folder));
            let mut name = folder.name.as_str();
            while let Some((parent, _)) = name.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
                tree.entry(parent).or_insert(None);
                name = parent;
            }
        }
        Tree(tree)
    }

    /// INBOX first, the others by name.
    fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a Folder>)> {
        let inbox = self.0.get_key_value("INBOX").into_iter();
        inbox
            .chain(self.0.iter().filter(|(name, _)| **name != "INBOX"))
            .map(|(name, folder)| (*name, *folder))
    }

    /// Whether any name below this one is such.
    fn any_below(&self, name: &str, such: impl Fn(&str, Option<&Folder>) -> bool) -> bool {
        let prefix = format!("{name}/");
        let mut below = self.0.range(prefix.as_str()..).take_while(|(name, _)| name.starts_with(&prefix));
        below.any(|(name, folder)| such(name, *folder))
    }
}

/// The folders that a LIST names.
pub fn list(folders: &[Folder], command: &List) -> Vec<ListItem> {
    let tree = Tree::new(folders);
    let patterns: Vec<Pattern> =
        command.patterns.iter().map(|p| Pattern::new(&format!("{}{p}", command.reference))).collect();
    let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    let mut items = Vec::new();
    for (name, folder) in tree.iter().filter(|(name, _)| matches(name)) {
        let subscribed = folder.is_some_and(|f| f.subscribed);
        let special_use = folder.and_then(|f| f.special_use.as_deref());
        let selected = (!command.select_subscribed || subscribed)
            && (!command.select_special_use || special_use.is_some());
        let subscribed_below = command.recursive_match
            && tree.any_below(name, |name, folder| folder.is_some_and(|f| f.subscribed) && !matches(name));
        if !selected && !subscribed_below {
            continue;
        }
        let mut attributes = Vec::new();
        match folder {
            None if command.extended => attributes.push("\\NonExistent".to_owned()),
            None => attributes.push("\\Noselect".to_owned()),
            Some(folder) if folder.no_select => attributes.push("\\Noselect".to_owned()),
            Some(_) => {}
        }
        let children = if tree.any_below(name, |_, _| true) { "\\HasChildren" } else { "\\HasNoChildren" };
        attributes.push(children.to_owned());
        // RFC 6154 §2 allows the attribute in any LIST, and clients that never ask do look at it.
        attributes.extend(special_use.map(str::to_owned));
        if command.return_subscribed && subscribed {
            attributes.push("\\Subscribed".to_owned());
        }
        items.push(ListItem { name: name.to_owned(), attributes, subscribed_below });
    }
    items
}

/// The folders that an LSUB names: subscribed ones, and those above them that `%` stops at.
pub fn lsub(folders: &[Folder], command: &Lsub) -> Vec<ListItem> {
    let pattern = Pattern::new(&format!("{}{}", command.reference, command.pattern));
    let tree = Tree::new(folders);
    let mut items = Vec::new();
    for (name, folder) in tree.iter().filter(|(name, _)| pattern.matches(name)) {
        let subscribed = folder.is_some_and(|f| f.subscribed);
        let above =
            || tree.any_below(name, |name, f| f.is_some_and(|f| f.subscribed) && !pattern.matches(name));
        if subscribed || above() {
            let no_select = !subscribed || folder.is_none_or(|f| f.no_select);
            let attributes = no_select.then(|| "\\Noselect".to_owned()).into_iter().collect();
            items.push(ListItem { name: name.to_owned(), attributes, subscribed_below: false });
        }
    }
    items
}

/// A mailbox pattern: `*` stands for anything, `%` for anything without a separator.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Octet(u8),
    Any,
    AnyOfLevel,
}

impl Pattern {
    pub fn new(pattern: &str) -> Self {
        // INBOX has its name in any case, at the top level only.
        let (first, rest) = pattern.split_at(pattern.find('/').unwrap_or(pattern.len()));
        let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
        let mut pieces: Vec<Piece> = Vec::new();
        for b in first.bytes().chain(rest.bytes()) {
            match (b, pieces.last()) {
                // Neighbouring wildcards are one.
                (b'*', Some(Piece::AnyOfLevel)) => {
                    pieces.pop();
                    if pieces.last() != Some(&Piece::Any) {
                        pieces.push(Piece::Any);
                    }
                }
                (b'*' | b'%', Some(Piece::Any)) | (b'%', Some(Piece::AnyOfLevel)) => {}
                (b'*', _) => pieces.push(Piece::Any),
                (b'%', _) => pieces.push(Piece::AnyOfLevel),
                (b, _) => pieces.push(Piece::Octet(b)),
            }
        }
        Pattern(pieces)
    }

    /// Takes time in proportion to the lengths of both.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        if self.0.len() > 2 * name.len() + 1 {
            // More octets than the name has, as no two wildcards are neighbours.
            return false;
        }
        // reachable[n]: the pattern so far can stand for the first n octets.
        let mut reachable = vec![false; name.len() + 1];
        if let Some(start) = reachable.first_mut() {
            *start = true;
        }
        for piece in &self.0 {
            let mut carry = false;
            let before = std::mem::replace(&mut reachable, vec![false; name.len() + 1]);
            for (n, (was, now)) in before.iter().zip(&mut reachable).enumerate() {
                let octet = n.checked_sub(1).and_then(|n| name.get(n));
                *now = match piece {
                    Piece::Octet(wanted) => carry && octet == Some(wanted),
                    Piece::Any => *was || carry,
                    Piece::AnyOfLevel => *was || (carry && octet != Some(&b'/')),
                };
                carry = match piece {
                    Piece::Octet(_) => *was,
                    Piece::Any | Piece::AnyOfLevel => *now,
                };
            }
        }
        reachable.last() == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, found) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("inbox", "INBOX", true),
            ("InBox/*", "INBOX/x", true),
            ("inbox", "inbox", false),
            ("%/%", "a/b", true),
            ("*%*", "", true),
            ("%*", "a/b", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), found, "{pattern} {name}");
        }
        let hostile = Pattern::new(&"*a".repeat(20_000));
        assert!(!hostile.matches(&"a".repeat(255)));
    }

    fn folders() -> Vec<Folder> {
        let folder = |name: &str, subscribed, special_use: Option<&str>| Folder {
            name: name.to_owned(),
            subscribed,
            special_use: special_use.map(str::to_owned),
            no_select: false,
        };
        vec![
            folder("Archive/2024/May", true, None),
            folder("INBOX", true, None),
            folder("Sent", false, Some("\\Sent")),
            folder("Archive/2023", false, None),
        ]
    }

    fn shown(items: Vec<ListItem>) -> Vec<String> {
        let child = |item: &ListItem| if item.subscribed_below { " +" } else { "" };
        items
            .iter()
            .map(|item| format!("{} {}{}", item.name, item.attributes.join(" "), child(item)))
            .collect()
    }

    fn command(pattern: &str) -> List {
        List { patterns: vec![pattern.to_owned()], ..List::default() }
    }

    #[test]
    fn plain_list_fills_missing_levels_in() {
        assert_eq!(
            shown(list(&folders(), &command("%"))),
            ["INBOX \\HasNoChildren", "Archive \\Noselect \\HasChildren", "Sent \\HasNoChildren \\Sent"]
        );
        assert_eq!(shown(list(&folders(), &command("*"))).len(), 6);
        let below = List { reference: "Archive/".to_owned(), ..command("%") };
        assert_eq!(
            shown(list(&folders(), &below)),
            ["Archive/2023 \\HasNoChildren", "Archive/2024 \\Noselect \\HasChildren"]
        );
    }

    #[test]
    fn selection_options() {
        let subscribed =
            List { select_subscribed: true, return_subscribed: true, extended: true, ..command("*") };
        assert_eq!(
            shown(list(&folders(), &subscribed)),
            ["INBOX \\HasNoChildren \\Subscribed", "Archive/2024/May \\HasNoChildren \\Subscribed"]
        );
        let recursive = List { recursive_match: true, ..List { patterns: vec!["%".into()], ..subscribed } };
        assert_eq!(
            shown(list(&folders(), &recursive)),
            ["INBOX \\HasNoChildren \\Subscribed", "Archive \\NonExistent \\HasChildren +"]
        );
        let special = List { select_special_use: true, extended: true, ..command("*") };
        assert_eq!(shown(list(&folders(), &special)), ["Sent \\HasNoChildren \\Sent"]);
    }

    #[test]
    fn lsub_names_what_percent_stops_at() {
        let lsub = |pattern: &str| {
            shown(lsub(&folders(), &Lsub { reference: String::new(), pattern: pattern.to_owned() }))
        };
        assert_eq!(lsub("*"), ["INBOX ", "Archive/2024/May "]);
        assert_eq!(lsub("%"), ["INBOX ", "Archive \\Noselect"]);
    }
}
