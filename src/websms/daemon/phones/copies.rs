//! The copies that are with phones: whose answer is whose.
//!
//! Pure. A copy bears a token, a packet with the token tells its Call-ID, an answer bears the Call-ID. Invariant: an answer
//! counts for the one copy whose request was seen first with its Call-ID.

use std::collections::HashMap;

use crate::websms::delivery::{Answer, Moment, meaning_of};
use crate::websms::spool::Id;

/// An answer that comes later than this is no news.
const LATEST: i64 = 300_000;
/// A packet is copied to us when it is sent: what is not seen by then is not copied.
const SEEN: i64 = 2_000;

/// One copy of a message, with one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub id: Id,
    pub contact: String,
    sent: Moment,
    /// Asterisk took it.
    taken: Option<Moment>,
    call_id: Option<String>,
}

/// All copies that may be answered.
#[derive(Debug, Default)]
pub struct Copies {
    by_token: HashMap<String, Copy>,
    by_call: HashMap<String, String>,
    /// Asterisk copies its packets to us.
    is_watched: bool,
}

impl Copies {
    /// A copy goes out under this token. One for the same contact that went before may still be answered.
    pub fn send(&mut self, token: String, id: Id, contact: String, now: Moment) {
        let copy = Copy {
            id,
            contact,
            sent: now,
            taken: None,
            call_id: None,
        };
        self.by_token.insert(token, copy);
    }

    /// Asterisk took it.
    pub fn taken(&mut self, token: &str, now: Moment) -> Option<&Copy> {
        let copy = self.by_token.get_mut(token)?;
        copy.taken = Some(now);
        Some(copy)
    }

    /// Asterisk did not take it.
    pub fn not_taken(&mut self, token: &str) -> Option<Copy> {
        self.remove(token)
    }

    /// A packet with this token was seen.
    pub fn seen(&mut self, call_id: String, token: &str) {
        let Some(copy) = self.by_token.get_mut(token) else {
            return;
        };
        self.is_watched = true;
        if copy.call_id.is_none() && !self.by_call.contains_key(&call_id) {
            copy.call_id = Some(call_id.clone());
            self.by_call.insert(call_id, token.to_owned());
        }
    }

    /// A final answer; the copy that it is about.
    pub fn answered(&mut self, call_id: &str, status: u16) -> Option<Copy> {
        if meaning_of(status) == Answer::Nothing {
            return None;
        }
        let token = self.by_call.get(call_id)?.clone();
        self.remove(&token)
    }

    fn remove(&mut self, token: &str) -> Option<Copy> {
        let copy = self.by_token.remove(token)?;
        if let Some(call_id) = &copy.call_id {
            self.by_call.remove(call_id);
        }
        Some(copy)
    }

    /// Whether packets are copied has to be seen anew: it is another Asterisk.
    pub fn begin_anew(&mut self) {
        self.is_watched = false;
    }

    /// When `unseen` may have something to tell.
    pub fn deadline(&self) -> Option<Moment> {
        if self.is_watched {
            return None;
        }
        let unseen = self.by_token.values().filter(|copy| copy.call_id.is_none());
        let taken = unseen.filter_map(|copy| copy.taken);
        taken.min().map(|taken| taken.saturating_add(SEEN))
    }

    /// The copies that Asterisk took without showing them to us, where it shows us none. More than that will never be known.
    pub fn unseen(&mut self, now: Moment) -> Vec<Copy> {
        if self.is_watched {
            return Vec::new();
        }
        let is_old = |copy: &Copy| {
            let taken = copy.taken.map(|taken| taken.saturating_add(SEEN));
            copy.call_id.is_none() && taken.is_some_and(|until| until <= now)
        };
        let all = self.by_token.iter().filter(|(_, copy)| is_old(copy));
        let tokens: Vec<String> = all.map(|(token, _)| token.clone()).collect();
        let copies = tokens.iter().filter_map(|token| self.remove(token));
        copies.collect()
    }

    /// Forgets what nobody will answer any more.
    pub fn tidy(&mut self, now: Moment) {
        let is_old = |copy: &Copy| now.saturating_sub(copy.sent) > LATEST;
        let all = self.by_token.iter().filter(|(_, copy)| is_old(copy));
        let tokens: Vec<String> = all.map(|(token, _)| token.clone()).collect();
        for token in tokens {
            self.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(moment: Moment) -> Id {
        Id::first_of(moment)
    }

    fn sent(tokens: &[&str]) -> Copies {
        let mut copies = Copies::default();
        for (at, token) in (1..).zip(tokens) {
            copies.send((*token).to_owned(), id(at), format!("a/sip:{at}"), 0);
            copies.taken(token, 0);
        }
        copies
    }

    #[test]
    fn an_answer_is_that_of_the_copy_with_its_call_id() {
        let mut copies = sent(&["t1", "t2"]);
        copies.seen("c1".to_owned(), "t1");
        copies.seen("c2".to_owned(), "t2");
        assert_eq!(copies.answered("c2", 100), None, "not final");
        assert_eq!(copies.answered("c2", 486).unwrap().id, id(2));
        assert_eq!(copies.answered("c2", 200), None, "once");
        assert_eq!(copies.answered("c1", 200).unwrap().contact, "a/sip:1");
    }

    #[test]
    fn a_phone_speaks_for_nobody_else() {
        let mut copies = sent(&["t1", "t2"]);
        copies.seen("c1".to_owned(), "t1");
        // It sends us a MESSAGE of its own: with the token of the copy that it got, and with an invented one.
        copies.seen("c3".to_owned(), "t1");
        copies.seen("c4".to_owned(), "t9");
        copies.seen("c1".to_owned(), "t2");
        assert_eq!(copies.answered("c3", 202), None);
        assert_eq!(copies.answered("c4", 202), None);
        assert_eq!(copies.answered("c1", 480).unwrap().id, id(1));
        assert_eq!(copies.answered("c1", 200), None);
    }

    #[test]
    fn without_copied_packets_asterisks_word_counts() {
        let mut copies = sent(&["t1"]);
        assert_eq!(copies.deadline(), Some(SEEN));
        assert!(copies.unseen(SEEN - 1).is_empty());
        assert_eq!(copies.unseen(SEEN).len(), 1);
        let mut copies = sent(&["t1", "t2"]);
        copies.seen("c1".to_owned(), "t1");
        assert_eq!(copies.deadline(), None);
        assert!(copies.unseen(LATEST).is_empty(), "it is only silent");
        copies.tidy(LATEST + 1);
        assert_eq!(copies.answered("c1", 200), None);
    }
}
