//! What people read: tables of at most 80 columns, and how AutoBan does in lines.
//!
//! Pure. Names and comments come from elsewhere: whatever could move a cursor or turn a line around is shown as its number.

use super::entry::{Entry, Listed};
use crate::autoban::control::{ImportStatus, Status, WebhookStatus};

/// Every line fits into this.
const WIDTH: usize = 80;

/// Text of others, safe to print: letters, digits, signs of ASCII and spaces as they are, the rest as `\u{...}`.
pub fn shown(text: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    let show = |c: char| match is_plain(c) {
        true => String::from(c),
        false => c.escape_unicode().to_string(),
    };
    text.chars().map(show).collect()
}

/// A time in its two largest units, such as `1d2h`.
pub fn span(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let text = parts.iter().skip(first).take(2);
    text.enumerate()
        .filter(|(index, (count, _))| *index == 0 || *count > 0)
        .map(|(_, (count, unit))| format!("{count}{unit}"))
        .collect()
}

/// Cuts to `width` characters; what is cut ends with `~`.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['~'])
            .collect(),
        false => text.to_owned(),
    }
}

/// The sets with their entries, a table each. A column without content is left out.
pub fn sets(sets: &[Listed]) -> String {
    let tables: Vec<String> = sets.iter().map(set).collect();
    tables.join("\n")
}

fn set(listed: &Listed) -> String {
    let name = listed.set.name();
    let count = listed.entries.len();
    if count == 0 {
        return format!("{name}: empty\n");
    }
    let noun = if count == 1 { "entry" } else { "entries" };
    let head = ["ADDRESS", "LEFT", "COUNT", "WHY", "NAME", "COMMENT"];
    let rows: Vec<[String; 6]> = listed.entries.iter().map(cells).collect();
    let has = |column: usize| {
        column == 0
            || rows
                .iter()
                .filter_map(|row| row.get(column))
                .any(|cell| !cell.is_empty())
    };
    let columns: Vec<usize> = (0..head.len()).filter(|column| has(*column)).collect();
    let wanted = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let title = head.get(column).map_or(0, |title| title.len());
        cells
            .map(|cell| cell.chars().count())
            .fold(title, usize::max)
    };
    let mut widths: Vec<usize> = columns.iter().map(|column| wanted(*column)).collect();
    // What does not fit is taken from the longer one of name and comment, then from the reason, then from them again.
    let gaps = 2 * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let give_way = |at: usize, least: usize, widths: &[usize]| {
            let among = columns.iter().zip(widths).enumerate();
            among
                .filter(|(_, (column, width))| **column >= at && **width > least)
                .max_by_key(|(_, (_, width))| **width)
                .map(|(index, _)| index)
        };
        let order = [(4, 16), (3, 15), (4, 7), (3, 12)];
        let longest = order
            .iter()
            .find_map(|(at, least)| give_way(*at, *least, &widths));
        match longest {
            Some(index) => widths.iter_mut().skip(index).take(1).for_each(|w| *w -= 1),
            None => break,
        }
    }
    let line = |cells: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for (column, width) in columns.iter().zip(&widths) {
            let (cell, width) = (cut(&cells(*column), *width), *width);
            match column {
                1 | 2 => text.push_str(&format!("{cell:>width$}  ")),
                _ => text.push_str(&format!("{cell:<width$}  ")),
            }
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = format!("{name}: {count} {noun}\n");
    let title = |column: usize| {
        head.get(column)
            .map_or_else(String::new, |t| (*t).to_owned())
    };
    text.push_str(&line(&title));
    for row in &rows {
        text.push_str(&line(&|column| {
            row.get(column).cloned().unwrap_or_default()
        }));
    }
    text
}

fn cells(entry: &Entry) -> [String; 6] {
    [
        entry.address.to_string(),
        entry.left_s.map(span).unwrap_or_default(),
        match entry.count {
            0 => String::new(),
            count => count.to_string(),
        },
        entry.why.unwrap_or_default().to_owned(),
        entry.name.as_deref().map(shown).unwrap_or_default(),
        shown(&entry.comment),
    ]
}

