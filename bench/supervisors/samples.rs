//! What was measured: a row of samples for each figure and subject.

use std::collections::BTreeMap;

use super::gate;
use super::subject::{SUPERVISORS, Subject};
use crate::report::{median, percentile};

/// The services of most measurements.
pub const SERVICES: usize = 5;
/// The row that tells who lets the services finish.
pub const FINISHED: &str = "stop: services of 5 that finished, one slow";

/// The samples of each row and subject, and the moments that were not quiet.
#[derive(Default)]
pub struct Samples {
    pub rows: BTreeMap<(&'static str, Subject), Vec<f64>>,
    pub noisy: usize,
}

impl Samples {
    pub fn add(&mut self, row: &'static str, subject: Subject, value: f64) {
        self.rows.entry((row, subject)).or_default().push(value);
    }

    pub fn of(&self, row: &'static str, subject: Subject) -> &[f64] {
        self.rows.get(&(row, subject)).map_or(&[], Vec::as_slice)
    }

    /// The best median of the peers that supervise, and let the services finish where that is the question.
    pub fn best_peer(&self, row: &'static str) -> Option<f64> {
        let finishes = |subject| {
            let finished = self.of(FINISHED, subject);
            !row.starts_with("stop: order") || finished.iter().all(|n| *n >= SERVICES as f64)
        };
        let is_peer = |s: &&Subject| s.is_peer() && finishes(**s) && !self.of(row, **s).is_empty();
        let peers = SUPERVISORS.iter().filter(is_peer);
        let medians = peers.map(|subject| median(self.of(row, *subject)));
        medians.min_by(f64::total_cmp)
    }

    pub fn gate(&mut self) {
        self.noisy += usize::from(!gate::quiet());
    }

    pub fn print(&self) {
        let mut last = "";
        for ((row, subject), samples) in &self.rows {
            if last != *row {
                println!(
                    "\n{row:44} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
                    "n", "p10", "median", "p90", "p99", "max"
                );
                last = row;
            }
            let at = |p: f64| format!("{:9.2}", percentile(samples, p));
            let n = samples.len();
            println!(
                "  {:42} {n:7} {} {} {} {} {}",
                subject.name(),
                at(10.0),
                at(50.0),
                at(90.0),
                at(99.0),
                at(100.0)
            );
        }
        println!();
    }
}
