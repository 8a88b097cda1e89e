//! The entries of the spool: what each order writes, within a transaction that somebody else began.
//!
//! Invariant: an error leaves the transaction to be taken back whole; nothing here is half done after a commit.

use rusqlite::{Connection, OptionalExtension, params};

use super::receipts::{self, Known};
use super::{
    Direction, Id, Limits, New, Request, SHORTEST_HISTORY, SpoolError, Stored, Transition, journal,
    parts,
};
use crate::websms::delivery::{Leg, LegState, Moment, State};
use crate::websms::message::{Receipt, ReceiptState};

/// Why an order was not done.
#[derive(Debug)]
pub enum Problem {
    /// The order itself: the transaction stands.
    Order(SpoolError),
    /// The database: nothing of the transaction stands.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Problem {
        Problem::Database(error)
    }
}

pub type Done<T> = Result<T, Problem>;

/// What the writer knows by heart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub last: Option<Id>,
    /// Messages that are open.
    pub waiting: u64,
    /// The last line of the journal.
    pub journal: Option<Id>,
}

impl Memory {
    pub fn read(connection: &Connection) -> rusqlite::Result<Memory> {
        let ids = "SELECT max(i) FROM (SELECT max(id) AS i FROM message UNION ALL SELECT max(id) FROM long)";
        let waiting = "SELECT count(*) FROM message WHERE next IS NOT NULL";
        Ok(Memory {
            last: connection.query_row(ids, [], |row| row.get(0))?,
            waiting: connection
                .query_row(waiting, [], |row| row.get::<_, u32>(0))?
                .into(),
            journal: journal::end(connection)?,
        })
    }

    pub fn next_id(&mut self, received: Moment) -> Id {
        let id = Id::after(self.last, received);
        self.last = Some(id);
        id
    }
}

/// A transaction, with what is known by heart and what may be.
pub struct Book<'a> {
    pub connection: &'a Connection,
    pub memory: &'a mut Memory,
    pub limits: &'a Limits,
    /// Somebody may follow.
    pub keeps_journal: bool,
}

