//! HTTP to others: the one way in which any part of the product asks a web server.
//!
//! A thin layer over reqwest with what must never be forgotten: certificates are verified, by the system's authorities and
//! by those of `SSL_CERT_FILE` and `SSL_CERT_DIR`; there is an end to every wait and to every body; no redirect is followed;
//! a proxy of the environment is used. It refuses to retry: when and how often is the caller's decision, for which the errors
//! say whether the request was sent. Invariant: no error shows more of an address than [`Address`] does.

pub mod address;
pub mod download;
pub mod retry_after;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ETAG, HeaderName, LAST_MODIFIED, RETRY_AFTER};
use reqwest::redirect::Policy;

use self::address::Address;

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the name, the connection and TLS together.
    pub connect: Duration,
    /// For all of it, up to the last byte of the answer.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
        }
    }
}

/// What is asked: a POST if there is a body, else a GET.
#[derive(Debug)]
pub struct Request<'a> {
    pub address: &'a Address,
    /// Values that hold a control character are left out.
    pub headers: Vec<(&'a str, String)>,
    pub body: Option<Vec<u8>>,
    /// The longest answer that is read, in bytes.
    pub most: usize,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Read for a status from 200 to 299 only.
    pub body: Vec<u8>,
}

/// Why there is no answer, and where it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct WebError {
    /// Scheme, host and port.
    pub at: String,
    pub problem: Problem,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("that is no address of a web server")]
    Address,
    #[error("the certificates of the authorities cannot be read: {0}")]
    NoAuthorities(String),
    #[error("the name cannot be resolved: {0}")]
    Unresolved(String),
    #[error("the connection is refused")]
    Refused,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error(
        "TLS fails: {0}\nhint: for an authority of your own, name its certificate in SSL_CERT_FILE"
    )]
    Tls(String),
    #[error("no connection came about in time")]
    TimedOutBefore,
    /// It may have been carried out.
    #[error("no answer came in time")]
    TimedOutAfter,
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    #[error("it answers with status {code}")]
    Status {
        code: u16,
        /// What the header Retry-After says.
        retry_after: Option<String>,
    },
    /// It may have been carried out.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Problem {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Problem::Address | Problem::TooLarge(_) => false,
            Problem::Status { code, .. } => *code >= 500 || matches!(code, 408 | 425 | 429),
            _ => true,
        }
    }
}

/// Connections to web servers; one serves all of a process.
#[derive(Clone)]
pub struct Client(reqwest::Client);

/// Its proxies may have passwords.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Reads the authorities' certificates, which takes some milliseconds.
    pub fn new(patience: Patience) -> Result<Client, WebError> {
        Client::trusting(patience, b"")
    }

    /// One that trusts the authorities in this PEM too.
    pub fn trusting(patience: Patience, authorities: &[u8]) -> Result<Client, WebError> {
        // The process has one provider of cryptography. That it is there already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let no_authorities = |error: reqwest::Error| WebError {
            at: "HTTPS".to_owned(),
            problem: Problem::NoAuthorities(innermost(&error)),
        };
        let authorities =
            reqwest::Certificate::from_pem_bundle(authorities).map_err(no_authorities)?;
        let client = reqwest::Client::builder()
            .tls_certs_merge(authorities)
            .user_agent(concat!("switchhook/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(patience.connect)
            .timeout(patience.whole)
            .pool_max_idle_per_host(1)
            .dns_resolver(Arc::new(Names))
            .build();
        client.map(Client).map_err(no_authorities)
    }

    /// Asks once. A status other than 200 to 299 and 304 is an error.
    pub async fn ask(&self, request: Request<'_>) -> Result<Answer, WebError> {
        let address = request.address;
        let most = request.most;
        let asked = self.exchange(request, most).await;
        asked.map_err(|problem| WebError {
            at: address.to_string(),
            problem,
        })
    }

    /// Sends a request as it is and gives the answer whatever its status, for protocols that live in HTTP's own headers.
    /// `most`: the longest answer that is read, in bytes.
    pub async fn send(
        &self,
        request: hyper::Request<Vec<u8>>,
        most: usize,
    ) -> Result<hyper::Response<Vec<u8>>, WebError> {
        let address = Address::parse(&request.uri().to_string());
        let sent = self.transfer(request, most).await;
        sent.map_err(|problem| WebError {
            at: address.map(|at| at.to_string()).unwrap_or_default(),
            problem,
        })
    }

    async fn transfer(
        &self,
        request: hyper::Request<Vec<u8>>,
        most: usize,
    ) -> Result<hyper::Response<Vec<u8>>, Problem> {
        let request = reqwest::Request::try_from(request).map_err(|_| Problem::Address)?;
        let mut response = self.0.execute(request).await.map_err(|e| problem_of(&e))?;
        let mut answer = hyper::Response::new(Vec::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        *answer.body_mut() = read(response, most).await?;
        Ok(answer)
    }

    async fn exchange(&self, request: Request<'_>, most: usize) -> Result<Answer, Problem> {
        let url = request.address.exposed();
        let url: reqwest::Url = url.parse().map_err(|_| Problem::Address)?;
        let mut builder = match request.body {
            Some(body) => self.0.post(url).body(body),
            None => self.0.get(url),
        };
        for (name, value) in request.headers {
            let value = reqwest::header::HeaderValue::from_str(&value);
            if let Ok(value) = value {
                builder = builder.header(name, value);
            }
        }
        let response = builder.send().await.map_err(|e| problem_of(&e))?;
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
            body: Vec::new(),
        };
        match answer.status {
            200..=299 => {}
            304 => return Ok(answer),
            code => {
                let retry_after = header(RETRY_AFTER);
                return Err(Problem::Status { code, retry_after });
            }
        }
        answer.body = read(response, most).await?;
        Ok(answer)
    }
}

async fn read(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, Problem> {
    let promised = response.content_length().unwrap_or(0);
    if usize::try_from(promised).map_or(true, |length| length > most) {
        return Err(Problem::TooLarge(most));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| problem_of(&e))? {
        if body.len() + piece.len() > most {
            return Err(Problem::TooLarge(most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The system's resolver, with an error that can be told from others.
struct Names;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(String);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = match found {
                Ok(found) => found.collect(),
                Err(e) => return Err(Unresolved(e.to_string()).into()),
            };
            match found.is_empty() {
                true => Err(Unresolved("it has no address".to_owned()).into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

fn problem_of(error: &reqwest::Error) -> Problem {
    if let Some(Unresolved(why)) = find(error) {
        return Problem::Unresolved(why.clone());
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return Problem::Tls(tls.to_string());
    }
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => return Problem::TimedOutBefore,
        // The wait for the connection ends earlier.
        (true, false) => return Problem::TimedOutAfter,
        (false, _) => {}
    }
    let is_refused =
        find::<io::Error>(error).is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    match error.is_connect() {
        true if is_refused => Problem::Refused,
        true => Problem::Unreachable(innermost(error)),
        false => Problem::Broken(innermost(error)),
    }
}

/// The first error of this type in the chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // It names the cause of what it holds as its own, and so leaves out what it holds.
        let held = error.downcast_ref().and_then(io::Error::get_ref);
        if let Some(found) = held.and_then(|held| find(held)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The text of the last cause: those before it repeat it, or name the address.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref::<reqwest::Error>() {
        // It has no cause, and its own text would hold the address.
        Some(_) => "the request failed".to_owned(),
        None => error.to_string(),
    }
}
