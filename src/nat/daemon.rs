//! Follows our address outside for as long as the exchange runs, and has the PBX read it.
//!
//! `module reload res_pjsip.so` takes other `external_...` lines of a transport without touching its sockets, so that no
//! call is dropped (seen with Asterisk 22.10.1, with `allow_reload` at its default of no). One thread does everything; the first
//! one hears signals, and ends at once whatever the other waits for. Invariant: what is written is what was found last, and is never taken back because nobody answers.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::ask::{Family, ask, ask_all, resolve};
use super::choose::agreed;
use super::follow::{Effect, Event, Follower};
use super::surroundings::Surroundings;
use super::{files, look};
use crate::asterisk::control::CtlError;
use crate::asterisk::reload;
use crate::config::Reach;
use crate::config::external::{External, Known, Server, can_be_reached};
use crate::config::paths::Paths;
use crate::sys::notify;
use crate::sys::say::{NOTICE, WARNING, say};
use crate::sys::signal::Signals;

/// While something is wrong it is looked at no less often.
const SOON: Duration = Duration::from_secs(10);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const RELOAD: &str = "module reload res_pjsip.so";

/// Runs until SIGTERM or SIGINT; without anything to follow it ends at once.
///
/// # Errors
/// If it cannot listen to signals.
pub fn run(paths: &Paths, reach: &Reach) -> io::Result<()> {
    let Some(wish) = reach.external.clone() else {
        return Ok(());
    };
    let mut signals = Signals::install()?;
    let (to, looks) = channel();
    let (paths, reach) = (paths.clone(), reach.clone());
    std::thread::spawn(move || follow(&wish, &paths, &reach, &looks));
    notify::send_surely("READY=1");
    signals.until_stop(|| {
        let _ = to.send(());
    });
    notify::send("STOPPING=1");
    // Whatever it does just now may be broken off: a file is whole or as it was, and the next start asks anew.
    Ok(())
}

/// Looks again and again, and at once when it is told to.
fn follow(wish: &External, paths: &Paths, reach: &Reach, looks: &Receiver<()>) {
    let mut follower = Follower::default();
    loop {
        let around = look::surroundings();
        let event = seek(wish, &reach.stun_servers, follower.outside(), &around);
        drive(&mut follower, event, paths, &around);
        let pause = match follower.is_troubled() {
            true => reach.interval.min(SOON),
            false => reach.interval.min(LONGEST),
        };
        if looks.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Takes an event in, and works until nothing is left to be done.
fn drive(follower: &mut Follower, event: Event, paths: &Paths, around: &Surroundings) {
    let mut effects: VecDeque<Effect> = follower.step(event).into();
    while let Some(effect) = effects.pop_front() {
        let event = match effect {
            Effect::Write(known) => match files::addresses(paths, known, around) {
                Ok(()) => continue,
                Err(why) => Event::NotTaken(why),
            },
            Effect::Reload => match reload::ordered(&paths.asterisk_control(), RELOAD) {
                Ok(said) if reload::is_refused(&said) => Event::NotTaken(said.trim().to_owned()),
                Ok(_) => Event::Taken,
                Err(CtlError::NotRunning(_) | CtlError::Silent { .. }) => Event::Absent,
                Err(why) => Event::NotTaken(why.to_string()),
            },
            Effect::Notice(text) => {
                say(NOTICE, &text);
                continue;
            }
            Effect::Warning(text) => {
                say(WARNING, &text);
                continue;
            }
            Effect::Status(line) => {
                notify::send(&format!("STATUS={line}"));
                continue;
            }
        };
        effects.extend(follower.step(event));
    }
}

fn seek(wish: &External, servers: &[Server], holds: Known, around: &Surroundings) -> Event {
    let found = match wish {
        External::Addresses(known) => Ok(*known),
        External::Name(name) => named(name, holds),
        External::Auto => by_stun(servers, holds, around),
    };
    match found {
        Err(why) => Event::Nothing(why),
        Ok(known) => {
            let (mut outside, mut own) = (Known::default(), Known::default());
            for address in known.all() {
                match around.is_own(address) {
                    true => own = own.with(address),
                    false => outside = outside.with(address),
                }
            }
            Event::Found { outside, own }
        }
    }
}

/// The first address of each family; the one that holds, when it is still among them.
fn named(name: &str, holds: Known) -> Result<Known, String> {
    let found = resolve(name).map_err(|why| format!("`{name}`: {why}"))?;
    let mut known = Known::default();
    for family in [Family::Four, Family::Six] {
        let fits = |address: &IpAddr| family.fits(*address) && can_be_reached(*address);
        let mut fitting = found.iter().copied().filter(fits);
        let held = holds
            .all()
            .find(|address| fits(address) && found.contains(address));
        if let Some(address) = held.or_else(|| fitting.next()) {
            known = known.with(address);
        }
    }
    match known.is_empty() {
        true => Err(format!("`{name}` has no address that others can reach")),
        false => Ok(known),
    }
}

/// What the servers say.
///
/// # Errors
/// If none of them says anything, with why.
pub fn by_stun(servers: &[Server], holds: Known, around: &Surroundings) -> Result<Known, String> {
    let mut known = Known::default();
    let mut troubles = Vec::new();
    for family in [Family::Four, Family::Six] {
        // Without an address of its own a family leads nowhere.
        if !around.addresses().any(|address| family.fits(address)) {
            continue;
        }
        let held = holds.all().find(|address| family.fits(*address));
        match one_by_stun(servers, family, held) {
            Ok(address) => known = known.with(address),
            Err(why) => troubles.push(why),
        }
    }
    match (known.is_empty(), troubles.is_empty()) {
        (true, true) => Err("this container has no address".to_owned()),
        (true, false) => Err(troubles.remove(0)),
        (false, _) => Ok(known),
    }
}

fn one_by_stun(
    servers: &[Server],
    family: Family,
    holds: Option<IpAddr>,
) -> Result<IpAddr, String> {
    // As long as nothing changes, one packet is enough.
    if let (Some(server), Some(holds)) = (servers.first(), holds)
        && ask(server, family).is_ok_and(|address| address == holds)
    {
        return Ok(holds);
    }
    let (answers, troubles) = ask_all(servers, family);
    let reachable: Vec<IpAddr> = answers
        .into_iter()
        .filter(|address| can_be_reached(*address))
        .collect();
    agreed(&reachable, holds).ok_or_else(|| match troubles.is_empty() {
        true => "no STUN server names an address that others can reach".to_owned(),
        false => format!("no STUN server answers ({})", together(&troubles)),
    })
}

/// What went wrong with each server; what went wrong with all of them only once.
fn together(troubles: &[String]) -> String {
    let parts: Option<Vec<(&str, &str)>> =
        troubles.iter().map(|one| one.split_once(": ")).collect();
    match parts.as_deref() {
        Some([(first, why), rest @ ..]) if rest.iter().all(|(_, other)| other == why) => {
            let others = rest.iter().map(|(server, _)| *server);
            let servers: Vec<&str> = std::iter::once(*first).chain(others).collect();
            format!("{}: {why}", servers.join(", "))
        }
        _ => troubles.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once() {
        let of = |texts: &[&str]| {
            together(
                &texts
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&["a:1: gone", "[::1]:2: gone"]), "a:1, [::1]:2: gone");
        assert_eq!(of(&["a:1: gone", "b:2: late"]), "a:1: gone; b:2: late");
        assert_eq!(of(&["a:1: gone"]), "a:1: gone");
    }
}
