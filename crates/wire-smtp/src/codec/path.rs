//! Paths of MAIL and RCPT (RFC 5321 §4.1.2).
//!
//! The closing bracket is looked for with quoted strings in mind: `<"x> SIZE=1 <y"@e.org>` is one path, and
//! its local part is carried exactly as written. A source route is read and ignored (RFC 5321 §3.6.1, app. F.2).

use postroad_types::address::AddressError;
use postroad_types::{Address, Domain, ReversePath};

/// Who a mail is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any letter case, which every host must accept (RFC 5321 §4.5.1).
    Postmaster,
    Address(Address),
}

impl std::fmt::Display for ForwardPath {
    /// Without angle brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("postmaster"),
            ForwardPath::Address(address) => address.fmt(f),
        }
    }
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is not enclosed in < and >")]
    Brackets,
    #[error("a space is missing between path and parameters")]
    Space,
    #[error("the source route is not @domain,@domain:")]
    SourceRoute,
    #[error("{0}")]
    Address(#[from] AddressError),
}

/// The reverse path at the start of `text`, and the parameters behind it.
pub fn reverse_path(text: &str) -> Result<(ReversePath, &str), PathError> {
    let (inside, rest) = split(text)?;
    if inside.is_empty() {
        return Ok((ReversePath::Null, rest));
    }
    let address: Address = without_source_route(inside)?.parse()?;
    Ok((ReversePath::Address(address), rest))
}

/// The forward path at the start of `text`, and the parameters behind it.
pub fn forward_path(text: &str) -> Result<(ForwardPath, &str), PathError> {
    let (inside, rest) = split(text)?;
    if inside.eq_ignore_ascii_case("postmaster") {
        return Ok((ForwardPath::Postmaster, rest));
    }
    let address = without_source_route(inside)?.parse()?;
    Ok((ForwardPath::Address(address), rest))
}

/// What is inside the brackets, and what is behind them.
fn split(text: &str) -> Result<(&str, &str), PathError> {
    // Between colon and path no space is allowed, but many clients send one (RFC 5321 §3.3).
    let text = text.trim_start_matches(' ');
    let text = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let (inside, rest) = (text.get(..at), text.get(at + 1..));
                let (inside, rest) = (inside.unwrap_or_default(), rest.unwrap_or_default());
                if !rest.is_empty() && !rest.starts_with(' ') {
                    return Err(PathError::Space);
                }
                return Ok((inside, rest));
            }
            _ => {}
        }
    }
    Err(PathError::Brackets)
}

fn without_source_route(inside: &str) -> Result<&str, PathError> {
    if !inside.starts_with('@') {
        return Ok(inside);
    }
    let (route, mailbox) = inside.split_once(':').ok_or(PathError::SourceRoute)?;
    let is_hop = |hop: &str| hop.strip_prefix('@').is_some_and(|d| d.parse::<Domain>().is_ok());
    if route.split(',').all(is_hop) { Ok(mailbox) } else { Err(PathError::SourceRoute) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ForwardPath {
        ForwardPath::Address(text.parse().unwrap())
    }

    #[test]
    fn quotes_hide_brackets_and_spaces() {
        let (path, rest) = forward_path(r#"<"x> SIZE=1 <y"@e.org> SIZE=2"#).unwrap();
        assert_eq!(path.to_string(), r#""x> SIZE=1 <y"@e.org"#);
        assert_eq!(rest, " SIZE=2");
        let (path, _) = forward_path(r#"<"a\">b"@e.org>"#).unwrap();
        assert_eq!(path.to_string(), r#""a\">b"@e.org"#);
    }

    #[test]
    fn literals_routes_postmaster_and_null() {
        assert_eq!(forward_path("<u@[192.0.2.1]>").unwrap().0, address("u@[192.0.2.1]"));
        assert_eq!(forward_path("<@a.test,@b.test:u@c.test>").unwrap().0, address("u@c.test"));
        assert_eq!(forward_path("<PostMaster>").unwrap().0, ForwardPath::Postmaster);
        assert_eq!(reverse_path("<>").unwrap(), (ReversePath::Null, ""));
        assert_eq!(reverse_path(" <> A=1").unwrap(), (ReversePath::Null, " A=1"));
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in [
            "",
            "a@b",
            "<a@b",
            "a@b>",
            "<a@b>X",
            "<\"a@b>",
            "<@a:>",
            "<@a u@b>",
            "<@a,b:u@c>",
            "<a b@c>",
            "<<a@b>>",
            "<postmaster >",
        ] {
            assert!(forward_path(text).is_err(), "{text}");
        }
        assert!(forward_path("<>").is_err());
        assert!(reverse_path("<postmaster>").is_err());
    }
}