/// The addresses alone, as the predecessor printed them: one set on a line, several each on a line after its name.
pub fn addresses(sets: &[Listed]) -> String {
    let of = |listed: &Listed| -> String {
        let all: Vec<String> = listed
            .entries
            .iter()
            .map(|e| e.address.to_string())
            .collect();
        all.join(" ")
    };
    match sets {
        [one] => format!("{}\n", of(one)),
        several => several
            .iter()
            .map(|listed| format!("{}: {}", listed.set.name(), of(listed)))
            .map(|line| format!("{}\n", line.trim_end()))
            .collect(),
    }
}

/// How AutoBan does.
pub fn status(status: &Status) -> String {
    let enforcement = match status.enforcement.as_str() {
        "kernel" => "the kernel drops",
        "acl" => "Asterisk refuses by an access list, for the kernel's sets are closed to us",
        "none" => "NOBODY IS BANNED, neither the kernel nor Asterisk can",
        "dry-run" => "a dry run: bans are told, nobody is kept out",
        "off" => "off: autoban.conf is missing, or says `enabled = no`",
        other => other,
    };
    let mut text = format!("AutoBan: {}\n", shown(enforcement));
    if status.enforcement != "off" {
        let heard = match status.connected {
            true => "listening to its security events",
            false => "NOT CONNECTED, so that no attack is seen",
        };
        text.push_str(&format!("Asterisk: {heard}\n"));
        if !status.witness.is_empty() {
            text.push_str(&format!("Its log: {}\n", shown(&status.witness)));
        }
    }
    if let Some(address) = status.hidden_behind {
        text.push_str(&format!(
            "Sources are hidden: all clients come from {address}, and nobody is banned\n"
        ));
    }
    for problem in &status.problems {
        let mut lines = problem.lines();
        let first = lines.next().unwrap_or_default();
        text.push_str(&format!("Problem: {}\n", shown(first)));
        lines.for_each(|line| text.push_str(&format!("  {}\n", shown(line))));
    }
    for import in &status.imports {
        text.push_str(&import_lines(import));
    }
    if let Some(hook) = &status.webhook {
        text.push_str(&webhook_lines(hook));
    }
    let names = [
        ("watch", "watched"),
        ("offenders", "in jail and on parole"),
        ("networks", "networks in jail"),
        ("weak", "closed for SIP over UDP"),
        ("trusted", "trusted"),
        ("white", "on the white list"),
        ("black", "on the black list"),
        ("forgotten", "forgotten for want of room"),
    ];
    let counts = names.iter().filter_map(|(field, words)| {
        let count = status.counts.get(field)?.as_u64()?;
        Some(((*words).to_owned(), count))
    });
    let counters = status.counters.iter();
    let counters = counters.map(|(name, count)| (shown(name), *count));
    for (title, table) in [
        ("SOURCES", counts.collect::<Vec<_>>()),
        ("SINCE ITS START", counters.collect()),
    ] {
        if table.is_empty() {
            continue;
        }
        let width = table.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or(0).max(title.len());
        text.push_str(&format!("\n{title:<width$} {:>12}\n", "COUNT"));
        for (name, count) in &table {
            text.push_str(&format!("{name:<width$} {count:>12}\n"));
        }
    }
    text
}

fn import_lines(import: &ImportStatus) -> String {
    let mut text = format!("Block list: {}\n", shown(&import.from));
    let left_out = match import.left_out {
        0 => String::new(),
        count => format!(", {count} lines left out"),
    };
    match (&import.fetched, import.left_s) {
        (Some(fetched), 1..) => text.push_str(&format!(
            "  {} entries{left_out}, fetched {}, for {}\n",
            import.entries,
            shown(fetched),
            span(import.left_s)
        )),
        (Some(fetched), 0) => {
            text.push_str(&format!("  over; last fetched {}\n", shown(fetched)));
        }
        (None, _) => text.push_str("  not fetched yet\n"),
    }
    if let Some(error) = &import.error {
        text.push_str(&format!("  {}\n", shown(error)));
    }
    text
}

fn webhook_lines(hook: &WebhookStatus) -> String {
    let mut text = format!("Webhook: {}, {} requests\n", shown(&hook.to), hook.requests);
    let counts = [
        (hook.failures, "failed attempts"),
        (hook.waiting, "events wait"),
        (hook.omitted, "events left out"),
        (hook.lost, "events given up"),
    ];
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let some: Vec<String> = some
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !some.is_empty() {
        text.push_str(&format!("  {}\n", some.join(", ")));
    }
    if let Some(error) = &hook.error {
        let first = error.lines().next().unwrap_or_default();
        text.push_str(&format!("  {}\n", shown(first)));
    }
    text
}

