//! Who is connected, and how long each may stay as they are.
//!
//! A connection rests, sends the head of a request, or waits for our answer. There are so many seats, and so many for one
//! sender; when they are taken who has rested longest makes room, and without such a one the newcomer goes. It refuses to
//! send anybody away who waits for an answer. Invariant: a seat that was freed is never given an answer.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Connections in all.
const SEATS: usize = 1000;
/// Connections of one sender that is no proxy of ours.
const SEATS_FOR_ONE: usize = 50;
/// For the head of a request; a connection begins with one.
const HEAD: Duration = Duration::from_secs(5);
/// Between two requests.
const REST: Duration = Duration::from_secs(60);

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting,
    Asking,
    /// It waits for us. Whoever answers looks after the time.
    Waiting,
    Leaving,
}

impl Phase {
    fn number(self) -> u64 {
        match self {
            Phase::Resting => 0,
            Phase::Asking => 1,
            Phase::Waiting => 2,
            Phase::Leaving => 3,
        }
    }

    /// How long it may last.
    fn patience(self) -> Option<Duration> {
        match self {
            Phase::Resting => Some(REST),
            Phase::Asking => Some(HEAD),
            Phase::Waiting | Phase::Leaving => None,
        }
    }
}

/// A phase and the millisecond in which it began, in one word.
fn state(phase: Phase, since: u64) -> u64 {
    since << 2 | phase.number()
}

fn phase(state: u64) -> Phase {
    match state & 3 {
        0 => Phase::Resting,
        1 => Phase::Asking,
        2 => Phase::Waiting,
        _ => Phase::Leaving,
    }
}

fn since(state: u64) -> u64 {
    state >> 2
}

/// One connection.
#[derive(Debug)]
pub struct Seat {
    sender: IpAddr,
    began: Instant,
    state: AtomicU64,
    call: Notify,
}

impl Seat {
    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Something came over the connection.
    pub fn heard(&self) {
        let before = self.state.load(Ordering::Acquire);
        if phase(before) == Phase::Resting {
            let _ = self.change(before, Phase::Asking);
        }
    }

    /// A request's head is there. `false`: the seat is taken from it already.
    pub fn asks(&self) -> bool {
        loop {
            let before = self.state.load(Ordering::Acquire);
            if phase(before) == Phase::Leaving {
                return false;
            }
            if self.change(before, Phase::Waiting) {
                return true;
            }
        }
    }

    pub fn has_answer(&self) {
        let before = self.state.load(Ordering::Acquire);
        if phase(before) == Phase::Waiting {
            let _ = self.change(before, Phase::Resting);
        }
    }

    /// Ends the connection, whatever it waits for.
    pub fn cut(&self) {
        let leaving = state(Phase::Leaving, self.now());
        self.state.store(leaving, Ordering::Release);
        self.call.notify_one();
    }

    /// Waits until this connection is to end, now or after its answer.
    pub async fn called(&self) {
        self.call.notified().await;
    }

    pub fn must_go(&self) -> bool {
        phase(self.state.load(Ordering::Acquire)) == Phase::Leaving
    }

    fn change(&self, before: u64, to: Phase) -> bool {
        let after = state(to, self.now());
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        let changed = self.state.compare_exchange(before, after, done, failed);
        changed.is_ok()
    }

    /// Since when it could be sent away.
    fn idle_since(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Acquire);
        phase(state).patience().map(|_| since(state))
    }

    /// Sends it away, unless it has just asked.
    fn send_away(&self, only_after: impl Fn(Phase, u64) -> bool) -> bool {
        let before = self.state.load(Ordering::Acquire);
        let is_idle = phase(before).patience().is_some();
        let goes = is_idle
            && only_after(phase(before), since(before))
            && self.change(before, Phase::Leaving);
        if goes {
            self.call.notify_one();
        }
        goes
    }
}

/// All connections.
#[derive(Debug)]
pub struct Guests {
    began: Instant,
    seats: Mutex<Vec<Arc<Seat>>>,
}

impl Default for Guests {
    fn default() -> Guests {
        Guests {
            began: Instant::now(),
            seats: Mutex::default(),
        }
    }
}

