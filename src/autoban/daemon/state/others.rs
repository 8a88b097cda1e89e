//! What others say and are told: block lists, webhooks, and what somebody did to the kernel's tables.
//!
//! Invariant: nothing here is waited for between an event and its ban.

use super::State;
use crate::autoban::daemon::fetch::{Fetched, Places};
use crate::autoban::daemon::{herald, setup};

impl State {
    /// What is fetched and told from now on. A dry run leaves others in peace.
    pub(super) fn send_errands(&mut self) {
        let is_idle = self.options.dry_run || !self.is_on();
        let (hook, imports) = match is_idle {
            true => (None, Vec::new()),
            false => (
                setup::hook(&self.config.webhook, &self.options.paths),
                self.config.imports.clone(),
            ),
        };
        let places = Places {
            root: self.options.paths.root().to_owned(),
            lists: self.options.paths.state().join("autoban/lists"),
        };
        self.lists.set(&imports);
        self.errands.order(hook, imports, &places);
    }

    /// News of a block list.
    pub fn take_list(&mut self, fetched: Fetched) {
        let counter = match fetched.result.is_ok() {
            true => "block lists fetched",
            false => "block lists not fetched",
        };
        *self.counters.entry(counter).or_default() += 1;
        self.lists.take(fetched, self.now);
        self.load_lists();
    }

    pub(super) fn load_lists(&mut self) {
        self.lists.expire(self.now);
        if self.lists.is_due() {
            let white = self.settings().white;
            self.lists.begin(&mut self.enforcement, &white, self.now);
        }
    }

    /// Looks at what others did to the kernel's tables.
    pub fn look(&mut self) {
        let lost = self.enforcement.look();
        if lost.lists {
            self.lists.load_again();
        }
        if let Some(text) = lost.bans {
            *self.counters.entry("kernel repairs").or_default() += 1;
            let event = herald::removed(text, self.now);
            self.errands.tell(event);
        }
    }
}
