//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, as PostgreSQL asks for it.
//!
//! Pure, over ring. A password goes as its bytes: what SASLprep (RFC 4013) would change in one that is not ASCII is not changed.
//! Invariant: a server that does not know the password is not believed.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

/// The name of the mechanism.
pub(super) const NAME: &str = "SCRAM-SHA-256";
/// More rounds than any server asks for; one more would be an attack on our time.
const MOST_ROUNDS: u32 = 1_000_000;

/// Between the first message and the server's answer.
pub(super) struct First {
    nonce: String,
}

/// Between the second message and the server's proof.
pub(super) struct Second {
    proof: Vec<u8>,
}

impl First {
    /// From random bytes.
    pub(super) fn new(random: &[u8]) -> First {
        First {
            nonce: STANDARD.encode(random),
        }
    }

    fn bare(&self) -> String {
        // The name is that of the connection.
        format!("n=,r={}", self.nonce)
    }

    pub(super) fn message(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// The second message; `None` if the answer is none, or another's.
    pub(super) fn answer(self, server: &[u8], password: &str) -> Option<(String, Second)> {
        let server = std::str::from_utf8(server).ok()?;
        let field = |key: &str| server.split(',').find_map(|field| field.strip_prefix(key));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce))?;
        let salt = STANDARD.decode(field("s=")?).ok()?;
        let rounds: NonZeroU32 = field("i=")?.parse().ok()?;
        if nonce == self.nonce || rounds.get() > MOST_ROUNDS {
            return None;
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut salted);
        let client = signed(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client);
        // `biws` is `n,,`.
        let second = format!("c=biws,r={nonce}");
        let all = format!("{},{server},{second}", self.bare());
        let signature = signed(stored.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let message = format!("{second},p={}", STANDARD.encode(proof));
        let key = signed(&salted, b"Server Key");
        let proof = signed(&key, all.as_bytes());
        Some((message, Second { proof }))
    }
}

impl Second {
    /// Whether the server has proven that it knows the password.
    pub(super) fn is_proven(&self, server: &[u8]) -> bool {
        let given = server
            .strip_prefix(b"v=")
            .and_then(|v| STANDARD.decode(v).ok());
        given.is_some_and(|given| given == self.proof)
    }
}

fn signed(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3, whose user name is `user`; ours is empty, so the proofs are not those.
    #[test]
    fn a_server_must_answer_our_nonce_and_prove_itself() {
        let first = || First {
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        };
        let server = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (message, second) = first().answer(server, "pencil").unwrap();
        assert!(
            message.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
        );
        let right = format!("v={}", STANDARD.encode(&second.proof));
        assert!(second.is_proven(right.as_bytes()));
        for wrong in [&b"v=AAAA"[..], b"v=", b"e=other-error", b""] {
            assert!(!second.is_proven(wrong));
        }
        for wrong in [
            &b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"[..],
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=*,i=1",
            b"\xff",
        ] {
            assert!(first().answer(wrong, "pencil").is_none());
        }
    }
}
