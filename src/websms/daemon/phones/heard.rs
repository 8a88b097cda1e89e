//! What the manager says, as far as messages to phones want it.
//!
//! Invariant: what is of no use here is left alone, above all what Asterisk did not mean to write.

use crate::asterisk::ami::client::News;
use crate::asterisk::ami::frame::Lines;

/// What the manager said, without its frame.
pub enum Heard {
    Connected,
    /// Asterisk has read all that it reads at its start.
    Booted,
    Lost(String),
    Denied(String),
    Answer {
        number: u64,
        hint: String,
        value: String,
    },
    Contact {
        endpoint: String,
        contact: String,
        has_come: bool,
    },
}

/// What the manager says, as far as we want it.
pub fn heard(news: &News<'_>) -> Option<Heard> {
    let text = |lines: &Lines<'_>, header: &str| {
        let value = lines.get(header).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    match news {
        News::Connected => Some(Heard::Connected),
        News::Lost(why) => Some(Heard::Lost(why.clone())),
        News::Denied(why) => Some(Heard::Denied(why.clone())),
        News::Answer(number, lines) => Some(Heard::Answer {
            number: *number,
            hint: text(lines, "Hint"),
            value: text(lines, "Value"),
        }),
        News::Other(lines) if lines.value(0, b"Event") == Some(b"FullyBooted") => {
            Some(Heard::Booted)
        }
        News::Other(lines) if lines.value(0, b"Event") == Some(b"ContactStatus") => {
            let name = match text(lines, "EndpointName") {
                name if name.is_empty() => text(lines, "AOR"),
                name => name,
            };
            let status = text(lines, "ContactStatus");
            Some(Heard::Contact {
                contact: format!("{name}/{}", text(lines, "URI")),
                has_come: ["Reachable", "NonQualified", "Created"].contains(&status.as_str()),
                endpoint: name,
            })
        }
        News::Other(_) | News::Security(_) | News::Hostile(_) => None,
    }
}
