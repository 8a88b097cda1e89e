//! The webhook: what happened, told by HTTP.
//!
//! Its pace and patience are `outbox`'s; here requests are made, signed and sent. Invariant: nothing that is secret, and no
//! account name, is in a request or in the log: somebody may have typed a password in the wrong field.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ring::hmac;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::voice::{NOTICE, WARNING, say};
use crate::autoban::control::WebhookStatus;
use crate::autoban::outbox::{Batch, Event, Failure, Outbox, Word};
use crate::sys::clock::unix_millis;
use crate::web::address::Address;
use crate::web::retry_after::retry_after;
use crate::web::{Client, Patience, Problem, Request, WebError};

/// The version of the requests' shape; it grows when a field changes its meaning.
const SCHEMA: u32 = 1;
/// Of the answer only its status matters.
const LONGEST_ANSWER: usize = 64 << 10;

/// Where to tell, and with which key.
#[derive(Clone)]
pub struct Hook {
    pub to: Address,
    pub key: Option<Vec<u8>>,
}

/// Shows no secret.
impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hook({})", self.to)
    }
}

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    /// The same when it is tried again.
    id: String,
    host: &'a str,
    events: &'a [Event],
    /// Events that there was no room for.
    omitted: u64,
}

type Asking = Pin<Box<dyn Future<Output = Result<(), WebError>>>>;

/// Tells events for ever, or until the daemon is gone.
pub async fn serve(
    mut hooks: watch::Receiver<Option<Hook>>,
    mut events: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
    status: watch::Sender<WebhookStatus>,
) {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let host = host.unwrap_or_default();
    let mut outbox = Outbox::default();
    let mut hook: Option<Hook> = None;
    let mut body = Vec::new();
    let mut asking: Option<Asking> = None;
    let mut error = None;
    loop {
        let now = unix_millis();
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => outbox.omit(count),
        }
        if asking.is_none()
            && let Some(hook) = &hook
            && let Some((batch, is_new)) = take(&mut outbox, now)
        {
            if is_new {
                body = write(&host, batch);
            }
            asking = Some(Box::pin(ask(hook.clone(), body.clone())));
        }
        let pause = outbox.due().map_or(i64::MAX, |due| due - now);
        let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(0).min(3_600_000));
        report(&status, &outbox, error.clone());
        tokio::select! {
            changed = hooks.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = hooks.borrow_and_update().clone();
                let place = |hook: &Option<Hook>| hook.as_ref().map(|hook| hook.to.clone());
                if place(&new) != place(&hook) {
                    // What another server was to be told is not told to this one.
                    outbox.clear();
                    (asking, error) = (None, None);
                }
                hook = new;
            }
            Some(event) = events.recv() => outbox.push(event),
            result = wait(&mut asking) => {
                asking = None;
                error = settle(&mut outbox, result, hook.as_ref());
            }
            () = tokio::time::sleep(pause), if asking.is_none() && hook.is_some() => {}
        }
    }
}

/// The request that is due, and whether it is tried for the first time.
fn take(outbox: &mut Outbox, now: i64) -> Option<(&Batch, bool)> {
    let is_new = outbox.is_at_rest();
    outbox.take(now).map(|batch| (batch, is_new))
}

async fn wait(asking: &mut Option<Asking>) -> Result<(), WebError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

fn write(host: &str, batch: &Batch) -> Vec<u8> {
    let mut random = [0u8; 16];
    // Without it the receiver cannot tell a repeat, no more.
    let _ = getrandom::getrandom(&mut random);
    let body = Body {
        schema: SCHEMA,
        id: hex(&random),
        host,
        events: &batch.events,
        omitted: batch.omitted,
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

async fn ask(hook: Hook, body: Vec<u8>) -> Result<(), WebError> {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(hook.key.map(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let sign = hex(hmac::sign(&key, &body).as_ref());
        ("x-switchhook-signature", format!("sha256={sign}"))
    }));
    let request = Request {
        address: &hook.to,
        headers,
        body: Some(body),
        most: LONGEST_ANSWER,
    };
    // A client for each: the authorities' certificates may have changed, and requests are rare.
    match Client::new(Patience::default())?.ask(request).await {
        // It was taken, whatever is said about it.
        Ok(_) => Ok(()),
        Err(error) if matches!(error.problem, Problem::TooLarge(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes what became of a request, and says so where it is news; gives the error that stands.
fn settle(
    outbox: &mut Outbox,
    result: Result<(), WebError>,
    hook: Option<&Hook>,
) -> Option<String> {
    let now = unix_millis();
    let to = hook.map(|hook| hook.to.to_string()).unwrap_or_default();
    let failed = result.as_ref().err().map(|error| Failure {
        is_temporary: error.problem.is_temporary(),
        retry_after: match &error.problem {
            Problem::Status {
                retry_after: text, ..
            } => text.as_deref().and_then(|text| retry_after(text, now)),
            _ => None,
        },
    });
    let error = result.err().map(|error| error.to_string());
    match outbox.done(failed.map_or(Ok(()), Err), now) {
        Some(Word::Fails) => {
            let why = error.as_deref().unwrap_or_default();
            say(WARNING, &format!("the webhook is not told: {why}"));
        }
        Some(Word::WorksAgain) => say(NOTICE, &format!("the webhook {to} is told again")),
        None => {}
    }
    error
}

fn report(status: &watch::Sender<WebhookStatus>, outbox: &Outbox, error: Option<String>) {
    let tally = outbox.tally();
    status.send_replace(WebhookStatus {
        to: String::new(),
        requests: tally.requests,
        failures: tally.failures,
        omitted: tally.omitted,
        lost: tally.lost,
        waiting: outbox.waiting(),
        error,
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
