//! WebSMS's daemon: carriers on one side, phones on the other, and the spool between them.
//!
//! Five parts that know nothing of each other meet at the spool: `server` takes webhooks and the API's requests, `desk` what
//! programs of this machine hand in, `phones` brings messages to phones, `carriers` to carriers, and `hooks` tells others what happens. Each is a task of its own,
//! and works off what it finds in the spool, so that none of them can lose what another took. Invariant: what is written
//! down is complete at any moment; the end of a task, or of the process, costs a delay.

mod carriers;
mod desk;
mod hooks;
mod media;
mod office;
mod phones;
mod server;
mod setup;
mod shapes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::paths::Paths;
use crate::sys::notify;
use crate::sys::say::{NOTICE, say};
use crate::websms::spool::OpenError;
pub use office::{Office, Wish};

/// How it is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub paths: Paths,
    /// Where to listen when PID 1 has passed no socket.
    pub listen: Option<SocketAddr>,
    /// As `listen`, with TLS.
    pub listen_tls: Option<SocketAddr>,
    /// Where the dialplan hands texts in by FastAGI.
    pub agi: Option<SocketAddr>,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot {doing}: {source}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Spool(#[from] OpenError),
}

fn cannot(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { doing, source }
}

/// How long those may take who are being served when the end comes.
const FAREWELL: Duration = Duration::from_secs(10);
/// Between words to the supervisor.
const PULSE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &Options) -> Result<(), DaemonError> {
    // One beside this thread, and the spool's writer. A second one cost 10 us more for each webhook, to wake it and to share
    // (bench/websms); one serves more than the disk takes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_io()
        .enable_time()
        .build()
        .map_err(cannot("start"))?;
    runtime.block_on(live(options))
}

async fn live(options: &Options) -> Result<(), DaemonError> {
    let listen = |kind| signal(kind).map_err(cannot("listen to signals"));
    let mut hangup = listen(SignalKind::hangup())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;

    let config = setup::read(&options.paths);
    let (spool, handle) = setup::open_spool(&options.paths, &config)?;
    let mut office = Office::new(options.paths.clone(), spool, config);
    office.agi = options.agi;
    let office = Arc::new(office);
    // Before anything can happen: a new hook is told from here.
    let begin = *office.spool.journal().borrow();
    let doors = server::open(options).map_err(cannot("listen"))?;
    let listeners = doors.iter().filter_map(server::Door::address);
    let _ = office.listeners.set(listeners.collect());
    let desk = desk::open(&office).map_err(cannot("listen on the control socket"))?;
    let mut serving = vec![
        tokio::spawn(server::serve(doors, Arc::clone(&office))),
        tokio::spawn(desk::serve(desk, Arc::clone(&office))),
        // It waits for the answers of carriers who have a message already.
        tokio::spawn(carriers::run(Arc::clone(&office))),
    ];
    let working = [
        tokio::spawn(phones::run(Arc::clone(&office))),
        tokio::spawn(media::run(Arc::clone(&office))),
        tokio::spawn(Office::pass_news_on(Arc::clone(&office))),
        tokio::spawn(hooks::run(Arc::clone(&office), begin)),
    ];
    notify::send_surely("READY=1");

    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                notify::send("RELOADING=1");
                let config = setup::read(&options.paths);
                let (history, redact) = (setup::history(&config), config.store.redact);
                office.reconfigure(config);
                // A spool that takes no order has told so, and takes the next.
                let _ = office.spool.keep(history, redact).await;
                say(NOTICE, "websms.conf was read again");
                notify::send("READY=1");
                pulse.reset_immediately();
            }
            _ = pulse.tick() => {
                let line = office.line();
                let status = match line == told {
                    true => String::new(),
                    false => format!("\nSTATUS={line}"),
                };
                notify::send(&format!("WATCHDOG=1{status}"));
                told = line;
            }
        }
    }
    notify::send("STOPPING=1");
    office.close();
    for task in &mut serving {
        // Whoever has not had an answer by then repeats the request.
        let _ = timeout(FAREWELL, task).await;
    }
    working.iter().for_each(tokio::task::JoinHandle::abort);
    let closed = tokio::task::spawn_blocking(move || handle.close()).await;
    closed.map_err(|e| cannot("close the spool")(io::Error::other(e)))
}

/// Letters and digits that nobody can guess.
fn mark() -> io::Result<String> {
    let mut bytes = [0; 12];
    getrandom::getrandom(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
