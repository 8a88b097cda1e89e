//! One reload for all who wait for one.
//!
//! A change is written under the lock of acl.conf and noted in the ledger; the reload comes afterwards, under the same lock again,
//! and carries whatever has been written by then. Who finds his change carried has nothing left to do: the reload that carried it
//! was proved for his list too. Without a place below /run each reloads for himself.
//! Invariant: `Effect::Live` is said only after Asterisk showed the list as it stood when the reload began, the change in it.

use std::time::Duration;

use super::live::{self, Effect};
use super::show::find;
use super::{AclError, World};
use crate::acl::consumers::Consumer;
use crate::acl::ledger::{Ledger, Ticket};
use crate::acl::list::List;
use crate::config::paths::Paths;
use crate::sys::file::{self, Lock, Owner};

/// How long a reload lets those go first who are about to write; a write takes some hundredths of a second.
const GATHER: Duration = Duration::from_millis(300);
const MODE: u32 = 0o600;

/// Says that this command is about to write, until it is dropped.
pub(super) fn about_to_write(paths: &Paths) -> Option<Lock> {
    file::share_beside(&paths.acl_ledger(), GATHER).ok()
}

fn read(paths: &Paths) -> Ledger {
    Ledger::parse(&file::read_text(&paths.acl_ledger()).unwrap_or_default())
}

fn keep(paths: &Paths, ledger: &Ledger) -> bool {
    let owner = Owner::Keep {
        new_file_mode: MODE,
    };
    file::write_atomic(&paths.acl_ledger(), ledger.print().as_bytes(), owner).is_ok()
}

/// Notes a change that has been written, under the lock of acl.conf. Without a ticket nobody's reload will do for it.
pub(super) fn note(paths: &Paths, list: &str) -> Option<Ticket> {
    let mut ledger = read(paths);
    let ticket = ledger.write(list);
    keep(paths, &ledger).then_some(ticket)
}

/// Has a change carried by a reload, somebody else's or one of its own. The caller holds no lock.
pub(super) fn carry(
    paths: &Paths,
    name: &str,
    ticket: Option<Ticket>,
    consumers: &[&Consumer],
) -> Result<Effect, AclError> {
    // Those who are about to write go first: the reload then carries theirs as well.
    drop(file::lock_beside(&paths.acl_ledger(), GATHER));
    let lock = super::change::lock(paths)?;
    let mut ledger = read(paths);
    if !ticket.is_some_and(|ticket| ledger.carried(ticket)) {
        let world = World::look(paths);
        let needed = world.safe_to_reload()?;
        let mut names: Vec<&str> = ledger.lists().filter(|list| *list != name).collect();
        names.push(name);
        let mut done = reload(&world, &needed, &names)?;
        // What is wrong with somebody else's list is told to him.
        if matches!(done, Err(Effect::Unproved { .. })) && names.len() > 1 {
            done = reload(&world, &needed, &[name])?;
            ledger.end(false);
        } else {
            ledger.end(done.is_ok());
        }
        keep(paths, &ledger);
        if let Err(effect) = done {
            return Ok(effect);
        }
    }
    drop(lock);
    let consumers = live::taken(paths, consumers);
    Ok(Effect::Live { consumers })
}

fn reload(world: &World, needed: &[List], names: &[&str]) -> Result<Result<(), Effect>, AclError> {
    let mut lists = Vec::new();
    for name in names {
        match find(world, name) {
            Ok(list) => lists.push((*name, list)),
            Err(error) if names.len() == 1 => return Err(error),
            // Who changed it is told.
            Err(_) => {
                let reason = format!("the list `{name}` cannot be read");
                return Ok(Err(Effect::Unproved { reason }));
            }
        }
    }
    let wanted: Vec<live::Wanted<'_>> = lists
        .iter()
        .map(|(name, list)| (*name, list.as_ref()))
        .collect();
    let uses = |consumer: &&Consumer| names.iter().any(|name| consumer.uses(name));
    let consumers: Vec<&Consumer> = world.consumers.iter().filter(uses).collect();
    Ok(live::apply(&world.paths, needed, &wanted, &consumers))
}

/// Ends a reload that was made for all lists, under the lock of acl.conf.
pub(super) fn end(paths: &Paths, is_proved: bool) {
    let mut ledger = read(paths);
    ledger.end(is_proved);
    keep(paths, &ledger);
}
