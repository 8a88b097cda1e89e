//! DNS-01: a program of the operator's sets the record and removes it.
//!
//! It is called as `HOOK present|cleanup DOMAIN RECORD VALUE`, once for each name; two names may have the same record with
//! two values, and both must stand there. It refuses to wait for ever. Invariant: what was presented is cleaned up, and no
//! secret of ours is in an argument or a variable.

use std::path::PathBuf;
use std::time::Duration;

use super::Proof;
use crate::certs::acme::settings::{EAB_KEY, EAB_KEY_FILE};
use crate::certs::acme::trouble::{AcmeError, Kind};
use crate::sys::environment;
use crate::sys::program::run;
use crate::sys::say::{NOTICE, WARNING, say};

/// How long one call may take. Providers of DNS take their time.
const LIMIT: Duration = Duration::from_secs(180);

/// The program, and what it has presented.
pub struct Hook {
    program: PathBuf,
    wait: Duration,
    presented: Vec<Proof>,
}

impl Hook {
    pub fn new(program: PathBuf, wait: Duration) -> Hook {
        Hook {
            program,
            wait,
            presented: Vec::new(),
        }
    }

    /// # Errors
    /// If the program does not end with 0.
    pub async fn present(&mut self, proof: &Proof) -> Result<(), AcmeError> {
        // Cleaned up even when it fails: it may have set the record before.
        self.presented.push(proof.clone());
        self.call("present", proof).await
    }

    /// Waits until the domain's servers have what was presented.
    pub async fn settle(&self) {
        if !self.presented.is_empty() {
            tokio::time::sleep(self.wait).await;
        }
    }

    pub async fn clean_up(self) {
        for proof in &self.presented {
            if let Err(error) = self.call("cleanup", proof).await {
                say(WARNING, &format!("a record may stay: {}", error.told()));
            }
        }
    }

    async fn call(&self, verb: &str, proof: &Proof) -> Result<(), AcmeError> {
        let record = proof.name.record().unwrap_or_default();
        let domain = proof.name.to_string();
        let domain = domain.trim_start_matches("*.");
        let arguments = [verb, domain, &record, &proof.record_value];
        let own = [EAB_KEY, EAB_KEY_FILE];
        let environment = environment::all().into_iter();
        let environment = environment.filter(|(name, _)| !own.contains(&name.as_str()));
        let mut last = String::new();
        let hear = |line: &str| {
            say(NOTICE, &format!("{}: {line}", self.program.display()));
            line.clone_into(&mut last);
        };
        let ended = run(
            &self.program,
            &arguments,
            environment.collect(),
            LIMIT,
            hear,
        )
        .await;
        let why = match ended {
            Ok(exit) if exit.is_success() => return Ok(()),
            Ok(exit) if last.is_empty() => exit.to_string(),
            Ok(exit) => format!("{exit}: {last}"),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "the program `{} {verb}` failed for {domain}: {why}",
            self.program.display()
        );
        Err(AcmeError::new(Kind::Local, text).hint(format!(
            "try it: {} {verb} {domain} {record} test",
            self.program.display()
        )))
    }
}
