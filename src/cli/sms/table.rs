//! What people read of messages: a line for each, local time, texts shortened.
//!
//! Pure but for nothing: the offset of local time is handed in. Texts and numbers come from strangers: whatever could move a
//! cursor, turn a line around or hide is shown as its number. Invariant: a message is one line of the list.

use time::{OffsetDateTime, UtcOffset};

use crate::websms::control::{Asked, Delivery, Happened, Kept, Row, Status};

/// The width when nobody knows that of the terminal.
pub const WIDTH: usize = 120;
/// A text is shown in so many signs at least, whatever the width.
const LEAST_TEXT: usize = 20;

/// Where local time stands at a moment.
pub type Offset<'a> = &'a dyn Fn(OffsetDateTime) -> UtcOffset;

/// Text of others, safe to print on one line: emoji and letters of all scripts as they are; what moves, turns or hides is
/// shown by its number.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_sly(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and those of format that change the order of others or are not seen.
fn is_sly(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Cuts to `width` characters; what is cut ends with `~`.
pub fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => {
            let kept = text.chars().take(width.saturating_sub(1));
            kept.chain(['~']).collect()
        }
        false => text.to_owned(),
    }
}

/// `2026-11-29 14:03:22` by the local clock.
pub fn moment(milliseconds: i64, offset: Offset<'_>) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    let utc = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
    let utc = utc.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let local = utc.to_offset(offset(utc));
    let (date, clock) = (local.date(), local.time());
    format!(
        "{date} {:02}:{:02}:{:02}",
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// Rows below their titles; the last column takes what is left of `width`.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], width: usize) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let before: usize = widths.iter().rev().skip(1).map(|width| width + 2).sum();
    if let Some(last) = widths.last_mut() {
        *last = (*last).min(width.saturating_sub(before).max(LEAST_TEXT));
    }
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let (cell, width) = (cut(cell, *width), *width);
            text.push_str(&format!("{cell:<width$}  "));
        }
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&head.map(str::to_owned));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// The messages, the newest first.
pub fn messages(rows: &[Row], width: usize, offset: Offset<'_>) -> String {
    if rows.is_empty() {
        return "no messages\n".to_owned();
    }
    let head = ["ID", "RECEIVED", "DIR", "STATE", "FROM", "TO", "TEXT"];
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            [
                shown(&row.id),
                moment(row.received, offset),
                shown(&row.direction),
                shown(&row.state),
                cut(&shown(&row.from), 16),
                cut(&shown(&row.to), 16),
                text_of(row),
            ]
        })
        .collect();
    table(head, &cells, width)
}

/// The text, and how many pictures go with it.
fn text_of(row: &Row) -> String {
    match row.media.len() {
        0 => shown(&row.body),
        count => format!("[{count} media] {}", shown(&row.body)),
    }
}

/// What is known of a message's way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Life<'a> {
    pub history: &'a [Happened],
    pub deliveries: &'a [Delivery],
    pub media: &'a [Kept],
}

