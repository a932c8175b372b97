//! The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the latter bound by
//! `tls-exporter` (RFC 9266): a pure exchange of two messages each way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postroad_store::directory::ScramKeys;

/// A nonce or a name longer than this is no client's.
const ATTRIBUTE_OCTETS_MAX: usize = 1024;

/// What the connection and the mechanism say about channel binding (RFC 5802 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// The mechanism is without, and the one with was not offered.
    NotOffered,
    /// The mechanism is without, although the one with was offered: a client that could use it and believes that it
    /// was not (`y`) has been lied to.
    Offered,
    /// The mechanism is the one with; this is the connection's `tls-exporter`.
    Demanded(&'a [u8]),
}

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who logs in, `=2C` and `=3D` undone.
    pub user: String,
    /// What the client's final message must show: its GS2 header, and the channel's binding behind it.
    bound: Vec<u8>,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// `None` when it does not follow RFC 5802 section 7, does not fit the channel binding, or asks for another's
    /// identity.
    pub fn parse(message: &[u8], binding: Binding<'_>) -> Option<ClientFirst> {
        let text = std::str::from_utf8(message).ok()?;
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let channel: &[u8] = match (flag, binding) {
            ("n", Binding::NotOffered | Binding::Offered) | ("y", Binding::NotOffered) => &[],
            ("p=tls-exporter", Binding::Demanded(channel)) if !channel.is_empty() => channel,
            _ => return None,
        };
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
            bound: [format!("{flag},{authzid},").as_bytes(), channel].concat(),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// The server's first message, and what the client's proof is checked with.
    pub fn challenge(self, keys: ScramKeys, server_nonce: &str) -> (String, Expecting) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let challenge = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
        let begin = format!("{},{challenge},", self.bare);
        (challenge, Expecting { binding: BASE64.encode(self.bound), nonce, begin, keys })
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
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", Binding::NotOffered).unwrap();
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
            assert_eq!(ClientFirst::parse(text.as_bytes(), Binding::NotOffered), None, "{text}");
        }
        let fine = ClientFirst::parse(b"y,a=a=2Cb,n=a=2Cb,r=x", Binding::NotOffered);
        assert_eq!(fine.unwrap().user, "a,b");
    }

    #[test]
    fn a_binding_is_shown_or_the_exchange_ends() {
        let parse = |text: &str, binding| ClientFirst::parse(text.as_bytes(), binding);
        let bound = parse("p=tls-exporter,,n=u,r=x", Binding::Demanded(b"key")).unwrap();
        assert_eq!(bound.bound, b"p=tls-exporter,,key");
        for (text, binding) in [
            ("p=tls-unique,,n=u,r=x", Binding::Demanded(b"key")),
            ("n,,n=u,r=x", Binding::Demanded(b"key")),
            ("p=tls-exporter,,n=u,r=x", Binding::Demanded(b"")),
            ("p=tls-exporter,,n=u,r=x", Binding::Offered),
            // Somebody in between took the offer out.
            ("y,,n=u,r=x", Binding::Offered),
        ] {
            assert_eq!(parse(text, binding), None, "{text} {binding:?}");
        }
        assert!(parse("n,,n=u,r=x", Binding::Offered).is_some(), "a client that knows none may go without");
    }

    #[test]
    fn another_connections_binding_proves_nothing() {
        let keys =
            ScramKeys { salt: vec![1], iterations: 4096, stored_key: vec![0; 32], server_key: vec![0; 32] };
        let first = ClientFirst::parse(b"p=tls-exporter,,n=u,r=x", Binding::Demanded(b"ours")).unwrap();
        let (_, expecting) = first.challenge(keys, "y");
        let shown = BASE64.encode(b"p=tls-exporter,,theirs");
        let message = format!("c={shown},r=xy,p=AAAA");
        assert_eq!(expecting.finish(message.as_bytes(), |_, _, _| Some(Vec::new())), Proof::Malformed);
    }
}
