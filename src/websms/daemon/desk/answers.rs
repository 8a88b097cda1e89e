//! What is done about a request of the desk.
//!
//! Invariant: a refusal is one sentence for people, and says what to do where that is known.

use super::super::carriers::Order;
use super::super::server::trial;
use super::super::{Office, Wish};
use super::rows;
use crate::sys::clock;
use crate::sys::say::{INFO, NOTICE, say};
use crate::websms::choose::{self, Accepted, Refusal};
use crate::websms::control::{HandedIn, Reply, Request, SCHEMA, Status};
use crate::websms::delivery::State;
use crate::websms::spool::{Direction, Filter, Id, Message, New, SpoolError};

/// Messages of a page, when nobody says how many.
const PAGE: u32 = 50;

/// Takes a message for a carrier; answers when it is on disk.
pub async fn hand_in(office: &Office, message: &HandedIn) -> Reply {
    let config = office.config();
    let accepted = match choose::accept(&config, message) {
        Ok(accepted) => accepted,
        Err(refusal) => return refused(&refusal),
    };
    let Accepted {
        interface,
        sent,
        segments,
    } = accepted;
    let name = choose::name_of(interface).to_owned();
    let new = New {
        direction: Direction::Out,
        interface: name.clone(),
        provider_id: None,
        key: message.key.clone(),
        from: sent.from,
        to: sent.to,
        body: sent.body,
        media: sent.media,
        received: clock::unix_millis(),
        part: None,
    };
    match office.spool.store(new).await {
        Ok(stored) => {
            if stored.is_new {
                let by = choose::shown(&name);
                let cost = choose::cost(segments);
                say(
                    INFO,
                    &format!("message {} waits for {by}: {cost}", stored.id),
                );
            }
            Reply::Queued {
                id: stored.id.to_string(),
                interface: name,
                segments: segments.count,
            }
        }
        Err(error) => failed(&error),
    }
}

fn refused(refusal: &Refusal) -> Reply {
    Reply::Refused {
        reason: refusal.to_string(),
        hint: refusal.hint().map(str::to_owned),
    }
}

fn failed(error: &SpoolError) -> Reply {
    Reply::Refused {
        reason: error.to_string(),
        hint: error.hint().map(str::to_owned),
    }
}

/// Answers all but `Request::Send`.
pub async fn answer(office: &Office, request: Request) -> Reply {
    let done = match request {
        Request::Send(message) => return hand_in(office, &message).await,
        Request::Status => status(office).await,
        Request::List { .. } => list(office, request).await,
        Request::Show { id } => show(office, &id).await,
        Request::Retry { id } => order(office, &id, Wish::Retry).await,
        Request::Cancel { id } => order(office, &id, Wish::Cancel).await,
        Request::Erase { number, dry } => erase(office, &number, dry).await,
        Request::TestWebhook {
            interface,
            to,
            deliver,
        } => trial::run(office, interface.as_deref(), to.as_deref(), deliver).await,
        Request::Replay { request, peer, at } => trial::replay(office, &request, peer, at),
        Request::Requests { limit } => {
            let limit = limit.unwrap_or(PAGE);
            let found = office
                .spool
                .read(move |reader| reader.requests(limit))
                .await;
            found.map_err(|error| failed(&error)).map(|found| {
                let requests = found.into_iter().map(rows::request).collect();
                Reply::Requests { requests }
            })
        }
    };
    done.unwrap_or_else(|refused| refused)
}

async fn status(office: &Office) -> Result<Reply, Reply> {
    let counts = office.spool.read(|reader| reader.counts()).await;
    let counts = counts.map_err(|error| failed(&error))?;
    Ok(Reply::Status(Status {
        schema: SCHEMA,
        problems: office.problems(),
        waiting_in: counts.waiting_in,
        waiting_out: counts.waiting_out,
        interfaces: office
            .config()
            .interfaces
            .iter()
            .map(rows::interface)
            .collect(),
    }))
}

async fn list(office: &Office, request: Request) -> Result<Reply, Reply> {
    let Request::List {
        direction,
        state,
        number,
        interface,
        before,
        limit,
    } = request
    else {
        return Err(Reply::refused("that is no list"));
    };
    let direction = match direction.as_deref() {
        None => None,
        Some("in") => Some(Direction::In),
        Some("out") => Some(Direction::Out),
        Some(_) => return Err(Reply::refused("the direction is `in` or `out`")),
    };
    let state = match state {
        None => None,
        Some(word) => {
            Some(State::of_word(&word).ok_or_else(|| Reply::refused("there is no such state"))?)
        }
    };
    let filter = Filter {
        direction,
        state,
        number,
        interface,
        before: before.map(|id| read_id(&id)).transpose()?,
        limit: limit.unwrap_or(PAGE),
        ..Filter::default()
    };
    let found = office.spool.read(move |reader| reader.list(&filter)).await;
    let messages = found.map_err(|error| failed(&error))?;
    Ok(Reply::List {
        messages: messages.into_iter().map(rows::message).collect(),
    })
}

