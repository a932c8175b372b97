//! What became of a recipient in a delivery.

use postroad_types::{Address, DeliveryResult, EnhancedCode, Reply};

use super::{ContractError, address, addresses};
use crate::v1::{self, recipient_result::Outcome};

/// The answer for one recipient. `delivered` says where the message is, for a recipient that has it.
pub fn recipient_result(
    recipient: &Address,
    result: DeliveryResult,
    delivered: Option<v1::Delivered>,
) -> v1::RecipientResult {
    let (reply, outcome) = match result {
        DeliveryResult::Delivered(reply) => (Some(reply), Outcome::Delivered(delivered.unwrap_or_default())),
        DeliveryResult::Deferred(reply) => (Some(reply), Outcome::Deferred(v1::Deferred {})),
        DeliveryResult::Rejected(reply) => (Some(reply), Outcome::Rejected(v1::Rejected {})),
        DeliveryResult::Expanded(targets) => {
            let addresses = targets.iter().map(ToString::to_string).collect();
            (None, Outcome::Expanded(v1::Expanded { addresses }))
        }
    };
    v1::RecipientResult {
        recipient: recipient.to_string(),
        reply: reply.map(v1::Reply::from),
        outcome: Some(outcome),
    }
}

/// Which recipient, and what became of it. Whether it is temporary is said by the outcome; a reply that
/// says otherwise is not believed.
pub fn delivery_result(result: v1::RecipientResult) -> Result<(Address, DeliveryResult), ContractError> {
    let recipient = address("recipient", &result.recipient)?;
    let reply = result.reply.map(Reply::try_from).transpose()?;
    let outcome = result.outcome.ok_or_else(|| ContractError::new("outcome", "absent"))?;
    let classed = |class: u8, default: u16| match reply {
        Some(reply) if reply.code / 100 == u16::from(class) => reply,
        other => {
            let text = other.map(|reply| reply.text).unwrap_or_default();
            Reply::new(default, EnhancedCode::new(class, 0, 0), text)
        }
    };
    let result = match outcome {
        Outcome::Delivered(_) => DeliveryResult::Delivered(classed(2, 250)),
        Outcome::Deferred(_) => DeliveryResult::Deferred(classed(4, 451)),
        Outcome::Rejected(_) => DeliveryResult::Rejected(classed(5, 554)),
        Outcome::Expanded(v1::Expanded { addresses: targets }) => {
            DeliveryResult::Expanded(addresses("expanded.addresses", &targets)?)
        }
    };
    Ok((recipient, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives() {
        let recipient: Address = "bob+list@beta.test".parse().unwrap();
        for result in [
            DeliveryResult::Delivered(Reply::new(250, EnhancedCode::new(2, 1, 5), "stored")),
            DeliveryResult::Deferred(Reply::new(452, EnhancedCode::new(4, 2, 2), "over quota")),
            DeliveryResult::Rejected(Reply::new(550, EnhancedCode::new(5, 1, 1), "no such user")),
            DeliveryResult::Expanded(vec!["carol@example.org".parse().unwrap()]),
        ] {
            let wire = recipient_result(&recipient, result.clone(), None);
            assert_eq!(delivery_result(wire), Ok((recipient.clone(), result)));
        }
    }

    #[test]
    fn a_reply_of_another_class_does_not_turn_a_deferral_into_a_bounce() {
        let wire = v1::RecipientResult {
            recipient: "bob@beta.test".to_owned(),
            reply: Some(v1::Reply { code: 550, enhanced: "5.1.1".to_owned(), text: "disk full".to_owned() }),
            outcome: Some(Outcome::Deferred(v1::Deferred {})),
        };
        let (_, result) = delivery_result(wire).unwrap();
        assert_eq!(
            result,
            DeliveryResult::Deferred(Reply::new(451, EnhancedCode::new(4, 0, 0), "disk full"))
        );
    }
}
