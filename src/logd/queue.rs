//! The lines that wait for the container's output: bounded in bytes, in order, every loss counted.
//!
//! Pure. A line that finds no room is dropped, the newest first: what was said when the trouble began stays,
//! and the ring keeps the end. One source gets at most half of the room, so that a flood costs its own lines
//! before those of others. Invariant: per source, the lines and the numbers told of lost ones add up, and
//! the number stands exactly where the lines are missing.

use std::collections::VecDeque;

/// What a waiting line costs beside its bytes.
const OVERHEAD: usize = 48;

/// One line, or the line that tells of a loss; those are short, and only made when half of the room is free.
#[derive(Debug)]
struct Line {
    source: usize,
    /// How many lines it stands for; a told loss stands for none.
    weight: u64,
    bytes: Vec<u8>,
}

/// What one source holds and has lost.
#[derive(Debug, Default, Clone)]
struct Share {
    held: usize,
    /// Lost and not yet told.
    untold: u64,
    lost: u64,
}

/// The waiting lines.
#[derive(Debug)]
pub struct Queue {
    bound: usize,
    held: usize,
    lines: VecDeque<Line>,
    /// How much of the first line is written already.
    written: usize,
    shares: Vec<Share>,
}

impl Queue {
    /// Holds at most `bound` bytes.
    pub fn new(bound: usize) -> Queue {
        Queue {
            bound,
            held: 0,
            lines: VecDeque::new(),
            written: 0,
            shares: Vec::new(),
        }
    }

    /// Takes a line of `source` that stands for `weight` lines, with its line end. `tell` makes the line that
    /// tells of a loss; it comes first when something was lost. False: dropped and counted.
    pub fn push(
        &mut self,
        source: usize,
        weight: u64,
        line: Vec<u8>,
        tell: impl FnOnce(u64) -> Vec<u8>,
    ) -> bool {
        if !self.tell(source, tell) || !self.has_room(source, line.len() + OVERHEAD) {
            self.lose(source, weight);
            return false;
        }
        self.append(source, weight, line);
        true
    }

    /// Counts lines of `source` that were dropped.
    pub fn lose(&mut self, source: usize, weight: u64) {
        let share = self.share(source);
        share.untold += weight;
        share.lost += weight;
    }

    /// Tells the losses of every source that has room again, so that they are told in silence too.
    pub fn settle(&mut self, tell: impl Fn(usize, u64) -> Vec<u8>) {
        for source in 0..self.shares.len() {
            self.tell(source, |lost| tell(source, lost));
        }
    }

    /// Drops everything that waits; for an output that is gone.
    pub fn lose_all(&mut self) {
        self.written = 0;
        while let Some(line) = self.lines.pop_front() {
            self.release(&line);
            self.lose(line.source, line.weight);
        }
    }

    /// The next bytes to write, at most `most`: whole lines while they fit, a piece of one longer than that.
    pub fn front(&self, most: usize, out: &mut Vec<u8>) {
        let mut skip = self.written;
        for line in &self.lines {
            let rest = line.bytes.get(skip..).unwrap_or_default();
            skip = 0;
            if out.len() + rest.len() > most {
                if out.is_empty() {
                    out.extend_from_slice(rest.get(..most).unwrap_or_default());
                }
                return;
            }
            out.extend_from_slice(rest);
        }
    }

