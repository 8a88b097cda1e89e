//! Numbers as carriers write them, and what of them may go on to Asterisk.
//!
//! Pure. It knows the form of a number, not the plan of each country: a national number is one that begins with 0, or with no
//! plus where the country is told. It refuses what is no number and no name.
//!
//! Invariant: what it gives holds no sign that means something in a dialplan, a header or a file's name.

use super::profile::NumberForm;

/// The longest number or name.
pub const LONGEST: usize = 32;

/// Why it does not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    #[error("a number or name has 1 to 32 letters, digits, blanks or `+ . _ -`")]
    Grammar,
    #[error(
        "`{0}` is not written with its country; set `country` in [websms] or write it as +46701234567"
    )]
    NoCountry(String),
    #[error("`{0}` is no number of the North American plan")]
    NotNanp(String),
}

/// A number or name that may go on: `[+0-9A-Za-z._ -]{1,32}`, without blanks at its ends.
///
/// # Errors
/// If it is anything else.
pub fn checked(text: &str) -> Result<&str, NoNumber> {
    let text = text.trim_matches(' ');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+._ -".contains(&b);
    match (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text),
        false => Err(NoNumber::Grammar),
    }
}

/// The ways in which carriers write this number with its country: with `+`, with `00`, and without either. A name is written in
/// one way.
#[must_use]
pub fn spellings(text: &str) -> Vec<String> {
    let bare = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    let bare = bare.unwrap_or(text);
    let is_number = bare.len() > 6 && bare.bytes().all(|b| b.is_ascii_digit());
    match is_number && !bare.starts_with('0') {
        true => vec![bare.to_owned(), format!("+{bare}"), format!("00{bare}")],
        false => vec![text.to_owned()],
    }
}

/// Writes a number in a form. `country` is the calling code of a number without one, in digits: `46`. A name, such as an
/// alphanumeric sender, is left as it is by every form but that of the North American plan, and so is a short code.
///
/// # Errors
/// If it is no number or name, or cannot be written so.
pub fn written(text: &str, form: NumberForm, country: Option<&str>) -> Result<String, NoNumber> {
    let text = checked(text)?;
    let is_name = text.bytes().any(|b| b.is_ascii_alphabetic() || b == b'_');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_short = (3..=6).contains(&digits.len()) && !text.starts_with(['+', '0']);
    match form {
        NumberForm::Any => Ok(text.to_owned()),
        NumberForm::E164 | NumberForm::E164NoPlus if is_name || digits.is_empty() => {
            Ok(text.to_owned())
        }
        NumberForm::E164 | NumberForm::E164NoPlus if is_short => Ok(digits),
        NumberForm::E164 => {
            international(text, &digits, country).map(|digits| format!("+{digits}"))
        }
        NumberForm::E164NoPlus => international(text, &digits, country),
        NumberForm::Nanp10 => {
            let local = match digits.strip_prefix("1") {
                Some(local) if digits.len() == 11 => local,
                _ => digits.as_str(),
            };
            // Neither the area nor the exchange begins with 0 or 1.
            let begins = |at: usize| matches!(local.as_bytes().get(at), Some(b'2'..=b'9'));
            match !is_name && local.len() == 10 && begins(0) && begins(3) {
                true => Ok(local.to_owned()),
                false => Err(NoNumber::NotNanp(text.to_owned())),
            }
        }
    }
}

/// A number as the carrier wrote it, as E.164 where that can be known; a name or a short code is left as it is.
///
/// # Errors
/// If it is no number or name.
pub fn read(text: &str, form: NumberForm, country: Option<&str>) -> Result<String, NoNumber> {
    match form {
        NumberForm::Any => written(text, NumberForm::Any, country),
        NumberForm::E164 | NumberForm::E164NoPlus => written(text, NumberForm::E164, None),
        NumberForm::Nanp10 => match written(text, NumberForm::Nanp10, None) {
            Ok(local) => Ok(format!("+1{local}")),
            Err(_) => written(text, NumberForm::Any, None),
        },
    }
}

/// The digits with their country.
fn international(text: &str, digits: &str, country: Option<&str>) -> Result<String, NoNumber> {
    if text.starts_with('+') {
        return Ok(digits.to_owned());
    }
    if let Some(rest) = digits.strip_prefix("00") {
        return Ok(rest.to_owned());
    }
    let Some(country) = country else {
        // Without a country a number that does not begin with 0 has it already.
        return match digits.starts_with('0') {
            false => Ok(digits.to_owned()),
            true => Err(NoNumber::NoCountry(text.to_owned())),
        };
    };
    match digits.strip_prefix('0') {
        Some(national) => Ok(format!("{country}{national}")),
        None if country == "1" && digits.len() == 10 => Ok(format!("1{digits}")),
        None => Ok(digits.to_owned()),
    }
}

