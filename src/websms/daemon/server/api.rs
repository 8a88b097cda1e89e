//! The API's side of the server: who asks, whether they may, and what they hear.
//!
//! It begins where a token is configured; until then its paths are carriers' paths as all others. `messages` reads and sends,
//! `events` tells what happens. A token is looked for before anything else is looked at, and an address that has none a few
//! times is not looked at for a while. Invariant: of a message that is none of a client's numbers it hears as of one that is
//! not there.

mod events;
mod messages;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::Peer;
use super::answer::Verdict;
use super::plan::Plan;
use super::protocol::Asked;
use super::webhook::Counter;
use crate::sys::clock;
use crate::websms::api::OPENAPI;
use crate::websms::api::access::{self, Client};
use crate::websms::api::attempts::Attempts;
use crate::websms::api::problem::{self, Problem};
use crate::websms::api::route::{self, Route};
use crate::websms::daemon::Office;
use crate::websms::request::Request;
use crate::websms::source;
use crate::websms::spool::SpoolError;

pub use events::Streaming;

/// What all requests of the API share.
#[derive(Debug, Default)]
pub struct Api {
    attempts: Mutex<Attempts>,
    readers: events::Readers,
}

/// A request whose client is known.
struct Call<'a> {
    counter: &'a Counter,
    office: &'a Arc<Office>,
    client: &'a Client,
    request: Request<'a>,
    peer: &'a Peer,
}

type Answer = Result<Response, Problem>;

impl Call<'_> {
    fn may_read(&self) -> Result<(), Problem> {
        may(self.client.rights.read, "read")
    }

    fn may_send(&self) -> Result<(), Problem> {
        may(self.client.rights.send, "send")
    }
}

fn may(has: bool, right: &str) -> Result<(), Problem> {
    match has {
        true => Ok(()),
        false => Err(forbidden(format!("this token has no right to {right}"))
            .hint("`rights [name]` in [api] of websms.conf says what a client may do")),
    }
}

fn forbidden(why: impl Into<String>) -> Problem {
    Problem::new(403, "forbidden", why)
}

/// Whether a request for this path is the API's.
pub fn is_for_us(plan: &Plan, path: &str) -> bool {
    !plan.config.clients.is_empty() && route::is_ours(path) && !plan.has_path(path)
}

/// Answers a request.
pub async fn take(
    counter: &Counter,
    plan: &Plan,
    peer: &Peer,
    parts: &Parts,
    headers: &[(&str, &str)],
    body: Body,
) -> Response {
    let target = parts.uri.path_and_query();
    let request = Request {
        method: parts.method.as_str(),
        target: target.map_or("", |target| target.as_str()),
        headers,
        body: &[],
    };
    let sender = source::sender(peer.address.ip(), &request, &plan.proxies);
    let client = match &sender {
        Ok(sender) => admit(counter, plan, *sender, &request),
        Err(unknown) => Err((forbidden(unknown.to_string()), true)),
    };
    let answer = match client {
        Ok(client) => {
            let call = Call {
                counter,
                office: &counter.office,
                client,
                request,
                peer,
            };
            serve(&call, body).await
        }
        Err((problem, is_told)) => {
            if is_told {
                let sender = sender.unwrap_or(peer.address.ip().to_canonical());
                note(counter, &request, sender, &problem);
            }
            Err(problem)
        }
    };
    answer.unwrap_or_else(|problem| refusal(&problem))
}

/// The client; otherwise why not, and whether that is worth a row.
fn admit<'a>(
    counter: &Counter,
    plan: &'a Plan,
    sender: IpAddr,
    request: &Request<'_>,
) -> Result<&'a Client, (Problem, bool)> {
    let now = clock::unix_millis();
    let attempts = &counter.api.attempts;
    let may = attempts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .may(sender, now);
    may.map_err(|seconds| {
        let why = "this address has tried too often without a token that is known";
        let problem = Problem::new(429, "too-many-tries", why).later(seconds);
        (problem, false)
    })?;
    let given = request.header("Authorization");
    let token = given.and_then(access::bearer);
    let found = token.and_then(|token| access::find(&plan.config.clients, token));
    found.ok_or_else(|| {
        let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.failed(sender, now);
        let why = match token {
            Some(_) => "this token is not known",
            None => "there is no bearer token",
        };
        let problem = Problem::new(401, "no-token", why)
            .hint("send the header `Authorization: Bearer TOKEN`, with a token of [api] in websms.conf")
            .header("www-authenticate", "Bearer realm=\"websms\"");
        (problem, true)
    })
}

/// The request stands in the list of requests, as those of carriers do.
fn note(counter: &Counter, request: &Request<'_>, sender: IpAddr, problem: &Problem) {
    let asked = Asked {
        interface: None,
        sender: sender.to_string(),
        method: request.method,
        path: request.path(),
    };
    let verdict = Verdict::refused(problem.status, format!("the API: {}", problem.detail));
    counter
        .protocol
        .note(&counter.office.spool, asked, &verdict);
}

async fn serve(call: &Call<'_>, body: Body) -> Answer {
    let path = call.request.path();
    let route = route::find(path).ok_or_else(|| {
        Problem::new(404, "no-such-path", "the API has no such path")
            .hint("/openapi.json describes those that it has")
    })?;
    let method = call.request.method;
    if !route.takes(method) {
        return Err(Problem::new(
            405,
            "no-such-method",
            "this path is not asked for by that method",
        )
        .header("allow", route.methods()));
    }
    match route {
        Route::Messages if method == "POST" => messages::send(call, body).await,
        Route::Messages => messages::list(call).await,
        Route::Message(id) => messages::show(call, id).await,
        Route::Retry(id) => messages::retry(call, id).await,
        Route::Cancel(id) => messages::cancel(call, id).await,
        Route::Events => events::follow(call),
        Route::Requests => messages::requests(call).await,
        Route::Description => Ok(answer(200, "application/json", Body::from(OPENAPI))),
    }
}

fn answer(status: u16, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn json(status: u16, value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", Body::from(text))
}

fn refusal(problem: &Problem) -> Response {
    let body = Body::from(problem.json());
    let mut response = answer(problem.status, problem::MEDIA_TYPE, body);
    if let Some((name, value)) = &problem.header
        && let Ok(value) = HeaderValue::try_from(value)
    {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, value);
    }
    response
}

/// What a trouble of the spool means to who asked.
fn of_spool(counter: &Counter, error: &SpoolError) -> Problem {
    let (status, code) = match error {
        SpoolError::KeyUsed => (422, "key-used"),
        SpoolError::Unknown(_) => (404, "no-such-message"),
        _ => (503, "not-now"),
    };
    let mut problem = Problem::new(status, code, error.to_string());
    problem.hint = error.hint().map(str::to_owned);
    if status == 503 {
        counter.has_trouble(error);
        return problem.later(error.retry_after().unwrap_or(30));
    }
    problem
}
