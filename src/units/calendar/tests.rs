//! The examples' results are those of `systemd-analyze calendar` 252.

use proptest::prelude::*;
use time::macros::{datetime, offset};

use super::*;

/// The next moments after the start of 2026, in UTC.
fn next(expression: &str, count: usize) -> String {
    let calendar = parse(expression).unwrap();
    let mut moment = datetime!(2026-01-01 00:00:00 UTC);
    let mut shown = Vec::new();
    for _ in 0..count {
        match calendar.next_after(moment, UtcOffset::UTC) {
            Some(next) => moment = next,
            None => {
                shown.push("never".to_owned());
                break;
            }
        }
        let (date, (h, m, s)) = (moment.date(), moment.to_hms());
        shown.push(format!("{date} {h:02}:{m:02}:{s:02}"));
    }
    shown.join(", ")
}

#[test]
fn moments_are_systemds() {
    let shown: Vec<String> = [
        ("00:15:00", 2),
        ("Mon-Fri", 2),
        ("*-*-1..3/2", 2),
        ("*-*~07/1", 2),
        ("Mon *-*~07/1", 2),
        ("*-*~02..05", 2),
        ("*-*~02..05/2", 3),
        ("*-*~08..17/20", 1),
        ("2026-02-30", 1),
        ("*-2-29..31", 2),
        ("weekly", 2),
        ("quarterly", 2),
        ("*:0/10", 2),
        ("12..14,20:10,20,30", 4),
        ("26-01-01", 1),
        ("*~01", 2),
        ("*-*-20/5,25", 3),
        ("Sat,Sun 2026..2030/2-1,6-1..5 0:0:0/10", 2),
        ("minutely", 2),
        ("*-*-* *:*:*", 2),
    ]
    .iter()
    .map(|(expression, count)| format!("{expression}: {}", next(expression, *count)))
    .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    00:15:00: 2026-01-01 00:15:00, 2026-01-02 00:15:00
    Mon-Fri: 2026-01-02 00:00:00, 2026-01-05 00:00:00
    *-*-1..3/2: 2026-01-03 00:00:00, 2026-02-01 00:00:00
    *-*~07/1: 2026-01-25 00:00:00, 2026-01-26 00:00:00
    Mon *-*~07/1: 2026-01-26 00:00:00, 2026-02-23 00:00:00
    *-*~02..05: 2026-01-27 00:00:00, 2026-01-28 00:00:00
    *-*~02..05/2: 2026-01-28 00:00:00, 2026-01-30 00:00:00, 2026-02-25 00:00:00
    *-*~08..17/20: 2026-01-24 00:00:00
    2026-02-30: never
    *-2-29..31: 2028-02-29 00:00:00, 2032-02-29 00:00:00
    weekly: 2026-01-05 00:00:00, 2026-01-12 00:00:00
    quarterly: 2026-04-01 00:00:00, 2026-07-01 00:00:00
    *:0/10: 2026-01-01 00:10:00, 2026-01-01 00:20:00
    12..14,20:10,20,30: 2026-01-01 12:10:00, 2026-01-01 12:20:00, 2026-01-01 12:30:00, 2026-01-01 13:10:00
    26-01-01: never
    *~01: 2026-01-31 00:00:00, 2026-02-28 00:00:00
    *-*-20/5,25: 2026-01-20 00:00:00, 2026-01-25 00:00:00, 2026-01-30 00:00:00
    Sat,Sun 2026..2030/2-1,6-1..5 0:0:0/10: 2026-01-03 00:00:00, 2026-01-03 00:00:10
    minutely: 2026-01-01 00:01:00, 2026-01-01 00:02:00
    *-*-* *:*:*: 2026-01-01 00:00:01, 2026-01-01 00:00:02
    ");
}

#[test]
fn what_is_no_expression_is_refused_with_a_reason() {
    let shown: Vec<String> = [
        "",
        "10",
        "*",
        "Mon *",
        "*/2:00",
        "*-*-*/2",
        "Sat..Mon",
        "10:5..3",
        "*-*-31/3",
        "*-*-0",
        "24:00",
        "1969-1-1",
        "00:00:00.5",
        "10:00 Europe/Berlin",
        "*-*-5/0",
        "1,2,,3:00",
        "1/2/3:00",
        "~1",
        "*-*~1/14",
        "*-*~29",
        "0/25:00",
        "*:0/1m",
        "10:00 Mon",
        "1:2:3:4",
        "1:2:",
        "sometimes",
        "*-*-+5",
        "@1000",
    ]
    .iter()
    .map(|expression| format!("{expression:?}: {}", parse(expression).unwrap_err()))
    .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    "": an empty expression says no time; write for example `daily`
    "10": `10` is not a date such as `*-*-01`, nor a time such as `03:00`
    "*": `*` is not a date such as `*-*-01`, nor a time such as `03:00`
    "Mon *": `*` is not a date such as `*-*-01`, nor a time such as `03:00`
    "*/2:00": a step begins at a number: write `0/2`, not `*/2`
    "*-*-*/2": a step begins at a number: write `1/2`, not `*/2`
    "Sat..Mon": the range `Sat..Mon` ends before it begins; a week begins with Monday
    "10:5..3": the range `5..3` ends before it begins
    "*-*-31/3": the step `3` does not fit after day 31
    "*-*-0": the day `0` is not from 1 to 31
    "24:00": the hour `24` is not from 0 to 23
    "1969-1-1": the year `1969` is not from 1970 to 2199
    "00:00:00.5": `00.5` has a fraction of a second; whole ones only
    "10:00 Europe/Berlin": time zones such as `Europe/Berlin` are not supported; write local time or `UTC`
    "*-*-5/0": the step `0` does not fit after day 5
    "1,2,,3:00": the hour `` is not from 0 to 23
    "1/2/3:00": the step `2/3` does not fit after hour 1
    "~1": the month `` is not from 1 to 12
    "*-*~1/14": the step `14` does not fit after day 1
    "*-*~29": the day `29` is not from 1 to 28
    "0/25:00": the step `25` does not fit after hour 0
    "*:0/1m": the step `1m` does not fit after minute 0
    "10:00 Mon": `Mon` is out of place; the order is weekdays, date, time, `UTC`
    "1:2:3:4": `1:2:3:4` is not hours, minutes and seconds
    "1:2:": `1:2:` is not hours, minutes and seconds
    "sometimes": `sometimes` is neither a weekday such as `Mon` nor a word such as `daily`
    "*-*-+5": the day `+5` is not from 1 to 31
    "@1000": `@1000` is not a date such as `*-*-01`, nor a time such as `03:00`
    "#);
}

