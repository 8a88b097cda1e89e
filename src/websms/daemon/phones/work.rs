//! What the task for phones holds, and what it does about each thing that it hears.
//!
//! Invariant: every deed of `lines` is done here, in order, before anything else is heard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::super::{Office, Wish};
use super::copies::{Copies, Copy};
use super::dialplan;
use super::hand::{Task, Told, closes};
use super::heard::{Heard, heard};
use super::knock::Knock;
use super::lines::{Deed, Lines, Question};
use super::parked::Names;
use super::routes;
use super::setup::{self, Way};
use super::words::{tell_end, unheard};
use crate::asterisk::ami::action::Action;
use crate::asterisk::ami::client::Client;
use crate::asterisk::ari::AriError;
use crate::asterisk::generate::includes::Includes;
use crate::sys::clock::unix_millis;
use crate::sys::say::{NOTICE, WARNING, say};
use crate::websms::delivery::{Event, Incoming, Moment, State, Terms};
use crate::websms::hep::Seen;
use crate::websms::spool::{Direction, Id, Message, Transition};

/// Messages that are read at once.
const PAGE: u32 = 500;
/// The context with the phones' hints.
const HINTS: &str = "dp_lookup";
/// The endpoint that stands for the whole dialplan, and its one contact.
const DIALPLAN: &str = "dialplan";
const CALL_FILE: &str = "dialplan/call-file";

/// A question to the manager that is open.
enum Pending {
    /// With the extensions and contexts that are still to be asked.
    Number(String, VecDeque<(String, String)>),
    Endpoint(String),
}

pub struct Work {
    office: Arc<Office>,
    tasks: UnboundedSender<Task>,
    changes: UnboundedSender<Transition>,
    way: Way,
    lines: Lines,
    copies: Copies,
    /// Its place in the spool: what came later is not known yet.
    read: i64,
    /// There may be something behind it.
    is_behind: bool,
    questions: Vec<Pending>,
    pending: HashMap<u64, Pending>,
    /// Somebody is there who answers questions.
    is_connected: bool,
    knock: Knock,
    /// There is a socket for Asterisk's copies.
    is_listening: bool,
    has_complained: bool,
    /// The last that was said of the manager and of the REST interface.
    told: [Option<String>; 2],
}

impl Work {
    pub fn new(
        office: Arc<Office>,
        tasks: UnboundedSender<Task>,
        changes: UnboundedSender<Transition>,
        is_listening: bool,
    ) -> Work {
        let queue = office.config().queue.clone();
        Work {
            office,
            tasks,
            changes,
            way: Way::Dialplan {
                queue,
                reason: None,
            },
            lines: Lines::default(),
            copies: Copies::default(),
            read: 0,
            is_behind: true,
            questions: Vec::new(),
            pending: HashMap::new(),
            is_connected: false,
            knock: Knock::default(),
            is_listening,
            has_complained: false,
            told: Default::default(),
        }
    }

    pub fn is_direct(&self) -> bool {
        matches!(self.way, Way::Direct { .. })
    }

