//! Values of unit directives: booleans, time spans, sizes, command lines, environment assignments.
//!
//! Pure text to value; never looks at the system. Forms are those of systemd.time(7), systemd.exec(5)
//! and systemd.service(5), section "Command lines".

use std::time::Duration;

/// `yes`/`no` in the spellings that systemd takes.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(format!("`{text}` is not a boolean; write yes or no")),
    }
}

/// A time span such as `90`, `500ms`, `1min 30s`; `infinity` (and 0 where a caller says so) is `None`.
pub fn time_span(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    let bad = || format!("`{text}` is not a time span such as `30s`, `500ms` or `1min 30s`");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let micros: u64 = match unit {
            "us" | "usec" => 1,
            "ms" | "msec" => 1_000,
            "" | "s" | "sec" | "second" | "seconds" => 1_000_000,
            "m" | "min" | "minute" | "minutes" => 60_000_000,
            "h" | "hr" | "hour" | "hours" => 3_600_000_000,
            "d" | "day" | "days" => 86_400_000_000,
            "w" | "week" | "weeks" => 604_800_000_000,
            _ => return Err(bad()),
        };
        let part = number.checked_mul(micros).ok_or_else(bad)?;
        total = total
            .checked_add(Duration::from_micros(part))
            .ok_or_else(bad)?;
        rest = tail.trim_start();
    }
    Ok(Some(total))
}

/// A size with the binary suffixes K, M, G, T; `infinity` is `None`.
pub fn size(text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    let bad = || format!("`{text}` is not a number, a size such as `64M`, or `infinity`");
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K') => (text.trim_end_matches('K'), 1 << 10),
        Some(b'M') => (text.trim_end_matches('M'), 1 << 20),
        Some(b'G') => (text.trim_end_matches('G'), 1 << 30),
        Some(b'T') => (text.trim_end_matches('T'), 1u64 << 40),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(factor).map(Some).ok_or_else(bad)
}

/// A name that a variable of the environment may have.
pub fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A whole number within the bounds.
pub fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!(
            "`{text}` is not a whole number from {least} to {most}"
        )),
    }
}

/// Splits a command line or an `Environment=` value into words: white space separates, quotes of
/// either kind group, a backslash escapes.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => {
                let next = chars.next().ok_or("a backslash stands at the end")?;
                let plain = match next {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    '\\' | '"' | '\'' | ' ' | ';' | '$' => next,
                    other => return Err(format!("`\\{other}` is not an escape that we know")),
                };
                word.get_or_insert_default().push(plain);
            }
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => out.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    out.extend(word);
    Ok(out)
}

/// Replaces `%n`, `%N`, `%p` and `%%` (systemd.unit(5), "Specifiers"); any other specifier is an error.
pub fn specifiers(text: &str, unit: &str, suffix: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => {
                out.push_str(unit);
                out.push_str(suffix);
            }
            Some('N' | 'p') => out.push_str(unit),
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('L') => out.push_str("/var/log"),
            Some(other) => return Err(format!("specifier `%{other}` is not supported")),
            None => return Err("a `%` stands at the end; write `%%` for the sign".to_owned()),
        }
    }
    Ok(out)
}

/// A file of variables (systemd.exec(5), `EnvironmentFile=`): `NAME=value` lines, values perhaps quoted;
/// blank lines and lines that begin with `#` or `;` are skipped.
pub fn environment_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let bad = || format!("line {}: `{line}` is not NAME=value", index + 1);
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| is_variable_name(name.trim()))
            .ok_or_else(bad)?;
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q))
            .unwrap_or(value);
        out.push((name.trim().to_owned(), unquoted.to_owned()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans() {
        assert_eq!(time_span("90"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(time_span("1min 30s"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(time_span("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time_span("infinity"), Ok(None));
        assert!(time_span("").is_err());
        assert!(time_span("5 parsecs").is_err());
        assert!(time_span("99999999999999999999d").is_err());
    }

    #[test]
    fn command_lines_split_as_written() {
        assert_eq!(
            words("/bin/a -rx 'core reload'").unwrap(),
            ["/bin/a", "-rx", "core reload"]
        );
        assert_eq!(words(r#"a "" b\sc"#).unwrap(), ["a", "", "b c"]);
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn sizes_and_booleans() {
        assert_eq!(size("64M"), Ok(Some(64 << 20)));
        assert_eq!(size("infinity"), Ok(None));
        assert!(size("many").is_err());
        assert_eq!(boolean("Yes"), Ok(true));
        assert!(boolean("maybe").is_err());
    }

    #[test]
    fn unknown_specifier_is_refused() {
        assert_eq!(
            specifiers("%n 5%%", "a", ".service").unwrap(),
            "a.service 5%"
        );
        assert!(specifiers("%q", "a", ".service").is_err());
    }

    #[test]
    fn files_of_variables() {
        let got = environment_file("# c\nA=1\n B = \"two words\" \nC='x=y'\n").unwrap();
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(
            got,
            [pair("A", "1"), pair("B", "two words"), pair("C", "x=y")]
        );
        assert!(
            environment_file("A=1\n2B=3")
                .unwrap_err()
                .starts_with("line 2")
        );
    }
}
