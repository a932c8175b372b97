//! What is wrong with a configuration, shown the way a compiler shows it.

use std::fmt;
use std::path::PathBuf;

/// A configuration that cannot be used. Its text is for the operator and has several lines.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("{}: {}", path.display(), unreadable(.source))]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// It was read, and these are all the faults that were found.
    #[error("{}", show(.0))]
    Wrong(Vec<Problem>),
}

impl ConfigError {
    /// The faults one by one; none if the file could not be read.
    pub fn problems(&self) -> &[Problem] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Wrong(problems) => problems,
        }
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{error}; give the file with -c FILE, or begin with `postroad config example`")
        }
        std::io::ErrorKind::InvalidData => "the file is not UTF-8; expected TOML, which is".to_owned(),
        _ => error.to_string(),
    }
}

fn show(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// One fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// What is wrong; what is expected.
    pub message: String,
}

/// Where in which source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was given, or `environment variable POSTROAD_…`.
    pub source: String,
    /// Line and column from 1, column in characters; none for an environment variable.
    pub line_column: Option<(usize, usize)>,
    /// The line itself.
    pub text: String,
    /// What to underline in it: characters before, characters underlined.
    pub mark: (usize, usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        f.write_str(&place.source)?;
        let mut gutter = String::new();
        if let Some((line, column)) = place.line_column {
            write!(f, ":{line}:{column}")?;
            gutter = line.to_string();
        }
        writeln!(f, ": {}", self.message)?;
        let (before, width) = place.mark;
        // A tab stays a tab in the line below, so that the caret stands where it should on any terminal.
        let indent: String =
            place.text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{gutter:>5} | {}", place.text)?;
        write!(f, "{:>5} | {indent}{}", "", "^".repeat(width.max(1)))
    }
}