#[test]
fn local_time_is_by_the_offset_and_utc_is_not() {
    let moment = datetime!(2026-06-01 12:00:00 UTC);
    let local = parse("03:00").unwrap();
    assert_eq!(
        local.next_after(moment, offset!(+2)),
        Some(datetime!(2026-06-02 01:00:00 UTC))
    );
    let utc = parse("03:00 UTC").unwrap();
    assert_eq!(
        utc.next_after(moment, offset!(+2)),
        Some(datetime!(2026-06-02 03:00:00 UTC))
    );
}

#[test]
fn the_end_of_time_is_no_panic() {
    let calendar = parse("minutely").unwrap();
    let last = PrimitiveDateTime::MAX.assume_utc();
    assert_eq!(calendar.next_after(last, UtcOffset::UTC), None);
    let first = PrimitiveDateTime::MIN.assume_utc();
    assert_eq!(
        calendar.next_after(first, UtcOffset::UTC),
        Some(datetime!(1970-01-01 00:00:00 UTC))
    );
}

/// A field as text: any, or up to three numbers, ranges and steps.
fn field(least: u16, most: u16) -> impl Strategy<Value = String> {
    let part =
        (least..=most, least..=most, 1..=most, 0..4u8).prop_map(move |(a, b, step, form)| {
            let (first, last) = (a.min(b), a.max(b));
            let step = step.min(most - first).max(1);
            match form {
                1 => format!("{first}..{last}"),
                2 if first < most => format!("{first}/{step}"),
                3 if first < most => format!("{first}..{last}/{step}"),
                _ => format!("{a}"),
            }
        });
    prop_oneof![
        1 => Just("*".to_owned()),
        2 => prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(",")),
    ]
}

/// Days from the end, whose steps go down to 1.
fn field_from_end() -> impl Strategy<Value = String> {
    (2u16..=28, 1u16..=28, 0..4u8).prop_map(|(a, b, form)| match form {
        1 => format!("{a}/{}", b.min(a - 1)),
        2 => format!("{}..{}", a.min(b), a.max(b)),
        3 => format!("{}..{}/{}", a.min(b), a.max(b), b.min(5)),
        _ => format!("{a},{b}"),
    })
}

fn expression() -> impl Strategy<Value = String> {
    let weekdays = prop_oneof![
        2 => Just(""),
        1 => prop::sample::select(vec!["Mon..Fri ", "Sat,Sun ", "Wed ", "tuesday,Thu..Sat "]),
    ];
    let years = prop::sample::select(vec!["*", "2026", "2024/2", "2025..2028"]);
    let day = prop_oneof![
        field(1, 31).prop_map(|day| format!("-{day}")),
        field_from_end().prop_map(|day| format!("~{day}")),
    ];
    let date = (years, field(1, 12), day);
    let time = (field(0, 23), field(0, 59), field(0, 59));
    (weekdays, date, time, prop::bool::ANY).prop_map(
        |(weekdays, (year, month, day), (h, m, s), utc)| {
            let utc = if utc { " UTC" } else { "" };
            format!("{weekdays}{year}-{month}{day} {h}:{m}:{s}{utc}")
        },
    )
}

/// How far the brute force looks, in seconds.
const WINDOW: i64 = 20_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_next_moment_is_later_and_matches_and_nothing_between_does(
        text in expression(),
        start in 1_700_000_000i64..1_900_000_000,
        hours in -12i8..=14,
    ) {
        let calendar = parse(&text).unwrap();
        let local = UtcOffset::from_hms(hours, 0, 0).unwrap();
        let seen = if calendar.utc { UtcOffset::UTC } else { local };
        let clock = |moment: OffsetDateTime| {
            let there = moment.to_offset(seen);
            PrimitiveDateTime::new(there.date(), there.time())
        };
        let start = OffsetDateTime::from_unix_timestamp(start).unwrap();
        let next = calendar.next_after(start, local);
        if let Some(next) = next {
            prop_assert!(next > start && calendar.matches(clock(next)));
        }
        let found = (1..=WINDOW)
            .map(|second| start + time::Duration::seconds(second))
            .find(|moment| calendar.matches(clock(*moment)));
        match found {
            Some(found) => prop_assert_eq!(next, Some(found)),
            None => prop_assert!(next.is_none_or(|next| next > start + time::Duration::seconds(WINDOW))),
        }
    }

    #[test]
    fn the_full_form_reads_back_as_the_same(text in expression()) {
        let calendar = parse(&text).unwrap();
        prop_assert_eq!(parse(&calendar.to_string()), Ok(calendar));
    }

    #[test]
    fn any_text_parses_or_errs_without_panic(text in "\\PC{0,40}", tail in "[-0-9*~/.,: A-Za-z]{0,30}") {
        let _ = parse(&text);
        let _ = parse(&tail);
    }
}
