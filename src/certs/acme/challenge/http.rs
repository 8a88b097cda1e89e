//! A small web server that knows the answers of HTTP-01 and nothing else, for as long as an order runs.
//!
//! It reads a request's first line, whatever follows, and closes. It refuses to wait for those who dawdle, and to serve a
//! crowd. Invariant: of what a stranger sends no more than [`LONGEST_HEAD`] bytes are read.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::tokens::Tokens;
use crate::certs::acme::settings::HTTP_PORT;
use crate::certs::acme::trouble::AcmeError;

const LONGEST_HEAD: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
/// Authorities look from several places at once.
const SEATS: usize = 32;

/// Listens until it is dropped.
pub struct Listener(AbortHandle);

impl Listener {
    /// # Errors
    /// If the port is taken.
    pub fn open(port: u16, tokens: Tokens) -> Result<Listener, AcmeError> {
        let listener = super::listen(port, HTTP_PORT)?;
        Ok(Listener(
            tokio::spawn(serve(listener, tokens)).abort_handle(),
        ))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: TcpListener, tokens: Tokens) {
    let seats = Arc::new(Semaphore::new(SEATS));
    let mut guests = JoinSet::new();
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let tokens = tokens.clone();
                guests.spawn(async move {
                    // How it ends is the other side's affair.
                    let _ = timeout(PATIENCE, attend(stream, &tokens)).await;
                    drop(seat);
                });
            }
            // Out of descriptors, for one.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        while guests.try_join_next().is_some() {}
    }
}

async fn attend(mut stream: TcpStream, tokens: &Tokens) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    let mut piece = [0; 512];
    while !ends(&head) && head.len() < LONGEST_HEAD {
        match stream.read(&mut piece).await? {
            0 => break,
            count => head.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    let answer = path(&head).and_then(|path| tokens.answer(path));
    let text = match answer {
        Some(body) => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
        None => {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Whether the head of the request is there. What is not read would reset the connection when we close.
fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|four| four == b"\r\n\r\n") || head.windows(2).any(|two| two == b"\n\n")
}

/// The path that a GET asks for, without its query.
fn path(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_request = method == "GET" && version.starts_with("HTTP/1.") && words.next().is_none();
    let path = target.split('?').next()?;
    is_request.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_request_is_read() {
        let of = |head: &str| path(head.as_bytes()).map(str::to_owned);
        assert_eq!(of("GET /a/b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(), "/a/b");
        assert_eq!(of("GET /a?b HTTP/1.0\n\n").unwrap(), "/a");
        for head in [
            "",
            "GET",
            "GET /a",
            "POST /a HTTP/1.1",
            "GET /a HTTP/2",
            "GET /a b HTTP/1.1",
            "\r\nGET /a HTTP/1.1",
        ] {
            assert_eq!(of(head), None, "{head}");
        }
        assert_eq!(path(b"GET /\xff HTTP/1.1\r\n"), None);
        assert!(ends(b"GET / HTTP/1.1\r\nA: b\r\n\r\n") && !ends(b"GET / HTTP/1.1\r\n"));
    }
}
