//! One order, from the names to the certificate.
//!
//! Invariants: what was shown to the authority is taken away again; a certificate that is not for the key that we made is
//! refused; there is an end to every wait.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use tokio::time::timeout;

use super::challenge::tokens::Tokens;
use super::challenge::{Proof, Stage};
use super::http::{Http, again, has_type, trouble};
use super::names::Name;
use super::settings::Settings;
use super::trouble::{AcmeError, Kind};
use super::{Pair, leaf};
use crate::certs::key::{self, KeyKind};

/// For each part of an order; what a hook program takes is not counted.
const PATIENCE: Duration = Duration::from_secs(180);
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(100))
    .backoff(1.6)
    .timeout(Duration::from_secs(90));

/// What an order is made with.
pub struct Clerk<'a> {
    pub account: Account,
    pub http: &'a Http,
    pub settings: &'a Settings,
    pub names: &'a [Name],
    pub tokens: &'a Tokens,
}

/// Why an order failed: what the authority's own word for it was, where others decide by that.
pub struct Failure {
    pub error: AcmeError,
    pub no_account: bool,
}

impl From<AcmeError> for Failure {
    fn from(error: AcmeError) -> Failure {
        Failure {
            error,
            no_account: false,
        }
    }
}

impl Clerk<'_> {
    fn failure(&self, error: &Error) -> Failure {
        Failure {
            error: trouble(error, self.http.told()),
            no_account: has_type(error, "accountDoesNotExist"),
        }
    }

    /// Orders a certificate for a key of this kind; `replaces` is the one before it.
    ///
    /// # Errors
    /// With what the authority, or something here, does not like.
    pub async fn order(&self, kind: KeyKind, replaces: Option<&[u8]>) -> Result<Pair, Failure> {
        let mut order = in_time(self.begin(replaces)).await?;
        self.prove(&mut order).await?;
        in_time(self.finish(&mut order, kind)).await
    }

    async fn begin(&self, replaces: Option<&[u8]>) -> Result<Order, Failure> {
        let identifiers: Vec<Identifier> = self.names.iter().map(identifier).collect();
        let profile = self.profile()?;
        let mut new = NewOrder::new(&identifiers);
        if let Some(profile) = &profile {
            new = new.profile(profile);
        }
        if let Some(id) = replaces
            .and_then(leaf::read)
            .and_then(|leaf| certificate_id(&leaf))
        {
            let mut new = NewOrder::new(&identifiers).replaces(id);
            if let Some(profile) = &profile {
                new = new.profile(profile);
            }
            match again(async || self.account.new_order(&new).await).await {
                Ok(order) => return Ok(order),
                // Replaced already, of another account, or this authority knows no replacing: it is an order like others.
                Err(error) => {
                    let failure = self.failure(&error);
                    let is_about_it =
                        !matches!(failure.error.kind, Kind::RateLimited | Kind::ServerDown);
                    if failure.no_account || !is_about_it {
                        return Err(failure);
                    }
                }
            }
        }
        let begun = again(async || self.account.new_order(&new).await).await;
        begun.map_err(|e| self.failure(&e))
    }

    /// The profile to ask for. An authority that has some may choose one by chance for those who ask for none.
    fn profile(&self) -> Result<Option<String>, AcmeError> {
        let mut offered: Vec<&str> = self
            .account
            .profiles()
            .map(|profile| profile.name)
            .collect();
        offered.sort_unstable();
        let has_address = self.names.iter().any(|name| matches!(name, Name::Ip(_)));
        choose_profile(self.settings.profile.as_deref(), &offered, has_address)
    }

    /// Shows the authority that the names are ours, where it does not know yet.
    async fn prove(&self, order: &mut Order) -> Result<(), Failure> {
        let mut stage = Stage::open(&self.settings.challenge, self.tokens)?;
        let proofs = in_time(self.proofs(order, &stage)).await;
        let shown = match &proofs {
            Ok(proofs) => stage.show(proofs).await.map_err(Failure::from),
            Err(_) => Ok(()),
        };
        let proven = match (&proofs, shown) {
            (Ok(_), Ok(())) => in_time(self.be_seen(order, &stage)).await,
            (Ok(_), Err(failure)) => Err(failure),
            (Err(_), _) => Ok(()),
        };
        stage.clear(proofs.as_deref().unwrap_or_default()).await;
        proofs.and(proven)
    }

    /// What is to be shown; nothing for names that the authority has seen before.
    async fn proofs(&self, order: &mut Order, stage: &Stage) -> Result<Vec<Proof>, Failure> {
        self.fetch_authorizations(order).await?;
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(next) = authorizations.next().await {
            let mut authorization = next.map_err(|e| self.failure(&e))?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => {
                    return Err(rejected(
                        "an authorization of the authority is neither open nor given",
                    )
                    .into());
                }
            }
            let name = name_of(&authorization.identifier().to_string())?;
            let Some(challenge) = authorization.challenge(stage.kind()) else {
                let text = format!("the authority does not offer this challenge for `{name}`");
                return Err(rejected(&text)
                    .hint("choose another with SWITCHHOOK_ACME_CHALLENGE")
                    .into());
            };
            let key = challenge.key_authorization();
            proofs.push(Proof {
                token: challenge.token.clone(),
                authorization: key.as_str().to_owned(),
                digest: key.digest().as_ref().to_vec(),
                record_value: key.dns_value(),
                name,
            });
        }
        Ok(proofs)
    }

    /// After this the order knows all of them, and they can be gone through without asking.
    async fn fetch_authorizations(&self, order: &mut Order) -> Result<(), Failure> {
        let fetched = again(async || {
            let mut authorizations = order.authorizations();
            while let Some(next) = authorizations.next().await {
                next?;
            }
            Ok(())
        });
        fetched.await.map_err(|e| self.failure(&e))
    }

    /// Lets the authority look.
    async fn be_seen(&self, order: &mut Order, stage: &Stage) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(next) = authorizations.next().await {
            let mut authorization = next.map_err(|e| self.failure(&e))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(stage.kind()) {
                let ready = again(async || challenge.set_ready().await).await;
                ready.map_err(|e| self.failure(&e))?;
            }
        }
        match again(async || order.poll_ready(&POLLING).await).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.reason(order).await),
            Err(error @ Error::Api(_)) => {
                let failure = self.failure(&error);
                // The order knows less than the authorization that failed.
                match failure.error.kind {
                    Kind::Refused | Kind::Rejected => Err(self.reason(order).await),
                    _ => Err(failure),
                }
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// What the authority says of the proof that it did not see.
    async fn reason(&self, order: &mut Order) -> Failure {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if again(async || authorization.refresh().await.map(|_| ()))
                .await
                .is_err()
            {
                continue;
            }
            let mut failed = authorization.challenges.iter();
            let failed = failed.find(|challenge| challenge.status == ChallengeStatus::Invalid);
            if let Some(problem) = failed.and_then(|challenge| challenge.error.clone()) {
                let name = authorization.identifier().to_string();
                let mut failure = self.failure(&Error::Api(problem));
                failure.error.text = format!("`{name}` is not proven: {}", failure.error.text);
                return failure;
            }
        }
        AcmeError::new(
            Kind::Refused,
            "the authority gave the order up and does not say why",
        )
        .into()
    }

    async fn finish(&self, order: &mut Order, kind: KeyKind) -> Result<Pair, Failure> {
        let local = |why: String| AcmeError::new(Kind::Local, why);
        // An RSA key takes seconds of a slow machine; others must not wait for that.
        let made = tokio::task::spawn_blocking(move || key::make(kind)).await;
        let made = made.map_err(|e| local(e.to_string()))?;
        let key = made.map_err(|e| local(e.to_string()))?;
        let request = self.request(&key).map_err(|e| local(e.to_string()))?;
        let finalized = again(async || order.finalize_csr(&request).await).await;
        finalized.map_err(|e| self.failure(&e))?;
        let chain = again(async || order.poll_certificate(&POLLING).await).await;
        let chain = chain.map_err(|e| self.failure(&e))?;
        let chain = leaf::chain(&chain)
            .ok_or_else(|| rejected("what the authority gave is no chain of certificates"))?;
        let leaf = chain.first().and_then(|der| leaf::read(der));
        match leaf {
            Some(leaf) if leaf.public_key == key.subject_public_key_info() => Ok(Pair {
                kind,
                chain: leaf::pem(&chain),
                key: key::pem(&key),
            }),
            Some(_) => Err(rejected("the authority gave a certificate for another key").into()),
            None => Err(rejected("the authority's certificate cannot be read").into()),
        }
    }

    fn request(&self, key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(key)?.der().to_vec())
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(PATIENCE, work).await {
        Ok(ended) => ended,
        Err(_) => Err(AcmeError::new(Kind::ServerDown, "the authority takes too long").into()),
    }
}

