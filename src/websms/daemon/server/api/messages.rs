//! Messages by the API: sending, reading, trying again, taking back; and the list of requests.
//!
//! Invariant: 202 is answered for what is on disk, and the same key and the same content are answered the same.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use serde::Serialize;
use tokio::time::timeout;

use super::super::webhook;
use super::{Answer, Call, forbidden, json, of_spool};
use crate::sys::clock;
use crate::sys::say::{INFO, say};
use crate::websms::api::access::{Scope, sought};
use crate::websms::api::draft::{self, Draft};
use crate::websms::api::problem::Problem;
use crate::websms::body::query;
use crate::websms::choose;
use crate::websms::control::HandedIn;
use crate::websms::daemon::Wish;
use crate::websms::daemon::carriers::Order;
use crate::websms::daemon::shapes::{BARE, HistoryShape, MessageShape, RequestShape};
use crate::websms::delivery::State;
use crate::websms::segments;
use crate::websms::spool::{Direction, Filter, Id, Message, New, SpoolError, Stored};

/// Of a page, when nobody says how many, and the most.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 500;
/// A disk that hangs is not to take all seats.
const SLOWEST_DISK: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Accepted {
    id: String,
    state: &'static str,
    segments: usize,
}

pub async fn send(call: &Call<'_>, body: Body) -> Answer {
    call.may_send()?;
    if call.request.media_type() != "application/json" {
        let why = "a message is sent as application/json";
        return Err(Problem::new(415, "no-json", why));
    }
    let key = match call.request.all("Idempotency-Key").next() {
        None => None,
        Some(_) => {
            let given = call.request.header("Idempotency-Key").unwrap_or_default();
            let key = draft::key(&call.client.name, given).ok_or_else(|| {
                let why = "an Idempotency-Key is one header of 1 to 200 letters, digits and signs of ASCII";
                Problem::new(400, "no-key", why)
            })?;
            Some(key)
        }
    };
    let bytes = webhook::read(body).await.map_err(|verdict| {
        let code = match verdict.status {
            413 => "too-large",
            408 => "too-slow",
            _ => "broken-off",
        };
        Problem::new(verdict.status, code, verdict.reason)
    })?;
    let draft = Draft::read(&bytes).map_err(|error| {
        let (status, code) = match error {
            draft::NoDraft::NoJson(_) => (400, "no-json"),
            _ => (422, "no-message"),
        };
        Problem::new(status, code, error.to_string())
            .hint("the fields are from, to, body, interface and media")
    })?;
    let from = choose::bare(&draft.from);
    if call
        .client
        .scope
        .as_ref()
        .is_some_and(|scope| !scope.has(from))
    {
        return Err(forbidden("this token may not send from that number")
            .hint("`numbers [name]` in [api] of websms.conf lists those from which it may"));
    }
    let segments = segments::count(&draft.body).count;
    let accepted = |id: Id| {
        let id = id.to_string();
        let place = format!("/v1/messages/{id}");
        let state = State::Queued.word();
        let mut response = json(
            202,
            &Accepted {
                id,
                state,
                segments,
            },
        );
        if let Ok(place) = HeaderValue::try_from(place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    };
    let of_spool = |error: SpoolError| of_spool(call.counter, &error);
    let print = draft.print();
    // What was answered once is answered again, whatever has become of its interface.
    if let Some(key) = key.clone() {
        let mark = print.clone();
        let known = call
            .office
            .spool
            .read(move |reader| reader.of_key(&key, &mark));
        match known.await.map_err(of_spool)? {
            Some((id, true)) => return Ok(accepted(id)),
            Some((_, false)) => return Err(of_spool(SpoolError::KeyUsed)),
            None => {}
        }
    }
    let new = new(call, draft, key)?;
    let stored = timeout(SLOWEST_DISK, store(call, new, print)).await;
    let stored = stored.unwrap_or(Err(SpoolError::Busy)).map_err(of_spool)?;
    call.counter.has_no_trouble();
    if stored.is_new {
        let name = &call.client.name;
        say(
            INFO,
            &format!("message {} of the client {name} waits", stored.id),
        );
    }
    Ok(accepted(stored.id))
}

async fn store(call: &Call<'_>, new: New, print: String) -> Result<Stored, SpoolError> {
    match new.key {
        Some(_) => call.office.spool.submit(new, print).await,
        None => call.office.spool.store(new).await,
    }
}

/// What is to be stored, if it can go.
fn new(call: &Call<'_>, draft: Draft, key: Option<String>) -> Result<New, Problem> {
    let config = call.office.config();
    let is_named = |name: &str| choose::find(&config, name).is_some();
    let index = match draft.interface.as_deref() {
        // That without index is what goes when nothing is chosen; an index of that name comes first.
        Some(BARE) if !is_named(BARE) && is_named("") => None,
        index => index.map(str::to_owned),
    };
    let message = HandedIn {
        to: draft.to,
        from: draft.from,
        body: draft.body,
        index,
        key: None,
        media: draft.media,
    };
    let accepted = choose::accept(&config, &message).map_err(|refusal| {
        let problem = Problem::new(422, "not-sendable", refusal.to_string());
        match refusal.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })?;
    Ok(New {
        direction: Direction::Out,
        interface: choose::name_of(accepted.interface).to_owned(),
        provider_id: None,
        key,
        from: accepted.sent.from,
        to: accepted.sent.to,
        body: accepted.sent.body,
        media: accepted.sent.media,
        received: clock::unix_millis(),
        part: None,
    })
}

#[derive(Serialize)]
struct Page {
    messages: Vec<MessageShape>,
    /// The `cursor` of the next page; null on the last.
    next: Option<String>,
}

pub async fn list(call: &Call<'_>) -> Answer {
    call.may_read()?;
    let mut filter = Filter {
        limit: PAGE,
        scope: call
            .client
            .scope
            .as_ref()
            .map(|scope| scope.spellings().to_vec()),
        ..Filter::default()
    };
    for (name, value) in fields(call)? {
        match name.as_str() {
            "direction" => {
                filter.direction = Some(match value.as_str() {
                    "in" => Direction::In,
                    "out" => Direction::Out,
                    _ => return Err(wrong("the direction is `in` or `out`")),
                });
            }
            "state" => {
                let state = State::of_word(&value);
                filter.state = Some(state.ok_or_else(|| wrong("there is no such state"))?);
            }
            "number" => filter.spellings = Some(sought(&value)),
            "interface" => filter.interface = Some(value),
            "cursor" => {
                let id = value.parse().map_err(|_| wrong("that is no cursor"))?;
                filter.before = Some(id);
            }
            "limit" => filter.limit = limit(&value)?,
            _ => return Err(unknown_field(&name)),
        }
    }
    let most = filter.limit;
    // One more tells whether there is a next page.
    filter.limit += 1;
    let found = call.office.spool.read(move |reader| reader.list(&filter));
    let mut found = found
        .await
        .map_err(|error| of_spool(call.counter, &error))?;
    let has_more = found.len() > most as usize;
    found.truncate(most as usize);
    let next = found.last().filter(|_| has_more);
    let next = next.map(|message| message.id.to_string());
    let messages = found
        .into_iter()
        .map(|message| MessageShape::new(message, true));
    Ok(json(
        200,
        &Page {
            messages: messages.collect(),
            next,
        },
    ))
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    message: MessageShape,
    history: Vec<HistoryShape>,
}

pub async fn show(call: &Call<'_>, id: &str) -> Answer {
    call.may_read()?;
    shown(call, find(call, id).await?, 200).await
}

async fn shown(call: &Call<'_>, message: Message, status: u16) -> Answer {
    let id = message.id;
    let history = call.office.spool.read(move |reader| reader.history(id));
    let history = history
        .await
        .map_err(|error| of_spool(call.counter, &error))?;
    let shown = Shown {
        message: MessageShape::new(message, true),
        history: history.into_iter().map(HistoryShape::new).collect(),
    };
    Ok(json(status, &shown))
}

/// The message, if it is the client's business.
async fn find(call: &Call<'_>, id: &str) -> Result<Message, Problem> {
    let unknown = || Problem::new(404, "no-such-message", "there is no such message");
    let id: Id = id.parse().map_err(|_| unknown())?;
    let found = call.office.spool.read(move |reader| reader.get(id)).await;
    let found = found.map_err(|error| of_spool(call.counter, &error))?;
    let sees = |message: &Message| {
        let scope = call.client.scope.as_ref();
        scope.is_none_or(|scope| scope.sees(&message.from, &message.to))
    };
    found.filter(sees).ok_or_else(unknown)
}

/// The message, if the client may decide about it: it went out from one of its numbers, or came in for one.
async fn find_own(call: &Call<'_>, id: &str) -> Result<Message, Problem> {
    let message = find(call, id).await?;
    let number = match message.direction {
        Direction::Out => &message.from,
        Direction::In => &message.to,
    };
    match call
        .client
        .scope
        .as_ref()
        .is_none_or(|scope: &Scope| scope.has(number))
    {
        true => Ok(message),
        false => Err(forbidden("this message is of another's number")),
    }
}

pub async fn retry(call: &Call<'_>, id: &str) -> Answer {
    call.may_send()?;
    let message = find_own(call, id).await?;
    match message.direction {
        Direction::Out => order(call, message.id, Order::Retry).await,
        Direction::In if message.state.is_open() || message.state.may_be_retried() => {
            wish(call, message, Wish::Retry).await
        }
        Direction::In => Err(cannot(format!(
            "it is {} and is not tried again",
            message.state
        ))),
    }
}

pub async fn cancel(call: &Call<'_>, id: &str) -> Answer {
    call.may_send()?;
    let message = find_own(call, id).await?;
    match message.direction {
        Direction::Out => order(call, message.id, Order::Cancel).await,
        Direction::In if message.state.is_open() => wish(call, message, Wish::Cancel).await,
        Direction::In => Err(cannot(format!(
            "it is {} and cannot be taken back",
            message.state
        ))),
    }
}

fn cannot(why: String) -> Problem {
    Problem::new(409, "wrong-state", why)
}

/// The carriers' task decides, and has decided when this answers.
async fn order(
    call: &Call<'_>,
    id: Id,
    make: impl FnOnce(Id, crate::websms::daemon::carriers::Answer) -> Order,
) -> Answer {
    let (answer, done) = tokio::sync::oneshot::channel();
    let ends = || of_spool(call.counter, &SpoolError::Closed);
    let sent = call.office.orders.send(make(id, answer)).await;
    sent.map_err(|_| ends())?;
    done.await.map_err(|_| ends())?.map_err(cannot)?;
    shown(call, find(call, &id.to_string()).await?, 200).await
}

/// The phones' task decides when it comes to it.
async fn wish(call: &Call<'_>, message: Message, wish: Wish) -> Answer {
    call.office.wish(message.id, wish);
    shown(call, message, 202).await
}

#[derive(Serialize)]
struct Requests {
    requests: Vec<RequestShape>,
}

pub async fn requests(call: &Call<'_>) -> Answer {
    call.may_read()?;
    if call.client.scope.is_some() {
        return Err(
            forbidden("requests are shown to tokens without `numbers` only")
                .hint("they tell of all numbers"),
        );
    }
    let mut most = PAGE;
    for (name, value) in fields(call)? {
        match name.as_str() {
            "limit" => most = limit(&value)?,
            _ => return Err(unknown_field(&name)),
        }
    }
    let found = call.office.spool.read(move |reader| reader.requests(most));
    let found = found
        .await
        .map_err(|error| of_spool(call.counter, &error))?;
    let requests = found.into_iter().map(RequestShape::new).collect();
    Ok(json(200, &Requests { requests }))
}

fn fields(call: &Call<'_>) -> Result<Vec<(String, String)>, Problem> {
    query::read(call.request.target).map_err(|error| wrong(&error.to_string()))
}

fn limit(text: &str) -> Result<u32, Problem> {
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=LARGEST_PAGE).contains(limit));
    limit.ok_or_else(|| wrong(&format!("the limit is 1 to {LARGEST_PAGE}")))
}

fn wrong(why: &str) -> Problem {
    Problem::new(400, "wrong-query", why)
}

fn unknown_field(name: &str) -> Problem {
    let shown: String = name.chars().take(32).flat_map(char::escape_debug).collect();
    wrong(&format!(
        "the query has a field `{shown}` that nobody knows"
    ))
}
