//! Between the contracts' messages and `postroad_types`: parsed once, here, into strict types.
//!
//! A message that cannot be is a [`ContractError`]: INVALID_ARGUMENT when it came as a question, INTERNAL
//! when it came as an answer.

mod delivery;
mod directory;
mod words;

use std::fmt;

use tonic::Status;

pub use delivery::{delivery_result, recipient_result};
pub use words::{address, addresses, queue_id, reverse_path, trace_id};

/// A message that does not follow its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractError {
    /// The field, as the proto file calls it.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl ContractError {
    pub fn new(field: &'static str, what: impl fmt::Display) -> Self {
        ContractError { field, what: what.to_string() }
    }

    /// The status for an answer of another service that does not follow the contract.
    pub fn in_answer(self) -> Status {
        Status::internal(format!("the answer does not follow its contract: {self}"))
    }
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl std::error::Error for ContractError {}

/// As the answer to a question.
impl From<ContractError> for Status {
    fn from(error: ContractError) -> Status {
        Status::invalid_argument(error.to_string())
    }
}
