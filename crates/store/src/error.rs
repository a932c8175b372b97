//! One error for all stores, named by who must act.

/// What went wrong in storage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The thing asked for is not there (any more). The caller tells its client.
    #[error("not found: {0}")]
    NotFound(String),
    /// It exists already.
    #[error("exists already: {0}")]
    Exists(String),
    /// The request can't be right as it stands. The caller tells its client.
    #[error("not possible: {0}")]
    Invalid(String),
    /// The caller's lease or its view of a folder is no longer the current one: begin again.
    #[error("out of date: {0}")]
    Stale(String),
    /// The account is over its quota.
    #[error("over quota: {used_octets} of {limit_octets} octets are in use")]
    OverQuota { used_octets: u64, limit_octets: u64 },
    /// Storage does not do it now (disk full, file system error). Nothing was changed; trying later helps.
    /// The operator must act if it stays.
    #[error("storage does not answer: {0}")]
    Unavailable(String),
    /// This one record is damaged; it was set aside and everything else goes on. The operator must look.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// From an IO error, saying what was being done to what.
    pub fn io(doing: impl std::fmt::Display, error: &std::io::Error) -> Self {
        StoreError::Unavailable(format!("{doing}: {error}"))
    }
}
