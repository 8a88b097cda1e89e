//! One hook's courier: event by event, each until it is taken or given up.
//!
//! The place in the journal is written down after each event that was taken: whoever kills us in between has the last one told
//! again, under the same id. Invariant: no event is passed over before the hook has taken it, has refused it for good, does
//! not want it, or it is too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Office, carriers, shapes};
use crate::sys::clock::{unix_millis, unix_now};
use crate::sys::say::{NOTICE, WARNING, say};
use crate::web::retry_after::retry_after;
use crate::web::{Client, Patience, Problem, Request, WebError};
use crate::websms::delivery::Bucket;
use crate::websms::hook::{Hook, PATIENCE, Said, Then, then};
use crate::websms::spool::{Happening, Id, Mark, Message, SpoolError};
use crate::websms::verify::secret::sha256_hex;

/// Events of one look into the journal.
const PAGE: u32 = 32;
/// Between two looks, when nothing of what happens is for this hook.
const BREATH: Duration = Duration::from_millis(50);
/// Of an answer only its status matters.
const LONGEST_ANSWER: usize = 64 << 10;
/// After a disk that failed.
const PAUSE: Duration = Duration::from_secs(1);
const PACE_OF_DISK: Duration = Duration::from_secs(2);

pub struct Courier {
    office: Arc<Office>,
    hook: Hook,
    /// A hook that wanted to hear no more is asked again.
    revives: bool,
    position: Id,
    /// What is written down.
    written: Option<Id>,
    bucket: Bucket,
    client: Option<Client>,
    is_failing: bool,
}

impl Courier {
    /// A new one is told what comes after `from`.
    pub fn new(office: Arc<Office>, hook: Hook, from: Id, revives: bool) -> Courier {
        Courier {
            office,
            revives,
            position: from,
            written: None,
            bucket: Bucket::new(Some(hook.rate), unix_millis()),
            client: None,
            is_failing: false,
            hook,
        }
    }

    pub async fn run(mut self) {
        if !self.begins().await {
            return;
        }
        let mut journal = self.office.spool.journal();
        loop {
            journal.borrow_and_update();
            let looked = Instant::now();
            loop {
                let (page, is_full) = self.page().await;
                for (happening, message) in page {
                    if !self.tell(&happening, message).await {
                        return;
                    }
                }
                if !is_full {
                    break;
                }
            }
            if journal.changed().await.is_err() {
                return;
            }
            sleep_until(looked + BREATH).await;
        }
    }

    /// Finds its place; whether there is something to do.
    async fn begins(&mut self) -> bool {
        let name = self.hook.name.clone();
        let address = self.address();
        let known = loop {
            let name = name.clone();
            match self
                .office
                .spool
                .read(move |reader| reader.hook(&name))
                .await
            {
                Ok(known) => break known,
                Err(SpoolError::Closed) => return false,
                Err(_) => sleep(PAUSE).await,
            }
        };
        match known {
            Some(mark) => {
                self.position = mark.position;
                if mark.gone && mark.address == address && !self.revives {
                    return false;
                }
                if mark.gone || mark.address != address {
                    self.write(false).await;
                }
                self.written = Some(mark.position);
            }
            // It is told what happens from now on.
            None => self.write(false).await,
        }
        true
    }

    fn address(&self) -> String {
        sha256_hex(self.hook.to.exposed().as_bytes())
    }

    /// The next events, and whether there may be more.
    async fn page(&mut self) -> (Vec<(Happening, Option<Message>)>, bool) {
        let after = self.position;
        let look = self.office.spool.read(move |reader| {
            let page = reader.journal(after, PAGE)?;
            let with = page.into_iter().map(|happening| {
                let message = reader.get(happening.message)?;
                Ok((happening, message))
            });
            with.collect::<rusqlite::Result<Vec<_>>>()
        });
        match look.await {
            Ok(page) => {
                let is_full = page.len() >= PAGE as usize;
                (page, is_full)
            }
            Err(_) => {
                sleep(PAUSE).await;
                (Vec::new(), true)
            }
        }
    }