    /// The first `count` bytes are written.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        while let Some(line) = self
            .lines
            .pop_front_if(|line| line.bytes.len() <= self.written)
        {
            self.written -= line.bytes.len();
            self.release(&line);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes that wait, with what the lines cost beside their text.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many lines of `source` were lost so far.
    pub fn lost(&self, source: usize) -> u64 {
        self.shares.get(source).map_or(0, |share| share.lost)
    }

    /// How many lines of all sources were lost so far.
    pub fn lost_in_all(&self) -> u64 {
        self.shares.iter().map(|share| share.lost).sum()
    }

    /// True when nothing is left to tell. Room counts only when half is free: else each line that gets in
    /// would bring a told loss with it.
    fn tell(&mut self, source: usize, tell: impl FnOnce(u64) -> Vec<u8>) -> bool {
        let (held, bound) = (self.held, self.bound);
        let share = self.share(source);
        if share.untold == 0 {
            return true;
        }
        if held > bound / 2 || share.held > bound / 4 {
            return false;
        }
        let line = tell(std::mem::take(&mut share.untold));
        self.append(source, 0, line);
        true
    }

    fn has_room(&mut self, source: usize, cost: usize) -> bool {
        let (held, bound) = (self.held, self.bound);
        held + cost <= bound && self.share(source).held + cost <= bound / 2
    }

    fn append(&mut self, source: usize, weight: u64, bytes: Vec<u8>) {
        let cost = bytes.len() + OVERHEAD;
        self.held += cost;
        self.share(source).held += cost;
        self.lines.push_back(Line {
            source,
            weight,
            bytes,
        });
    }

    fn release(&mut self, line: &Line) {
        let cost = line.bytes.len() + OVERHEAD;
        self.held = self.held.saturating_sub(cost);
        let share = self.share(line.source);
        share.held = share.held.saturating_sub(cost);
    }

    fn share(&mut self, source: usize) -> &mut Share {
        if self.shares.len() <= source {
            self.shares.resize(source + 1, Share::default());
        }
        // The resize above made it.
        #[allow(clippy::indexing_slicing, reason = "resized to hold it")]
        &mut self.shares[source]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUND: usize = 2000;

    fn line(source: usize, number: u64, padding: usize) -> Vec<u8> {
        format!("{source} {number} {}\n", "x".repeat(padding)).into_bytes()
    }

    fn told(source: usize, lost: u64) -> Vec<u8> {
        format!("{source} lost {lost}\n").into_bytes()
    }

    fn drain(queue: &mut Queue, most: usize, out: &mut Vec<u8>) {
        let mut part = Vec::new();
        queue.front(most, &mut part);
        assert!(part.len() <= most);
        queue.advance(part.len());
        out.extend(part);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push { source: usize, padding: usize },
        Write(usize),
        Settle,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..3, 0usize..400).prop_map(|(source, padding)| Step::Push { source, padding }),
            2 => (1usize..600).prop_map(Step::Write),
            1 => Just(Step::Settle),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_uncounted_and_the_count_stands_in_the_gap(steps in prop::collection::vec(step(), 0..300)) {
            let mut queue = Queue::new(BOUND);
            let mut out = Vec::new();
            let mut said = [0u64; 3];
            for step in steps {
                match step {
                    Step::Push { source, padding } => {
                        queue.push(source, 1, line(source, said[source], padding), |lost| told(source, lost));
                        said[source] += 1;
                    }
                    Step::Write(most) => drain(&mut queue, most, &mut out),
                    Step::Settle => queue.settle(told),
                }
                prop_assert!(queue.held() <= BOUND + 3 * 100);
            }
            while !queue.is_empty() {
                drain(&mut queue, 600, &mut out);
            }
            queue.settle(told);
            while !queue.is_empty() {
                drain(&mut queue, 600, &mut out);
            }
            let mut expected = [0u64; 3];
            for text in String::from_utf8(out).unwrap().lines() {
                let words: Vec<&str> = text.split(' ').collect();
                let source: usize = words[0].parse().unwrap();
                if words[1] == "lost" {
                    expected[source] += words[2].parse::<u64>().unwrap();
                } else {
                    prop_assert_eq!(words[1].parse::<u64>().unwrap(), expected[source]);
                    expected[source] += 1;
                }
            }
            prop_assert_eq!(expected, said);
            prop_assert_eq!(queue.held(), 0);
        }
    }

    #[test]
    fn a_flood_leaves_room_for_the_others() {
        let mut queue = Queue::new(BOUND);
        for number in 0..1000 {
            queue.push(0, 1, line(0, number, 50), |lost| told(0, lost));
        }
        assert!(queue.lost(0) > 900);
        assert!(queue.push(1, 1, line(1, 0, 50), |lost| told(1, lost)));
        assert_eq!(queue.lost(1), 0);
    }

    #[test]
    fn what_waits_for_an_output_that_is_gone_counts_as_lost() {
        let mut queue = Queue::new(BOUND);
        queue.push(0, 1, line(0, 0, 5), |lost| told(0, lost));
        queue.push(0, 7, line(0, 1, 5), |lost| told(0, lost));
        queue.lose_all();
        assert_eq!((queue.lost(0), queue.held()), (8, 0));
    }
}