impl Guests {
    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a newcomer. A trusted proxy brings everybody's requests, and may have all of them.
    pub fn admit(&self, address: IpAddr, trusted: bool) -> Option<Arc<Seat>> {
        let sender = one_sender(address);
        let mut seats = self.seats();
        let theirs = seats.iter().filter(|seat| seat.sender == sender).count();
        let has_room = match (!trusted && theirs >= SEATS_FOR_ONE, seats.len() >= SEATS) {
            (true, _) => make_room(&mut seats, |seat| seat.sender == sender),
            (false, true) => make_room(&mut seats, |_| true),
            (false, false) => true,
        };
        let seat = has_room.then(|| {
            Arc::new(Seat {
                sender,
                began: self.began,
                state: AtomicU64::new(state(Phase::Asking, millis(self.began.elapsed()))),
                call: Notify::new(),
            })
        })?;
        seats.push(Arc::clone(&seat));
        Some(seat)
    }

    pub fn leave(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats();
        if let Some(at) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) {
            seats.swap_remove(at);
        }
    }

    /// Sends those away who have rested or asked too long.
    pub fn show_out(&self) {
        let now = millis(self.began.elapsed());
        let too_long = |phase: Phase, since: u64| {
            let patience = phase.patience().map_or(u64::MAX, millis);
            now.saturating_sub(since) > patience
        };
        self.seats().retain(|seat| !seat.send_away(too_long));
    }

    /// Asks everybody to go when they have had their answer.
    pub fn close(&self) {
        for seat in self.seats().iter() {
            seat.call.notify_one();
        }
    }
}

/// Sends the one away who has rested longest; whether there was one.
fn make_room(seats: &mut Vec<Arc<Seat>>, of: impl Fn(&Seat) -> bool) -> bool {
    loop {
        let idle = seats.iter().enumerate().filter(|(_, seat)| of(seat));
        let idle = idle.filter_map(|(at, seat)| Some((seat.idle_since()?, at)));
        let Some((_, at)) = idle.min() else {
            return false;
        };
        // It may have asked in this moment.
        if seats
            .get(at)
            .is_some_and(|seat| seat.send_away(|_, _| true))
        {
            seats.swap_remove(at);
            return true;
        }
    }
}

/// Whom an address stands for: with IPv6 a customer has a network of addresses.
fn one_sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_waits_for_an_answer_stays_and_who_rested_longest_makes_room() {
        let guests = Guests::default();
        let one = address("192.0.2.1");
        let first = guests.admit(one, false).unwrap();
        assert!(first.asks());
        let others: Vec<_> = (1..SEATS_FOR_ONE)
            .map(|_| guests.admit(one, false).unwrap())
            .collect();
        let last = guests.admit(one, false).unwrap();
        assert!(!first.must_go());
        assert_eq!(others.iter().filter(|seat| seat.must_go()).count(), 1);
        assert!(!last.must_go());
        // Whoever was sent away hears no more.
        let gone = others.iter().find(|seat| seat.must_go()).unwrap();
        gone.has_answer();
        gone.heard();
        assert!(!gone.asks());
        // When all wait nobody else comes in, but others do.
        for seat in others.iter().chain([&last]) {
            seat.asks();
        }
        assert!(guests.admit(one, false).is_none());
        assert!(guests.admit(address("192.0.2.2"), false).is_some());
        guests.leave(&last);
        assert!(guests.admit(one, false).is_some());
    }

    #[test]
    fn a_proxy_may_have_all_seats_and_no_more() {
        let guests = Guests::default();
        let proxy = address("10.0.0.1");
        let seats: Vec<_> = (0..SEATS + 100)
            .map(|_| guests.admit(proxy, true).unwrap())
            .collect();
        assert_eq!(seats.iter().filter(|seat| seat.must_go()).count(), 100);
        assert_eq!(guests.seats().len(), SEATS);
        for seat in &seats {
            seat.asks();
        }
        assert!(guests.admit(address("192.0.2.1"), false).is_none());
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        assert_eq!(
            one_sender(address("2001:db8::1")),
            one_sender(address("2001:db8::2:1"))
        );
        assert_ne!(
            one_sender(address("2001:db8::1")),
            one_sender(address("2001:db8:0:1::1"))
        );
        assert_eq!(
            one_sender(address("::ffff:192.0.2.1")),
            address("192.0.2.1")
        );
    }
}
