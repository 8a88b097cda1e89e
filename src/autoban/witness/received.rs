//! Which connection has sent so much of late that a failed request can be its own.
//!
//! Pure. A request came over a connection only if the connection has received at least its bytes. Invariant: no byte of a
//! connection speaks for two requests. So who is named by somebody else is not held to it as often as he is named, but at
//! the most as often as he himself sends a request in the same moment.

use std::collections::HashMap;
use std::net::SocketAddr;

/// How late a line may be behind its bytes, in milliseconds: an exchange under attack is slow to log. Bytes that no line was
/// held against by then are forgotten.
pub const LATE: i64 = 10_000;
/// The most bytes of a connection that are waiting for their lines.
const MOST: u64 = 64 * 1024;
/// The most connections of which this is known.
const CONNECTIONS: usize = 16_384;

/// What the kernel says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Another connection of the same place has another one.
    pub cookie: u64,
    /// Bytes since it was opened.
    pub received: u64,
    /// Milliseconds since something came last.
    pub idle: u32,
}

#[derive(Debug)]
struct Account {
    cookie: u64,
    /// As it was seen last.
    received: u64,
    /// Of these, what no line was held against.
    left: u64,
    /// When the first of those was seen, in milliseconds.
    moment: i64,
}

/// What was received, by who sent it.
#[derive(Debug, Default)]
pub struct Received {
    accounts: HashMap<SocketAddr, Account>,
}

impl Received {
    /// Whether a request of at least so many bytes can have come over this connection. If so, they are taken off. `before`
    /// is what it had received when [`LATE`] began, if that is known.
    pub fn claim(
        &mut self,
        place: SocketAddr,
        seen: Seen,
        before: Option<u64>,
        bytes: u64,
        now: i64,
    ) -> bool {
        let is_known = |account: &Account| account.cookie == seen.cookie;
        if !self.accounts.get(&place).is_some_and(is_known) {
            // Of what came at some time, no more than one request.
            let before = before.unwrap_or(seen.received.saturating_sub(bytes));
            self.meet(place, seen.cookie, before, now);
        }
        let Some(account) = self.accounts.get_mut(&place) else {
            return false;
        };
        let more = seen.received.saturating_sub(account.received);
        account.received = seen.received;
        if account.left == 0 || now.saturating_sub(account.moment) > LATE {
            account.left = 0;
            account.moment = now;
        }
        if i64::from(seen.idle) <= LATE {
            account.left = account.left.saturating_add(more).min(MOST);
        }
        match account.left.checked_sub(bytes) {
            Some(left) => {
                account.left = left;
                true
            }
            None => false,
        }
    }

    /// Who has no room is taken for nobody's connection.
    fn meet(&mut self, place: SocketAddr, cookie: u64, received: u64, now: i64) {
        self.accounts.remove(&place);
        if self.accounts.len() >= CONNECTIONS {
            self.accounts
                .retain(|_, account| now.saturating_sub(account.moment) <= LATE);
        }
        if self.accounts.len() < CONNECTIONS {
            let account = Account {
                cookie,
                received,
                left: 0,
                moment: now,
            };
            self.accounts.insert(place, account);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(port: u16) -> SocketAddr {
        ([192, 0, 2, 7], port).into()
    }

    fn seen(received: u64, idle: u32) -> Seen {
        Seen {
            cookie: 1,
            received,
            idle,
        }
    }

    #[test]
    fn each_request_needs_its_own_bytes() {
        let mut all = Received::default();
        // A long one that says nothing now, and then a request.
        assert!(!all.claim(place(1), seen(1_000_000, 60_000), None, 100, 0));
        assert!(all.claim(place(1), seen(1_000_100, 0), None, 100, 10));
        assert!(!all.claim(place(1), seen(1_000_100, 0), None, 100, 10));
        // Of one that is met while it sends no more than one is known.
        assert!(all.claim(place(2), seen(5_000, 1), None, 100, 20));
        assert!(!all.claim(place(2), seen(5_000, 1), None, 100, 20));
        // Ten at once, and their lines one after the other.
        let ten = (0..11).map(|_| all.claim(place(2), seen(6_000, 1), None, 100, 30));
        assert_eq!(ten.filter(|is_claimed| *is_claimed).count(), 10);
        // Ten at once of one that was not there before, and of one that was.
        let mut of = |port, before| {
            let claimed = (0..11).map(|_| all.claim(place(port), seen(1_000, 1), before, 100, 30));
            claimed.filter(|is_claimed| *is_claimed).count()
        };
        assert_eq!((of(3, Some(0)), of(4, Some(700)), of(5, None)), (10, 3, 1));
        // The same place, and another connection.
        let another = Seen {
            cookie: 2,
            ..seen(100, 0)
        };
        assert!(all.claim(place(2), another, None, 100, 40));
        let third = Seen {
            cookie: 3,
            ..seen(40, 0)
        };
        assert!(!all.claim(place(2), third, None, 100, 40));
    }

    #[test]
    fn what_keeps_a_connection_alive_is_no_request() {
        let mut all = Received::default();
        all.claim(place(1), seen(0, 0), None, 100, 0);
        for second in 1..1000u32 {
            let moment = i64::from(second) * 1000;
            let received = u64::from(second / 6) * 26;
            let seen = seen(received, second % 6 * 1000);
            assert!(!all.claim(place(1), seen, None, 60, moment), "{second}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_speaks_twice(
            turns in prop::collection::vec((0u64..400, 0u32..20_000, 0i64..15_000, 1usize..6), 0..100),
        ) {
            let (mut all, mut received, mut now, mut claimed) = (Received::default(), 0, 0, 0);
            for (more, idle, pause, lines) in turns {
                received += more;
                now += pause;
                for _ in 0..lines {
                    claimed += u64::from(all.claim(place(1), seen(received, idle), Some(0), 100, now));
                }
                prop_assert!(claimed * 100 <= received);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]

        #[test]
        fn it_is_bounded(places in prop::collection::vec(any::<u16>(), 0..40_000)) {
            let mut all = Received::default();
            for port in places {
                all.claim(place(port), seen(100, 0), None, 100, 0);
                prop_assert!(all.accounts.len() <= CONNECTIONS);
            }
        }
    }
}
