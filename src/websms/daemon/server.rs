//! The carriers' door: webhooks in, answers out.
//!
//! The API's requests come in by the same door and go to `api`. `guests` says who may stay and how long, `line` tells it what
//! goes over a connection; `plan` is the configuration as requests need it; `webhook` is the way of a request, `trial` tests it,
//! `answer` what is said in the end, `fetch` what must be asked of
//! Amazon before, and `protocol` what is told to people.
//!
//! It refuses what costs: bodies that are too large before they are read, heads and bodies that dawdle, crowds of one
//! sender. Invariant: a message is answered as taken when it is on disk, and never with a status that makes the carrier
//! forget it when the trouble is ours.

mod answer;
mod api;
mod fetch;
mod guests;
mod line;
mod media;
mod plan;
mod protocol;
pub mod trial;
mod webhook;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_rustls::TlsAcceptor;

use super::{Office, Options};
use crate::certs::acme::{CHALLENGE_PATH, Tokens};
use crate::certs::serve;
use crate::sys::socket::passed_listeners;
use guests::{Guests, Seat};
use line::Line;
use webhook::Counter;

/// The longest head of a request, in bytes, and the most of its headers.
const LONGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// The name of the socket with TLS among those that PID 1 passes.
const TLS: &str = "tls";
/// How often those are looked for who have stayed too long.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds between two looks at the spool.
const ROUNDS: u32 = 10;

/// Who sits at the other end of a connection, for whoever answers it.
#[derive(Debug, Clone)]
struct Peer {
    address: SocketAddr,
    seat: Arc<Seat>,
}

/// A socket that people come in by.
#[derive(Debug)]
pub struct Door {
    socket: std::net::TcpListener,
    /// With TLS, by the certificate that the keeper has put in use.
    is_secure: bool,
}

impl Door {
    /// Where it is; none for one with TLS.
    pub fn address(&self) -> Option<SocketAddr> {
        let address = self.socket.local_addr().ok()?;
        (!self.is_secure).then_some(address)
    }
}

/// The sockets that PID 1 has passed, or those that the options name.
pub fn open(options: &Options) -> io::Result<Vec<Door>> {
    let mut doors: Vec<Door> = passed_listeners()
        .into_iter()
        .map(|(name, socket)| Door {
            socket: std::net::TcpListener::from(socket),
            is_secure: name == TLS,
        })
        .collect();
    if doors.is_empty() {
        for (address, is_secure) in [(options.listen, false), (options.listen_tls, true)] {
            if let Some(address) = address {
                let socket = std::net::TcpListener::bind(address)?;
                doors.push(Door { socket, is_secure });
            }
        }
    }
    for door in &doors {
        door.socket.set_nonblocking(true)?;
    }
    Ok(doors)
}

/// Serves until the office closes and everybody has had an answer.
pub async fn serve(doors: Vec<Door>, office: Arc<Office>) {
    let counter = Arc::new(Counter::new(Arc::clone(&office)));
    // Told at the start, not at the first request.
    counter.plan();
    let answers = Tokens::at(counter.acme_answers());
    let service = TowerToHyperService::new(
        Router::new()
            // No sender is asked for a proof here: an authority looks from anywhere, and what it reads is public.
            .route(&format!("{CHALLENGE_PATH}{{token}}"), get(prove))
            .with_state(answers)
            .fallback(webhook::take)
            .with_state(Arc::clone(&counter)),
    );
    let guests = Arc::new(Guests::default());
    // Each connection has one; when all are gone nobody is left.
    let (present, mut gone) = mpsc::channel::<Infallible>(1);
    let mut porters = tokio::task::JoinSet::new();
    for Door { socket, is_secure } in doors {
        let acceptor = match is_secure.then(|| serve::config(&office.paths.certificates())) {
            None => None,
            Some(Ok(config)) => Some(TlsAcceptor::from(config)),
            Some(Err(error)) => {
                protocol::cannot_listen(&io::Error::other(error));
                continue;
            }
        };
        let door = match TcpListener::from_std(socket) {
            Ok(door) => door,
            Err(error) => {
                protocol::cannot_listen(&error);
                continue;
            }
        };
        let house = House {
            service: service.clone(),
            guests: Arc::clone(&guests),
            counter: Arc::clone(&counter),
            present: present.clone(),
            acceptor,
        };
        porters.spawn(house.receive(door));
    }
    drop(present);
    let rounds = tokio::spawn(go_round(Arc::clone(&guests), counter));
    office.closed().await;
    // Whoever comes now waits in the socket, which is PID 1's.
    porters.shutdown().await;
    guests.close();
    gone.recv().await;
    rounds.abort();
}

