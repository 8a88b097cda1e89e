//! HTTP as the ACME crate wants it, by the product's own client.
//!
//! It adds what the crate does not have: limits of time and length, the certificate of a company's authority, a proxy of the
//! environment, and what a refusal says of waiting. It refuses addresses without TLS (RFC 8555, 6.1). Invariant: whatever an
//! authority answers, an error is typed; a web page in the place of JSON is none of JSON's.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use super::trouble::{AcmeError, Kind};
use crate::sys::clock::unix_millis;
use crate::sys::file::read_text;
use crate::web::retry_after::retry_after;
use crate::web::{Client, Patience, Problem, WebError};

/// The longest answer, in bytes; a chain has some thousands.
const LONGEST_ANSWER: usize = 1 << 20;
/// For an authority that names a window and not when to ask again, in seconds.
const WINDOW_PAUSE: &str = "21600";

/// How long one question may take. Authorities under load need many seconds.
pub const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(15),
    whole: Duration::from_secs(45),
};

/// The client; its copies share what was told.
#[derive(Clone)]
pub struct Http {
    client: Client,
    /// What the last refusal said of waiting.
    told: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    /// One that trusts the authorities of this file too.
    pub fn new(authority: Option<&Path>, patience: Patience) -> Result<Http, AcmeError> {
        let local = |why: String| {
            AcmeError::new(Kind::Local, why)
                .hint("SWITCHHOOK_ACME_CA_FILE names a file with certificates in PEM")
        };
        let authorities = match authority {
            Some(path) => read_text(path).map_err(|e| local(super::chain_of(&e)))?,
            None => String::new(),
        };
        if authority.is_some() && !authorities.contains("-----BEGIN CERTIFICATE-----") {
            return Err(local(
                "there is no certificate in the file of authorities".to_owned(),
            ));
        }
        let client = Client::trusting(patience, authorities.as_bytes());
        Ok(Http {
            client: client.map_err(|e| local(e.to_string()))?,
            told: Arc::default(),
        })
    }

    /// What the last refusal said of waiting; then it is forgotten.
    pub fn told(&self) -> Option<Duration> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (mut parts, body) = request.into_parts();
        let other = |error: WebError| Error::Other(Box::new(error));
        let at = parts.uri.to_string();
        if parts.uri.scheme_str() != Some("https") {
            let problem = Problem::Address;
            return Err(other(WebError { at, problem }));
        }
        // Ours tells an authority whom to ask.
        parts.headers.remove(USER_AGENT);
        let is_plain = parts.method != Method::POST;
        let asks_window = parts.method == Method::GET;
        let body = to_bytes(Body::new(body), LONGEST_ANSWER).await;
        let body = body.map_err(|e| Error::Other(Box::new(e)))?.to_vec();
        let request = Request::from_parts(parts, body);
        let mut answer = self
            .client
            .send(request, LONGEST_ANSWER)
            .await
            .map_err(other)?;
        let status = answer.status();
        if status.is_success() {
            if asks_window && !answer.headers().contains_key(RETRY_AFTER) {
                let pause = HeaderValue::from_static(WINDOW_PAUSE);
                answer.headers_mut().insert(RETRY_AFTER, pause);
            }
        } else {
            let wait = answer.headers().get(RETRY_AFTER);
            let wait = wait.and_then(|text| text.to_str().ok()).map(str::to_owned);
            self.note(wait.as_deref());
            if is_plain || !is_problem(&answer) {
                let problem = Problem::Status {
                    code: status.as_u16(),
                    retry_after: wait,
                };
                return Err(other(WebError {
                    at: host(&at),
                    problem,
                }));
            }
        }
        let (parts, body) = answer.into_parts();
        Ok(BytesResponse {
            parts,
            body: Box::new(Bytes::from(body)),
        })
    }

    fn note(&self, text: Option<&str>) {
        let wait = text.and_then(|text| retry_after(text, unix_millis()));
        let wait = wait.and_then(|millis| u64::try_from(millis).ok());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = wait.map(Duration::from_millis);
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

fn host(url: &str) -> String {
    let address = crate::web::address::Address::parse(url);
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}

/// Whether the body is a problem document (RFC 7807).
fn is_problem(answer: &Response<Vec<u8>>) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE);
    let is_json = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.contains("json"));
    is_json && serde_json::from_slice::<instant_acme::Problem>(answer.body()).is_ok()
}