    pub fn deadline(&self) -> Option<Moment> {
        let all = [
            self.lines.deadline(),
            self.copies.deadline(),
            self.knock.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    fn terms(&self) -> Terms {
        let hold = self.office.config().store.hold.as_millis();
        Terms {
            incoming: i64::try_from(hold).unwrap_or(i64::MAX),
            ..Terms::default()
        }
    }

    /// Finds the way anew, as with another configuration.
    pub fn find_way(&mut self, client: &mut Client) {
        let now = unix_millis();
        let queue = self.office.config().queue.clone();
        self.way = setup::way(&self.office.paths, &queue);
        self.lost(now);
        self.knock.opened();
        client.restart();
        match &self.way {
            Way::Direct { ari, .. } => {
                let _ = self.tasks.send(Task::Door(ari.clone()));
                self.complain(0, None);
            }
            Way::Dialplan { queue, reason } => {
                let _ = self
                    .tasks
                    .send(Task::Queue(Box::new(queue.clone()), self.joins()));
                let reason = reason.as_ref().map(|why| {
                    format!(
                        "messages go through the dialplan, without the phones' own answers: {why}\n\
                         hint: take the user [websms] from the samples of manager.conf and ari.conf, with `enabled = yes` in http.conf, then restart asterisk and reload websms; or write deliver = dialplan in [astqueue]"
                    )
                });
                // It is how the predecessor did it, so nothing is wrong.
                self.note(0, NOTICE, reason);
                self.connected(now);
            }
        }
    }

    /// Whether the dialplan joins long texts.
    fn joins(&self) -> bool {
        let home = self.office.paths.asterisk_config();
        let text = Includes::at(&self.office.paths, &home).read("extensions.conf");
        text.is_some_and(|text| dialplan::joins(&text))
    }

    /// Says what is not well, once, and that it is well again.
    fn complain(&mut self, part: usize, problem: Option<String>) {
        self.note(part, WARNING, problem);
    }

    fn note(&mut self, part: usize, severity: u8, problem: Option<String>) {
        const PARTS: [&str; 2] = ["phones", "phones, by ARI"];
        let (Some(told), Some(name)) = (self.told.get_mut(part), PARTS.get(part)) else {
            return;
        };
        if *told == problem {
            return;
        }
        if let Some(problem) = &problem {
            say(severity, problem);
        }
        let first = problem.as_ref().and_then(|text| text.lines().next());
        self.office.report(name, first.map(str::to_owned));
        *told = problem;
    }

    /// Something new may be in the spool.
    pub fn has_news(&mut self) {
        self.is_behind = true;
    }

    /// Takes from the spool what is new there. While nothing can be handed over it stays where it is, and costs nothing.
    pub async fn load(&mut self) {
        if !self.is_connected || self.knock.is_shut() {
            return;
        }
        while std::mem::take(&mut self.is_behind) {
            let after = self.read;
            let page = self.office.spool.read(move |reader| {
                let found = reader.arrivals(Direction::In, after, PAGE)?;
                let mut all = Vec::with_capacity(found.len());
                for (place, message) in found {
                    // What was never tried has no legs.
                    let legs = match message.state {
                        State::Received => Vec::new(),
                        _ => reader.legs(message.id)?,
                    };
                    let is_kept =
                        !message.media.is_empty() && reader.waits_for_media(message.id)?;
                    all.push((place, message, legs, is_kept));
                }
                Ok(all)
            });
            let page = match page.await {
                Ok(page) => page,
                Err(error) => {
                    self.complain(1, Some(format!("the spool cannot be read: {error}")));
                    self.is_behind = true;
                    return;
                }
            };
            self.is_behind = page.len() >= PAGE as usize;
            for (place, message, legs, is_kept) in page {
                self.read = self.read.max(place);
                let terms = self.terms();
                let life = match message.state {
                    State::Received => Incoming::new(&terms, message.received),
                    state => Incoming::resume(&terms, message.received, state, legs),
                };
                if is_kept && self.office.config().store.media_url.is_some() {
                    self.lines.keep_back(message.id);
                    self.office.for_media.notify_one();
                }
                self.take(message, life);
            }
        }
    }

    fn take(&mut self, message: Message, life: Incoming) {
        if self.lines.has(message.id) {
            return;
        }
        let names = Names {
            to: message.to,
            from: message.from,
        };
        let deeds = self
            .lines
            .add(message.id, names, life, message.state, unix_millis());
        self.perform(deeds, "");
    }

    /// Lets those go whose media are here, or will not come.
    pub async fn release(&mut self) {
        let kept = self.lines.kept_back();
        if kept.is_empty() {
            return;
        }
        let is_wanted = self.office.config().store.media_url.is_some();
        let asked = self.office.spool.read(move |reader| {
            let mut free = Vec::new();
            for id in kept {
                if !is_wanted || !reader.waits_for_media(id)? {
                    free.push(id);
                }
            }
            Ok(free)
        });
        // A spool that cannot be read now is asked again.
        if let Ok(free) = asked.await
            && !free.is_empty()
        {
            let deeds = self.lines.release(&free, unix_millis());
            self.perform(deeds, "");
        }
    }

    /// What people want.
    pub async fn orders(&mut self) {
        for (id, order) in self.office.take_wishes() {
            let event = match order {
                Wish::Retry => Event::Retry,
                Wish::Cancel => Event::Cancel,
            };
            if self.lines.has(id) {
                let deeds = self.lines.step(id, event, unix_millis());
                self.perform(deeds, "by hand");
                continue;
            }
            let found = self.office.spool.read(move |reader| {
                let message = reader.get(id)?;
                Ok((message, reader.legs(id)?))
            });
            let Ok((Some(message), legs)) = found.await else {
                continue;
            };
            let is_open = message.state.is_open();
            if message.direction != Direction::In || !(is_open || message.state.may_be_retried()) {
                continue;
            }
            let terms = self.terms();
            // A retry begins anew.
            let legs = if is_open { legs } else { Vec::new() };
            let mut life = Incoming::resume(&terms, message.received, message.state, legs);
            if !is_open {
                life.step(event.clone(), unix_millis());
            }
            self.take(message, life);
            if is_open {
                let deeds = self.lines.step(id, event, unix_millis());
                self.perform(deeds, "by hand");
            }
        }
    }

    /// Hears what the manager says.
    pub fn hear(&mut self, client: &mut Client) {
        let Way::Direct { ami, .. } = &self.way else {
            return;
        };
        let mut all = Vec::new();
        client.turn(|| Ok(ami.clone()), &mut |news| all.extend(heard(&news)));
        for heard in all {
            self.heard(heard);
        }
    }

    fn heard(&mut self, heard: Heard) {
        let now = unix_millis();
        match heard {
            Heard::Connected => {
                self.complain(0, None);
                self.copies.begin_anew();
                self.pending.clear();
                self.connected(now);
            }
            Heard::Booted => self.connected(now),
            Heard::Lost(why) => {
                // As at each restart. Who looks for a reason finds it in the health.
                let problem = format!("messages wait, for Asterisk is not there: {why}");
                self.note(0, NOTICE, Some(problem));
                self.lost(now);
            }
            Heard::Denied(why) => {
                self.complain(
                    0,
                    Some(format!(
                        "messages wait, for Asterisk's manager does not let the user `websms` in: {why}\n\
                         hint: compare [websms] in manager.conf with the sample; let Asterisk read it (`asterisk -rx 'manager reload'`)"
                    )),
                );
                self.lost(now);
            }
            Heard::Answer {
                number,
                hint,
                value,
            } => match self.pending.remove(&number) {
                Some(Pending::Number(number, left)) => {
                    let endpoints = routes::endpoints(&hint);
                    match endpoints.is_empty() && !left.is_empty() {
                        true => self.questions.push(Pending::Number(number, left)),
                        false => self.number_is(number, endpoints),
                    }
                }
                Some(Pending::Endpoint(name)) => {
                    let contacts = routes::contacts(&name, &value);
                    let deeds = self.lines.endpoint_has(&name, contacts, now);
                    self.perform(deeds, "");
                }
                None => {}
            },
            Heard::Contact {
                endpoint,
                contact,
                has_come,
            } => {
                let back = has_come.then_some(contact.as_str());
                let deeds = self.lines.stirred(&endpoint, back, now);
                self.perform(deeds, "");
            }
        }
    }

    /// Asterisk is there, or it is another one.
    fn connected(&mut self, now: Moment) {
        self.is_connected = true;
        if self.knock.is_shut() {
            self.knock.hurry(now);
            return;
        }
        let deeds = self.lines.connected(now);
        self.perform(deeds, "");
    }

    fn lost(&mut self, now: Moment) {
        self.is_connected = false;
        self.pending.clear();
        self.questions.clear();
        let deeds = self.lines.lost(now);
        self.perform(deeds, "");
    }

    fn number_is(&mut self, number: String, endpoints: Vec<String>) {
        // The name of a phone in place of its number.
        if endpoints.is_empty() && routes::is_name(&number) && !is_digits(&number) {
            let _ = self.tasks.send(Task::Endpoint(number));
            return;
        }
        let deeds = self.lines.number_is(&number, endpoints, unix_millis());
        self.perform(deeds, "");
    }

    /// Prepares a question to the manager.
    fn question(&mut self, question: Question) {
        match question {
            Question::Endpoint(name) => self.questions.push(Pending::Endpoint(name)),
            Question::Number(number) => {
                let own = &self.office.config().queue.context;
                let mut left = VecDeque::new();
                for extension in routes::extensions(&number) {
                    for context in [own.as_str(), HINTS] {
                        left.push_back((extension.clone(), context.to_owned()));
                    }
                }
                self.questions.push(Pending::Number(number, left));
            }
        }
    }

    /// Asks what is to be asked.
    pub fn ask(&mut self, client: &mut Client) {
        // A question that nobody can be asked is answered at once, which may lead to the next one.
        while let Some(pending) = self.questions.pop() {
            match pending {
                Pending::Number(number, mut left) => match left.pop_front() {
                    Some((extension, context)) => {
                        let asked = client.ask(Box::new(move |id| {
                            Action::extension_state(id, &extension, &context)
                        }));
                        self.pending.insert(asked, Pending::Number(number, left));
                    }
                    None => self.number_is(number, Vec::new()),
                },
                Pending::Endpoint(name) => {
                    let expression = format!("PJSIP_DIAL_CONTACTS({name})");
                    let asked = client.ask(Box::new(move |id| Action::variable(id, &expression)));
                    self.pending.insert(asked, Pending::Endpoint(name));
                }
            }
        }
    }

    /// The dialplan knows all numbers, and is always there.
    fn answer_for_dialplan(&mut self, question: Question) -> Vec<Deed> {
        let now = unix_millis();
        match question {
            Question::Number(number) => {
                let is_number = !routes::extensions(&number).is_empty();
                let endpoints = is_number.then(|| DIALPLAN.to_owned());
                self.lines
                    .number_is(&number, endpoints.into_iter().collect(), now)
            }
            Question::Endpoint(name) => {
                let contacts = (name == DIALPLAN).then(|| CALL_FILE.to_owned());
                self.lines
                    .endpoint_has(&name, contacts.into_iter().collect(), now)
            }
        }
    }

    fn send(&mut self, id: Id, contact: String, from: &str) {
        let token = format!("{id}.{}", random());
        self.copies
            .send(token.clone(), id, contact.clone(), unix_millis());
        let task = match self.way {
            Way::Direct { .. } => Task::Copy {
                id,
                token,
                contact,
                from: routes::sender(from),
            },
            Way::Dialplan { .. } => Task::File { id, token },
        };
        let _ = self.tasks.send(task);
    }

    /// A packet that Asterisk copied to us.
    pub fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Request { call_id, token } => self.copies.seen(call_id, &token),
            Seen::Response { call_id, status } => {
                if let Some(copy) = self.copies.answered(&call_id, status) {
                    self.answered(copy, status);
                }
            }
        }
    }

