//! What the parts of the daemon share: the spool, the configuration in force, and the words that wake them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, mpsc, watch};

use super::carriers::Order;
use super::server::trial::Tests;
use crate::config::paths::Paths;
use crate::websms::config::Config;
use crate::websms::spool::{Id, Spool};

/// What people want of a message that is for phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Retry,
    Cancel,
}

/// The place where the parts meet.
#[derive(Debug)]
pub struct Office {
    pub paths: Paths,
    pub spool: Spool,
    config: watch::Sender<Arc<Config>>,
    /// The end has come: nothing new is taken.
    closing: watch::Sender<bool>,
    /// There may be something new for phones.
    pub for_phones: Notify,
    /// There may be something new for carriers.
    pub for_carriers: Notify,
    /// There may be media to be fetched.
    pub for_media: Notify,
    /// There may be files of messages that are gone.
    pub to_sweep: Notify,
    /// What people order about messages to carriers.
    pub orders: mpsc::Sender<Order>,
    ordered: Mutex<Option<mpsc::Receiver<Order>>>,
    /// Where the dialplan finds us.
    pub agi: Option<SocketAddr>,
    /// What people want of messages to phones; see `wish`.
    wishes: Mutex<Vec<(Id, Wish)>>,
    /// What is not well, by part.
    problems: Mutex<BTreeMap<&'static str, String>>,
    /// Messages that wait, when somebody counted last.
    waiting: AtomicU64,
    /// Where carriers reach us.
    pub listeners: OnceLock<Vec<SocketAddr>>,
    /// Webhooks that people send to test an interface.
    pub tests: Tests,
}

impl Office {
    pub fn new(paths: Paths, spool: Spool, config: Config) -> Office {
        let (orders, ordered) = mpsc::channel(16);
        spool.keep_journal(config.listens);
        Office {
            paths,
            spool,
            config: watch::Sender::new(Arc::new(config)),
            closing: watch::Sender::new(false),
            for_phones: Notify::new(),
            for_carriers: Notify::new(),
            for_media: Notify::new(),
            to_sweep: Notify::new(),
            orders,
            ordered: Mutex::new(Some(ordered)),
            agi: None,
            wishes: Mutex::default(),
            problems: Mutex::default(),
            waiting: AtomicU64::new(0),
            listeners: OnceLock::new(),
            tests: Tests::default(),
        }
    }

    /// The other end of `orders`, once.
    pub fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        self.ordered.lock().ok()?.take()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    /// Hears of every other configuration.
    pub fn configs(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    pub fn reconfigure(&self, config: Config) {
        self.spool.keep_journal(config.listens);
        self.config.send_replace(Arc::new(config));
    }

    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits for the end.
    pub async fn closed(&self) {
        // The sender lives as long as we do.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Wakes the working parts when messages were stored. For one task.
    pub async fn pass_news_on(office: Arc<Office>) {
        loop {
            office.spool.news().await;
            office.for_phones.notify_one();
            office.for_carriers.notify_one();
        }
    }

    /// Wants something of an incoming message. `phones` knows where it is, does it and writes it down.
    pub fn wish(&self, id: Id, wish: Wish) {
        if let Ok(mut wishes) = self.wishes.lock() {
            wishes.push((id, wish));
        }
        self.for_phones.notify_one();
    }

    /// For `phones`.
    pub fn take_wishes(&self) -> Vec<(Id, Wish)> {
        let wishes = self.wishes.lock();
        wishes.map_or_else(|_| Vec::new(), |mut all| std::mem::take(&mut *all))
    }

    /// Says what is not well with a part, or that all is.
    pub fn report(&self, part: &'static str, problem: Option<String>) {
        if let Ok(mut problems) = self.problems.lock() {
            match problem {
                Some(problem) => drop(problems.insert(part, problem)),
                None => drop(problems.remove(part)),
            }
        }
    }

    /// What is not well, one sentence for each part.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.problems.lock();
        problems.map_or_else(|_| Vec::new(), |all| all.values().cloned().collect())
    }

    pub fn note_waiting(&self, count: u64) {
        self.waiting.store(count, Ordering::Relaxed);
    }

    /// How it does, in one line.
    pub fn line(&self) -> String {
        let problems = self.problems();
        if !problems.is_empty() {
            return format!("degraded: {}", problems.join("; "));
        }
        let interfaces = match self.config().interfaces.len() {
            0 => "no carrier is configured".to_owned(),
            1 => "1 interface".to_owned(),
            count => format!("{count} interfaces"),
        };
        match self.waiting.load(Ordering::Relaxed) {
            0 => interfaces,
            1 => format!("{interfaces}, 1 message waits"),
            count => format!("{interfaces}, {count} messages wait"),
        }
    }
}
