//! The directory's verdict on a recipient.

use postroad_types::{AccountId, RecipientVerdict};

use super::{ContractError, addresses};
use crate::v1::{self, resolve_recipient_reply::Verdict};

impl From<RecipientVerdict> for v1::ResolveRecipientReply {
    /// Of an account over its quota the numbers are not known here: set them if they are.
    fn from(verdict: RecipientVerdict) -> Self {
        let verdict = match verdict {
            RecipientVerdict::Local { account, detail } => {
                Verdict::Local(v1::LocalRecipient { account_id: account.0, detail })
            }
            RecipientVerdict::Alias { targets } => Verdict::Alias(v1::AliasRecipient {
                targets: targets.iter().map(ToString::to_string).collect(),
            }),
            RecipientVerdict::Unknown => Verdict::Unknown(v1::UnknownRecipient {}),
            RecipientVerdict::OverQuota { try_again } => {
                Verdict::OverQuota(v1::OverQuotaRecipient { try_again, ..Default::default() })
            }
            RecipientVerdict::NotOurs => Verdict::NotOurs(v1::NotOursRecipient {}),
        };
        v1::ResolveRecipientReply { verdict: Some(verdict) }
    }
}

impl TryFrom<v1::ResolveRecipientReply> for RecipientVerdict {
    type Error = ContractError;

    fn try_from(reply: v1::ResolveRecipientReply) -> Result<Self, ContractError> {
        Ok(match reply.verdict.ok_or_else(|| ContractError::new("verdict", "absent"))? {
            Verdict::Local(local) => {
                RecipientVerdict::Local { account: AccountId(local.account_id), detail: local.detail }
            }
            Verdict::Alias(alias) => {
                RecipientVerdict::Alias { targets: addresses("alias.targets", &alias.targets)? }
            }
            Verdict::Unknown(_) => RecipientVerdict::Unknown,
            Verdict::OverQuota(full) => RecipientVerdict::OverQuota { try_again: full.try_again },
            Verdict::NotOurs(_) => RecipientVerdict::NotOurs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_survives() {
        for verdict in [
            RecipientVerdict::Local { account: AccountId(7), detail: Some("list".to_owned()) },
            RecipientVerdict::Local { account: AccountId(7), detail: None },
            RecipientVerdict::Alias { targets: vec!["a@b".parse().unwrap(), "\"x y\"@c".parse().unwrap()] },
            RecipientVerdict::Unknown,
            RecipientVerdict::OverQuota { try_again: false },
            RecipientVerdict::OverQuota { try_again: true },
            RecipientVerdict::NotOurs,
        ] {
            let there_and_back = RecipientVerdict::try_from(v1::ResolveRecipientReply::from(verdict.clone()));
            assert_eq!(there_and_back, Ok(verdict));
        }
        assert!(RecipientVerdict::try_from(v1::ResolveRecipientReply::default()).is_err());
    }
}
