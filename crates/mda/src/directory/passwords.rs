//! Passwords against hashes, so many at a time as the machine can bear, and as slow for names that do not exist.

use std::sync::Arc;

use postroad_store::StoreError;
use postroad_store::directory::Credentials;
use postroad_store_local::directory::credentials::{self, Cost};
use tokio::sync::Semaphore;
use tonic::Status;
use zeroize::Zeroizing;

use crate::fault::status;

/// A password longer than this is none: hashing it would be a way to keep us busy.
pub const PASSWORD_OCTETS_MAX: usize = 1024;

pub struct Passwords {
    permits: Arc<Semaphore>,
    /// Of a password that nobody has: what a name that does not exist is checked against.
    nobody: Arc<str>,
    /// Makes salts for names that do not exist; new at every start.
    secret: [u8; 32],
}

impl Passwords {
    pub fn new(at_a_time: usize) -> Result<Passwords, StoreError> {
        let chance = format!("{:032x}", rand::random::<u128>());
        let nobody = credentials::make(&chance, &Cost::DEFAULT)?.password_hash;
        Ok(Passwords {
            permits: Arc::new(Semaphore::new(at_a_time.max(1))),
            nobody: nobody.into(),
            secret: rand::random(),
        })
    }

    /// Whether `password` is the one of `hash`; without a hash it takes as long and is not.
    pub async fn check(&self, password: Zeroizing<String>, hash: Option<String>) -> Result<bool, StoreError> {
        let exists = hash.is_some() && password.len() <= PASSWORD_OCTETS_MAX;
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let matches = self.run(move || credentials::verify(clipped(&password), &hash)).await?;
        Ok(matches && exists)
    }

    /// What is kept of a new password.
    pub async fn make(&self, password: String) -> Result<Credentials, Status> {
        let password = Zeroizing::new(password);
        if password.is_empty() || password.len() > PASSWORD_OCTETS_MAX {
            return Err(Status::invalid_argument(format!(
                "password: expected 1 to {PASSWORD_OCTETS_MAX} octets"
            )));
        }
        self.run(move || credentials::make(&password, &Cost::DEFAULT)).await.map_err(status)
    }

    /// SCRAM keys for a name that does not exist: the same at every try, like those of one that does.
    pub fn nobodys_scram_keys(&self, name: &str) -> postroad_store::directory::ScramKeys {
        credentials::fake_scram_keys(&self.secret, name, Cost::DEFAULT.scram_iterations)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone =
            |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("password check: {error}"));
        let permit = self.permits.clone().acquire_owned().await.map_err(|error| gone(&error))?;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(permit);
            outcome
        });
        done.await.map_err(|error| gone(&error))?
    }
}

fn clipped(password: &str) -> &str {
    let mut end = password.len().min(PASSWORD_OCTETS_MAX);
    while !password.is_char_boundary(end) {
        end -= 1;
    }
    password.get(..end).unwrap_or_default()
}
