//! Private keys of zones: made, kept as PKCS#8 (RFC 5208), and signed with.
//!
//! ECDSA P-256 (RFC 6605), Ed25519 (RFC 8080) and RSA with SHA-256 (RFC 5702): what validators have to know, and no more.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use zeroize::Zeroizing;

use super::Algorithm;

/// Why there is no key, or no signature. No text shows a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    #[error("zones are not signed with algorithm {0} here; expected ECDSAP256SHA256, ED25519 or RSASHA256")]
    Algorithm(Algorithm),
    #[error("the private key could not be made")]
    Generate,
    #[error("it is no private key for {0} in PKCS#8")]
    Malformed(Algorithm),
    #[error("the signature could not be made")]
    Sign,
}

/// A private key with its public half.
pub struct PrivateKey {
    algorithm: Algorithm,
    pair: Pair,
    public_key: Vec<u8>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

/// Without anything secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// What zones can be signed with.
    pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::ECDSAP256, Algorithm::ED25519, Algorithm::RSASHA256];

    /// Makes a key by chance, and gives it with its PKCS#8. RSA keys have 2048 bits.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, Zeroizing<Vec<u8>>), PrivateKeyError> {
        let random = SystemRandom::new();
        let failed = |_| PrivateKeyError::Generate;
        let pkcs8 = match algorithm {
            Algorithm::ECDSAP256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(failed)?
                .as_ref()
                .to_vec(),
            Algorithm::ED25519 => Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec(),
            Algorithm::RSASHA256 => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?.as_ref().to_vec()
            }
            other => return Err(PrivateKeyError::Algorithm(other)),
        };
        let pkcs8 = Zeroizing::new(pkcs8);
        Ok((Self::from_pkcs8(algorithm, &pkcs8)?, pkcs8))
    }

    /// Reads a key.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, PrivateKeyError> {
        let malformed = PrivateKeyError::Malformed(algorithm);
        let (pair, public_key) = match algorithm {
            Algorithm::ECDSAP256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| malformed)?;
                // RFC 6605 section 4: the point without the octet that says that it is not compressed.
                let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(malformed)?.to_vec();
                (Pair::Ecdsa(pair), point)
            }
            Algorithm::ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| malformed)?;
                let public_key = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), public_key)
            }
            Algorithm::RSASHA256 => {
                let pair = rsa::KeyPair::from_pkcs8(pkcs8).map_err(|_| malformed)?;
                let public_key = rsa_public_key(pair.public_key().as_ref()).ok_or(malformed)?;
                (Pair::Rsa(pair), public_key)
            }
            other => return Err(PrivateKeyError::Algorithm(other)),
        };
        Ok(Self { algorithm, pair, public_key })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as DNSKEY records have it.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The signature over `data` as RRSIG records have it.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&random, data)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| PrivateKeyError::Sign),
            Pair::Ed25519(pair) => Ok(pair.sign(data).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, data, &mut signature)
                    .map_err(|_| PrivateKeyError::Sign)?;
                Ok(signature)
            }
        }
    }
}

/// RFC 3110 section 2 from RFC 8017 appendix A.1.1: a sequence of modulus and exponent.
fn rsa_public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (sequence, []) = der_value(0x30, der)? else { return None };
    let (modulus, rest) = der_value(0x02, sequence)?;
    let (exponent, []) = der_value(0x02, rest)? else { return None };
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    // Exponents of more than 255 octets have another form, which no key of ours needs.
    let mut public_key = vec![u8::try_from(exponent.len()).ok()?];
    public_key.extend_from_slice(exponent);
    public_key.extend_from_slice(modulus);
    Some(public_key)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The contents of the DER value with this tag at the beginning, and what follows it.
fn der_value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (octets, rest) = match rest {
        [short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, octets, rest @ ..] => (usize::from(*octets), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::{Dnskey, Rrsig, rdata, signed_data, verify};
    use crate::wire::{Name, RrSetBuilder, Rtype};

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        let owner: Name = "www.example.".parse().unwrap();
        let mut set = RrSetBuilder::new(Rtype::A, 300);
        set.push(&[192, 0, 2, 1]);
        let set = set.build().unwrap();
        for (algorithm, octets) in
            [(Algorithm::ECDSAP256, 64), (Algorithm::ED25519, 64), (Algorithm::RSASHA256, 256)]
        {
            let (made, pkcs8) = PrivateKey::generate(algorithm).unwrap();
            let key = PrivateKey::from_pkcs8(algorithm, &pkcs8).unwrap();
            assert_eq!(made.public_key(), key.public_key());
            let dnskey = [&[1, 1, 3, algorithm.0], key.public_key()].concat();
            let dnskey = Dnskey::read(&dnskey).unwrap();
            let text = format!(
                "A {} 2 300 20261121000000 20261101000000 {} example. AAAA",
                algorithm.0,
                dnskey.key_tag()
            );
            let mut rrsig = rdata(Rtype::RRSIG, &text);
            rrsig.truncate(rrsig.len() - 3);
            let data = signed_data(&Rrsig::read(&rrsig).unwrap(), &owner, &set).unwrap();
            let signature = key.sign(&data).unwrap();
            assert_eq!(signature.len(), octets, "{algorithm}");
            rrsig.extend_from_slice(&signature);
            assert!(verify(&dnskey, &Rrsig::read(&rrsig).unwrap(), &owner, &set), "{algorithm}");
            let secret = format!("{key:?}");
            assert!(secret.len() < 60 && secret.contains("algorithm"), "{secret}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (_, pkcs8) = PrivateKey::generate(Algorithm::ED25519).unwrap();
        for algorithm in [Algorithm::ECDSAP256, Algorithm::RSASHA256] {
            let error = PrivateKey::from_pkcs8(algorithm, &pkcs8).unwrap_err();
            assert_eq!(error, PrivateKeyError::Malformed(algorithm));
        }
        assert!(PrivateKey::from_pkcs8(Algorithm::ED25519, &pkcs8[..20]).is_err());
        let error = PrivateKey::generate(Algorithm::RSASHA1).unwrap_err().to_string();
        assert!(error.contains("algorithm RSASHA1 here"), "{error}");
        assert_eq!(rsa_public_key(&[0x30, 6, 2, 1, 7, 2, 1, 3]), Some(vec![1, 3, 7]));
        assert_eq!(rsa_public_key(&[0x30, 7, 2, 1, 7, 2, 1, 3]), None);
        assert_eq!(rsa_public_key(&[0x30, 0x83, 0, 0, 0]), None);
    }
}
