//! Hooks: web servers that are told what happens to messages.
//!
//! Each hook has a task (`courier`) and a place in the spool's journal, so that a slow one delays no other and none of them the
//! bridge, and what happened while it, or we, were away is told afterwards. Invariant: a hook has one task at a time, so that
//! its events keep their order.

mod courier;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Office;
use crate::websms::hook::Hook;
use crate::websms::spool::Id;
use courier::Courier;

struct Running {
    hook: Hook,
    task: JoinHandle<()>,
}

/// Sees to it that each hook of the configuration has its courier, until the office closes.
/// `from` is the place in the journal at which those begin that are new.
pub async fn run(office: Arc<Office>, mut from: Id) {
    let mut configs = office.configs();
    let mut running: HashMap<String, Running> = HashMap::new();
    let mut is_start = true;
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        let stays = |one: &Running| config.hooks.contains(&one.hook) && !one.task.is_finished();
        let leaving: Vec<String> = running
            .iter()
            .filter(|(_, one)| !stays(one))
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaving {
            if let Some(one) = running.remove(&name) {
                one.task.abort();
                // Two of them would tell the same twice.
                let _ = one.task.await;
            }
        }
        for hook in &config.hooks {
            if running.contains_key(&hook.name) {
                continue;
            }
            // Who reads the configuration again means to try again.
            let courier = Courier::new(Arc::clone(&office), hook.clone(), from, !is_start);
            let running_one = Running {
                hook: hook.clone(),
                task: tokio::spawn(courier.run()),
            };
            running.insert(hook.name.clone(), running_one);
        }
        is_start = false;
        tokio::select! {
            () = office.closed() => break,
            changed = configs.changed() => if changed.is_err() {
                break;
            },
        }
        from = *office.spool.journal().borrow();
    }
    // What was under way is told again after the next start, under the same id.
    running.values().for_each(|one| one.task.abort());
}