    fn answered(&mut self, copy: Copy, code: u16) {
        let detail = format!("{code} from {}", copy.contact);
        let event = Event::Answered {
            contact: copy.contact,
            code,
            retry_after: None,
            jitter: jitter(),
        };
        let deeds = self.lines.step(copy.id, event, unix_millis());
        self.perform(deeds, &detail);
    }

    /// What `hand` tells.
    pub fn told(&mut self, told: Told) {
        let now = unix_millis();
        match told {
            Told::Knocked(result) => self.knocked(result),
            Told::Endpoint { name, result } => {
                let endpoints = match result {
                    Ok(Some(_)) => vec![name.clone()],
                    Ok(None) | Err(_) => Vec::new(),
                };
                let deeds = self.lines.number_is(&name, endpoints, now);
                self.perform(deeds, "");
            }
            Told::Copy {
                token,
                result: Ok(()),
            } => {
                self.complain(1, None);
                let Some(copy) = self.copies.taken(&token, now) else {
                    return;
                };
                let (id, contact) = (copy.id, copy.contact.clone());
                let deeds = self.lines.step(id, Event::HandedOver(contact), now);
                self.perform(deeds, "");
                if self.is_direct() && self.is_listening {
                    return;
                }
                // Nobody will tell us more.
                if let Some(copy) = self.copies.not_taken(&token) {
                    self.answered(copy, 202);
                }
            }
            Told::Copy {
                token,
                result: Err(error),
            } => {
                let Some(copy) = self.copies.not_taken(&token) else {
                    return;
                };
                if error != AriError::NotThere {
                    let problem = match &error {
                        AriError::Unreachable { at, why } if !self.is_direct() => format!(
                            "messages wait: no call file can be put into `{at}`: {why}\n\
                             hint: it must be there, writable for the group asterisk, on the file system of /srv"
                        ),
                        _ => unheard(&error),
                    };
                    self.complain(1, Some(problem));
                }
                let event = Event::NotHandedOver {
                    contact: copy.contact.clone(),
                    jitter: jitter(),
                };
                let deeds = self.lines.step(copy.id, event, now);
                self.perform(deeds, &error.to_string());
                if closes(&error) {
                    if self.knock.shut(now) {
                        self.pending.clear();
                        self.questions.clear();
                        let deeds = self.lines.lost(now);
                        self.perform(deeds, "");
                    }
                    return;
                }
                let endpoint = routes::endpoint_of(&copy.contact);
                let deeds = self.lines.stirred(endpoint, None, now);
                self.perform(deeds, "");
            }
        }
    }

