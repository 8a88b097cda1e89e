//! Bans as rules of Asterisk's Named ACL `autoban`, for where the kernel's firewall is closed to us.
//!
//! Pure: it renders the file that acl.conf includes, and says what Asterisk's own files lack for it. Asterisk asks every rule
//! and the last one that matches wins (main/acl.c, `ast_apply_ha`), so whom nothing may close out comes last. A weak ban is
//! left out: a rule cannot tell UDP from TCP, and one forged packet would close everything to a victim.
//! Invariant: whoever is never to be banned is let in, whatever else the text says.

use std::time::Duration;

use super::cidr::{Cidr, CidrSet};
use super::key::{Change, Set};
use crate::asterisk::conf::Document;

/// The name of the list in acl.conf.
pub const NAME: &str = "autoban";
/// The file of its rules, below the appliance's root.
pub const FILE: &str = "run/autoban/acl.conf";
/// The most rules that deny. Asterisk asks them one after the other, at each request.
pub const MOST: usize = 5000;

/// The file's text, and what is to be known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Empty where nobody is denied.
    pub text: String,
    pub denied: usize,
    /// Bans that had no room.
    pub left_out: usize,
    /// When the first of the denied is free again: a rule has no end of its own.
    pub until_next: Option<Duration>,
}

/// The rules of these bans and of the black list, without the addresses that are `never` denied.
/// Where there is no room for all, those that end last stay.
#[must_use]
pub fn render(bans: &[Change], black: &[Cidr], never: &[Cidr], most: usize) -> Rendered {
    let networks = bans.iter().filter_map(|ban| match ban {
        Change::BanNetwork { network, left, .. } => Some((*left, Cidr::from(*network))),
        _ => None,
    });
    let mut denied: Vec<(Duration, Cidr)> = black
        .iter()
        .map(|cidr| (Duration::MAX, *cidr))
        .chain(networks)
        .collect();
    let wide: CidrSet = denied.iter().map(|(_, cidr)| *cidr).collect();
    let is_in_one = |cidr: &Cidr| {
        let around = wide.find(cidr.address());
        around.is_some_and(|around| around.length() <= cidr.length())
    };
    denied.extend(bans.iter().filter_map(|ban| match ban {
        Change::Ban {
            set: Set::Jail,
            source,
            left,
            ..
        } => Some((*left, Cidr::from(*source))).filter(|(_, cidr)| !is_in_one(cidr)),
        _ => None,
    }));
    let left_out = denied.len().saturating_sub(most);
    if left_out > 0 {
        denied.select_nth_unstable_by(most, |a, b| b.cmp(a));
        denied.truncate(most);
    }
    let until_next = denied.iter().map(|(left, _)| *left).min();
    let denied: CidrSet = denied.into_iter().map(|(_, cidr)| cidr).collect();
    Rendered {
        text: text(&denied, never),
        denied: denied.len(),
        left_out,
        until_next: until_next.filter(|left| *left != Duration::MAX),
    }
}

fn text(denied: &CidrSet, never: &[Cidr]) -> String {
    let mut text = String::new();
    if denied.is_empty() {
        return text;
    }
    text.push_str("; AutoBan writes this file anew whenever a ban begins or ends.\n");
    // Where acl.conf has no such section, Asterisk skips this file and reads on.
    text.push_str(&format!("[{NAME}](+)\n"));
    for cidr in denied.iter() {
        text.push_str(&format!("deny = {cidr}\n"));
    }
    for cidr in never.iter().filter(|cidr| denied.overlaps(cidr)) {
        text.push_str(&format!("permit = {cidr}\n"));
    }
    text
}

/// What Asterisk's files lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// PJSIP asks a list that acl.conf does not have: Asterisk denies everybody.
    List,
    /// acl.conf has no section of that name.
    Section,
    /// The section, in this line, is not followed by a `#tryinclude` of our file.
    Include(usize),
    /// PJSIP does not ask the list.
    Rule,
}

/// Looks for it in acl.conf and in the whole of pjsip.conf. `file` is the path of ours.
#[must_use]
pub fn missing(acl: &str, pjsip: &str, file: &str) -> Option<Missing> {
    let (acl, pjsip) = (Document::parse(acl), Document::parse(pjsip));
    let section = acl.section(NAME).filter(|section| !section.is_template());
    let Some(section) = section else {
        return Some(match is_asked(&pjsip) {
            true => Missing::List,
            false => Missing::Section,
        });
    };
    // Not `#include`: with it Asterisk takes no list at all while our file is not there.
    let is_included = acl.directives().any(|(line, directive)| {
        line > section.line()
            && directive.word.eq_ignore_ascii_case("tryinclude")
            && directive.argument == file
    });
    if !is_included {
        return Some(Missing::Include(section.line()));
    }
    (!is_asked(&pjsip)).then_some(Missing::Rule)
}

/// Whether a section of PJSIP asks our list.
fn is_asked(pjsip: &Document) -> bool {
    let mut sections = pjsip.sections().filter(|section| !section.is_template());
    sections.any(|section| {
        let value = |key| {
            let own = section.own(key).map(str::to_owned);
            own.or_else(|| pjsip.effective(section.name(), key))
        };
        let lists = value("acl").unwrap_or_default();
        value("type").is_some_and(|kind| kind.eq_ignore_ascii_case("acl"))
            && lists.split(',').any(|list| list.trim() == NAME)
    })
}

impl Missing {
    /// Whether the rules are in Asterisk's hands once it reads acl.conf.
    #[must_use]
    pub fn is_read(self) -> bool {
        self == Missing::Rule
    }

    /// What it means, where, and what to add. `home` is the directory of Asterisk's files.
    #[must_use]
    pub fn words(self, home: &str, file: &str) -> String {
        let (what, hint) = match self {
            Missing::List => {
                return format!(
                    "Asterisk denies everybody: `{home}/pjsip.conf` uses the list [{NAME}], which `{home}/acl.conf` does not have\nhint: add the lines `[{NAME}]` and `#tryinclude {file}` at its end, then `asterisk -rx 'module reload acl'`"
                );
            }
            Missing::Section => (
                format!("`{home}/acl.conf` has no section [{NAME}]"),
                format!(
                    "add the lines `[{NAME}]` and `#tryinclude {file}` at its end, and let pjsip.conf use it only afterwards: a list that is not there denies everybody"
                ),
            ),
            Missing::Include(line) => (
                format!("`{home}/acl.conf:{line}`: [{NAME}] does not include the bans"),
                format!(
                    "add the line `#tryinclude {file}` below it; `#include` would close the exchange while that file is not there"
                ),
            ),
            Missing::Rule => (
                format!("no section of `{home}/pjsip.conf` uses the list [{NAME}]"),
                format!(
                    "add the lines `[acl-{NAME}]`, `type = acl` and `acl = {NAME}` there, then `asterisk -rx 'module reload acl'` and `asterisk -rx 'module reload res_pjsip.so'`, in this order"
                ),
            ),
        };
        format!("nobody is banned: {what}\nhint: {hint}")
    }
}

#[cfg(test)]
mod tests;
