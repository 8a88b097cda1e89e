//! Offers what was fetched of a message's media, to whoever has the link.
//!
//! It is sent as a file to be saved, never as a page: no browser is to run what a stranger sent. A file is read piece by
//! piece, as fast as the other side takes it. Invariant: without the token nothing is told, not even that there is something.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::websms::daemon::Office;
use crate::websms::daemon::media::directory;
use crate::websms::media;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;
/// For one of them to be taken by the other side.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body that lasts: closed when it has been sent, or nobody wants it any more.
#[derive(Debug, Clone)]
pub struct Lasting(pub Arc<Semaphore>);

/// The answer to a request for what has this token.
pub async fn serve(office: &Office, method: &Method, token: &str) -> Response {
    let wanted = token.to_owned();
    let found = office
        .spool
        .read(move |reader| reader.media_of_token(&wanted));
    let (id, of) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
        Err(_) => return plain(StatusCode::SERVICE_UNAVAILABLE, "please try again later\n"),
    };
    let path = directory(office, id).join(of.place.to_string());
    let opened = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        Ok::<_, std::io::Error>((file, length))
    });
    let Ok(Ok((file, length))) = opened.await else {
        return plain(StatusCode::NOT_FOUND, "there is nothing here\n");
    };
    let kind = of.kind.unwrap_or_default();
    let name = format!("{id}-{}.{}", of.place, media::ending(&kind));
    let mut response = match *method == Method::HEAD {
        true => Response::new(Body::empty()),
        false => streamed(file, length),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let disposition = format!("attachment; filename=\"{name}\"");
    for (header, value) in [
        (header::CONTENT_TYPE, kind.as_str()),
        (header::CONTENT_DISPOSITION, disposition.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "private, max-age=3600"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(header, value);
        }
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn streamed(mut file: std::fs::File, length: u64) -> Response {
    let (sender, pieces) = mpsc::channel(2);
    let end = Arc::new(Semaphore::new(0));
    let lasting = Lasting(Arc::clone(&end));
    tokio::spawn(async move {
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE];
                let count = file.read(&mut piece)?;
                piece.truncate(count);
                Ok::<_, std::io::Error>((file, piece))
            });
            let Ok(Ok((again, piece))) = read.await else {
                break;
            };
            file = again;
            if piece.is_empty() {
                break;
            }
            // Who takes nothing for so long has gone.
            match timeout(PATIENCE, sender.send(Bytes::from(piece))).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        end.close();
    });
    let mut response = Response::new(Body::new(Pieces {
        pieces,
        left: length,
    }));
    response.extensions_mut().insert(lasting);
    response
}

/// A file on its way.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(piece) => {
                let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(length);
                Some(Ok(Frame::data(piece)))
            }
            None if self.left > 0 => Some(Err(std::io::ErrorKind::UnexpectedEof.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
