//! Any text prints as it was read, no edit panics, and what an edit accepts can be read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::asterisk::conf::Document;

fuzz_target!(|text: &str| {
    let document = Document::parse(text);
    assert_eq!(document.to_string(), text);
    let _ = document.problems();
    let _ = document.masked(|key| key.contains("password"));
    let names: Vec<String> = document.sections().map(|section| section.name().to_owned()).collect();
    for name in names.iter().take(4) {
        let _ = document.ancestors(name);
        let mut set = document.clone();
        if set.set(name, "fuzz", "a;b\\").is_ok() {
            assert_eq!(set.effective(name, "fuzz").as_deref(), Some("a;b\\"));
        }
        let mut removed = document.clone();
        if removed.remove_section(name).is_ok() {
            assert!(removed.section(name).is_none());
        }
    }
    let mut added = document.clone();
    if added.append_section("fuzz", &["tpl"], &[("k", "v")]).is_ok() {
        assert_eq!(added.section("fuzz").and_then(|section| section.own("k")), Some("v"));
    }
});
