//! Reads a command line (RFC 1939 §3): a keyword in any letter case, arguments after single spaces.

/// A command, with arguments that are in their range as far as one can tell without the maildrop.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Command<'a> {
    Auth {
        /// None asks which there are (as the drafts before RFC 1734 had it; some clients still do).
        mechanism: Option<&'a str>,
        /// Base64; `=` stands for an empty one.
        initial: Option<&'a str>,
    },
    Capa,
    Dele(u32),
    List(Option<u32>),
    Noop,
    Pass(&'a str),
    Quit,
    Retr(u32),
    Rset,
    Stat,
    Stls,
    Top {
        number: u32,
        lines: u64,
    },
    Uidl(Option<u32>),
    User(&'a str),
    Utf8,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("unknown command")]
    Unknown,
    #[error("{0} takes no argument")]
    NoArgument(&'static str),
    #[error("{0} takes a message number, from 1 on")]
    Number(&'static str),
    #[error("TOP takes a message number, from 1 on, and how many lines")]
    Top,
    #[error("AUTH takes a mechanism and, if the client likes, an initial response")]
    Auth,
    #[error("USER takes a name")]
    User,
    #[error("PASS takes a password")]
    Pass,
}

impl<'a> Command<'a> {
    pub(crate) fn parse(line: &'a str) -> Result<Self, CommandError> {
        let (keyword, rest) = match line.split_once(' ') {
            Some((keyword, rest)) => (keyword, Some(rest)),
            None => (line, None),
        };
        let no_argument = |name, command| match rest.unwrap_or_default().trim_ascii() {
            "" => Ok(command),
            _ => Err(CommandError::NoArgument(name)),
        };
        let number = |name| rest.and_then(message_number).ok_or(CommandError::Number(name));
        let optional_number = |name| match rest.map(str::trim_ascii) {
            None | Some("") => Ok(None),
            Some(_) => number(name).map(Some),
        };
        match keyword.to_ascii_uppercase().as_str() {
            "AUTH" => auth(rest.unwrap_or_default()),
            "CAPA" => no_argument("CAPA", Command::Capa),
            "DELE" => number("DELE").map(Command::Dele),
            "LIST" => optional_number("LIST").map(Command::List),
            "NOOP" => no_argument("NOOP", Command::Noop),
            // A password may hold spaces, also at its ends: it is taken as it stands.
            "PASS" => rest.map(Command::Pass).ok_or(CommandError::Pass),
            "QUIT" => no_argument("QUIT", Command::Quit),
            "RETR" => number("RETR").map(Command::Retr),
            "RSET" => no_argument("RSET", Command::Rset),
            "STAT" => no_argument("STAT", Command::Stat),
            "STLS" => no_argument("STLS", Command::Stls),
            "TOP" => rest.and_then(top).ok_or(CommandError::Top),
            "UIDL" => optional_number("UIDL").map(Command::Uidl),
            "USER" => match rest.map(str::trim_ascii) {
                None | Some("") => Err(CommandError::User),
                Some(name) => Ok(Command::User(name)),
            },
            "UTF8" => no_argument("UTF8", Command::Utf8),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn auth(rest: &str) -> Result<Command<'_>, CommandError> {
    let mut words = rest.split_ascii_whitespace();
    let (mechanism, initial) = (words.next(), words.next());
    match words.next() {
        None => Ok(Command::Auth { mechanism, initial }),
        Some(_) => Err(CommandError::Auth),
    }
}

fn top(rest: &str) -> Option<Command<'_>> {
    let (number, lines) = rest.trim_ascii().split_once(' ')?;
    Some(Command::Top { number: message_number(number)?, lines: digits(lines)? })
}

fn message_number(text: &str) -> Option<u32> {
    let number = digits(text)?;
    u32::try_from(number).ok().filter(|&n| n > 0)
}

/// Digits alone: `parse` takes a plus sign, the protocol does not.
fn digits(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    let all_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands() {
        for (line, command) in [
            ("capa", Command::Capa),
            ("LIST", Command::List(None)),
            ("LiSt 7", Command::List(Some(7))),
            ("UIDL 007", Command::Uidl(Some(7))),
            ("TOP 1 0", Command::Top { number: 1, lines: 0 }),
            ("PASS  a b ", Command::Pass(" a b ")),
            ("PASS ", Command::Pass("")),
            ("USER bob@beta.test", Command::User("bob@beta.test")),
            ("QUIT ", Command::Quit),
            ("AUTH PLAIN =", Command::Auth { mechanism: Some("PLAIN"), initial: Some("=") }),
            ("AUTH", Command::Auth { mechanism: None, initial: None }),
        ] {
            assert_eq!(Command::parse(line), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_others() {
        for (line, error) in [
            ("", CommandError::Unknown),
            ("APOP bob c4c9", CommandError::Unknown),
            ("STAT 1", CommandError::NoArgument("STAT")),
            ("RETR", CommandError::Number("RETR")),
            ("RETR 0", CommandError::Number("RETR")),
            ("RETR -1", CommandError::Number("RETR")),
            ("RETR +1", CommandError::Number("RETR")),
            ("RETR 1 2", CommandError::Number("RETR")),
            ("DELE 4294967296", CommandError::Number("DELE")),
            ("LIST x", CommandError::Number("LIST")),
            ("TOP 1", CommandError::Top),
            ("TOP 1 -1", CommandError::Top),
            ("AUTH PLAIN a b", CommandError::Auth),
            ("USER", CommandError::User),
            ("PASS", CommandError::Pass),
        ] {
            assert_eq!(Command::parse(line), Err(error), "{line:?}");
        }
    }
}