/// What an authority looks for when a certificate is ordered (RFC 8555, 8.3).
async fn prove(State(answers): State<Tokens>, asked: Uri) -> (StatusCode, String) {
    match answers.answer(asked.path()) {
        Some(answer) => (StatusCode::OK, answer),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

type Webhooks = TowerToHyperService<Router>;

/// What a connection needs.
#[derive(Clone)]
struct House {
    service: Webhooks,
    guests: Arc<Guests>,
    counter: Arc<Counter>,
    present: mpsc::Sender<Infallible>,
    /// Behind a door with TLS.
    acceptor: Option<TlsAcceptor>,
}

impl House {
    /// Takes connections for ever.
    async fn receive(self, door: TcpListener) {
        loop {
            let (stream, peer) = match door.accept().await {
                Ok(accepted) => accepted,
                // Out of descriptors, for one.
                Err(_) => {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let trusted = self.counter.plan().trusts(peer.ip());
            if let Some(seat) = self.guests.admit(peer.ip(), trusted) {
                let house = self.clone();
                tokio::spawn(async move {
                    house.welcome(stream, peer, &seat).await;
                    house.guests.leave(&seat);
                    drop(house.present);
                });
            }
        }
    }

    async fn welcome(&self, stream: TcpStream, peer: SocketAddr, seat: &Arc<Seat>) {
        // An answer is one small packet; it is not to wait for a second.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = &self.acceptor else {
            return self.attend(stream, peer, seat).await;
        };
        // The handshake has the time of a request's head; whoever dawdles is shown out.
        let secured = tokio::select! {
            secured = acceptor.accept(stream) => secured,
            () = seat.called() => return,
        };
        if let Ok(stream) = secured {
            self.attend(stream, peer, seat).await;
        }
    }

    /// Answers the requests of one connection.
    async fn attend<S>(&self, stream: S, peer: SocketAddr, seat: &Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let seat = Arc::clone(seat);
            let service = self.service.clone();
            async move {
                if !seat.asks() {
                    return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
                }
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Peer {
                    address: peer,
                    seat: Arc::clone(&seat),
                });
                let answer = service.call(request).await;
                let mut answer = answer.unwrap_or_else(|never| match never {});
                let lasting = answer.extensions_mut().remove::<media::Lasting>();
                match lasting {
                    // One that goes on says itself when it ends.
                    None if answer.extensions().get::<api::Streaming>().is_some() => {}
                    None => seat.has_answer(),
                    // It waits for the rest.
                    Some(media::Lasting(end)) => drop(tokio::spawn(async move {
                        let _ = end.acquire().await;
                        seat.has_answer();
                    })),
                }
                Ok::<_, io::Error>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        builder
            // Time is kept by `guests`: hyper's clock counts a connection that rests as one that dawdles.
            .header_read_timeout(None)
            .max_headers(MOST_HEADERS)
            .max_buf_size(LONGEST_HEAD);
        let line = TokioIo::new(Line::new(stream, Arc::clone(seat)));
        let mut connection = pin!(builder.serve_connection(line, service));
        loop {
            tokio::select! {
                // How a connection ends is the other side's affair.
                _ = connection.as_mut() => return,
                () = seat.called() => match seat.must_go() {
                    true => return,
                    false => connection.as_mut().graceful_shutdown(),
                }
            }
        }
    }
}

/// Shows those out who have stayed too long, and has an eye on the spool.
async fn go_round(guests: Arc<Guests>, counter: Arc<Counter>) {
    let mut tick = interval(ROUND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0u32.. {
        tick.tick().await;
        guests.show_out();
        counter.protocol.breathe();
        if round.is_multiple_of(ROUNDS) {
            counter.plan();
            counter.look_after_spool().await;
        }
    }
}
