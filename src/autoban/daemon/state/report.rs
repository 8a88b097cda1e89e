//! How the daemon does: a line for PID 1, and the answers of the control socket.
//!
//! Only an order by hand changes anything. Invariant: what is told here is told from memory; nobody waits for the kernel's sets.

use std::time::Duration;

use tokio::sync::oneshot;

use super::State;
use crate::autoban::control::{Reply, Request, SCHEMA, Status};
use crate::autoban::daemon::enforcement::Enforcement;
use crate::autoban::daemon::herald;
use crate::autoban::daemon::voice::hidden;
use crate::autoban::evidence::Meaning;
use crate::autoban::ledger::Note;

/// How long the manager may be away before that is a problem.
const AWAY: Duration = Duration::from_secs(60);

impl State {
    fn problems(&self) -> Vec<String> {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let mut all = Vec::new();
        if !self.is_on() {
            return all;
        }
        let not = self.fallback.problem();
        all.extend(not.as_deref().map(first));
        let less = self.enforcement.problem(not.is_none());
        all.extend(less.as_deref().map(first));
        if !self.connected && self.away.elapsed() > AWAY {
            let why = self.complaint.as_deref().map(first);
            all.push(why.unwrap_or_else(|| "the manager is away".to_owned()));
        } else if let Some(complaint) = &self.complaint
            && complaint.contains("does not let in")
        {
            all.push(first(complaint));
        }
        let gateway = self.ledger.hidden_behind();
        all.extend(gateway.map(|gateway| first(&hidden(gateway))));
        all.extend(self.disk.as_deref().map(first));
        all.extend(self.lists.problems(self.now));
        all
    }

    /// How it does, in one line.
    pub(super) fn line(&self) -> String {
        if let Some(why) = &self.off {
            return format!("off: {why}");
        }
        let problems = self.problems();
        if !problems.is_empty() {
            return format!("degraded: {}", problems.join("; "));
        }
        match self.connected {
            true => {
                let counts = self.ledger.counts();
                format!(
                    "{}: {} offenders, {} networks, {} weak bans",
                    self.word(),
                    counts.offenders,
                    counts.networks,
                    counts.weak
                )
            }
            false => "waiting for Asterisk".to_owned(),
        }
    }

    /// The answer to a request of the control socket.
    pub fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::List { sets } => {
                self.step(Meaning::Nothing);
                let rows = |set| {
                    let rows = self.ledger.rows(set, self.now);
                    let values = rows.iter().filter_map(|row| serde_json::to_value(row).ok());
                    (set, values.collect())
                };
                Reply::List {
                    sets: sets.iter().take(16).map(|set| rows(*set)).collect(),
                }
            }
            Request::Why { address } => {
                let why = self.ledger.why(*address, self.now);
                let mut text = why.to_string();
                let mut facts = serde_json::to_value(&why).unwrap_or_default();
                let lists = self.lists.find(*address, self.now);
                for list in &lists {
                    text.push_str(&list.line(self.now));
                }
                if let (Some(facts), Ok(lists)) =
                    (facts.as_object_mut(), serde_json::to_value(&lists))
                {
                    facts.insert("lists".to_owned(), lists);
                }
                Reply::Why { text, facts }
            }
            Request::Manual { order } => {
                // What is over by now was freed by nobody's hand.
                self.step(Meaning::Nothing);
                let out = self.ledger.manual(order, self.now);
                for fact in &out.facts {
                    let Some(event) = herald::by_hand(fact, self.now) else {
                        continue;
                    };
                    let counter = match event.event {
                        herald::RELEASED => "freed by hand",
                        _ => "banned by hand",
                    };
                    *self.counters.entry(counter).or_default() += 1;
                    self.errands.tell(event);
                }
                let changed = out.facts.len();
                let skipped = |note: &Note| match note {
                    Note::Skipped { cidr, why } => Some(format!("{cidr}: {why}")),
                    _ => None,
                };
                let notes = out.notes.iter().filter_map(skipped).collect();
                self.merge(out);
                Reply::Done { changed, notes }
            }
        }
    }

    fn word(&self) -> &'static str {
        match self.enforcement {
            Enforcement::Acl(_) if !self.fallback.works() => "none",
            _ => self.enforcement.word(),
        }
    }

    /// Sends the answer to a request; that of an order only once its facts are on disk.
    pub fn reply(&mut self, mut answer: Reply, to: oneshot::Sender<Reply>) {
        // A client that is gone needs no answer.
        match (&mut answer, &mut self.books) {
            (Reply::Done { changed: 1.., .. }, Some(books)) => {
                books.then(Box::new(move |problem| {
                    if let (Some(problem), Reply::Done { notes, .. }) = (problem, &mut answer) {
                        notes.push(format!(
                            "in force, and forgotten at the end of this process: {problem}"
                        ));
                    }
                    let _ = to.send(answer);
                }))
            }
            _ => {
                let _ = to.send(answer);
            }
        }
    }

    fn status(&mut self) -> Status {
        let events = self.events.iter();
        let events =
            events.map(|((name, grade), count)| (format!("{}{grade}", name.text()), *count));
        let own = self
            .counters
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        let mut counters: Vec<(String, u64)> = events.chain(own).collect();
        counters.extend(self.enforcement.counters());
        counters.extend(self.fallback.counters());
        counters.extend(self.witness.counters());
        counters.sort_unstable();
        Status {
            schema: SCHEMA,
            enforcement: self.word().to_owned(),
            connected: self.connected,
            problems: self.problems(),
            hidden_behind: self.ledger.hidden_behind(),
            witness: self.witness.word(),
            counts: serde_json::to_value(self.ledger.counts()).unwrap_or_default(),
            counters,
            imports: self.lists.status(self.now),
            webhook: self.errands.webhook(),
        }
    }
}