impl Book<'_> {
    pub fn store(&mut self, new: &New) -> Done<Stored> {
        if new.direction == Direction::In
            && let Some(part) = new.part.as_ref().filter(|part| parts::is_of_many(part))
        {
            return parts::store(self, new, part);
        }
        // What is stored already needs no room.
        if self.memory.waiting >= self.limits.waiting {
            let waiting = self.memory.waiting;
            let known = self.repeated(new)?;
            return known.ok_or(Problem::Order(SpoolError::Full { waiting }));
        }
        let id = self.memory.next_id(new.received);
        if self.insert(id, new, &new.body, media(&new.media))? {
            return Ok(Stored {
                id,
                is_new: true,
                is_whole: true,
            });
        }
        let known = self.repeated(new)?;
        known.ok_or(Problem::Database(rusqlite::Error::QueryReturnedNoRows))
    }

    /// A message that was taken back before anybody saw it.
    pub fn store_test(&mut self, new: &New) -> Done<Stored> {
        let whole = New {
            part: None,
            ..new.clone()
        };
        let stored = self.store(&whole)?;
        if stored.is_new {
            let change = Transition {
                detail: "a test of the webhook".to_owned(),
                ..Transition::new(stored.id, State::Cancelled, new.received)
            };
            self.record(&[change])?;
        }
        Ok(stored)
    }

    /// Whether it was not there yet.
    pub fn insert(
        &mut self,
        id: Id,
        new: &New,
        body: &str,
        media: Option<String>,
    ) -> rusqlite::Result<bool> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO message (id, direction, interface, provider_id, key, sender, recipient, body, media, received, state, changed, next)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, ?10) ON CONFLICT DO NOTHING",
        )?;
        let inserted = insert.execute(params![
            id,
            new.direction.word(),
            new.interface,
            new.provider_id,
            new.key,
            new.from,
            new.to,
            body,
            media,
            new.received,
            new.direction.first().word(),
        ])?;
        drop(insert);
        if inserted > 0 {
            self.memory.waiting += 1;
            if new.direction == Direction::In && !new.media.is_empty() {
                let number = self.connection.last_insert_rowid();
                super::media::insert(self.connection, number, &new.media, new.received)?;
            }
            let state = new.direction.first().word();
            journal::write(self, id, new.received, state, "")?;
        }
        Ok(inserted > 0)
    }

    fn repeated(&self, new: &New) -> rusqlite::Result<Option<Stored>> {
        let by_id =
            "SELECT id FROM message WHERE provider_id = ?1 AND direction = ?2 AND interface = ?3";
        let mut found: Option<Id> = None;
        if new.provider_id.is_some() {
            let mut known = self.connection.prepare_cached(by_id)?;
            let key = params![new.provider_id, new.direction.word(), new.interface];
            found = known.query_row(key, |row| row.get(0)).optional()?;
        }
        if found.is_none() && new.key.is_some() {
            let mut known = self
                .connection
                .prepare_cached("SELECT id FROM message WHERE key = ?1")?;
            found = known.query_row([&new.key], |row| row.get(0)).optional()?;
        }
        Ok(found.map(|id| Stored {
            id,
            is_new: false,
            is_whole: true,
        }))
    }

    /// All of them or none.
    pub fn record(&mut self, changes: &[Transition]) -> Done<Vec<State>> {
        // First: afterwards there is no way back but for the whole transaction.
        let mut known = Vec::with_capacity(changes.len());
        for change in changes {
            let found = receipts::of_id(self.connection, change.id)?;
            known.push(found.ok_or(Problem::Order(SpoolError::Unknown(change.id)))?);
        }
        let mut states = Vec::with_capacity(changes.len());
        for (change, before) in changes.iter().zip(known) {
            // A batch may name a message twice.
            let was_open = self.is_open(before.number)?;
            self.change(&before, was_open, change)?;
            let state = match &change.provider_id {
                Some(provider_id) => self.catch_up(&before, change, provider_id)?,
                None => change.state,
            };
            states.push(state);
        }
        Ok(states)
    }

    fn is_open(&self, number: i64) -> rusqlite::Result<bool> {
        let mut open = self
            .connection
            .prepare_cached("SELECT next IS NOT NULL FROM message WHERE number = ?1")?;
        open.query_row([number], |row| row.get(0))
    }

    fn change(&mut self, of: &Known, was_open: bool, change: &Transition) -> rusqlite::Result<()> {
        let is_open = change.state.is_open();
        let next = is_open.then(|| change.next.unwrap_or(change.at));
        let is_old = of.id < Id::first_of(change.at.saturating_sub(SHORTEST_HISTORY));
        let redact = self.limits.redact && (is_done(change.state) || (is_old && !is_open));
        let mut update = self.connection.prepare_cached(
            "UPDATE message SET state = ?2, changed = ?3, next = ?4, tries = ?5, detail = ?6, endpoint = coalesce(?7, endpoint),
             body = iif(?8, '', body), media = iif(?8, NULL, media), print = iif(?8, NULL, print), interface = coalesce(?9, interface) WHERE number = ?1",
        )?;
        update.execute(params![
            of.number,
            change.state.word(),
            change.at,
            next,
            change.tries,
            change.detail,
            change.endpoint,
            redact,
            change.interface,
        ])?;
        if redact {
            super::media::redact(self.connection, of.number)?;
        }
        if let Some(provider_id) = &change.provider_id {
            // A carrier that gives an id twice keeps the first message's receipts.
            let mut name = self.connection.prepare_cached(
                "UPDATE OR IGNORE message SET provider_id = ?2 WHERE number = ?1",
            )?;
            name.execute(params![of.number, provider_id])?;
        }
        for leg in &change.legs {
            self.leg(of.number, leg)?;
        }
        match (was_open, is_open) {
            (true, false) => self.memory.waiting = self.memory.waiting.saturating_sub(1),
            (false, true) => self.memory.waiting += 1,
            _ => {}
        }
        drop(update);
        self.event(of, change.at, change.state, &change.detail)
    }

    fn leg(&self, message: i64, leg: &Leg) -> rusqlite::Result<()> {
        let (word, code) = match leg.state {
            LegState::Waiting { .. } => ("waiting", None),
            LegState::Sending { .. } => ("sending", None),
            LegState::Taken => ("taken", None),
            LegState::Refused { code } => ("refused", Some(code)),
        };
        let mut upsert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO leg (message, contact, state, code, tries) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        upsert.execute(params![message, leg.contact, word, code, leg.tries])?;
        Ok(())
    }

    fn event(
        &mut self,
        of: &Known,
        at: Moment,
        state: State,
        detail: &str,
    ) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO event (message, number, at, what, detail)
             VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM event WHERE message = ?1), ?2, ?3, ?4)",
        )?;
        insert.execute(params![of.number, at, state.word(), detail])?;
        drop(insert);
        journal::write(self, of.id, at, state.word(), detail)
    }

    /// Takes into account the receipts that were there before the carrier's id.
    fn catch_up(&mut self, of: &Known, change: &Transition, id: &str) -> rusqlite::Result<State> {
        let mut state = change.state;
        for (receipt, detail) in receipts::take(self.connection, &of.interface, id)? {
            state = self.follow(of, state, receipt, &detail, change.at)?;
        }
        Ok(state)
    }

    fn follow(
        &mut self,
        of: &Known,
        state: State,
        receipt: ReceiptState,
        detail: &str,
        at: Moment,
    ) -> rusqlite::Result<State> {
        let after = crate::websms::delivery::after_receipt(state, receipt);
        if after != state {
            let redact = self.limits.redact && is_done(after);
            let mut update = self.connection.prepare_cached(
                "UPDATE message SET state = ?2, changed = ?3, detail = ?4,
                 body = iif(?5, '', body), media = iif(?5, NULL, media), print = iif(?5, NULL, print) WHERE number = ?1",
            )?;
            update.execute(params![of.number, after.word(), at, detail, redact])?;
            drop(update);
            self.event(of, at, after, detail)?;
        }
        Ok(after)
    }

    pub fn receipt(
        &mut self,
        interface: &str,
        receipt: &Receipt,
        at: Moment,
    ) -> Done<Option<(Id, State)>> {
        let Some(known) = receipts::of_provider_id(self.connection, interface, &receipt.id)? else {
            receipts::park(self.connection, interface, receipt, at)?;
            return Ok(None);
        };
        let state = self.follow(&known, known.state, receipt.state, &receipt.detail, at)?;
        Ok(Some((known.id, state)))
    }

    /// The protocol is a ring: what is new takes the place of what is oldest.
    pub fn request(&self, slot: i64, request: &Request) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO request (slot, at, interface, peer, method, path, status, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        // The query may hold a secret.
        let path = request.path.split(['?', '#']).next().unwrap_or_default();
        insert.execute(params![
            slot,
            request.at,
            request.interface,
            request.peer,
            request.method,
            path,
            request.status,
            request.reason,
        ])?;
        Ok(())
    }
}

/// Nobody will want its text again.
fn is_done(state: State) -> bool {
    matches!(state, State::Delivered | State::Cancelled)
}

/// Addresses as the database holds them.
pub fn media(addresses: &[String]) -> Option<String> {
    if addresses.is_empty() {
        return None;
    }
    serde_json::to_string(addresses).ok()
}
