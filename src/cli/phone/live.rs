//! Makes a running Asterisk take a change of the phones, and proves that it did.
//!
//! It restarts nothing and drops no call. It does not retry a reload: what a second one would change, a first one would have.
//! Invariant: `Effect::Live` is said only after Asterisk itself showed the change.
//!
//! Checked on Asterisk 22.10.1 with a call running and with devices that answer OPTIONS: `module reload res_pjsip.so` alone
//! (70-90 ms) makes a new endpoint, its auth, AOR and hint appear, takes a changed password at the next REGISTER, removes
//! endpoint and hint of a section that is gone, and sees a change in a file that pjsip_wizard.conf includes; calls go on, even
//! a call of the phone that is removed. `module reload res_pjsip_config_wizard.so` seems to do the same, and does not: AORs
//! that it makes are not known to pjsip_options, so their contacts are never qualified and the endpoint and its hint stay
//! `Unavailable` for good. `dialplan reload` is not needed, and on its own does nothing.
//!
//! Registrations outlive the section: Asterisk keeps them in its database, and a phone that is added under an old name would
//! ring the old device. They are therefore deleted with the phone, and before one of that name is added. For a new password
//! they stay: the state of an endpoint would stay `Not in use` without them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::asterisk::control::{self, CtlError};
use crate::asterisk::reload;
use crate::phone::plan::Change;

/// Reads the phones again.
pub(super) const RELOAD: &str = "module reload res_pjsip.so";

const ANSWER: Duration = Duration::from_secs(5);
/// How long the change may take to show after the reload; it was there at once in all our trials.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// When the change is real.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Effect {
    /// Asterisk has it.
    Live,
    /// Asterisk does not run, and will have it when it does.
    NextStart,
    /// Nothing was changed.
    DryRun,
    /// The file has it, Asterisk has not shown it.
    Unproved { reason: String },
}

/// Reloads and looks.
pub(super) fn apply(socket: &Path, name: &str, change: &Change) -> Effect {
    let console = Console { socket };
    match console.apply(name, change) {
        Ok(effect) => effect,
        Err(CtlError::NotRunning(_)) => Effect::NextStart,
        Err(error) => Effect::Unproved {
            reason: describe(&error),
        },
    }
}

struct Console<'a> {
    socket: &'a Path,
}

impl Console<'_> {
    fn ask(&self, command: &str) -> Result<String, CtlError> {
        control::run(self.socket, command, ANSWER)
    }

    fn apply(&self, name: &str, change: &Change) -> Result<Effect, CtlError> {
        if matches!(change, Change::Add { .. }) {
            self.forget_registrations(name)?;
        }
        let answer = reload::ordered(self.socket, RELOAD)?;
        let started = Instant::now();
        loop {
            if self.shows(name, change)? {
                if matches!(change, Change::Remove { .. }) {
                    self.forget_registrations(name)?;
                }
                return Ok(Effect::Live);
            }
            if started.elapsed() > PATIENCE {
                let first = answer
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("no answer");
                let reason = format!(
                    "it answered \"{}\", but `{name}` is as before",
                    first.trim()
                );
                return Ok(Effect::Unproved { reason });
            }
            crate::sys::clock::pause(PAUSE);
        }
    }

    /// Deletes what devices registered under that name.
    fn forget_registrations(&self, name: &str) -> Result<(), CtlError> {
        for key in registrations(&self.ask("database show registrar contact")?, name) {
            self.ask(&format!("database del registrar {key}"))?;
        }
        Ok(())
    }

    /// Whether Asterisk shows what the change wants.
    fn shows(&self, name: &str, change: &Change) -> Result<bool, CtlError> {
        let endpoint = has_endpoint(&self.ask(&format!("pjsip show endpoint {name}"))?, name);
        match change {
            Change::Remove { .. } => Ok(!endpoint),
            Change::Add { password, .. } | Change::SetPassword { password, .. } => {
                // The wizard names the auth object so (res_pjsip_config_wizard.c).
                let auth = self.ask(&format!("pjsip show auth {name}-iauth"))?;
                Ok(endpoint && field(&auth, "password") == Some(password.reveal()))
            }
        }
    }
}

fn has_endpoint(answer: &str, name: &str) -> bool {
    let mut rests = answer
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Endpoint:"));
    // The endpoint's own line is ` Endpoint:  name/number  state`; the heading has `<Endpoint/CID...>` there.
    rests.any(|rest| {
        let shown = rest
            .trim_start()
            .split(['/', ' '])
            .next()
            .unwrap_or_default();
        !shown.starts_with('<') && shown.eq_ignore_ascii_case(name)
    })
}

/// The keys `contact/NAME;@HASH` of a name in a listing of the database (res_pjsip_registrar.c).
fn registrations(answer: &str, name: &str) -> Vec<String> {
    let prefix = format!("/registrar/contact/{name};@");
    let hashes = answer
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix)?.split([':', ' ']).next());
    let hashes =
        hashes.filter(|hash| !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    hashes
        .map(|hash| format!("contact/{name};@{hash}"))
        .collect()
}

/// The value of ` key   : value` in a console listing.
fn field<'a>(answer: &'a str, key: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (left, right) = line.split_once(" : ")?;
        (left.trim() == key).then(|| right.trim_end())
    })
}

fn describe(error: &CtlError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "\n Endpoint:  <Endpoint/CID.....>  <State.....>\n=====\n\n Endpoint:  ann/101      Unavailable   0 of inf\n     InAuth:  ann-iauth/ann\n";
    const AUTH: &str = "     Auth:  ann-iauth/ann\n\n ParameterName            : ParameterValue\n ====\n md5_cred                 : \n password                 : s3cret : x\n username                 : ann\n";

    #[test]
    fn an_endpoint_is_found_by_its_own_line() {
        assert!(has_endpoint(ENDPOINT, "Ann"));
        assert!(!has_endpoint(ENDPOINT, "an"));
        assert!(!has_endpoint(ENDPOINT, "<Endpoint"));
        assert!(!has_endpoint("Unable to find object ann.\n\n", "ann"));
    }

    #[test]
    fn registrations_are_those_of_exactly_that_name() {
        let listing = "/registrar/contact/ann;@0af3: {\"uri\":\"sip:ann@[::1]\"}\n/registrar/contact/annie;@0af4   : {}\n\
            /registrar/contact/ann;@0b  : {}\n/registrar/contact/ann;@x y: {}\n4 results found.\n";
        assert_eq!(
            registrations(listing, "ann"),
            ["contact/ann;@0af3", "contact/ann;@0b"]
        );
    }

    #[test]
    fn a_field_is_read_to_the_end_of_its_line() {
        assert_eq!(field(AUTH, "password"), Some("s3cret : x"));
        assert_eq!(field(AUTH, "md5_cred"), Some(""));
        assert_eq!(field(AUTH, "realm"), None);
    }
}