/// One message, its text in full, and all that is known of its way.
pub fn message(row: &Row, life: &Life<'_>, offset: Offset<'_>) -> String {
    let Life {
        history,
        deliveries,
        media,
    } = *life;
    let by = |name: &str| match name {
        "" => "that without index".to_owned(),
        name => format!("[{}]", shown(name)),
    };
    let mut lines = vec![
        ("message", shown(&row.id)),
        ("direction", shown(&row.direction)),
        ("state", state_of(row)),
        ("from", shown(&row.from)),
        ("to", shown(&row.to)),
        ("interface", by(&row.interface)),
        ("received", moment(row.received, offset)),
        ("changed", moment(row.changed, offset)),
    ];
    if let Some(next) = row.next {
        lines.push(("next step", moment(next, offset)));
    }
    if row.tries > 0 {
        lines.push(("tries", row.tries.to_string()));
    }
    if let Some(endpoint) = &row.endpoint {
        lines.push(("endpoint", shown(endpoint)));
    }
    if let Some(id) = &row.provider_id {
        lines.push(("carrier's id", shown(id)));
    }
    lines.push(("segments", row.segments.to_string()));
    let mut text: String = lines
        .iter()
        .map(|(name, value)| format!("{name:<13} {value}\n"))
        .collect();
    for address in row.media.iter().filter(|_| media.is_empty()) {
        text.push_str(&format!("{:<13} {}\n", "media", shown(address)));
    }
    for of in media {
        let place = of.link.as_deref().unwrap_or(&of.source);
        let detail = match of.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({})", shown(detail)),
        };
        text.push_str(&format!(
            "{:<13} {}{detail}: {}\n",
            "media",
            shown(&of.state),
            shown(place)
        ));
    }
    text.push_str("\nTEXT\n");
    match row.body.is_empty() {
        true => text.push_str("  (empty, or erased)\n"),
        // Its own lines stay lines.
        false => row
            .body
            .lines()
            .for_each(|line| text.push_str(&format!("  {}\n", shown(line)))),
    }
    if !deliveries.is_empty() {
        let cells: Vec<[String; 4]> = deliveries
            .iter()
            .map(|of| {
                let code = of.code.map(|code| format!(" with {code}"));
                [
                    format!("  {}", shown(&of.state)),
                    code.unwrap_or_default().trim_start().to_owned(),
                    of.tries.to_string(),
                    shown(&of.contact),
                ]
            })
            .collect();
        text.push_str("\nPHONES\n");
        text.push_str(&table(["  STATE", "", "TRIES", "CONTACT"], &cells, WIDTH));
    }
    if !history.is_empty() {
        text.push_str("\nHISTORY\n");
    }
    for happened in history {
        let detail = shown(&happened.detail);
        let by = match is_receipt(row, &happened.what) {
            true => "  by the carrier's receipt",
            false => "",
        };
        let line = format!(
            "  {}  {:<9}{by}  {detail}",
            moment(happened.at, offset),
            shown(&happened.what)
        );
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    text
}

fn state_of(row: &Row) -> String {
    match row.detail.as_str() {
        "" => shown(&row.state),
        detail => format!("{} ({})", shown(&row.state), shown(detail)),
    }
}

/// The states of an outgoing message that nobody but the carrier knows.
fn is_receipt(row: &Row, what: &str) -> bool {
    row.direction == "out" && matches!(what, "sent" | "delivered" | "failed")
}

/// The last requests of carriers, the newest first.
pub fn requests(all: &[Asked], width: usize, offset: Offset<'_>) -> String {
    if all.is_empty() {
        return "no carrier has asked\n".to_owned();
    }
    let head = [
        "TIME",
        "STATUS",
        "INTERFACE",
        "SENDER",
        "REQUEST",
        "VERDICT AND REASON",
    ];
    let cells: Vec<[String; 6]> = all
        .iter()
        .map(|asked| {
            let verdict = match asked.status {
                200..=299 => "taken",
                503 => "later",
                _ => "refused",
            };
            [
                moment(asked.at, offset),
                asked.status.to_string(),
                asked
                    .interface
                    .as_deref()
                    .map_or_else(|| "-".to_owned(), shown),
                shown(&asked.peer),
                cut(
                    &format!("{} {}", shown(&asked.method), shown(&asked.path)),
                    32,
                ),
                format!("{verdict}: {}", shown(&asked.reason)),
            ]
        })
        .collect();
    table(head, &cells, width)
}

