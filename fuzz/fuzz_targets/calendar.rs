//! Any text parses or errs; what parses prints as itself, and its next moment is later and matches.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::units::calendar;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

fuzz_target!(|input: (&str, i64, i8)| {
    let (text, second, hours) = input;
    let Ok(calendar) = calendar::parse(text) else { return };
    let shown = calendar.to_string();
    assert_eq!(calendar::parse(&shown).as_ref(), Ok(&calendar), "{shown}");
    let Ok(moment) = OffsetDateTime::from_unix_timestamp(second) else { return };
    let local = UtcOffset::from_hms(hours % 15, 0, 0).unwrap_or(UtcOffset::UTC);
    if let Some(next) = calendar.next_after(moment, local) {
        assert!(next > moment);
        assert!(calendar.matches(PrimitiveDateTime::new(next.date(), next.time())));
    }
});
