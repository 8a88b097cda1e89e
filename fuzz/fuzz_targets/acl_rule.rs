//! Any text is a rule or says why not, and each address of a rule is meant by it; so it is with a whole file of lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::acl::list::of_file;
use switchhook::acl::rule::{Sense, parse};
use switchhook::asterisk::conf::Document;

fuzz_target!(|text: &str| {
    if let Ok(clauses) = parse(Sense::Deny, text) {
        for clause in clauses {
            let shown = clause.shown();
            let (address, _) = shown.split_once('/').unwrap();
            assert!(clause.matches(address.parse().unwrap()), "{shown}");
        }
    }
    let sections = Document::parse(text).full_sections();
    let _ = of_file(&sections, |line| (String::new(), line));
});
