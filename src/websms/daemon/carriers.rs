//! Messages to carriers: what waits in the spool goes out, each interface at its own pace.
//!
//! One task owns the lives of all messages that are open, and each request is a task of its own: a slow carrier holds up
//! nobody but itself. A message is written down as under way before its request leaves, and what the carrier said before
//! anything else happens to it. Invariant: while the disk does not take what is to be written down, nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use self::exchange::Outcome;
use self::ledger::{Ledger, Work};
use super::Office;
use crate::sys::clock;
use crate::sys::say::{ERROR, WARNING, say};
use crate::websms::config::Config;
use crate::websms::delivery::State;
use crate::websms::spool::{Direction, Id, Message, SpoolError};

mod exchange;
mod ledger;
mod notice;

pub use exchange::jitter;

/// What people order, and where the new state goes, or why there is none.
#[derive(Debug)]
pub enum Order {
    Retry(Id, Answer),
    Cancel(Id, Answer),
}

pub type Answer = oneshot::Sender<Result<State, String>>;

/// Messages of one look into the spool.
const PAGE: u32 = 500;
/// After the disk has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// No wait is longer: the clock may be set meanwhile.
const LONGEST_WAIT: i64 = 60_000;
/// How long carriers have for their answers when the end comes.
const FAREWELL: Duration = Duration::from_secs(8);

/// The name of this part in the daemon's status.
const PART: &str = "carriers";

struct Carriers {
    office: Arc<Office>,
    ledger: Ledger,
    client: exchange::Caller,
    under_way: JoinSet<(Id, Outcome)>,
    /// The last message that was looked at.
    seen: Option<Id>,
}

/// Works off what waits, until the office closes and the carriers have answered.
pub async fn run(office: Arc<Office>) {
    let Some(mut orders) = office.take_orders() else {
        return;
    };
    let mut configs = office.configs();
    let mut carriers = Carriers {
        ledger: Ledger::new(office.config()),
        client: exchange::Caller::default(),
        under_way: JoinSet::new(),
        seen: None,
        office: Arc::clone(&office),
    };
    carriers.look().await;
    carriers.work(&mut orders, &mut configs).await;
    carriers.part().await;
}

impl Carriers {
    async fn work(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        configs: &mut watch::Receiver<Arc<Config>>,
    ) {
        let office = Arc::clone(&self.office);
        let closed = office.closed();
        tokio::pin!(closed);
        loop {
            let wait = self.ledger.deadline().map_or(LONGEST_WAIT, |at| {
                at.saturating_sub(clock::unix_millis())
                    .clamp(0, LONGEST_WAIT)
            });
            let wait = Duration::from_millis(wait.unsigned_abs());
            tokio::select! {
                () = &mut closed => return,
                Some(done) = self.under_way.join_next() => self.done(done).await,
                Some(order) = orders.recv() => self.obey(order).await,
                () = office.for_carriers.notified() => self.look().await,
                Ok(()) = configs.changed() => {
                    let config = Arc::clone(&configs.borrow_and_update());
                    self.ledger.reconfigure(config, clock::unix_millis());
                }
                () = sleep(wait) => {
                    let work = self.ledger.clock(clock::unix_millis());
                    self.carry_out(work).await;
                }
            }
        }
    }

    /// Takes what is new in the spool.
    async fn look(&mut self) {
        loop {
            let after = self.seen;
            let page = self
                .office
                .spool
                .read(move |reader| reader.unfinished(after, PAGE));
            let page = match page.await {
                Ok(page) => page,
                Err(error) => {
                    self.office.report(PART, Some(error.to_string()));
                    // Nobody would tell us again.
                    let office = Arc::clone(&self.office);
                    tokio::spawn(async move {
                        sleep(PAUSE).await;
                        office.for_carriers.notify_one();
                    });
                    return;
                }
            };
            self.office.report(PART, None);
            let is_last = page.len() < PAGE as usize;
            self.seen = page.last().map(|message| message.id).or(self.seen);
            let now = clock::unix_millis();
            let mut work = Work::default();
            for message in page.iter().filter(|m| m.direction == Direction::Out) {
                work.append(self.ledger.take(message, now));
            }
            self.carry_out(work).await;
            if is_last {
                return;
            }
        }
    }

