//! A small web server that knows the answers of HTTP-01 and nothing else, for as long as an order runs.
//!
//! It reads a request's first line, whatever follows, and closes. Invariant: of what a stranger sends no more than [`LONGEST_HEAD`] bytes are read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener::Listener;
use super::tokens::Tokens;
use crate::certs::acme::settings::HTTP_PORT;
use crate::certs::acme::trouble::AcmeError;

const LONGEST_HEAD: usize = 4096;

/// Opens the port.
///
/// # Errors
/// If it is taken.
pub fn open(port: u16, tokens: Tokens) -> Result<Listener, AcmeError> {
    Listener::open(port, HTTP_PORT, move |stream| {
        attend(stream, tokens.clone())
    })
}

async fn attend(mut stream: TcpStream, tokens: Tokens) -> std::io::Result<()> {
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
