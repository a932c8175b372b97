//! Addresses, ids and replies.

use postroad_types::{Address, EnhancedCode, QueueId, Reply, ReversePath, TraceId};

use super::ContractError;
use crate::v1;

/// An address, strictly parsed.
pub fn address(field: &'static str, text: &str) -> Result<Address, ContractError> {
    text.parse().map_err(|error| ContractError::new(field, format_args!("{text:?} is no address: {error}")))
}

/// A list of addresses.
pub fn addresses(field: &'static str, texts: &[String]) -> Result<Vec<Address>, ContractError> {
    texts.iter().map(|text| address(field, text)).collect()
}

/// A reverse-path; the empty text is the null one.
pub fn reverse_path(field: &'static str, text: &str) -> Result<ReversePath, ContractError> {
    text.parse()
        .map_err(|error| ContractError::new(field, format_args!("{text:?} is no reverse-path: {error}")))
}

pub fn queue_id(field: &'static str, text: &str) -> Result<QueueId, ContractError> {
    text.parse().map_err(|error| ContractError::new(field, format_args!("{text:?} is {error}")))
}

/// A trace id; the empty text is none.
pub fn trace_id(field: &'static str, text: &str) -> Result<Option<TraceId>, ContractError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| ContractError::new(field, format_args!("{text:?} is {error}")))
}

impl From<Reply> for v1::Reply {
    fn from(reply: Reply) -> Self {
        v1::Reply {
            code: u32::from(reply.code),
            enhanced: reply.enhanced.map(|code| code.to_string()).unwrap_or_default(),
            text: reply.text,
        }
    }
}

impl TryFrom<v1::Reply> for Reply {
    type Error = ContractError;

    fn try_from(reply: v1::Reply) -> Result<Self, ContractError> {
        let code =
            u16::try_from(reply.code).ok().filter(|code| (200..600).contains(code)).ok_or_else(|| {
                ContractError::new("reply.code", format_args!("{} is no reply code", reply.code))
            })?;
        let enhanced = if reply.enhanced.is_empty() {
            None
        } else {
            let wrong =
                |()| ContractError::new("reply.enhanced", format_args!("{:?} is none", reply.enhanced));
            Some(reply.enhanced.parse::<EnhancedCode>().map_err(wrong)?)
        };
        Ok(Reply { code, enhanced, text: reply.text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_survive_and_wrong_ones_do_not() {
        let reply = Reply::new(550, EnhancedCode::new(5, 1, 1), "no such\nuser");
        assert_eq!(Reply::try_from(v1::Reply::from(reply.clone())), Ok(reply));
        let plain = Reply::plain(250, "");
        assert_eq!(Reply::try_from(v1::Reply::from(plain.clone())), Ok(plain));
        for (code, enhanced) in [(0, ""), (70_000, ""), (250, "2.1"), (250, "x")] {
            let wrong = v1::Reply { code, enhanced: enhanced.to_owned(), text: String::new() };
            assert!(Reply::try_from(wrong).is_err(), "{code} {enhanced}");
        }
    }

    #[test]
    fn a_word_that_cannot_be_is_named_with_its_field() {
        let error = address("recipient", "no at sign").unwrap_err();
        let status = tonic::Status::from(error);
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with("recipient: \"no at sign\""), "{}", status.message());
        assert_eq!(trace_id("trace_id", ""), Ok(None));
        assert_eq!(reverse_path("from", ""), Ok(ReversePath::Null));
    }
}
