//! The text that a softphone scans, and its picture in a terminal.
//!
//! Pure: it prints nothing. There is no one format that all softphones read; docs/reference/phone.md says who reads which.
//! Invariant: the picture is of exactly the text that is given, at the smallest size and with a quiet zone of four modules.

use qrcode::{Color, EcLevel, QrCode};
use thiserror::Error;

use super::{Host, Password};

/// What the code contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The `AccountConfig` XML of Grandstream Wave: a whole account, no server needed.
    Grandstream,
    /// A SIP URI with the password (RFC 3261, section 19.1).
    SipUri,
}

/// What a device needs to register.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    pub username: &'a str,
    pub password: &'a Password,
    pub host: &'a Host,
    /// The name of the account on the device.
    pub title: &'a str,
    /// The name that others see.
    pub display: &'a str,
}

/// How the picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Two rows a line with Unicode half blocks; otherwise one row a line, ASCII only.
    pub unicode: bool,
    /// Black on white by escape sequences; otherwise the light modules are drawn, for a dark terminal.
    pub colour: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the account is too long for a QR code")]
pub struct TooLong;

/// The side of the light frame around a code, in modules (ISO/IEC 18004).
const QUIET: usize = 4;
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const BLACK: &str = "\x1b[48;5;16m";
const WHITE: &str = "\x1b[48;5;231m";
const PLAIN: &str = "\x1b[0m";

impl Account<'_> {
    /// The text of the code.
    #[must_use]
    pub fn text(&self, content: Content) -> String {
        match content {
            Content::Grandstream => self.grandstream(),
            Content::SipUri => self.sip_uri(),
        }
    }

    /// One line without a declaration of more than it needs: a smaller code is read from further away.
    fn grandstream(&self) -> String {
        let element = |name: &str, text: &str| format!("<{name}>{}</{name}>", xml(text));
        [
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><AccountConfig version=\"1\"><Account>",
            &element("RegisterServer", self.host.as_str()),
            "<OutboundServer></OutboundServer>",
            &element("UserID", self.username),
            &element("AuthID", self.username),
            &element("AuthPass", self.password.reveal()),
            &element("AccountName", self.title),
            &element("DisplayName", self.display),
            "</Account></AccountConfig>",
        ]
        .concat()
    }

    fn sip_uri(&self) -> String {
        let password = percent(self.password.reveal(), b"-_.!~*'()&=+$,");
        format!(
            "sip:{}:{password}@{}",
            percent(self.username, b"-_.!~*'()&=+$,;?/"),
            self.host
        )
    }
}

/// Draws the text as a QR code, ready to print.
///
/// # Errors
/// If the text is longer than a QR code can be (2953 bytes).
pub fn draw(text: &str, style: Style) -> Result<String, TooLong> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| TooLong)?;
    let (width, modules) = (code.width(), code.to_colors());
    let dark = |row: usize, column: usize| {
        let inside = row >= QUIET && column >= QUIET && column < QUIET + width;
        let at = row
            .checked_sub(QUIET)
            .map(|row| row * width)
            .and_then(|start| (start + column).checked_sub(QUIET));
        inside && at.and_then(|at| modules.get(at)) == Some(&Color::Dark)
    };
    let side = width + 2 * QUIET;
    let mut picture = String::new();
    if style.unicode {
        for row in (0..side).step_by(2) {
            line(
                &mut picture,
                style,
                (0..side)
                    .map(|column| half_blocks(dark(row, column), dark(row + 1, column), style)),
            );
        }
    } else {
        for row in 0..side {
            let mut cells = Vec::with_capacity(side);
            for column in 0..side {
                cells.push(match (dark(row, column), style.colour) {
                    (true, true) => format!("{BLACK}  "),
                    (false, true) => format!("{WHITE}  "),
                    (true, false) => "##".to_owned(),
                    (false, false) => "  ".to_owned(),
                });
            }
            let text = cells.concat();
            picture.push_str(if style.colour { &text } else { text.trim_end() });
            picture.push_str(if style.colour { PLAIN } else { "" });
            picture.push('\n');
        }
    }
    Ok(picture)
}

fn line(picture: &mut String, style: Style, cells: impl Iterator<Item = char>) {
    if style.colour {
        picture.push_str(BLACK_ON_WHITE);
    }
    picture.extend(cells);
    if style.colour {
        picture.push_str(PLAIN);
    }
    picture.push('\n');
}

/// With colours dark modules are ink on white; without, the light ones are, as the ink of a dark terminal is light.
fn half_blocks(upper_dark: bool, lower_dark: bool, style: Style) -> char {
    match (upper_dark == style.colour, lower_dark == style.colour) {
        (true, true) => '\u{2588}',
        (true, false) => '\u{2580}',
        (false, true) => '\u{2584}',
        (false, false) => ' ',
    }
}

/// Escapes text for XML, and all but ASCII by reference, so that the code's character set does not matter.
fn xml(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii() && !"<>&\"'".contains(c) {
                c.to_string()
            } else {
                format!("&#{};", u32::from(c))
            }
        })
        .collect()
}

/// Escapes what RFC 3261 does not allow in that part of a URI.
fn percent(text: &str, allowed: &[u8]) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || allowed.contains(&b);
    text.bytes()
        .map(|b| {
            if fits(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account_text(content: Content) -> String {
        let password = Password::new("p@ss:w<rd").unwrap();
        let host = "pbx.example.com".parse().unwrap();
        Account {
            username: "ann",
            password: &password,
            host: &host,
            title: "101",
            display: "Zo\u{eb} & Co",
        }
        .text(content)
    }

    #[test]
    fn the_texts_are_escaped_for_their_formats() {
        insta::assert_snapshot!(account_text(Content::Grandstream));
        insta::assert_snapshot!(account_text(Content::SipUri));
    }

    #[test]
    fn the_picture_is_the_code_in_a_light_frame() {
        insta::assert_snapshot!(
            draw(
                "sip:a@b",
                Style {
                    unicode: false,
                    colour: false
                }
            )
            .unwrap()
        );
        insta::assert_snapshot!(
            draw(
                "sip:a@b",
                Style {
                    unicode: true,
                    colour: false
                }
            )
            .unwrap()
        );
    }

    #[test]
    fn every_style_is_a_square_and_ends_its_colours() {
        for colour in [true, false] {
            for unicode in [true, false] {
                let picture = draw("sip:a@b", Style { unicode, colour }).unwrap();
                assert_eq!(picture.lines().count(), if unicode { 15 } else { 29 });
                assert!(!colour || picture.lines().all(|line| line.ends_with(PLAIN)));
            }
        }
        assert_eq!(
            draw(
                &"x".repeat(2954),
                Style {
                    unicode: true,
                    colour: true
                }
            ),
            Err(TooLong)
        );
    }
}