    /// Tells one event; whether there is to be another.
    async fn tell(&mut self, happening: &Happening, message: Option<Message>) -> bool {
        let numbers = message.as_ref().map(|m| (m.from.as_str(), m.to.as_str()));
        if !self.hook.wants(happening.state, numbers) {
            self.position = happening.number;
            // Of what is for others a line now and then will do.
            let behind = self.written.map_or(i64::MAX, |written| {
                self.position.moment().saturating_sub(written.moment())
            });
            if behind > 60_000 {
                self.write(false).await;
            }
            return true;
        }
        let id = shapes::event_id(happening);
        let body = shapes::event(happening, message, self.hook.text);
        let mut tries = 0u32;
        loop {
            while let Err(at) = self.bucket.take(unix_millis()) {
                let wait = at.saturating_sub(unix_millis()).max(1);
                sleep(Duration::from_millis(wait.unsigned_abs())).await;
            }
            tries = tries.saturating_add(1);
            let asked = self.ask(&id, body.as_bytes()).await;
            let now = unix_millis();
            let said = said(&asked, now);
            let jitter = carriers::jitter();
            match then(said, tries, happening.at, now, jitter) {
                Then::Next => {
                    self.is_told();
                    break;
                }
                Then::Again(pause) => {
                    self.fails(&asked);
                    // The authorities' certificates, or the proxy, may be others by then.
                    self.client = None;
                    sleep(Duration::from_millis(pause.unsigned_abs())).await;
                }
                Then::GiveUp => {
                    self.give_up(&id, happening, &asked, now);
                    break;
                }
                Then::Stop => {
                    let (name, to) = (&self.hook.name, &self.hook.to);
                    say(
                        WARNING,
                        &format!(
                            "the hook [{name}] at {to} answers 410 and is told no more\nhint: it is asked again on `switchhook reload websms`"
                        ),
                    );
                    self.write(true).await;
                    return false;
                }
            }
        }
        self.position = happening.number;
        self.write(false).await;
        true
    }

    async fn ask(&mut self, id: &str, body: &[u8]) -> Result<(), WebError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self
                .client
                .insert(Client::new(Patience::default())?)
                .clone(),
        };
        let asked = client.ask(Request {
            address: &self.hook.to,
            headers: self.hook.headers(id, unix_now(), body),
            body: Some(body.to_vec()),
            most: LONGEST_ANSWER,
        });
        match asked.await {
            // It was taken, whatever is said about it.
            Err(error) if matches!(error.problem, Problem::TooLarge(_)) => Ok(()),
            told => told.map(|_| ()),
        }
    }

    /// Writes its place down, and waits for a disk that does not take it: it would only tell the same again.
    async fn write(&mut self, gone: bool) {
        let mark = Mark {
            name: self.hook.name.clone(),
            address: self.address(),
            position: self.position,
            gone,
        };
        loop {
            match self.office.spool.mark(mark.clone()).await {
                Ok(()) => break self.written = Some(mark.position),
                Err(SpoolError::Closed) => break,
                Err(_) => sleep(PACE_OF_DISK).await,
            }
        }
    }

    fn fails(&mut self, asked: &Result<(), WebError>) {
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        if let Err(error) = asked {
            let name = &self.hook.name;
            say(
                WARNING,
                &format!("the hook [{name}] is not told, and is tried again: {error}"),
            );
        }
    }

    fn is_told(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            let (name, to) = (&self.hook.name, &self.hook.to);
            say(NOTICE, &format!("the hook [{name}] at {to} is told again"));
        }
    }

    fn give_up(&self, id: &str, of: &Happening, asked: &Result<(), WebError>, now: i64) {
        let why = match asked {
            Err(error) if now.saturating_sub(of.at) < PATIENCE / 2 => error.to_string(),
            _ => "three days have passed".to_owned(),
        };
        let name = &self.hook.name;
        say(
            WARNING,
            &format!("the hook [{name}] is never told of {id}: {why}"),
        );
    }
}

fn said(asked: &Result<(), WebError>, now: i64) -> Said {
    match asked {
        Ok(()) => Said::Taken,
        Err(WebError {
            problem:
                Problem::Status {
                    code,
                    retry_after: text,
                },
            ..
        }) => Said::Status {
            code: *code,
            retry_after: text.as_deref().and_then(|text| retry_after(text, now)),
        },
        Err(_) => Said::Nothing,
    }
}
