//! From a password to what is stored, and back to "yes" or "no".
//!
//! - PLAIN and LOGIN are checked against an argon2id hash (RFC 9106) in a PHC string, so that its costs can
//!   be raised later without touching what is there.
//! - SCRAM-SHA-256 (RFC 5802, RFC 7677) is checked against StoredKey and ServerKey: who reads them can't log
//!   in by PLAIN, and who listens to an exchange learns neither.
//!
//! Comparisons of secrets take the same time whatever differs. Passwords are taken as their UTF-8 octets;
//! clients prepare them (RFC 4013) alike for both ways, so that nothing is lost by not doing it again here.

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use postroad_store::StoreError;
use postroad_store::directory::{Credentials, ScramKeys};
use zeroize::Zeroizing;

const KEY_OCTETS: usize = 32;
const SALT_OCTETS: usize = 16;

/// How dear a guess is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub argon2_memory_kib: u32,
    pub argon2_passes: u32,
    pub argon2_lanes: u32,
    /// PBKDF2 rounds; a SCRAM client pays them at each login (RFC 7677 section 4: at least 4096).
    pub scram_iterations: u32,
}

impl Cost {
    /// What OWASP recommends for argon2id.
    pub const DEFAULT: Cost =
        Cost { argon2_memory_kib: 19 * 1024, argon2_passes: 2, argon2_lanes: 1, scram_iterations: 10_000 };
    /// For tests that make many accounts. Protects nothing.
    pub const CHEAP: Cost =
        Cost { argon2_memory_kib: 64, argon2_passes: 1, argon2_lanes: 1, scram_iterations: 4096 };
}

impl Default for Cost {
    fn default() -> Self {
        Cost::DEFAULT
    }
}

/// What is stored for a password. Takes some tens of milliseconds and [`Cost::argon2_memory_kib`]: call it on
/// a thread that may block.
pub fn make(password: &str, cost: &Cost) -> Result<Credentials, StoreError> {
    let invalid = |e: &dyn std::fmt::Display| StoreError::Invalid(format!("cost of password hashes: {e}"));
    let params = Params::new(cost.argon2_memory_kib, cost.argon2_passes, cost.argon2_lanes, None)
        .map_err(|e| invalid(&e))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt: [u8; SALT_OCTETS] = rand::random();
    let hash: PasswordHash =
        argon2.hash_password_with_salt(password.as_bytes(), &salt).map_err(|e| invalid(&e))?;
    let iterations = NonZeroU32::new(cost.scram_iterations).ok_or_else(|| invalid(&"no iterations"))?;
    let scram_sha_256 = scram_keys(password, rand::random::<[u8; SALT_OCTETS]>().to_vec(), iterations);
    Ok(Credentials { password_hash: hash.to_string(), scram_sha_256 })
}

/// Whether the password is the hash's. As slow as making it.
pub fn verify(password: &str, hash: &str) -> Result<bool, StoreError> {
    let damaged = |e: &dyn std::fmt::Display| StoreError::Damaged(format!("a stored password hash: {e}"));
    let hash = PasswordHash::new(hash).map_err(|e| damaged(&e))?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(e) => Err(damaged(&e)),
    }
}

fn scram_keys(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
    let mut salted = Zeroizing::new([0; KEY_OCTETS]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted[..]);
    let client_key = mac(&salted[..], b"Client Key");
    ScramKeys {
        salt,
        iterations: iterations.get(),
        stored_key: digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec(),
        server_key: mac(&salted[..], b"Server Key").as_ref().to_vec(),
    }
}

/// Checks a client's proof over the AuthMessage and gives the server's signature for the last message
/// (RFC 5802 section 3).
pub fn verify_scram(keys: &ScramKeys, auth_message: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
    let signature = mac(&keys.stored_key, auth_message);
    if proof.len() != signature.as_ref().len() {
        return None;
    }
    let client_key: Zeroizing<Vec<u8>> =
        Zeroizing::new(proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect());
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    constant_time::verify_slices_are_equal(stored_key.as_ref(), &keys.stored_key).ok()?;
    Some(mac(&keys.server_key, auth_message).as_ref().to_vec())
}

/// Keys for a name that nobody has: always the same salt for the same name, so that asking twice does not
/// tell it from one that exists, and no proof fits them.
pub fn fake_scram_keys(secret: &[u8], name: &str, iterations: u32) -> ScramKeys {
    let derived = |what: &str| mac(secret, format!("{what}\0{name}").as_bytes()).as_ref().to_vec();
    let mut salt = derived("salt");
    salt.truncate(SALT_OCTETS);
    ScramKeys { salt, iterations, stored_key: derived("stored key"), server_key: derived("server key") }
}

fn mac(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn a_password_is_recognised_and_another_is_not() {
        let credentials = make("correct horse", &Cost::CHEAP).unwrap();
        assert!(credentials.password_hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(verify("correct horse", &credentials.password_hash).unwrap());
        assert!(!verify("correct horsf", &credentials.password_hash).unwrap());
        assert!(matches!(verify("x", "not a hash"), Err(StoreError::Damaged(_))));
        let again = make("correct horse", &Cost::CHEAP).unwrap();
        assert_ne!(again.password_hash, credentials.password_hash, "salted");
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }

    #[test]
    fn the_default_cost_is_what_is_recommended() {
        let credentials = make("x", &Cost::DEFAULT).unwrap();
        assert!(credentials.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    /// The example of RFC 7677 section 3.
    #[test]
    fn scram_follows_the_example_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = scram_keys("pencil", salt, NonZeroU32::new(4096).unwrap());
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = verify_scram(&keys, auth_message.as_bytes(), &proof).unwrap();
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let mut wrong = proof.clone();
        wrong[31] ^= 1;
        assert_eq!(verify_scram(&keys, auth_message.as_bytes(), &wrong), None);
        assert_eq!(verify_scram(&keys, auth_message.as_bytes(), &proof[1..]), None);
        assert_eq!(verify_scram(&keys, b"another", &proof), None);
    }

    #[test]
    fn fake_keys_are_the_same_for_a_name_and_others_for_another() {
        let one = fake_scram_keys(b"secret", "bob@beta.test", 10_000);
        assert!(one == fake_scram_keys(b"secret", "bob@beta.test", 10_000));
        assert_eq!((one.salt.len(), one.stored_key.len()), (SALT_OCTETS, KEY_OCTETS));
        assert_ne!(one.salt, fake_scram_keys(b"secret", "bob@beta.tess", 10_000).salt);
        assert_ne!(one.salt, fake_scram_keys(b"other", "bob@beta.test", 10_000).salt);
    }
}
