//! The file and the environment as one TOML document whose every value knows where it stands.
//!
//! TOML's spans are offsets in one text. Each source (the file, then each variable) gets a range of
//! offsets of its own, so that a span found anywhere, by serde or by a check, leads back to its source.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use crate::error::{Place, Problem};

/// Variables that override the file are named `POSTROAD_SECTION__KEY`.
const ENV_PREFIX: &str = "POSTROAD_";

struct Source {
    name: String,
    is_file: bool,
    text: String,
    /// Offset of its first octet in the common numbering.
    start: usize,
    /// Keys from the root, for a variable.
    path: Vec<String>,
}

/// The texts that a document is made of.
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// The file's text, and those of `env` that name a key: `POSTROAD_MTA__SMTP_PORT` is `mta.smtp_port`.
    /// A variable without a double underscore is none of the configuration's.
    pub(crate) fn new(name: &str, text: &str, env: impl IntoIterator<Item = (String, String)>) -> Self {
        let file = Source {
            name: name.to_owned(),
            is_file: true,
            text: text.to_owned(),
            start: 0,
            path: Vec::new(),
        };
        let mut variables: Vec<_> = env
            .into_iter()
            .filter_map(|(name, value)| {
                let keys = name.strip_prefix(ENV_PREFIX).filter(|rest| rest.contains("__"))?;
                let path = keys.split("__").map(str::to_ascii_lowercase).collect();
                Some((name, value, path))
            })
            .collect();
        variables.sort();
        let mut sources = vec![file];
        let mut start = text.len() + 1;
        for (name, value, path) in variables {
            let next = start + value.len() + 1;
            sources.push(Source { name, is_file: false, text: value, start, path });
            start = next;
        }
        Sources(sources)
    }

    /// The place that a span of the common numbering stands for.
    fn place(&self, span: Range<usize>) -> Place {
        let Some(source) = self.0.iter().rev().find(|s| s.start <= span.start) else {
            return Place { source: String::new(), line_column: None, text: String::new(), mark: (0, 0) };
        };
        let text = source.text.as_str();
        let at = floor_boundary(text, span.start - source.start);
        let end = floor_boundary(text, span.end.saturating_sub(source.start)).max(at);
        let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[at..].find('\n').map_or(text.len(), |i| at + i);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let before = text[line_start..at].chars().count().min(line.chars().count());
        let width = text[at..end.min(line_end)].trim_end().chars().count();
        if source.is_file {
            let number = text[..line_start].matches('\n').count() + 1;
            Place {
                source: source.name.clone(),
                line_column: Some((number, before + 1)),
                text: line.to_owned(),
                mark: (before, width),
            }
        } else {
            Place {
                source: format!("environment variable {}", source.name),
                line_column: None,
                text: line.to_owned(),
                mark: (before, width),
            }
        }
    }
}

/// The nearest offset at or before `at` that does not split a character.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The merged tree; sections are taken out of it one by one.
pub(crate) struct Document<'s> {
    sources: &'s Sources,
    root: DeTable<'s>,
    /// Every fault found so far, in the order found.
    pub(crate) problems: Vec<Problem>,
}

impl<'s> Document<'s> {
    pub(crate) fn new(sources: &'s Sources) -> Self {
        let mut document = Document { sources, root: DeTable::new(), problems: Vec::new() };
        for source in &sources.0 {
            if source.is_file {
                let (root, errors) = DeTable::parse_recoverable(&source.text);
                document.root = root.into_inner();
                for error in errors {
                    document.note(&error);
                }
            } else {
                document.set(source);
            }
        }
        document
    }

    /// Puts a variable's value in its place. What is no TOML value is a text: `30m` needs no quotes.
    fn set(&mut self, source: &'s Source) {
        let whole = source.start..source.start + source.text.len();
        let value = match DeValue::parse(&source.text) {
            Ok(value) => shifted(value, source.start),
            Err(_) => Spanned::new(whole.clone(), DeValue::String(Cow::Borrowed(source.text.as_str()))),
        };
        let Some((last, parents)) = source.path.split_last() else { return };
        let key = |name: &'s str| Spanned::new(whole.clone(), Cow::Borrowed(name));
        let mut table = &mut self.root;
        for name in parents {
            let entry = table
                .entry(key(name))
                .or_insert_with(|| Spanned::new(whole.clone(), DeValue::Table(DeTable::new())));
            match entry.get_mut() {
                DeValue::Table(inner) => table = inner,
                _ => {
                    let message = format!("`{name}` is no section; expected POSTROAD_SECTION__KEY");
                    self.problem_at(whole, message);
                    return;
                }
            }
        }
        table.remove(last.as_str());
        table.insert(key(last), value);
    }

