//! What the authority looks at to see that a name is ours: shown for as long as an order runs.
//!
//! Invariant: what was shown is taken away again, whether the order succeeds or not.

pub mod alpn;
pub mod dns;
pub mod http;
mod listener;
pub mod tokens;

use instant_acme::ChallengeType;

use super::names::Name;
use super::settings::{Challenge, Door};
use super::trouble::AcmeError;
use listener::Listener;
use tokens::Tokens;

/// What is shown for one name. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub name: Name,
    pub token: String,
    /// The token and the account key's thumbprint (RFC 8555, 8.1).
    pub authorization: String,
    /// Its SHA-256.
    pub digest: Vec<u8>,
    /// The same in base64url, as the record of DNS-01 has it.
    pub record_value: String,
}

/// Shows proofs.
pub enum Stage {
    Http(Tokens, Option<Listener>),
    Alpn(alpn::Stand),
    Dns(dns::Hook),
}

impl Stage {
    /// Opens what the challenge needs.
    ///
    /// # Errors
    /// If a port is taken.
    pub fn open(challenge: &Challenge, tokens: &Tokens) -> Result<Stage, AcmeError> {
        Ok(match challenge {
            Challenge::Http(Door::Websms) => Stage::Http(tokens.clone(), None),
            Challenge::Http(Door::Own(port)) => {
                let listener = http::open(*port, tokens.clone())?;
                Stage::Http(tokens.clone(), Some(listener))
            }
            Challenge::TlsAlpn { port } => Stage::Alpn(alpn::Stand::open(*port)?),
            Challenge::Dns { hook, wait } => Stage::Dns(dns::Hook::new(hook.clone(), *wait)),
        })
    }

    pub fn kind(&self) -> ChallengeType {
        match self {
            Stage::Http(..) => ChallengeType::Http01,
            Stage::Alpn(_) => ChallengeType::TlsAlpn01,
            Stage::Dns(_) => ChallengeType::Dns01,
        }
    }

    /// Shows these proofs, and returns when the authority can see them.
    ///
    /// # Errors
    /// If one cannot be shown. Those before it are shown all the same, until [`Stage::clear`].
    pub async fn show(&mut self, proofs: &[Proof]) -> Result<(), AcmeError> {
        for proof in proofs {
            match self {
                Stage::Http(tokens, _) => tokens.put(&proof.token, &proof.authorization)?,
                Stage::Alpn(stand) => stand.show(proof)?,
                Stage::Dns(hook) => hook.present(proof).await?,
            }
        }
        if let Stage::Dns(hook) = self {
            hook.settle().await;
        }
        Ok(())
    }

    /// Takes everything away.
    pub async fn clear(self, proofs: &[Proof]) {
        match self {
            Stage::Http(tokens, _listener) => {
                proofs.iter().for_each(|proof| tokens.remove(&proof.token))
            }
            Stage::Alpn(stand) => drop(stand),
            Stage::Dns(hook) => hook.clean_up().await,
        }
    }
}