fn rejected(text: &str) -> AcmeError {
    AcmeError::new(Kind::Rejected, text)
}

fn identifier(name: &Name) -> Identifier {
    match name {
        Name::Dns(name) => Identifier::Dns(name.clone()),
        Name::Ip(address) => Identifier::Ip(*address),
    }
}

fn name_of(text: &str) -> Result<Name, AcmeError> {
    let named = Name::parse(text);
    named.map_err(|_| {
        rejected(&format!(
            "the authority wants a proof for `{text}`, which nobody ordered"
        ))
    })
}

/// The name of a certificate in ARI (RFC 9773, 4.1). `None`: its authority gave it none.
pub fn certificate_id(leaf: &leaf::Leaf) -> Option<CertificateIdentifier<'static>> {
    let authority = leaf.authority.as_deref()?;
    let id = CertificateIdentifier::new(authority.into(), leaf.serial.as_slice().into());
    Some(id.into_owned())
}

fn choose_profile(
    wanted: Option<&str>,
    offered: &[&str],
    has_address: bool,
) -> Result<Option<String>, AcmeError> {
    let has = |name: &&str| offered.contains(name);
    match wanted {
        // One that knows no profiles has one kind of certificate.
        _ if offered.is_empty() => Ok(None),
        Some(wanted) if has(&wanted) => Ok(Some(wanted.to_owned())),
        Some(wanted) => Err(
            rejected(&format!("the authority has no profile `{wanted}`"))
                .hint(format!("it has {}", offered.join(", "))),
        ),
        None => {
            let usual: &[&str] = if has_address {
                &["shortlived", "classic"]
            } else {
                &["classic", "default"]
            };
            let chosen = usual.iter().copied().find(has).or(offered.first().copied());
            Ok(chosen.map(str::to_owned))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_always_asked_for_where_there_are_some() {
        let offered = &["classic", "shortlived", "tlsserver"];
        let choose =
            |wanted, offered, has_address| choose_profile(wanted, offered, has_address).unwrap();
        assert_eq!(choose(None, offered, false).unwrap(), "classic");
        assert_eq!(choose(None, offered, true).unwrap(), "shortlived");
        assert_eq!(
            choose(Some("tlsserver"), offered, false).unwrap(),
            "tlsserver"
        );
        assert_eq!(choose(None, &["b", "a"], false).unwrap(), "b");
        assert_eq!(choose(Some("classic"), &[], false), None);
        let refused = choose_profile(Some("x"), offered, false).unwrap_err();
        assert_eq!(
            refused.hint.unwrap(),
            "it has classic, shortlived, tlsserver"
        );
    }

    /// The example of RFC 9773, 4.1.
    #[test]
    fn a_certificate_is_named_by_its_authoritys_key_and_its_serial_number() {
        let leaf = leaf::Leaf {
            not_before: 0,
            not_after: 0,
            serial: vec![0x00, 0x87, 0x65, 0x43, 0x21],
            public_key: Vec::new(),
            authority: Some(vec![
                0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
                0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
            ]),
        };
        let id = certificate_id(&leaf).unwrap().to_string();
        assert_eq!(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }
}
