//! AutoBan's daemon: one task that owns all state, between Asterisk's manager and the kernel.
//!
//! What wakes it: the manager's connection, what the log says beside it, changes of the kernel's tables by others, fetched
//! block lists, the control socket, signals, and a tick each second. Each wake-up drains what is there, and ends in at most
//! one batch for the kernel. Invariant: nothing waits for a disk, for Asterisk or for a client between an event and its ban.

mod books;
mod bystander;
mod desk;
mod enforcement;
mod errands;
mod fallback;
mod fetch;
mod herald;
mod lists;
mod manager;
mod setup;
mod state;
mod surroundings;
mod voice;
mod webhook;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::paths::Paths;
use crate::sys::notify;
use manager::Manager;
pub use setup::take_named_lists;
use state::State;
use voice::{NOTICE, WARNING, say};

/// How long Asterisk may take at our end to free whom it denies for us.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the log says is taken so often in one turn of the manager's.
const WITNESSED: usize = 256;

/// How it is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub paths: Paths,
    /// Score and tell, but leave the kernel and the journal alone.
    pub dry_run: bool,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot {doing}: {source}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "another AutoBan daemon listens at `{0}`\nhint: stop it (`switchhook stop autoban`), or try with `--dry-run`"
    )]
    Running(String),
}

fn cannot(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { doing, source }
}

/// Runs until SIGTERM or SIGINT. The kernel's bans stay when it ends, for they have an end of their own.
pub fn run(options: &Options) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
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

    let (sender, mut requests) = mpsc::channel(16);
    let socket = options.paths.at(crate::autoban::control::SOCKET);
    let opened = desk::open(&socket).map_err(cannot("listen on the control socket"))?;
    match opened {
        Some(listener) => {
            tokio::spawn(desk::serve(listener, sender));
        }
        None if options.dry_run => say(
            NOTICE,
            "another AutoBan daemon answers the `autoban` command; this dry run only talks here",
        ),
        None => return Err(DaemonError::Running(socket.display().to_string())),
    }

    let mut state = State::open(options)?;
    let mut manager = Manager::default();
    let (mut bystander, tally) =
        bystander::watch(options.paths.evidence_socket()).map_err(cannot("follow the log"))?;
    state.attend(tally);
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut answered = None;
        // The manager comes last: under a flood it always has something to say.
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                state.wake();
                if state.reconfigure() {
                    manager.restart();
                }
            }
            Some((request, reply)) = requests.recv() => {
                state.wake();
                answered = Some((state.answer(&request), reply));
            }
            _ = tick.tick() => {
                state.wake();
                state.tick();
            }
            () = state.enforcement.touched() => {
                state.wake();
                state.look();
            }
            fetched = state.errands.news() => {
                state.wake();
                state.take_list(fetched);
            }
            () = manager.wait(), if state.needs_manager() => {
                hear(&mut state, &mut manager, options);
                // The manager may never leave it a turn of its own.
                for _ in 0..WITNESSED {
                    let Ok(heard) = bystander.try_recv() else {
                        break;
                    };
                    state.overhear(heard);
                }
            }
            Some(heard) = bystander.recv() => {
                state.wake();
                state.overhear(heard);
            }
            // Each wake-up loads a piece of the block lists; so do those that bring nothing else.
            () = tokio::task::yield_now(), if state.lists.is_loading() => state.wake(),
        }
        settle(&mut state, &mut manager);
        if let Some((answer, reply)) = answered {
            state.reply(answer, reply);
        }
    }
    notify::send("STOPPING=1");
    state.retire();
    let freed = timeout(FAREWELL, async {
        settle(&mut state, &mut manager);
        while state.is_retiring() {
            manager.wait().await;
            hear(&mut state, &mut manager, options);
            settle(&mut state, &mut manager);
        }
    });
    if freed.await.is_err() {
        say(
            WARNING,
            "Asterisk does not say that it has freed whom it denies; `switchhook restart asterisk` does",
        );
    }
    state.close();
    if options.dry_run {
        say(WARNING, "the dry run is over; nobody was banned");
    }
    Ok(())
}

fn hear(state: &mut State, manager: &mut Manager, options: &Options) {
    state.wake();
    let (config, paths) = (Rc::clone(&state.config), &options.paths);
    let door = || setup::door(&config.manager, paths);
    manager.turn(door, &mut |news| state.hear(news));
}

fn settle(state: &mut State, manager: &mut Manager) {
    state.settle();
    if state.wants_reload() {
        manager.reload();
    }
    if !state.needs_manager() {
        manager.rest();
        state.disconnected();
    }
}
