//! The way of a request: sender, door, method, body, proof, meaning, disk, answer.
//!
//! Each step may end it, with a status and a reason. Invariant: what was heard is on disk when the carrier hears so; what
//! it says in one request is taken whole, or the carrier is asked to say it again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::timeout;

use super::Peer;
use super::answer::Verdict;
use super::api::{self, Api};
use super::fetch::Fetch;
use super::plan::{Entrance, Plan};
use super::protocol::{Asked, Protocol};
use super::trial::test_of;
use crate::sys::{clock, file};
use crate::websms::api::route;
use crate::websms::daemon::Office;
use crate::websms::media::token_of;
use crate::websms::message::{Heard, Receipt, Received};
use crate::websms::request::{LARGEST_BODY, Request};
use crate::websms::source;
use crate::websms::spool::{Direction, Limits, New, SpoolError};

/// For the body of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the disk. Every carrier has given up by then; a disk that hangs is not to take all seats.
const SLOWEST_DISK: Duration = Duration::from_secs(15);
/// What stands for a header's value that is no text. It must not be left out: then another of its name would count.
const NO_TEXT: &str = "\u{fffd}";

/// What all requests share.
pub struct Counter {
    pub office: Arc<Office>,
    plan: Mutex<Arc<Plan>>,
    pub protocol: Protocol,
    pub api: Api,
    fetch: Fetch,
    /// The spool has refused something.
    in_trouble: AtomicBool,
}

/// For health.
const SPOOL: &str = "spool";
/// So much is free where a spool that was full takes everything again: the largest body, in the log of the database and in
/// the database, with its pages. Short messages may find a place long before.
const ROOM: u64 = 4 * LARGEST_BODY as u64;
const INTERFACES: &str = "interfaces";

impl Counter {
    pub fn new(office: Arc<Office>) -> Counter {
        let plan = Arc::new(Plan::new(office.config()));
        let counter = Counter {
            office,
            plan: Mutex::new(plan),
            protocol: Protocol::default(),
            api: Api::default(),
            fetch: Fetch::default(),
            in_trouble: AtomicBool::new(false),
        };
        counter.report(&counter.plan());
        counter
    }

    /// Where the answers lie that an authority looks for.
    pub fn acme_answers(&self) -> PathBuf {
        self.office.paths.acme_answers()
    }

