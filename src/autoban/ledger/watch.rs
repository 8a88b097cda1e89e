//! The sources that are watched, of which a flood can bring any number.
//!
//! Pure, and O(1) for each event. Who has to go when there is no room is the source with the lowest score, among equals the
//! one that was counted longest ago; strong evidence ranks above any weak. Invariant: nobody is ever forgotten for a
//! newcomer of a lower score, so a flood of forged packets hides no attacker.

use std::collections::HashMap;

use super::hash::Secret;
use crate::autoban::key::Source;
use crate::autoban::score::{ONE, Score};

const NONE: u32 = u32::MAX;
/// Scores of one rank are kept in one list; half of the ranks are for weak evidence.
const RANKS: usize = 64;
/// The rank of a free place.
const FREE: u8 = RANKS as u8;

#[derive(Debug, Clone, Copy)]
struct Place {
    source: Source,
    score: Score,
    before: u32,
    after: u32,
    rank: u8,
}

/// The watch list.
#[derive(Debug)]
pub struct Watch {
    places: Vec<Place>,
    index: HashMap<Source, u32, Secret>,
    /// Free places, linked by `after`.
    free: u32,
    /// The oldest and the newest of each rank.
    oldest: [u32; RANKS],
    newest: [u32; RANKS],
    /// The next place that is looked at for what is over.
    hand: usize,
    most: usize,
    forgotten: u64,
}

impl Watch {
    #[must_use]
    pub fn new(most: usize) -> Watch {
        Watch {
            places: Vec::new(),
            index: HashMap::default(),
            free: NONE,
            oldest: [NONE; RANKS],
            newest: [NONE; RANKS],
            hand: 0,
            most: most.max(1),
            forgotten: 0,
        }
    }

