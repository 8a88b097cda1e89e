//! Orders of certificates, on a thread of their own: an authority may take minutes, and the keeper has other work.
//!
//! `Renewal` decides when; here are its clock and its end. Invariant: a failure is told, waits as long as the schedule says,
//! and touches nothing that is in use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Wake;
use crate::certs::acme::names::Name as OrderName;
use crate::certs::acme::renewal::{Renewal, Turn};
use crate::certs::acme::settings::{self, Mistake};
use crate::certs::acme::{self, Pair as Issued, Place, Tokens, Wanted};
use crate::certs::key::{Bits, KeyKind};
use crate::certs::names::Name;
use crate::certs::pair::Pair;
use crate::certs::source::ordered::{Call, Counter, Trouble};
use crate::certs::validate::examine;
use crate::config::paths::Paths;
use crate::sys::clock::unix_now;
use crate::sys::environment;
use crate::sys::say::{ERROR, WARNING, say};

/// The longest wait without a look at the clock, which may be set meanwhile.
const ROUND: Duration = Duration::from_secs(600);

/// Begins to order if the environment wants that; `false`: it does not. Mistakes in its variables are told, here and to
/// those who look.
pub fn start(
    paths: &Paths,
    names: &[Name],
    bits: Bits,
    counter: &Arc<Counter>,
    to: &Sender<Wake>,
) -> bool {
    match wanted(&environment::all(), names, bits) {
        Ok(None) => false,
        Ok(Some(wanted)) => {
            let place = Place {
                state: paths.acme_state(),
                tokens: Tokens::at(paths.acme_answers()),
            };
            let (counter, to) = (Arc::clone(counter), to.clone());
            std::thread::spawn(move || order(wanted, place, &counter, &to));
            true
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                say(ERROR, &mistake.to_string());
            }
            let texts: Vec<String> = mistakes
                .iter()
                .map(|mistake| format!("{}: {}", mistake.variable, mistake.problem))
                .collect();
            counter.fail(Trouble {
                text: texts.join("; "),
                again_at: None,
            });
            true
        }
    }
}

/// What is to be ordered, if the environment wants that.
///
/// # Errors
/// With all mistakes in its variables.
fn wanted(
    environment: &BTreeMap<String, String>,
    names: &[Name],
    bits: Bits,
) -> Result<Option<Wanted>, Vec<Mistake>> {
    // A host without a domain is known to nobody outside; its other names are.
    let parsed = names.iter().map(|name| OrderName::parse(name.as_str()));
    let names: Vec<OrderName> = parsed.filter_map(Result::ok).collect();
    let settings = settings::read(environment, &names, &read_key)?;
    let keys = vec![KeyKind::Rsa(bits), KeyKind::P256];
    Ok(settings.map(|settings| Wanted::new(settings, names, keys)))
}

fn read_key(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))
}

/// Orders whenever it is time, for as long as the keeper runs.
fn order(wanted: Wanted, place: Place, counter: &Arc<Counter>, to: &Sender<Wake>) {
    let (names, keys, shelf) = (wanted.names.clone(), wanted.keys.clone(), place.clone());
    let opened = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot order certificates: {error}"))
        .and_then(|runtime| {
            let renewal = Renewal::open(wanted, place).map_err(|error| error.told())?;
            Ok((runtime, renewal))
        });
    let (runtime, mut renewal) = match opened {
        Ok(opened) => opened,
        Err(text) => {
            say(ERROR, &text);
            counter.fail(Trouble {
                text,
                again_at: None,
            });
            return;
        }
    };
    let mut call = counter.wait(ROUND);
    loop {
        if !counter.is_needed(unix_now()) {
            call = counter.wait(ROUND);
            continue;
        }
        let have = match call {
            Some(Call::Anew) => {
                put_away(&keys, &shelf);
                BTreeMap::new()
            }
            _ => counter.have(&names),
        };
        if call > Some(Call::Begin) {
            renewal.forgive();
        }
        let until = match runtime.block_on(renewal.turn(&have)) {
            Turn::Rest(until) => until,
            Turn::Issued(pairs) => match examined(pairs) {
                Ok(pairs) => {
                    counter.put(pairs);
                    unix_now()
                }
                Err(text) => {
                    say(ERROR, &text);
                    let again_at = unix_now() + 3600;
                    counter.fail(Trouble {
                        text,
                        again_at: Some(again_at),
                    });
                    again_at
                }
            },
            Turn::Failed(error, until) => {
                say(
                    WARNING,
                    &format!("no certificate was issued: {}", error.told()),
                );
                counter.fail(Trouble {
                    text: error.to_string(),
                    again_at: Some(until),
                });
                until
            }
        };
        if to.send(Wake::Look).is_err() {
            return;
        }
        let left = u64::try_from(until.saturating_sub(unix_now())).unwrap_or(0);
        call = counter.wait(Duration::from_secs(left).min(ROUND));
    }
}

/// What was issued before is not to be handed out as the new one.
fn put_away(keys: &[KeyKind], place: &Place) {
    for &kind in keys {
        if let Err(error) = acme::discard(kind, place) {
            say(WARNING, &error.told());
        }
    }
}

fn examined(pairs: Vec<Issued>) -> Result<Vec<Pair>, String> {
    let examined = pairs
        .iter()
        .map(|issued| examine(&issued.chain, &issued.key));
    let examined: Result<Vec<Pair>, _> = examined.collect();
    examined.map_err(|refusal| format!("what the authority issued is not served: {refusal}"))
}