    /// Whether copies can be handed over again.
    fn knocked(&mut self, result: Result<(), AriError>) {
        match result {
            Ok(()) => {
                self.knock.opened();
                self.complain(1, None);
                if self.is_connected {
                    self.connected(unix_millis());
                }
            }
            Err(_) => self.knock.refused(unix_millis()),
        }
    }

    /// Looks at what waits.
    pub fn poll(&mut self) {
        let now = unix_millis();
        self.copies.tidy(now);
        self.pending.clear();
        let deeds = self.lines.poll(now);
        self.perform(deeds, "");
    }

    /// Some deadline has passed.
    pub fn clock(&mut self) {
        let now = unix_millis();
        for copy in self.copies.unseen(now) {
            if !self.has_complained {
                self.has_complained = true;
                say(
                    WARNING,
                    "Asterisk does not show us the phones' answers: what it takes counts as delivered\n\
                     hint: hep.conf needs `enabled = yes` and `capture_address = 127.0.0.1:9060`, and modules.conf must load res_hep and res_hep_pjsip",
                );
            }
            self.answered(copy, 202);
        }
        if self.knock.try_now(now) {
            let _ = self.tasks.send(Task::Knock);
        }
        let deeds = self.lines.clock(jitter(), now);
        self.perform(deeds, "no answer");
    }

