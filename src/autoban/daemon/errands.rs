//! What the daemon asks of web servers and slow disks, on a thread of its own: no ban waits for them.
//!
//! The thread starts with the first block list or webhook and lives as long as the process; its end waits for nobody. Orders
//! and news pass by bounded channels. Invariant: an event that finds the queue full is counted, never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use super::fetch::{self, Fetched, Places};
use super::voice::{ERROR, say};
use super::webhook::{self, Hook};
use crate::autoban::config::Import;
use crate::autoban::control::WebhookStatus;
use crate::autoban::outbox::Event;

/// Events that wait for the thread.
const QUEUE: usize = 256;

/// The daemon's side.
#[derive(Debug, Default)]
pub struct Errands {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    hook: watch::Sender<Option<Hook>>,
    imports: watch::Sender<Vec<Import>>,
    events: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    fetched: mpsc::Receiver<Fetched>,
    status: watch::Receiver<WebhookStatus>,
}

/// The thread's side.
pub struct Orders {
    pub hook: watch::Receiver<Option<Hook>>,
    pub imports: watch::Receiver<Vec<Import>>,
    pub events: mpsc::Receiver<Event>,
    /// Events that found the queue full.
    pub dropped: Arc<AtomicU64>,
    pub fetched: mpsc::Sender<Fetched>,
    pub status: watch::Sender<WebhookStatus>,
}

impl Errands {
    /// Gives the thread its orders anew; every block list is fetched.
    pub fn order(&mut self, hook: Option<Hook>, imports: Vec<Import>, places: &Places) {
        if self.running.is_none() {
            if hook.is_none() && imports.is_empty() {
                return;
            }
            self.running = start(places.clone());
        }
        if let Some(running) = &self.running {
            running.hook.send_replace(hook);
            running.imports.send_replace(imports);
        }
    }

    /// Tells the webhook, if there is one.
    pub fn tell(&self, event: Event) {
        if let Some(running) = &self.running
            && running.hook.borrow().is_some()
            && running.events.try_send(event).is_err()
        {
            running.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for the next news of a block list.
    pub async fn news(&mut self) -> Fetched {
        if let Some(running) = &mut self.running
            && let Some(fetched) = running.fetched.recv().await
        {
            return fetched;
        }
        std::future::pending().await
    }

    /// How the webhook does; `None` without one.
    pub fn webhook(&self) -> Option<WebhookStatus> {
        let running = self.running.as_ref()?;
        let hook = running.hook.borrow();
        Some(WebhookStatus {
            to: hook.as_ref()?.to.to_string(),
            ..running.status.borrow().clone()
        })
    }
}

fn start(places: Places) -> Option<Running> {
    let (hook, hooks) = watch::channel(None);
    let (imports, all_imports) = watch::channel(Vec::new());
    let (events, told) = mpsc::channel(QUEUE);
    let (fetcher, fetched) = mpsc::channel(QUEUE);
    let (teller, status) = watch::channel(WebhookStatus::default());
    let dropped = Arc::new(AtomicU64::new(0));
    let orders = Orders {
        hook: hooks,
        imports: all_imports,
        events: told,
        dropped: Arc::clone(&dropped),
        fetched: fetcher,
        status: teller,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let started = runtime.and_then(|runtime| {
        std::thread::Builder::new()
            .name("errands".to_owned())
            .spawn(move || {
                let Orders {
                    hook,
                    imports,
                    events,
                    dropped,
                    fetched,
                    status,
                } = orders;
                runtime.block_on(async {
                    tokio::join!(
                        webhook::serve(hook, events, dropped, status),
                        fetch::serve(imports, fetched, places)
                    )
                });
            })
    });
    match started {
        Ok(_) => Some(Running {
            hook,
            imports,
            events,
            dropped,
            fetched,
            status,
        }),
        Err(error) => {
            say(
                ERROR,
                &format!("cannot start the thread of the webhook and the block lists: {error}"),
            );
            None
        }
    }
}