/// How the bridge does.
pub fn status(status: &Status) -> String {
    let mut text = format!(
        "for phones    {} wait\nfor carriers  {} wait\n",
        status.waiting_in, status.waiting_out
    );
    for problem in &status.problems {
        text.push_str(&format!("problem       {}\n", shown(problem)));
    }
    if status.interfaces.is_empty() {
        text.push_str("no carrier is configured: see websms.conf\n");
        return text;
    }
    let cells: Vec<[String; 4]> = status
        .interfaces
        .iter()
        .map(|of| {
            let ways = match (of.receives, of.sends) {
                (true, true) => "in, out",
                (true, false) => "in",
                (false, true) => "out",
                (false, false) => "closed",
            };
            let index = match of.index.as_str() {
                "" => "-".to_owned(),
                index => shown(index),
            };
            let numbers: Vec<String> = of.numbers.iter().map(|number| shown(number)).collect();
            let profile = of.profile.as_deref().map_or_else(|| "-".to_owned(), shown);
            [index, profile, ways.to_owned(), numbers.join(" ")]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(
        ["INTERFACE", "PROFILE", "WAYS", "NUMBERS"],
        &cells,
        WIDTH,
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(_: OffsetDateTime) -> UtcOffset {
        UtcOffset::from_hms(1, 0, 0).unwrap()
    }

    fn row(body: &str) -> Row {
        Row {
            id: "1HHHP1Z800000".to_owned(),
            direction: "in".to_owned(),
            interface: "1".to_owned(),
            from: "+46701234567".to_owned(),
            to: "+46707654321".to_owned(),
            body: body.to_owned(),
            state: "delivered".to_owned(),
            received: 1_800_000_000_000,
            changed: 1_800_000_001_000,
            segments: 1,
            ..Row::default()
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_its_text_holds() {
        let mut pictures = row("");
        pictures.media = vec!["https://m/1".to_owned(), "https://m/2".to_owned()];
        let evil = row("a\nb\u{1b}[2J\u{202e}cba\u{200b} 😀 åäö Привет");
        let long = row(&"x".repeat(500));
        let text = messages(&[evil, long, pictures], 100, &utc);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().all(|line| line.chars().count() <= 100 + 6));
        insta::assert_snapshot!(text);
        assert_eq!(messages(&[], 100, &utc), "no messages\n");
    }

    #[test]
    fn a_message_with_all_that_is_known() {
        let mut sent = row("two\nlines");
        sent.direction = "out".to_owned();
        sent.provider_id = Some("SM1".to_owned());
        sent.tries = 1;
        sent.detail = "30003".to_owned();
        let happened = |at, what: &str, detail: &str| Happened {
            at,
            what: what.to_owned(),
            detail: detail.to_owned(),
        };
        let history = [
            happened(1_800_000_000_500, "accepted", "by [1], 1 segment of GSM-7"),
            happened(1_800_000_001_000, "delivered", ""),
        ];
        let life = Life {
            history: &history,
            ..Life::default()
        };
        insta::assert_snapshot!("outgoing", message(&sent, &life, &utc));
        let phones = [
            Delivery {
                contact: "alice/sip:alice@192.0.2.1:5060".to_owned(),
                state: "taken".to_owned(),
                code: None,
                tries: 1,
            },
            Delivery {
                contact: "alice/sip:alice@192.0.2.2:5060".to_owned(),
                state: "refused".to_owned(),
                code: Some(415),
                tries: 2,
            },
        ];
        let media = [Kept {
            source: "https://carrier.example/m/1".to_owned(),
            state: "stored".to_owned(),
            kind: Some("image/jpeg".to_owned()),
            bytes: 1234,
            link: Some("https://pbx.example.org/media/0123".to_owned()),
            detail: "image/jpeg, 1234 bytes".to_owned(),
        }];
        let life = Life {
            deliveries: &phones,
            media: &media,
            ..Life::default()
        };
        insta::assert_snapshot!("incoming", message(&row("Hej"), &life, &utc));
    }

    #[test]
    fn requests_tell_the_verdict() {
        let asked = |status, reason: &str| Asked {
            at: 1_800_000_000_000,
            interface: (status != 404).then(|| "1".to_owned()),
            peer: "192.0.2.1".to_owned(),
            method: "POST".to_owned(),
            path: "/hook\u{7}".to_owned(),
            status,
            reason: reason.to_owned(),
        };
        let all = [
            asked(200, "a message"),
            asked(403, "the signature in X-Twilio-Signature is not right"),
            asked(404, "no interface takes requests"),
            asked(503, "the disk of the spool is full"),
        ];
        insta::assert_snapshot!(requests(&all, 140, &utc));
    }
}
