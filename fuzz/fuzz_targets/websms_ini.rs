//! Any text is read as an INI file, and no warning stands outside of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::websms::ini::Ini;

fuzz_target!(|text: &str| {
    let ini = Ini::parse(text, &|name| (name != "NONE").then(|| name.to_owned()));
    let lines = text.matches(['\n', '\r']).count() + 1;
    assert!(ini.warnings.iter().all(|warning| (1..=lines).contains(&warning.line)));
});
