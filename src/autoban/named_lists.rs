//! Lists of acl.conf as black and white lists (`blacklist_acl`, `whitelist_acl`): one list for Asterisk and for the kernel.
//!
//! Pure. Of a list those networks count on which a rule of its own decides; who is let in for want of a rule is no friend.
//! Invariant: a list that means everybody, or that cannot be read, is left out and told, never half taken.

use super::config::{AclUse, Config, Mistake};
use crate::acl::list::{List, Mistake as AclMistake};
use crate::acl::ranges::{Holes, decided, is_everybody};
use crate::acl::rule::Sense;

/// Adds their networks to the lists of the configuration, which `file` is the path of. What cannot be taken is told.
#[must_use]
pub fn take(
    config: &mut Config,
    file: &str,
    lists: &[List],
    mistakes: &[AclMistake],
) -> Vec<Mistake> {
    let mut told = Vec::new();
    for used in config.acls.clone() {
        let sense = match used.white {
            true => Sense::Permit,
            false => Sense::Deny,
        };
        match networks(&used, sense, lists, mistakes) {
            Ok(networks) if used.white => config.whitelist.extend(networks),
            Ok(networks) => config.blacklist.extend(networks),
            Err((problem, hint)) => told.push(Mistake {
                file: file.to_owned(),
                line: used.line,
                problem: format!("{problem}; the list is left out"),
                hint,
            }),
        }
    }
    told
}

fn networks(
    used: &AclUse,
    sense: Sense,
    lists: &[List],
    mistakes: &[AclMistake],
) -> Result<Vec<super::cidr::Cidr>, (String, String)> {
    let name = used.name.escape_debug();
    if let Some(mistake) = mistakes.iter().find(|mistake| mistake.list == used.name) {
        return Err((mistake.to_string(), mistake.hint.clone()));
    }
    let Some(list) = lists.iter().find(|list| list.name == used.name) else {
        return Err((
            format!("acl.conf has no list [{name}]"),
            "`switchhook acl list` shows the lists; those of a database are not read here"
                .to_owned(),
        ));
    };
    let mut clauses = list.rules.iter().flat_map(|rule| &rule.clauses);
    if clauses.any(|clause| clause.sense == sense && is_everybody(clause)) {
        let (verb, then) = match used.white {
            true => ("permits", "nobody would ever be banned"),
            false => ("denies", "the kernel would drop all but a few"),
        };
        return Err((
            format!("the list [{name}] {verb} everybody"),
            format!("{then}: use a list that names the few"),
        ));
    }
    decided(list, sense).map_err(|Holes(number)| {
        (
            format!("rule {number} of the list [{name}] has a netmask with holes"),
            "the kernel's lists hold whole networks: split the rule".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::list::of_file;
    use crate::asterisk::conf::Document;
    use crate::autoban::config::read;

    #[test]
    fn one_list_serves_both_and_what_means_everybody_is_left_out() {
        let acl = "[bad]\ndeny=198.51.100.0/24\npermit=198.51.100.7\n[office]\ndeny=0.0.0.0/0\npermit=192.0.2.0/24\n[odd]\ndeny=10.0.9.0/255.0.255.0\n";
        let sections = Document::parse(acl).full_sections();
        let (lists, wrong) = of_file(&sections, |line| ("acl.conf".to_owned(), line));
        let text = "[autoban]\nblacklist_acl = bad\nwhitelist_acl = office\nblacklist_acl = office, none, odd\n";
        let (mut config, mistakes) = read("autoban.conf", text);
        assert_eq!(mistakes, []);
        let told = take(&mut config, "autoban.conf", &lists, &wrong);
        let told: Vec<_> = told
            .iter()
            .map(|m| format!("{} {}", m.line, m.problem))
            .collect();
        assert_eq!(
            told,
            [
                "4 the list [office] denies everybody; the list is left out",
                "4 acl.conf has no list [none]; the list is left out",
                "4 rule 1 of the list [odd] has a netmask with holes; the list is left out"
            ]
        );
        assert_eq!(config.whitelist, ["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(config.blacklist.len(), 8);
        let address = |text: &str| text.parse().unwrap();
        let drops = |text: &str| config.blacklist.iter().any(|n| n.contains(address(text)));
        assert!(drops("198.51.100.6") && !drops("198.51.100.7") && drops("198.51.100.8"));
    }
}