/// The predecessor's `val_numform`: one leading `+` goes, then one leading `00`.
#[must_use]
pub fn without_plus(text: &str) -> &str {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.strip_prefix("00").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form() {
        let to = |text: &str, form, country| written(text, form, country).ok();
        for (text, country, e164) in [
            ("+46701234567", None, Some("+46701234567")),
            ("0046701234567", None, Some("+46701234567")),
            ("46701234567", None, Some("+46701234567")),
            ("070-123 45 67", Some("46"), Some("+46701234567")),
            ("0701234567", None, None),
            ("46701234567", Some("46"), Some("+46701234567")),
            ("2125550101", Some("1"), Some("+12125550101")),
            ("12125550101", Some("1"), Some("+12125550101")),
            ("+1 212.555.0101", Some("46"), Some("+12125550101")),
            ("72345", Some("46"), Some("72345")),
            ("MyShop", Some("46"), Some("MyShop")),
            ("+", None, Some("+")),
        ] {
            assert_eq!(
                to(text, NumberForm::E164, country).as_deref(),
                e164,
                "{text}"
            );
        }
        assert_eq!(
            to("+46701234567", NumberForm::E164NoPlus, None).as_deref(),
            Some("46701234567")
        );
        assert_eq!(to("+1 (212) 555", NumberForm::Any, None), None);
        for (text, local) in [
            ("+12125550101", Some("2125550101")),
            ("2125550101", Some("2125550101")),
            ("+46701234567", None),
            ("1125550101", None),
            ("2121550101", None),
            ("MyShop", None),
        ] {
            assert_eq!(
                to(text, NumberForm::Nanp10, None).as_deref(),
                local,
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_carrier_wrote_is_read_as_international() {
        for (text, form, expected) in [
            ("447700900001", NumberForm::E164NoPlus, "+447700900001"),
            ("+447700900001", NumberForm::E164NoPlus, "+447700900001"),
            ("12012673227", NumberForm::E164, "+12012673227"),
            ("2025550160", NumberForm::Nanp10, "+12025550160"),
            ("12025550160", NumberForm::Nanp10, "+12025550160"),
            ("72345", NumberForm::Nanp10, "72345"),
            ("Bank", NumberForm::E164NoPlus, "Bank"),
            ("0701234567", NumberForm::Any, "0701234567"),
        ] {
            assert_eq!(read(text, form, None).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            read("1;2", NumberForm::Nanp10, None),
            Err(NoNumber::Grammar)
        );
    }

    #[test]
    fn what_means_something_elsewhere_does_not_go_on() {
        for text in [
            "", " ", "+1\n", "a/b", "1,2", "a;b", "\"x\"", "<1>", "1&2", "${X}", "å", "..\0", "1@x",
        ] {
            assert_eq!(checked(text), Err(NoNumber::Grammar), "{text:?}");
        }
        assert_eq!(checked(&"1".repeat(33)), Err(NoNumber::Grammar));
        assert_eq!(checked(" +46 70-1.2_3 "), Ok("+46 70-1.2_3"));
    }

    #[test]
    fn the_predecessors_form() {
        for (text, expected) in [
            ("+46701", "46701"),
            ("0046701", "46701"),
            ("+0046701", "46701"),
            ("++46", "+46"),
            ("000046", "0046"),
            ("46", "46"),
        ] {
            assert_eq!(without_plus(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_may_go_on(text in "(\\PC|[+0-9 .-]){0,20}", form in 0u8..4, country in proptest::option::of("[1-9][0-9]{0,2}")) {
            let form = [NumberForm::Any, NumberForm::E164, NumberForm::E164NoPlus, NumberForm::Nanp10][usize::from(form)];
            if let Ok(number) = written(&text, form, country.as_deref()) {
                prop_assert!(number.len() <= LONGEST + 3);
                prop_assert!(number.is_empty() || checked(&number).is_ok() || number.len() > LONGEST);
                let again = written(&number, form, country.as_deref());
                prop_assert!(form != NumberForm::E164 || number.len() > LONGEST || again.as_ref() == Ok(&number), "{} {:?}", number, again);
            }
        }
    }
}
