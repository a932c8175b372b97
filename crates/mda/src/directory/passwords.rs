//! Passwords against hashes, so many at a time as the machine can bear, and as slow for names that do not exist.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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

const SECRET_OCTETS: usize = 32;

pub struct Passwords {
    permits: Arc<Semaphore>,
    /// Of a password that nobody has: what a name that does not exist is checked against.
    nobody: Arc<str>,
    /// Makes salts for names that do not exist.
    secret: Vec<u8>,
}

impl Passwords {
    /// `secret_file` is made when it is missing. It must stay: a salt that changes with a restart tells a name
    /// that does not exist from one that does.
    pub fn new(at_a_time: usize, secret_file: &Path) -> Result<Passwords, StoreError> {
        let chance = format!("{:032x}", rand::random::<u128>());
        let nobody = credentials::make(&chance, &Cost::DEFAULT)?.password_hash;
        Ok(Passwords {
            permits: Arc::new(Semaphore::new(at_a_time.max(1))),
            nobody: nobody.into(),
            secret: kept_secret(secret_file)?,
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

/// The file's octets; 32 of chance where there is none yet.
fn kept_secret(path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed =
        |error: io::Error| StoreError::io(format_args!("the login secret {}", path.display()), &error);
    match std::fs::read(path) {
        Ok(secret) if secret.len() >= SECRET_OCTETS => return Ok(secret),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let secret = rand::random::<[u8; SECRET_OCTETS]>().to_vec();
    // Whole or not at all; one that a crash cut off is too short and made again.
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(&secret).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(secret)
}

fn clipped(password: &str) -> &str {
    let mut end = password.len().min(PASSWORD_OCTETS_MAX);
    while !password.is_char_boundary(end) {
        end -= 1;
    }
    password.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_salt_stays_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let salt = || Passwords::new(1, &file).unwrap().nobodys_scram_keys("nobody@beta.test").salt;
        let first = salt();
        assert_eq!(salt(), first);
        std::fs::write(&file, "cut off").unwrap();
        assert_ne!(salt(), first);
    }
}