    /// Changes the score of a source, a new one if it has none, and returns it as it is then.
    pub fn touch(
        &mut self,
        source: Source,
        now: i64,
        window: i64,
        change: impl FnOnce(&mut Score),
    ) -> Score {
        self.sweep(now, window);
        if let Some(&at) = self.index.get(&source) {
            let Some(place) = self.places.get_mut(at as usize) else {
                return Score::new(now);
            };
            change(&mut place.score);
            let score = place.score;
            self.unlink(at);
            self.link(at, rank(&score));
            return score;
        }
        let mut score = Score::new(now);
        change(&mut score);
        let rank = rank(&score);
        if self.index.len() >= self.most && !self.make_room(rank) {
            self.forgotten += 1;
            return score;
        }
        let place = Place {
            source,
            score,
            before: NONE,
            after: NONE,
            rank: FREE,
        };
        let at = match self.places.get_mut(self.free as usize) {
            Some(free) => {
                let at = self.free;
                self.free = free.after;
                *free = place;
                at
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.index.insert(source, at);
        self.link(at, rank);
        score
    }

    #[must_use]
    pub fn get(&self, source: &Source) -> Option<Score> {
        let at = *self.index.get(source)?;
        self.places.get(at as usize).map(|place| place.score)
    }

    /// Whether it was watched.
    pub fn remove(&mut self, source: &Source) -> bool {
        let Some(at) = self.index.remove(source) else {
            return false;
        };
        self.unlink(at);
        if let Some(place) = self.places.get_mut(at as usize) {
            place.after = self.free;
            place.rank = FREE;
            self.free = at;
        }
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (Source, Score)> + '_ {
        self.places
            .iter()
            .filter(|place| place.rank != FREE)
            .map(|place| (place.source, place.score))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// How many sources had to be forgotten for want of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Another bound; what is too much goes, lowest first.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.max(1);
        while self.index.len() > self.most && self.make_room(FREE) {}
    }

    /// Forgets the lowest and oldest, unless that ranks above the newcomer.
    fn make_room(&mut self, rank: u8) -> bool {
        let lowest = self.oldest.iter().position(|at| *at != NONE);
        let Some(lowest) = lowest.filter(|lowest| *lowest <= usize::from(rank)) else {
            return false;
        };
        let place = self
            .oldest
            .get(lowest)
            .and_then(|at| self.places.get(*at as usize));
        let Some(source) = place.map(|place| place.source) else {
            return false;
        };
        self.forgotten += 1;
        self.remove(&source)
    }

    /// Looks at two places; so all are looked at while half as many events go by.
    fn sweep(&mut self, now: i64, window: i64) {
        for _ in 0..2 {
            self.hand = if self.hand < self.places.len() {
                self.hand
            } else {
                0
            };
            let Some(place) = self.places.get(self.hand).copied() else {
                return;
            };
            self.hand += 1;
            if place.rank != FREE && place.score.is_over(now, window) {
                self.remove(&place.source);
            }
        }
    }

    fn link(&mut self, at: u32, rank: u8) {
        let list = usize::from(rank);
        let (Some(newest), Some(oldest)) = (self.newest.get_mut(list), self.oldest.get_mut(list))
        else {
            return;
        };
        let before = std::mem::replace(newest, at);
        if before == NONE {
            *oldest = at;
        }
        if let Some(place) = self.places.get_mut(before as usize) {
            place.after = at;
        }
        if let Some(place) = self.places.get_mut(at as usize) {
            (place.before, place.after, place.rank) = (before, NONE, rank);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(place) = self.places.get(at as usize).copied() else {
            return;
        };
        let list = usize::from(place.rank);
        match self.places.get_mut(place.before as usize) {
            Some(before) => before.after = place.after,
            None => {
                if let Some(oldest) = self.oldest.get_mut(list) {
                    *oldest = place.after;
                }
            }
        }
        match self.places.get_mut(place.after as usize) {
            Some(after) => after.before = place.before,
            None => {
                if let Some(newest) = self.newest.get_mut(list) {
                    *newest = place.before;
                }
            }
        }
    }
}

fn rank(score: &Score) -> u8 {
    let half = (RANKS / 2) as u32;
    let events = |quarters: u32| quarters.div_ceil(u32::from(ONE)).min(half - 1);
    let rank = match score.strong() {
        0 => events(score.weak()),
        strong => half + events(strong),
    };
    rank as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::evidence::{Evidence, Grade, Kind};

    const WINDOW: i64 = 1000;

    fn hit(watch: &mut Watch, source: u64, grade: Grade, now: i64) -> Score {
        let evidence = Evidence {
            address: [192, 0, 2, 7].into(),
            grade,
            kind: Kind::UnknownAccount,
            account: 1,
        };
        watch.touch(Source::V6(source), now, WINDOW, |score| {
            score.add(&evidence, false, now, WINDOW);
        })
    }

    #[test]
    fn a_flood_hides_nobody() {
        let mut watch = Watch::new(100);
        for n in 1..=9u64 {
            assert_eq!(hit(&mut watch, 1, Grade::Strong, 0).strong(), n as u32 * 4);
            hit(&mut watch, 2, Grade::Weak, 0);
            for other in 0..500 {
                hit(&mut watch, 1000 * n + other, Grade::Weak, 0);
            }
            // The second was seen before, so only its first event can be crowded out.
            assert!(watch.get(&Source::V6(1)).is_some());
        }
        assert_eq!(watch.len(), 100);
        assert!(watch.forgotten() > 4000);
    }

    #[test]
    fn a_higher_score_does_not_go_for_a_lower_one() {
        let mut watch = Watch::new(2);
        for source in [1, 2] {
            hit(&mut watch, source, Grade::Strong, 0);
        }
        hit(&mut watch, 3, Grade::Weak, 0);
        assert!(watch.get(&Source::V6(3)).is_none());
        hit(&mut watch, 4, Grade::Strong, 0);
        assert!(watch.get(&Source::V6(1)).is_none());
        assert!(watch.get(&Source::V6(2)).is_some() && watch.get(&Source::V6(4)).is_some());
    }

    #[test]
    fn what_is_over_makes_room_by_itself() {
        let mut watch = Watch::new(1000);
        for source in 0..100 {
            hit(&mut watch, source, Grade::Weak, 0);
        }
        for _ in 0..60 {
            hit(&mut watch, 7, Grade::Weak, 2 * WINDOW);
        }
        assert_eq!(watch.len(), 1);
        hit(&mut watch, 500, Grade::Weak, 2 * WINDOW);
        assert_eq!(watch.places.len(), 100);
    }
}
