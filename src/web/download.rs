//! Files of strangers' servers: as the rest of [`crate::web`], with a guard at the door.
//!
//! Who fetches what others name decides with the addresses that a name has: those that the guard refuses are never connected
//! to, also when the name has another address a moment later. A proxy would resolve names behind our back, so none is used.
//! It follows no redirection: the caller looks at the target first. Invariant: every address that is connected to has passed
//! the guard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;

use super::address::Address;
use super::{Patience, Problem, WebError, find, innermost, problem_of};

/// Which addresses may be connected to.
pub type Guard = fn(IpAddr) -> bool;

/// Who fetches.
#[derive(Clone)]
pub struct Downloader {
    client: reqwest::Client,
    guard: Guard,
}

impl std::fmt::Debug for Downloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Downloader")
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    File {
        content_type: String,
        body: Vec<u8>,
    },
    /// It is elsewhere.
    Moved(String),
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error(transparent)]
    Web(#[from] WebError),
    #[error("{at}: its address is not one of the public Internet")]
    Guarded { at: String },
}

impl DownloadError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            DownloadError::Web(error) => error.problem.is_temporary(),
            DownloadError::Guarded { .. } => false,
        }
    }
}

impl Downloader {
    /// Reads the authorities' certificates, which takes some milliseconds.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(patience: Patience, guard: Guard) -> Result<Downloader, WebError> {
        // The process has one provider of cryptography. That it is there already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("switchhook/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(patience.connect)
            .timeout(patience.whole)
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(GuardedNames(guard)))
            .build();
        let client = client.map_err(|error| WebError {
            at: "HTTPS".to_owned(),
            problem: Problem::NoAuthorities(innermost(&error)),
        })?;
        Ok(Downloader { client, guard })
    }

    /// Fetches a file of `most` bytes at most.
    ///
    /// # Errors
    /// If it does not come whole, or its server is not to be asked.
    pub async fn get(
        &self,
        address: &Address,
        authorization: Option<&str>,
        most: usize,
    ) -> Result<Got, DownloadError> {
        let fails = |problem| {
            DownloadError::Web(WebError {
                at: address.to_string(),
                problem,
            })
        };
        let url = address.exposed().parse::<reqwest::Url>();
        let url = url.map_err(|_| fails(Problem::Address))?;
        let guarded = || DownloadError::Guarded {
            at: address.to_string(),
        };
        // An address in place of a name asks no resolver.
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse::<IpAddr>()
            && !(self.guard)(ip)
        {
            return Err(guarded());
        }
        let mut builder = self.client.get(url);
        if let Some(value) = authorization {
            builder = builder.header(reqwest::header::AUTHORIZATION, value);
        }
        let mut response = match builder.send().await {
            Ok(response) => response,
            Err(error) if find::<Refused>(&error).is_some() => return Err(guarded()),
            Err(error) => return Err(fails(problem_of(&error))),
        };
        let header = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let code = response.status().as_u16();
        match code {
            200 => {}
            301 | 302 | 303 | 307 | 308 => {
                let broken = || {
                    fails(Problem::Broken(
                        "it is moved, and not told where".to_owned(),
                    ))
                };
                return Ok(Got::Moved(header(LOCATION).ok_or_else(broken)?));
            }
            code => {
                return Err(fails(Problem::Status {
                    code,
                    retry_after: None,
                }));
            }
        }
        let content_type = header(CONTENT_TYPE).unwrap_or_default();
        let promised = response.content_length().unwrap_or(0);
        if usize::try_from(promised).map_or(true, |length| length > most) {
            return Err(fails(Problem::TooLarge(most)));
        }
        let mut body = Vec::new();
        loop {
            let piece = response.chunk().await;
            let Some(piece) = piece.map_err(|e| fails(problem_of(&e)))? else {
                return Ok(Got::File { content_type, body });
            };
            if body.len() + piece.len() > most {
                return Err(fails(Problem::TooLarge(most)));
            }
            body.extend_from_slice(&piece);
        }
    }
}

/// The system's resolver, without the addresses that the guard refuses.
struct GuardedNames(Guard);

#[derive(Debug, thiserror::Error)]
#[error("no address of it may be asked")]
struct Refused;

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|e| super::Unresolved(e.to_string()))?;
            let mut may: Vec<SocketAddr> = found.collect();
            if may.is_empty() {
                return Err(super::Unresolved("it has no address".to_owned()).into());
            }
            may.retain(|address| guard(address.ip()));
            match may.is_empty() {
                true => Err(Refused.into()),
                false => Ok(Box::new(may.into_iter()) as Addrs),
            }
        })
    }
}
