//! Asterisk's REST interface (ARI), as far as we use it: hand over a text message, ask whether an endpoint is there.
//!
//! One connection, kept open; the requests follow each other. It refuses to retry: a request that broke may have been carried
//! out, and what then is the caller's decision. Invariant: values from outside stand percent-encoded in the target or as
//! strings in the JSON, nowhere else.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection or an answer may take. The exchange is on this machine.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Where it is and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Door {
    pub server: String,
    pub port: u16,
    pub username: String,
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({}@{}:{})", self.username, self.server, self.port)
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AriError {
    /// Nobody listens, or no answer came. It may have been carried out.
    #[error("Asterisk cannot be reached at {at}: {why}")]
    Unreachable { at: String, why: String },
    /// The user or the password is wrong, or the user may only read.
    #[error("Asterisk does not let the user `{user}` in (status {status})")]
    Denied { user: String, status: u16 },
    /// No such endpoint, or no phone of it is there.
    #[error("there is no such endpoint, or none of its phones is there")]
    NotThere,
    #[error("Asterisk answers with status {0}")]
    Status(u16),
}

/// A text message for one phone.
#[derive(Debug, Clone)]
pub struct Text<'a> {
    /// `pjsip:ENDPOINT/URI`, or `pjsip:ENDPOINT` for whichever of its phones.
    pub to: &'a str,
    pub from: &'a str,
    pub body: &'a str,
    /// Headers of the SIP request.
    pub headers: &'a [(&'a str, &'a str)],
}

/// The client.
#[derive(Debug)]
pub struct Ari {
    door: Door,
    sender: Option<SendRequest<Body>>,
}

impl Ari {
    pub fn new(door: Door) -> Ari {
        Ari { door, sender: None }
    }

    /// Hands a message to Asterisk's SIP stack. What the phone answers is not known by then.
    ///
    /// # Errors
    /// If Asterisk did not take it.
    pub async fn send_message(&mut self, text: &Text<'_>) -> Result<(), AriError> {
        let target = format!(
            "/ari/endpoints/sendMessage?to={}&from={}",
            encoded(text.to),
            encoded(text.from)
        );
        let headers: serde_json::Map<String, Value> = text
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let body = json!({ "body": text.body, "variables": headers });
        let body = Body::from(body.to_string());
        self.ask(Method::PUT, target, body).await.map(drop)
    }

    /// Whether one of the endpoint's phones is there; `None`: there is no such endpoint.
    ///
    /// # Errors
    /// If Asterisk does not say.
    pub async fn is_there(&mut self, endpoint: &str) -> Result<Option<bool>, AriError> {
        let target = format!("/ari/endpoints/PJSIP/{}", encoded(endpoint));
        match self.ask(Method::GET, target, Body::empty()).await {
            Ok(answer) => Ok(Some(answer.get("state") == Some(&Value::from("online")))),
            Err(AriError::NotThere) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(&mut self, method: Method, target: String, body: Body) -> Result<Value, AriError> {
        let asked = timeout(ANSWER, self.exchange(method, target, body)).await;
        let (status, answer) = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Err(self.unreachable(why)),
            Err(_) => return Err(self.unreachable("no answer came in time".to_owned())),
        };
        match status {
            200..300 => Ok(serde_json::from_slice(&answer).unwrap_or_default()),
            401 | 403 => Err(AriError::Denied {
                user: self.door.username.clone(),
                status,
            }),
            404 => Err(AriError::NotThere),
            _ => Err(AriError::Status(status)),
        }
    }

    /// The connection is of no use after an error.
    fn unreachable(&mut self, why: String) -> AriError {
        self.sender = None;
        AriError::Unreachable {
            at: format!("{}:{}", self.door.server, self.door.port),
            why,
        }
    }

    async fn exchange(
        &mut self,
        method: Method,
        target: String,
        body: Body,
    ) -> Result<(u16, Vec<u8>), String> {
        let login = format!("{}:{}", self.door.username, self.door.password);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, format!("{}:{}", self.door.server, self.door.port))
            .header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(login)))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| error.to_string())?;
        let sender = self.connected().await?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = to_bytes(Body::new(answer.into_body()), LONGEST).await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((status, body.to_vec()))
    }

    /// The open connection; one that Asterisk has closed meanwhile is made anew before anything is sent.
    async fn connected(&mut self) -> Result<&mut SendRequest<Body>, String> {
        let is_open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let place = (self.door.server.as_str(), self.door.port);
            let stream = TcpStream::connect(place).await;
            let stream = stream.map_err(|error| error.to_string())?;
            // A request is small, and is waited for.
            let _ = stream.set_nodelay(true);
            let (sender, connection) = handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            // It ends with the sender; its errors are those of the requests.
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender
            .as_mut()
            .ok_or_else(|| "there is no connection".to_owned())
    }
}

/// A value as it may stand in the target of a request (RFC 3986, unreserved characters alone).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_no_more_than_its_parameters() {
        assert_eq!(
            encoded("pjsip:a/sip:b@c;x=1&to=#\r\n ü"),
            "pjsip%3Aa%2Fsip%3Ab%40c%3Bx%3D1%26to%3D%23%0D%0A%20%C3%BC"
        );
        assert_eq!(encoded("aZ09-._~"), "aZ09-._~");
    }

    #[test]
    fn a_password_is_not_shown() {
        let door = Door {
            server: "127.0.0.1".to_owned(),
            port: 8088,
            username: "websms".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert!(!format!("{:?}", Ari::new(door)).contains("hunter2"));
    }
}
