//! A header section's fields: how many, which must be there, which only once (RFC 5322 §3.6).

use postroad_config::CheckAction;

use crate::consignment::reply;
use crate::message::header;
use crate::policy::verdict::Finding;

/// Must be there.
const REQUIRED: [&str; 2] = ["Date", "From"];
/// At most once. Two of From are how one name is shown and another is checked.
const ONCE: [&str; 11] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
];

pub(super) fn count(max: usize, head: &[u8]) -> Finding {
    let count = header::fields(head).count();
    if count <= max {
        return Finding::clean("header-fields");
    }
    let text = format!("{count} header fields are too many, {max} may be");
    Finding::refuse("header-fields", reply(552, (5, 3, 4), text))
}

pub(super) fn missing(action: CheckAction, head: &[u8]) -> Finding {
    let is_missing = |name: &&str| !header::fields(head).any(|field| field.is(name));
    by(action, "header-missing", "the message has no field", REQUIRED.iter().copied().filter(is_missing))
}

pub(super) fn duplicated(action: CheckAction, head: &[u8]) -> Finding {
    let is_twice = |name: &&str| header::fields(head).filter(|field| field.is(name)).nth(1).is_some();
    by(
        action,
        "header-duplicated",
        "the message has more than one field",
        ONCE.iter().copied().filter(is_twice),
    )
}

fn by<'a>(
    action: CheckAction,
    check: &'static str,
    what: &str,
    found: impl Iterator<Item = &'a str>,
) -> Finding {
    if action == CheckAction::Off {
        return Finding::clean(check);
    }
    let found: Vec<&str> = found.collect();
    if found.is_empty() {
        return Finding::clean(check);
    }
    Finding::by(action, check, (5, 6, 0), format!("{what} {}, see RFC 5322 section 3.6", found.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_and_named() {
        let whole = "Date: x\r\nFrom: a@b\r\nReceived: 1\r\nReceived: 2\r\n";
        for (head, missed, twice) in [
            (whole.to_owned(), "", ""),
            ("Subject: x\r\n".to_owned(), "Date, From", ""),
            (format!("{whole}FROM: c@d\r\nsubject: 1\r\nSubject: 2\r\n"), "", "From, Subject"),
            (String::new(), "Date, From", ""),
        ] {
            let found = [
                missing(CheckAction::Refuse, head.as_bytes()),
                duplicated(CheckAction::Refuse, head.as_bytes()),
            ];
            for (finding, names) in found.iter().zip([missed, twice]) {
                let expected = if names.is_empty() { "pass" } else { "refuse" };
                assert_eq!(finding.verdict.name(), expected, "{head:?}: {finding:?}");
                assert!(finding.reason.contains(names), "{finding:?}");
            }
            assert_eq!(missing(CheckAction::Off, head.as_bytes()).verdict.name(), "pass");
        }
        assert_eq!(count(4, whole.as_bytes()).verdict.name(), "pass");
        assert_eq!(count(3, whole.as_bytes()).verdict.name(), "refuse");
    }
}
