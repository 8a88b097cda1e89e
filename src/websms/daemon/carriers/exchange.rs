//! One request to a carrier, and what its answer means for the message.
//!
//! Invariant: what may have reached the carrier without an answer is told as silence, never as a failure.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::clock;
use crate::web::address::Address;
use crate::web::{Client, Patience, Problem, Request, WebError};
use crate::websms::choose;
use crate::websms::config::{Interface, Outbound};
use crate::websms::daemon::Office;
use crate::websms::delivery;
use crate::websms::message::Sent;
use crate::websms::outgoing::{self, Unsendable, Verdict};
use crate::websms::spool::Id;

/// The longest answer that is read, in bytes.
const MOST: usize = 64 * 1024;
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(15),
};

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: delivery::Verdict,
    /// The carrier's id, if it told one.
    pub provider_id: Option<String>,
    /// One line for people.
    pub detail: String,
}

impl Outcome {
    fn later(detail: impl Into<String>) -> Outcome {
        Outcome {
            verdict: delivery::Verdict::Later(None),
            provider_id: None,
            detail: one_line(&detail.into()),
        }
    }

    fn refused(detail: impl Into<String>) -> Outcome {
        Outcome {
            verdict: delivery::Verdict::Refused,
            ..Outcome::later(detail)
        }
    }
}

/// Who asks the carriers. It has connections from its first request on.
#[derive(Debug, Default)]
pub struct Caller {
    client: Option<Client>,
}

impl Caller {
    /// Hands a message over by its interface.
    pub fn send(
        &mut self,
        office: Arc<Office>,
        id: Id,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let client = match self.client.clone() {
            Some(client) => Ok(client),
            None => Client::new(PATIENCE),
        };
        self.client = client.as_ref().ok().cloned();
        async move {
            match client {
                Ok(client) => send(&client, &office, id).await,
                Err(error) => Outcome::later(error.to_string()),
            }
        }
    }
}

async fn send(client: &Client, office: &Office, id: Id) -> Outcome {
    let message = match office.spool.read(move |reader| reader.get(id)).await {
        Ok(Some(message)) => message,
        Ok(None) => return Outcome::refused("it was erased"),
        Err(error) => return Outcome::later(error.to_string()),
    };
    let config = office.config();
    // Who corrects the file does not want to lose what was sent before.
    let absent = || {
        let name = choose::shown(&message.interface);
        Outcome::later(format!("{name} is not in websms.conf, or does not send"))
    };
    let Some(interface) = choose::find(&config, &message.interface) else {
        return absent();
    };
    let Some(outbound) = &interface.outgoing else {
        return absent();
    };
    let sent = Sent {
        to: message.to,
        from: message.from,
        body: message.body,
        media: message.media,
    };
    match outgoing::request(interface, &sent, &id.to_string()) {
        Ok(request) => {
            let told = ask(client, &request).await;
            let mut outcome = judged(interface, outbound, told);
            if outcome.verdict == delivery::Verdict::Taken {
                let cost = choose::cost(crate::websms::segments::count(&sent.body));
                outcome.detail = format!("by {}, {cost}", choose::shown(&message.interface));
            }
            outcome
        }
        Err(why @ Unsendable::NoOutgoing) => Outcome::later(why.to_string()),
        Err(why) => Outcome::refused(why.to_string()),
    }
}

async fn ask(client: &Client, request: &outgoing::Request) -> Result<crate::web::Answer, WebError> {
    let nowhere = || WebError {
        at: "the carrier".to_owned(),
        problem: Problem::Address,
    };
    let address = Address::parse(&request.url).ok_or_else(nowhere)?;
    let headers = request.headers.iter();
    let asked = client.ask(Request {
        address: &address,
        headers: headers
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect(),
        body: (request.method != "GET").then(|| request.body.clone()),
        most: MOST,
    });
    asked.await
}

fn judged(
    interface: &Interface,
    outbound: &Outbound,
    told: Result<crate::web::Answer, WebError>,
) -> Outcome {
    let now = u64::try_from(clock::unix_now()).unwrap_or(0);
    let verdict = match told {
        Ok(answer) => outgoing::verdict(outbound, answer.status, &[], &answer.body, now),
        Err(WebError {
            problem: Problem::Status { code, retry_after },
            ..
        }) => {
            let header = retry_after.as_deref().map(|value| ("retry-after", value));
            let headers: Vec<(&str, &str)> = header.into_iter().collect();
            outgoing::verdict(outbound, code, &headers, b"", now)
        }
        Err(error) => return failed(interface, outbound, &error),
    };
    match verdict {
        Verdict::Taken { id } => Outcome {
            verdict: delivery::Verdict::Taken,
            provider_id: id,
            detail: String::new(),
        },
        Verdict::Refused { why } => Outcome::refused(why),
        Verdict::Later { after, why } => Outcome {
            verdict: delivery::Verdict::Later(
                after.map(|after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            ),
            ..Outcome::later(why)
        },
    }
}

/// Without an answer: whether the carrier may have it decides.
fn failed(interface: &Interface, outbound: &Outbound, error: &WebError) -> Outcome {
    let repeatable = outgoing::repeatable(outbound);
    let silent = Outcome {
        verdict: delivery::Verdict::Silent { repeatable },
        provider_id: None,
        detail: one_line(&format!(
            "{} may have it or not: {error}",
            choose::shown(choose::name_of(interface))
        )),
    };
    match error.problem {
        Problem::TimedOutAfter | Problem::Broken(_) | Problem::TooLarge(_) => silent,
        Problem::Address => Outcome::refused(error.to_string()),
        Problem::NoAuthorities(_)
        | Problem::Unresolved(_)
        | Problem::Refused
        | Problem::Unreachable(_)
        | Problem::Tls(_)
        | Problem::TimedOutBefore
        | Problem::Status { .. } => Outcome::later(error.to_string()),
    }
}

fn one_line(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join("; ");
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// From -20 to 20, so that not all come again at once.
pub fn jitter() -> i8 {
    let mut byte = [0];
    // Without it they do.
    let _ = getrandom::getrandom(&mut byte);
    let [byte] = byte;
    i8::try_from(i16::from(byte) % 41 - 20).unwrap_or(0)
}