    /// Writes down, then sends, then tells the senders.
    async fn carry_out(&mut self, mut work: Work) {
        let mut became = Vec::new();
        while !work.changes.is_empty() {
            let written = self.office.spool.record(work.changes.clone()).await;
            match written {
                Ok(states) => {
                    self.office.report(PART, None);
                    became = states;
                    break;
                }
                // It was erased: the others are not to suffer for it.
                Err(SpoolError::Unknown(id)) => {
                    work.forget(id);
                    self.ledger.forget(id);
                }
                Err(SpoolError::Closed) => return,
                Err(error) => {
                    let problem = format!("no message goes out: {error}");
                    self.office.report(PART, Some(problem));
                    sleep(PAUSE).await;
                }
            }
        }
        for id in work.sends {
            let asking = self.client.send(Arc::clone(&self.office), id);
            self.under_way.spawn(async move { (id, asking.await) });
        }
        for id in work.ended {
            notice::send(&self.office, id).await;
        }
        for (change, state) in work.changes.iter().zip(became) {
            tell(change.id, state, &change.detail);
        }
    }

    /// What has come back by now is written down together.
    async fn done(&mut self, first: Result<(Id, Outcome), JoinError>) {
        let mut work = Work::default();
        let mut next = Some(first);
        while let Some(done) = next {
            match done {
                Ok((id, outcome)) => {
                    let (jitter, now) = (exchange::jitter(), clock::unix_millis());
                    work.append(self.ledger.done(id, outcome, jitter, now));
                }
                // The message stays as under way, and is unknown after the next start.
                Err(error) => say(ERROR, &format!("a request to a carrier ended: {error}")),
            }
            next = self.under_way.try_join_next();
        }
        self.carry_out(work).await;
    }

    async fn obey(&mut self, order: Order) {
        // One that was stored just now is known first.
        self.look().await;
        let now = clock::unix_millis();
        let (id, answer, is_retry) = match order {
            Order::Retry(id, answer) => (id, answer, true),
            Order::Cancel(id, answer) => (id, answer, false),
        };
        let work = match (self.ledger.has(id), is_retry) {
            (true, true) => self.ledger.hurry(id, now),
            (true, false) => self.ledger.cancel(id, now),
            (false, _) => match self.read(id).await {
                Err(why) => Err(why),
                Ok(message) if is_retry => self.ledger.revive(&message, now),
                Ok(message) => Err(format!("it is {} and cannot be taken back", message.state)),
            },
        };
        let done = match work {
            Ok(work) => {
                self.carry_out(work).await;
                Ok(match is_retry {
                    true => State::Queued,
                    false => State::Cancelled,
                })
            }
            Err(why) => Err(why),
        };
        // Who asked may have gone.
        let _ = answer.send(done);
    }

    /// Waits for the carriers who have a message and have not answered.
    async fn part(&mut self) {
        self.ledger.stop();
        let end = Instant::now() + FAREWELL;
        while let Ok(Some(done)) = timeout_at(end, self.under_way.join_next()).await {
            self.done(done).await;
        }
        match self.under_way.len() {
            0 => {}
            count => say(
                WARNING,
                &format!("{count} messages are with carriers that have not answered"),
            ),
        }
    }

    async fn read(&self, id: Id) -> Result<Message, String> {
        let found = self.office.spool.read(move |reader| reader.get(id)).await;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| SpoolError::Unknown(id).to_string())?;
        match found.direction {
            Direction::Out => Ok(found),
            Direction::In => Err("it is a message for phones: their deliverer decides".to_owned()),
        }
    }
}

/// One line for each end, and for each try that failed.
fn tell(id: Id, state: State, detail: &str) {
    let text = match detail {
        "" => format!("message {id} is {state}"),
        detail => format!("message {id} is {state}: {detail}"),
    };
    match state {
        State::Sending => {}
        State::Dead | State::Expired | State::Unknown | State::Failed => say(WARNING, &text),
        _ => say(crate::sys::say::INFO, &text),
    }
}
