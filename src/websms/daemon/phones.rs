//! Messages to phones.
//!
//! One task owns all that is under way: `lines` decides, `copies` knows whose answer is whose, and this one listens to the
//! spool, to Asterisk's manager, to the packets that Asterisk copies to us, and to the clock. `hand` gives copies to Asterisk,
//! `scribe` writes down what became of them. It refuses to believe that a phone has a message because Asterisk took it.
//! Invariant: nothing here is the only place where a message is; whenever it ends, the spool knows how to go on.

mod copies;
mod dialplan;
mod hand;
mod heard;
mod knock;
mod lines;
mod parked;
mod routes;
mod scribe;
mod setup;
mod words;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Office;
use crate::asterisk::ami::client::Client;
use crate::sys::clock::unix_millis;
use crate::sys::say::{WARNING, say};
use crate::websms::hep;
use work::Work;

/// Where Asterisk's hep.conf sends its copies.
const COPIES: &str = "127.0.0.1:9060";
/// How often what waits is looked at without any event.
const POLL: Duration = Duration::from_secs(15);
/// The longest datagram.
const DATAGRAM: usize = 65_536;
/// No timer is longer: a clock that is set is noticed by then.
const LONGEST: i64 = 60_000;

/// Works off what waits, for ever.
pub async fn run(office: Arc<Office>) {
    let (tasks, to_do) = unbounded_channel();
    let (told, mut tellings) = unbounded_channel();
    let (changes, to_write) = unbounded_channel();
    tokio::spawn(hand::run(Arc::clone(&office), to_do, told));
    tokio::spawn(scribe::run(Arc::clone(&office), to_write));
    let watch = open_watch().await;
    let mut buffer = vec![0; DATAGRAM];
    let mut configs = office.configs();
    let mut client = Client::default();
    let mut work = Work::new(Arc::clone(&office), tasks, changes, watch.is_some());
    work.find_way(&mut client);
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = unix_millis();
        let pause = work.deadline().map_or(LONGEST, |at| at - now);
        let pause = u64::try_from(pause.clamp(0, LONGEST)).unwrap_or(0);
        let due = Instant::now() + Duration::from_millis(pause);
        tokio::select! {
            () = office.for_phones.notified() => {
                work.orders().await;
                work.has_news();
                work.release().await;
            }
            () = client.wait(), if work.is_direct() => work.hear(&mut client),
            read = receive(watch.as_ref(), &mut buffer) => {
                if let Some(seen) = buffer.get(..read).and_then(hep::read) {
                    work.see(seen);
                }
            }
            Some(told) = tellings.recv() => work.told(told),
            Ok(()) = configs.changed() => {
                work.find_way(&mut client);
                work.release().await;
            }
            _ = poll.tick() => {
                work.release().await;
                work.poll();
            }
            () = sleep_until(due) => work.clock(),
        }
        work.load().await;
        work.ask(&mut client);
    }
}

/// The socket for the packets that Asterisk copies to us.
async fn open_watch() -> Option<UdpSocket> {
    match UdpSocket::bind(COPIES).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            say(
                WARNING,
                &format!(
                    "cannot listen at {COPIES}: {error}: the phones' answers are not seen, and what Asterisk takes counts as delivered\nhint: no other program may use this port"
                ),
            );
            None
        }
    }
}

/// The length of the next datagram.
async fn receive(watch: Option<&UdpSocket>, buffer: &mut [u8]) -> usize {
    match watch {
        // An error is about nothing that we sent.
        Some(socket) => socket.recv(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