async fn show(office: &Office, id: &str) -> Result<Reply, Reply> {
    let id = read_id(id)?;
    let found = office.spool.read(move |reader| {
        let message = reader.get(id)?;
        message
            .map(|message| {
                let (history, legs) = (reader.history(id)?, reader.legs(id)?);
                Ok((message, history, legs, reader.media(id)?))
            })
            .transpose()
    });
    let found = found.await.map_err(|error| failed(&error))?;
    let (message, history, legs, media) = found.ok_or_else(|| failed(&SpoolError::Unknown(id)))?;
    Ok(Reply::Show {
        message: Box::new(rows::message(message)),
        history: history.into_iter().map(rows::happened).collect(),
        deliveries: legs.into_iter().map(rows::delivery).collect(),
        media: {
            let config = office.config();
            let url = config.store.media_url.as_deref();
            media.into_iter().map(|of| rows::media(of, url)).collect()
        },
    })
}

/// What people want of a message: those for phones are with `phones`, the others with `carriers`.
async fn order(office: &Office, id: &str, wish: Wish) -> Result<Reply, Reply> {
    let id = read_id(id)?;
    let found = office.spool.read(move |reader| reader.get(id)).await;
    let message = found.map_err(|error| failed(&error))?;
    let message = message.ok_or_else(|| failed(&SpoolError::Unknown(id)))?;
    if message.direction == Direction::In {
        return wish_of_phones(office, &message, wish);
    }
    let (answer, done) = tokio::sync::oneshot::channel();
    let order = match wish {
        Wish::Retry => Order::Retry(id, answer),
        Wish::Cancel => Order::Cancel(id, answer),
    };
    let ends = || Reply::refused("WebSMS is about to end");
    office.orders.send(order).await.map_err(|_| ends())?;
    match done.await.map_err(|_| ends())? {
        Ok(state) => Ok(Reply::Done {
            state: state.word().to_owned(),
        }),
        Err(reason) => Err(Reply::refused(reason)),
    }
}

fn wish_of_phones(office: &Office, message: &Message, wish: Wish) -> Result<Reply, Reply> {
    let state = message.state;
    let then = match wish {
        Wish::Retry if state.is_open() || state.may_be_retried() => State::Routed,
        Wish::Retry => {
            let reason = format!("it is {state} and cannot be tried again");
            return Err(Reply::refused(reason));
        }
        Wish::Cancel if state.is_open() => State::Cancelled,
        Wish::Cancel => {
            let reason = format!("it is {state} and cannot be taken back");
            return Err(Reply::refused(reason));
        }
    };
    office.wish(message.id, wish);
    Ok(Reply::Done {
        state: then.word().to_owned(),
    })
}

/// Forgets a number. What is still on its way is taken back first.
async fn erase(office: &Office, number: &str, dry: bool) -> Result<Reply, Reply> {
    let number = crate::websms::number::checked(number);
    let number = number.map_err(|error| Reply::refused(error.to_string()))?;
    let names = crate::websms::number::spellings(number);
    let counted = names.clone();
    let found = office.spool.read(move |reader| reader.of_number(&counted));
    let found = found.await.map_err(|error| failed(&error))?;
    let messages = u64::try_from(found.len()).unwrap_or(u64::MAX);
    if dry {
        return Ok(Reply::Erased { messages });
    }
    for (id, direction, state) in found {
        match direction {
            _ if !state.is_open() => {}
            Direction::In => office.wish(id, Wish::Cancel),
            Direction::Out => {
                let (answer, done) = tokio::sync::oneshot::channel();
                if office.orders.send(Order::Cancel(id, answer)).await.is_ok() {
                    // One that the carrier is being asked about is erased all the same.
                    let _ = done.await;
                }
            }
        }
    }
    let erased = office.spool.erase(names).await;
    let messages = erased.map_err(|error| failed(&error))?;
    // Its files go before the answer.
    crate::websms::daemon::media::sweep(office).await;
    say(
        NOTICE,
        &format!("{messages} messages of one number were erased by order"),
    );
    Ok(Reply::Erased { messages })
}

fn read_id(text: &str) -> Result<Id, Reply> {
    text.parse()
        .map_err(|error: crate::websms::spool::NoId| Reply::refused(error.to_string()))
}
