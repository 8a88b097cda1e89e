//! Writes down what became of messages, in the order in which it happened.
//!
//! The way to a phone does not wait for the disk: what is lost here by the end of the process is one more copy under the
//! same id. Invariant: a change is written, or its message is gone; a disk that fails is asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::super::Office;
use crate::sys::say::{ERROR, say};
use crate::websms::spool::{SpoolError, Transition};

/// Changes in one transaction.
const MOST: usize = 256;
const LONGEST_PAUSE: u64 = 5;

/// Writes, until nobody has anything to write.
pub async fn run(office: Arc<Office>, mut changes: UnboundedReceiver<Transition>) {
    let mut batch = Vec::with_capacity(MOST);
    while changes.recv_many(&mut batch, MOST).await > 0 {
        write(&office, std::mem::take(&mut batch)).await;
    }
}

async fn write(office: &Office, mut batch: Vec<Transition>) {
    let mut has_failed = false;
    while !batch.is_empty() {
        match office.spool.record(batch.clone()).await {
            Ok(_) => break,
            // It was erased meanwhile. The others are written without it.
            Err(SpoolError::Unknown(id)) => batch.retain(|change| change.id != id),
            Err(SpoolError::Closed) => return,
            Err(error) => {
                if !has_failed && error != SpoolError::Busy {
                    say(
                        ERROR,
                        &format!("what phones took cannot be written down: {error}"),
                    );
                    office.report("what became of messages to phones", Some(error.to_string()));
                    has_failed = true;
                }
                let pause = error
                    .retry_after()
                    .map_or(LONGEST_PAUSE, u64::from)
                    .min(LONGEST_PAUSE);
                sleep(Duration::from_secs(pause)).await;
            }
        }
    }
    if has_failed {
        office.report("what became of messages to phones", None);
    }
}