/// What an error of the crate is to us; `told`: what a refusal said of waiting.
pub fn trouble(error: &Error, told: Option<Duration>) -> AcmeError {
    match error {
        Error::Api(problem) => {
            let mut detail = problem.detail.clone().unwrap_or_default();
            for part in &problem.subproblems {
                detail.push_str(&format!("; {part}"));
            }
            super::trouble::of_problem(problem.r#type.as_deref(), problem.status, &detail)
                .after(told)
        }
        Error::Timeout(_) => AcmeError::new(
            Kind::ServerDown,
            "the authority did not come to an end with the order",
        )
        .after(told),
        Error::Json(why) => AcmeError::new(
            Kind::Rejected,
            format!("the answer is none of an ACME server: {why}"),
        )
        .hint("check SWITCHHOOK_ACME_DIRECTORY: it must be the address of the directory itself"),
        Error::Crypto | Error::KeyRejected => AcmeError::new(Kind::Local, error.to_string()),
        Error::Other(other) => match other.downcast_ref::<WebError>() {
            Some(error) => web_trouble(error).after(told),
            None => AcmeError::new(Kind::Rejected, error.to_string()),
        },
        _ => AcmeError::new(Kind::Rejected, error.to_string()),
    }
}

fn web_trouble(error: &WebError) -> AcmeError {
    // The hint of the web room is for all of its users; here another variable is meant.
    let text = error.to_string();
    let text = text.split("\nhint:").next().unwrap_or_default();
    let of = |kind| AcmeError::new(kind, format!("the authority does not answer: {text}"));
    match &error.problem {
        Problem::Status { code: 429, .. } => of(Kind::RateLimited),
        Problem::Status { code: 500.., .. } => of(Kind::ServerDown),
        Problem::Status { .. } | Problem::Address | Problem::TooLarge(_) => of(Kind::Rejected)
            .hint(
                "check SWITCHHOOK_ACME_DIRECTORY: it must be the address of the directory itself",
            ),
        Problem::Tls(_) => of(Kind::ServerDown).hint(
            "for an authority within a company name its certificate in SWITCHHOOK_ACME_CA_FILE",
        ),
        Problem::NoAuthorities(_) => of(Kind::Local),
        _ => of(Kind::ServerDown),
    }
}

/// Whether the authority did not take the number that every request bears once; it then has done nothing.
pub fn is_bad_nonce(error: &Error) -> bool {
    has_type(error, "badNonce")
}

/// Whether the authority gives this word as the error's type.
pub fn has_type(error: &Error, word: &str) -> bool {
    match error {
        Error::Api(problem) => {
            super::trouble::word(problem.r#type.as_deref().unwrap_or_default()) == word
        }
        _ => false,
    }
}

/// How often a request is made again whose nonce was not taken. The crate itself tries three times: an authority that
/// refuses every second one lets one of some millions of requests fail.
const MOST_NONCES: usize = 8;

/// Does `step` again as long as only the nonce is refused.
pub async fn again<T>(mut step: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..MOST_NONCES {
        match step().await {
            Err(error) if is_bad_nonce(&error) => {}
            other => return other,
        }
    }
    step().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad_nonce() -> Error {
        let text = r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"x","status":400}"#;
        Error::Api(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_refused_nonce_is_tried_again_and_there_is_an_end_to_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let tries = |refused: usize| {
            let mut count = 0;
            let ended = runtime.block_on(again(async || {
                count += 1;
                if count <= refused {
                    Err(bad_nonce())
                } else {
                    Ok(())
                }
            }));
            (count, ended.is_ok())
        };
        assert_eq!(tries(0), (1, true));
        assert_eq!(tries(7), (8, true));
        assert_eq!(tries(100), (8, false));
        let mut count = 0;
        let other = runtime.block_on(again(async || {
            count += 1;
            Err::<(), _>(Error::Crypto)
        }));
        assert!(other.is_err() && count == 1);
        assert_eq!(trouble(&bad_nonce(), None).kind, Kind::ServerDown);
    }
}