    /// The plan of the configuration in force.
    pub fn plan(&self) -> Arc<Plan> {
        let config = self.office.config();
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&plan.config, &config) {
            *plan = Arc::new(Plan::new(config));
            self.report(&plan);
        }
        Arc::clone(&plan)
    }

    fn report(&self, plan: &Plan) {
        let problem = match plan.closed {
            0 => None,
            1 => Some("an interface is closed by a mistake in websms.conf".to_owned()),
            count => Some(format!(
                "{count} interfaces are closed by mistakes in websms.conf"
            )),
        };
        self.office.report(INTERFACES, problem);
    }

    pub fn has_trouble(&self, error: &SpoolError) {
        // A queue that is full for a moment is no trouble, and our end is none.
        if matches!(error, SpoolError::Busy | SpoolError::Closed) {
            return;
        }
        self.in_trouble.store(true, Ordering::Relaxed);
        self.office
            .report(SPOOL, Some(format!("no message is taken: {error}")));
    }

    /// It has taken something. That is the end of its trouble if it would take anything.
    pub fn has_no_trouble(&self) {
        if self.in_trouble.load(Ordering::Relaxed)
            && file::free_space(&self.office.paths.state().join("websms"))
                .is_none_or(|free| free >= ROOM)
            && self.in_trouble.swap(false, Ordering::Relaxed)
        {
            self.office.report(SPOOL, None);
        }
    }

    /// Counts what waits; and finds out whether a spool that refused takes messages again.
    pub async fn look_after_spool(&self) {
        let counts = self.office.spool.read(|reader| reader.counts()).await;
        if let Ok(counts) = counts {
            let waiting = u64::from(counts.waiting_in) + u64::from(counts.waiting_out);
            self.office.note_waiting(waiting);
            let has_room = waiting < Limits::default().waiting;
            let asks = has_room && self.in_trouble.load(Ordering::Relaxed);
            // The row of the request that was refused waits to be written, too.
            if asks && self.office.spool.tend(clock::unix_millis()).await.is_ok() {
                self.has_no_trouble();
            }
        }
    }

    async fn judge<'a>(
        &self,
        peer: SocketAddr,
        parts: &'a Parts,
        headers: &'a [(&'a str, &'a str)],
        body: Body,
        asked: &mut Asked<'a>,
    ) -> Result<Verdict, Verdict> {
        let plan = self.plan();
        let target = parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        let head = Request {
            method: parts.method.as_str(),
            target,
            headers,
            body: &[],
        };
        asked.path = head.path();
        let sender = source::sender(peer.ip(), &head, &plan.proxies)
            .map_err(|unknown| Verdict::closed(403, unknown.to_string()))?;
        if sender != peer.ip().to_canonical() {
            asked.sender = sender.to_string();
        }
        let test = test_of(&self.office, peer, &head);
        // People who test an interface come from where they are, not from where the carrier is.
        let sender = test.as_ref().map_or(sender, |test| test.sender);
        let door = plan.doors.find(sender, &head).map_err(|closed| {
            match (plan.closed > 0, plan.is_empty()) {
                // It may be meant for the one that is closed; its carrier must not forget the message.
                (true, _) => Verdict::later(
                    300,
                    format!("{closed}, and a mistake in websms.conf has closed one"),
                ),
                (false, true) => Verdict::closed(404, "no carrier is configured"),
                (false, false) => Verdict::closed(closed.status(), closed.to_string()),
            }
        })?;
        let entrance = plan
            .entrance(&door.interface)
            .ok_or_else(|| Verdict::later(300, "the interface is gone"))?;
        asked.interface = Some(entrance.name.clone());
        entrance
            .takes(head.method)
            .map_err(|malformed| Verdict::no_method(&malformed, entrance.allowed()))?;
        let body = read(body).await?;
        let request = Request {
            body: &body,
            ..head
        };
        if let Some(text) = entrance.echo(&request)? {
            return Ok(Verdict::echo(text));
        }
        self.verify(entrance, &request).await?;
        let heard = entrance.hear(&request)?;
        self.act(entrance, heard, test.is_some_and(|test| !test.deliver))
            .await
    }

    async fn verify(&self, entrance: &Entrance, request: &Request<'_>) -> Result<(), Verdict> {
        let refused = |reason: String| Verdict::refused(403, reason);
        let url = entrance.certificate_url(request);
        let certificate = match url.map_err(|why| refused(why.to_string()))? {
            None => None,
            Some(url) => match self.fetch.certificate(&url).await {
                Ok(certificate) => Some(certificate),
                Err(failed) if failed.is_temporary => {
                    return Err(Verdict::later(30, failed.reason));
                }
                Err(failed) => return Err(refused(failed.reason)),
            },
        };
        let certificate = certificate.as_ref().map(|bytes| bytes.as_slice());
        let now = u64::try_from(clock::unix_now()).unwrap_or(0);
        entrance
            .verify(request, certificate, now)
            .map_err(|why| refused(why.to_string()))
    }

    async fn act(
        &self,
        entrance: &Entrance,
        heard: Heard,
        is_test: bool,
    ) -> Result<Verdict, Verdict> {
        let (messages, receipts) = match heard {
            Heard::Messages(messages) => (messages, Vec::new()),
            Heard::Receipts(receipts) => (Vec::new(), receipts),
            Heard::Both(messages, receipts) => (messages, receipts),
            Heard::Echo(text) => return Ok(Verdict::echo(text)),
            Heard::Nothing => {
                return Ok(Verdict::taken(&entrance.answer, "it holds no message"));
            }
            Heard::Confirm(url) => return self.confirm(entrance, &url).await,
        };
        let what = match (messages.len(), receipts.len()) {
            (1, 0) => None,
            (count, 0) => Some(format!("{count} messages")),
            (0, 1) => Some("a receipt".to_owned()),
            (0, count) => Some(format!("{count} receipts")),
            (some, count) => Some(format!("{some} messages, {count} receipts")),
        };
        let storing = self.store(entrance, messages, receipts, is_test);
        let stored = timeout(SLOWEST_DISK, storing).await;
        match stored.unwrap_or(Err(SpoolError::Busy)) {
            Ok(is_new) => {
                self.has_no_trouble();
                let one = if is_test {
                    "a test; no phone gets it"
                } else if is_new {
                    "a message"
                } else {
                    "a message that was here already"
                };
                let what = what.unwrap_or_else(|| one.to_owned());
                Ok(Verdict::taken(&entrance.answer, what))
            }
            Err(error) => {
                self.has_trouble(&error);
                Err(Verdict::of_spool(&error))
            }
        }
    }

    /// One after the other: what was stored before an error is known when it comes again.
    async fn store(
        &self,
        entrance: &Entrance,
        messages: Vec<Received>,
        receipts: Vec<Receipt>,
        is_test: bool,
    ) -> Result<bool, SpoolError> {
        let now = clock::unix_millis();
        let mut is_new = false;
        for message in messages {
            let new = New {
                direction: Direction::In,
                interface: entrance.name.clone(),
                provider_id: message.id,
                key: None,
                from: message.from,
                to: message.to,
                body: message.body,
                media: message.media,
                received: now,
                part: message.part,
            };
            let stored = match is_test {
                true => self.office.spool.store_test(new).await?,
                false => self.office.spool.store(new).await?,
            };
            is_new |= stored.is_new;
        }
        for receipt in receipts {
            let interface = entrance.sender.clone();
            self.office.spool.receipt(interface, receipt, now).await?;
        }
        Ok(is_new)
    }

    async fn confirm(&self, entrance: &Entrance, url: &str) -> Result<Verdict, Verdict> {
        if !entrance.confirms(url) {
            let reason = "the address of the confirmation is not the carrier's own";
            return Err(Verdict::refused(403, reason));
        }
        match self.fetch.get(url).await {
            Ok(_) => Ok(Verdict::taken(
                &entrance.answer,
                "the subscription is confirmed",
            )),
            Err(failed) => Err(Verdict::later(
                30,
                format!("the subscription cannot be confirmed: {}", failed.reason),
            )),
        }
    }
}