    /// Does what is to be done. `detail` is for people who look at a message's history.
    fn perform(&mut self, deeds: Vec<Deed>, detail: &str) {
        let mut deeds = VecDeque::from(deeds);
        while let Some(deed) = deeds.pop_front() {
            match deed {
                Deed::Ask(question) => match &self.way {
                    Way::Direct { .. } => self.question(question),
                    Way::Dialplan { .. } => deeds.extend(self.answer_for_dialplan(question)),
                },
                Deed::Send { id, contact, from } => self.send(id, contact, &from),
                Deed::Write {
                    id,
                    state,
                    is_new,
                    legs,
                    endpoint,
                    to,
                    next,
                } => {
                    if is_new {
                        tell_end(id, state, &to, detail);
                    }
                    let mut change = Transition::new(id, state, unix_millis());
                    change.tries = legs.iter().map(|leg| leg.tries).max().unwrap_or(0);
                    change.legs = legs;
                    change.endpoint = endpoint;
                    change.next = next;
                    change.detail = detail.to_owned();
                    let _ = self.changes.send(change);
                }
            }
        }
    }
}

fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit())
}

/// What a phone cannot guess of another's copy.
fn random() -> String {
    let mut bytes = [0; 6];
    // Without it there would be no TLS and no spool either.
    let _ = getrandom::getrandom(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// -20..=20 percent.
fn jitter() -> i8 {
    let mut byte = [0; 1];
    let _ = getrandom::getrandom(&mut byte);
    let [byte] = byte;
    i8::try_from(byte % 41).unwrap_or(20) - 20
}