/// What an order by hand did.
pub fn done(changed: usize, notes: &[String]) -> String {
    let mut text = match changed {
        0 => "nothing changed\n".to_owned(),
        1 => "1 change\n".to_owned(),
        many => format!("{many} changes\n"),
    };
    for note in notes {
        text.push_str(&format!("{}\n", shown(note)));
    }
    text
}

/// `why`'s lines with the name, and an end for who is free of everything.
pub fn why(text: &str, name: Option<&str>) -> String {
    let mut lines: Vec<String> = text.lines().map(shown).collect();
    if lines.len() <= 1 {
        lines.push("nothing is held against it".to_owned());
    }
    if let Some(name) = name {
        lines.insert(1, format!("its name, by its own word: {}", shown(name)));
    }
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::ledger::SetName;

    fn entry(address: &str, left: Option<u64>, why: &'static str, comment: &str) -> Entry {
        Entry {
            address: address.parse().unwrap(),
            name: None,
            left_s: left,
            count: u32::from(left.is_some()),
            why: left.map(|_| why),
            comment: comment.to_owned(),
        }
    }

    fn samples() -> Vec<Listed> {
        let mut named = entry("192.0.2.7", Some(1199), "wrong password", "");
        named.name = Some("evil\u{1b}[2J\u{202e}.example".to_owned());
        let long = "x".repeat(60);
        vec![
            Listed {
                set: SetName::Jail,
                entries: vec![
                    named,
                    entry(
                        "198.51.100.0/24",
                        Some(90_061),
                        "denied by an access list",
                        &long,
                    ),
                    entry(
                        "2001:db8:1234:5678::/64",
                        Some(3),
                        "by hand",
                        "calls at night",
                    ),
                ],
            },
            Listed {
                set: SetName::White,
                entries: vec![entry("10.0.0.0/8", None, "", "the office")],
            },
            Listed {
                set: SetName::Black,
                entries: vec![],
            },
        ]
    }

    #[test]
    fn the_tables_fit_and_hold_no_control_character() {
        let text = sets(&samples());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(
                line.chars().all(|c| c.is_ascii_graphic() || c == ' '),
                "{line}"
            );
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn bare_addresses_as_the_predecessor_printed_them() {
        let samples = samples();
        assert_eq!(addresses(&samples[1..2]), "10.0.0.0/8\n");
        assert_eq!(
            addresses(&samples),
            "jail: 192.0.2.7 198.51.100.0/24 2001:db8:1234:5678::/64\nwhite: 10.0.0.0/8\nblack:\n"
        );
        assert_eq!(addresses(&samples[2..]), "\n");
    }

    #[test]
    fn a_time_has_two_units() {
        let all = [0, 59, 60, 3600, 3601, 86_399, 90_061, 10 * 86_400];
        let texts = all.map(span);
        assert_eq!(
            texts,
            ["0s", "59s", "1m", "1h", "1h", "23h59m", "1d1h", "10d"]
        );
    }

    #[test]
    fn how_it_does() {
        let it = Status {
            enforcement: "acl".to_owned(),
            connected: false,
            problems: vec!["Asterisk refuses the secret\nhint: see manager.conf".to_owned()],
            hidden_behind: Some("172.17.0.1".parse().unwrap()),
            witness: "listening".to_owned(),
            counts: serde_json::json!({"watch": 3, "offenders": 2, "later": 1}),
            counters: vec![("events".to_owned(), 20_000), ("gaps".to_owned(), 1)],
            imports: vec![
                ImportStatus {
                    from: "https://example.org/list\u{1b}.txt".to_owned(),
                    entries: 1200,
                    left_out: 2,
                    fetched: Some("2026-01-01T00:00:00.000Z".to_owned()),
                    left_s: 43_000,
                    error: None,
                },
                ImportStatus {
                    from: "/srv/list.txt".to_owned(),
                    error: Some("cannot read `/srv/list.txt`".to_owned()),
                    ..ImportStatus::default()
                },
            ],
            webhook: Some(WebhookStatus {
                to: "https://example.org".to_owned(),
                requests: 7,
                failures: 2,
                waiting: 3,
                error: Some("https://example.org: the connection is refused".to_owned()),
                ..WebhookStatus::default()
            }),
            ..Status::default()
        };
        insta::assert_snapshot!(status(&it));
    }
}