/// Answers a request.
pub async fn take(
    State(counter): State<Arc<Counter>>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>().cloned() else {
        return Verdict::later(1, "nobody knows who asks").response();
    };
    if let Some(token) = token_of(parts.uri.path())
        && (parts.method == Method::GET || parts.method == Method::HEAD)
    {
        return super::media::serve(&counter.office, &parts.method, token).await;
    }
    let headers: Vec<(&str, &str)> = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let text = std::str::from_utf8(value.as_bytes());
            (name.as_str(), text.unwrap_or(NO_TEXT))
        })
        .collect();
    let path = parts.uri.path();
    if route::is_ours(path) {
        let plan = counter.plan();
        if api::is_for_us(&plan, path) {
            return api::take(&counter, &plan, &peer, &parts, &headers, body).await;
        }
    }
    let peer = peer.address;
    let mut asked = Asked {
        interface: None,
        sender: peer.ip().to_canonical().to_string(),
        method: parts.method.as_str(),
        path: "",
    };
    let judged = counter
        .judge(peer, &parts, &headers, body, &mut asked)
        .await;
    let verdict = judged.unwrap_or_else(|refusal| refusal);
    counter
        .protocol
        .note(&counter.office.spool, asked, &verdict);
    verdict.response()
}

/// The whole body, if it is small and comes in time. One that says that it is too large is not read at all.
pub async fn read(body: Body) -> Result<Bytes, Verdict> {
    let too_large =
        || Verdict::refused(413, format!("the body is larger than {LARGEST_BODY} bytes"));
    let most = u64::try_from(LARGEST_BODY).unwrap_or(u64::MAX);
    if body.size_hint().lower() > most {
        return Err(too_large());
    }
    let whole = async {
        let mut body = pin!(body);
        let mut first = Bytes::new();
        let mut more: Vec<u8> = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let broken = |_| Verdict::refused(400, "the body broke off");
            // Trailers are of no use here.
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            if first.len() + more.len() + data.len() > LARGEST_BODY {
                return Err(too_large());
            }
            match first.is_empty() {
                true => first = data,
                false => more.extend_from_slice(&data),
            }
        }
        Ok(match more.is_empty() {
            true => first,
            false => Bytes::from([first.as_ref(), more.as_slice()].concat()),
        })
    };
    timeout(PATIENCE, whole)
        .await
        .unwrap_or_else(|_| Err(Verdict::refused(408, "the body did not come in time")))
}
