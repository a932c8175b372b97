//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: a pure exchange of two
//! messages each way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postroad_store::directory::ScramKeys;

/// A nonce or a name longer than this is no client's.
const ATTRIBUTE_OCTETS_MAX: usize = 1024;

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who logs in, `=2C` and `=3D` undone.
    pub user: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// `None` when it does not follow RFC 5802 section 7, asks for channel binding, or for another's identity.
    pub fn parse(message: &[u8]) -> Option<ClientFirst> {
        let text = std::str::from_utf8(message).ok()?;
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        if !matches!(flag, "n" | "y") {
            return None;
        }
        let mut attributes = bare.split(',');
        let user = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let printable = nonce.bytes().all(|octet| octet.is_ascii_graphic());
        if user.is_empty() || nonce.is_empty() || nonce.len() > ATTRIBUTE_OCTETS_MAX || !printable {
            return None;
        }
        if !authzid.is_empty() && saslname(authzid.strip_prefix("a=")?)? != user {
            return None;
        }
        Some(ClientFirst {
            user,
            gs2_header: format!("{flag},{authzid},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// The server's first message, and what the client's proof is checked with.
    pub fn challenge(self, keys: ScramKeys, server_nonce: &str) -> (String, Expecting) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let challenge = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
        let begin = format!("{},{challenge},", self.bare);
        (challenge, Expecting { binding: BASE64.encode(self.gs2_header), nonce, begin, keys })
    }
}

/// The client's final message is awaited.
pub struct Expecting {
    binding: String,
    nonce: String,
    /// AuthMessage up to the client's final message.
    begin: String,
    keys: ScramKeys,
}

/// What the client's final message came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// It knows the password; this is the server's final message.
    Right(String),
    Wrong,
    /// It does not follow RFC 5802.
    Malformed,
}

impl Expecting {
    /// `verify` gives the server's signature for a proof that is right: (keys, AuthMessage, proof).
    pub fn finish(
        &self,
        message: &[u8],
        verify: impl Fn(&ScramKeys, &[u8], &[u8]) -> Option<Vec<u8>>,
    ) -> Proof {
        let parsed = || {
            let text = std::str::from_utf8(message).ok()?;
            let (without_proof, proof) = text.rsplit_once(",p=")?;
            let mut attributes = without_proof.split(',');
            let binding = attributes.next()?.strip_prefix("c=")?;
            let nonce = attributes.next()?.strip_prefix("r=")?;
            Some((without_proof, binding, nonce, BASE64.decode(proof).ok()?))
        };
        let Some((without_proof, binding, nonce, proof)) = parsed() else { return Proof::Malformed };
        if binding != self.binding || nonce != self.nonce {
            return Proof::Malformed;
        }
        let auth_message = format!("{}{without_proof}", self.begin);
        match verify(&self.keys, auth_message.as_bytes(), &proof) {
            Some(signature) => Proof::Right(format!("v={}", BASE64.encode(signature))),
            None => Proof::Wrong,
        }
    }
}

/// `None` where `=` stands for anything but a comma or itself.
fn saslname(text: &str) -> Option<String> {
    if text.len() > ATTRIBUTE_OCTETS_MAX {
        return None;
    }
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        name.push(match code {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_store_local::directory::credentials::verify_scram;

    /// RFC 7677 section 3, with the password "pencil".
    #[test]
    fn the_example_of_the_rfc() {
        let keys = ScramKeys {
            salt: BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            iterations: 4096,
            stored_key: BASE64.decode("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=").unwrap(),
            server_key: BASE64.decode("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=").unwrap(),
        };
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.user, "user");
        let (challenge, expecting) = first.challenge(keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            challenge,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let proof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let right = Proof::Right("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".into());
        assert_eq!(expecting.finish(proof.as_bytes(), verify_scram), right);
        let wrong = proof.replace("dHzb", "dHzc");
        assert_eq!(expecting.finish(wrong.as_bytes(), verify_scram), Proof::Wrong);
        let replayed = proof.replace("r=rOpr", "r=other");
        assert_eq!(expecting.finish(replayed.as_bytes(), verify_scram), Proof::Malformed);
    }

    #[test]
    fn what_is_no_first_message() {
        for text in [
            "",
            "n,,",
            "p=tls-unique,,n=u,r=x",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=u=2,r=x",
            "n,a=other,n=u,r=x",
            "x,,n=u,r=x",
        ] {
            assert_eq!(ClientFirst::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ClientFirst::parse(b"y,a=a=2Cb,n=a=2Cb,r=x").unwrap().user, "a,b");
    }
}
