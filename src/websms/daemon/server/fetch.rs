//! What is fetched from Amazon: certificates, and the confirmation of a subscription.
//!
//! Invariant: only addresses are asked that `verify` found to be Amazon's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use crate::web::address::Address;
use crate::web::{Client, Patience, Problem, Request};

/// The longest answer, in bytes.
const LONGEST: usize = 64 * 1024;
/// Certificates that are kept. Amazon has one at a time for each region.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub struct Fetch {
    /// Made when it is first needed: most have no use for it.
    client: OnceCell<Client>,
    certificates: Mutex<HashMap<String, Arc<Vec<u8>>>>,
}

/// Why it could not be fetched, and whether it may be later.
#[derive(Debug)]
pub struct Failed {
    pub reason: String,
    pub is_temporary: bool,
}

impl Fetch {
    pub async fn certificate(&self, url: &str) -> Result<Arc<Vec<u8>>, Failed> {
        let known = self.certificates.lock();
        if let Some(known) = known.ok().and_then(|known| known.get(url).cloned()) {
            return Ok(known);
        }
        let fetched = Arc::new(self.get(url).await?);
        if let Ok(mut known) = self.certificates.lock() {
            if known.len() >= KEPT {
                known.clear();
            }
            known.insert(url.to_owned(), Arc::clone(&fetched));
        }
        Ok(fetched)
    }

    pub async fn get(&self, url: &str) -> Result<Vec<u8>, Failed> {
        let failed = |problem: &Problem, reason: String| Failed {
            reason,
            is_temporary: problem.is_temporary(),
        };
        let client = self
            .client
            .get_or_try_init(|| async { Client::new(Patience::default()) })
            .await
            .map_err(|error| failed(&error.problem, error.to_string()))?;
        let address = Address::parse(url).ok_or_else(|| Failed {
            reason: "that is no address of a web server".to_owned(),
            is_temporary: false,
        })?;
        let request = Request {
            address: &address,
            headers: Vec::new(),
            body: None,
            most: LONGEST,
        };
        let answer = client.ask(request).await;
        let answer = answer.map_err(|error| failed(&error.problem, error.to_string()))?;
        Ok(answer.body)
    }
}