    /// Reads the section `name`; nothing if it is not there. A fault is noted, and the default stands in
    /// so that the other sections are checked as well.
    pub(crate) fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.root.get(name)?.clone();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(section) => Some(section),
            Err(error) => {
                self.note(&error);
                None
            }
        }
    }

    /// Notes every top-level key that is none of `known`.
    pub(crate) fn check_sections(&mut self, known: &[&str]) {
        let unknown: Vec<_> = self
            .root
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .map(|key| (key.span(), key.get_ref().to_string()))
            .collect();
        for (span, key) in unknown {
            let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let message = unknown_field(&key, &names);
            self.problem_at(span, message);
        }
    }

    pub(crate) fn has(&self, section: &str) -> bool {
        self.root.contains_key(section)
    }

    /// Notes a fault at the value under `path` (keys, and indices of lists), or at the nearest that is there.
    pub(crate) fn problem(&mut self, path: &[&str], message: impl Into<String>) {
        let span = self.span(path);
        self.problem_at(span, message.into());
    }

    fn problem_at(&mut self, span: Range<usize>, message: String) {
        let place = self.sources.place(span);
        self.problems.push(Problem { place, message });
    }

    fn note(&mut self, error: &toml::de::Error) {
        self.problem_at(error.span().unwrap_or(0..0), reworded(error.message()));
    }

    fn span(&self, path: &[&str]) -> Range<usize> {
        let Some((first, rest)) = path.split_first() else { return 0..0 };
        let Some(mut value) = self.root.get(*first) else { return 0..0 };
        for step in rest {
            let next = match value.get_ref() {
                DeValue::Table(table) => table.get(*step),
                DeValue::Array(array) => step.parse::<usize>().ok().and_then(|i| array.get(i)),
                _ => None,
            };
            match next {
                Some(next) => value = next,
                None => break,
            }
        }
        value.span()
    }
}

/// The value with every span moved by `by`.
fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Array(array) => {
            let mut moved = DeArray::new();
            for item in array {
                moved.push(shifted(item, by));
            }
            DeValue::Array(moved)
        }
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let key_span = key.span();
                    (
                        Spanned::new(key_span.start + by..key_span.end + by, key.into_inner()),
                        shifted(value, by),
                    )
                })
                .collect(),
        ),
        plain => plain,
    };
    Spanned::new(span.start + by..span.end + by, inner)
}

/// serde's words in ours: "unknown field" is an unknown key with a guess at what was meant.
fn reworded(message: &str) -> String {
    let one_line = message.trim().replace('\n', "; ");
    if let Some(rest) = one_line.strip_prefix("unknown field ") {
        let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
        if let Some(wrong) = quoted.next() {
            let known: Vec<_> = quoted.map(|name| format!("`{name}`")).collect();
            return unknown_field(&wrong, &known);
        }
    }
    if let Some(rest) = one_line.strip_prefix("missing field ") {
        return format!("the key {rest} is missing; it has no default");
    }
    one_line.replace(", expected ", "; expected ")
}

fn unknown_field(wrong: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .map(|name| (distance(wrong, name.trim_matches('`')), name))
        .min()
        .filter(|(distance, _)| *distance <= 2.max(wrong.len() / 3));
    match nearest {
        Some((_, name)) => {
            format!("unknown key `{wrong}`; did you mean {name}? Expected one of {}", known.join(", "))
        }
        None => format!("unknown key `{wrong}`; expected one of {}", known.join(", ")),
    }
}

/// Levenshtein's: how many letters to change, add or drop.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *cell;
            let changed = diagonal + usize::from(ca != cb);
            left = changed.min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
