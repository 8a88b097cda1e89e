//! One field of a calendar expression: any number, or a list of numbers, ranges and steps.

use serde::{Deserialize, Serialize};

/// One member of the list: `7`, `1..5`, `0/15` or `0..30/10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    start: u16,
    stop: Option<u16>,
    step: Option<u16>,
}

/// The numbers that a field takes; without parts any number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field(Vec<Part>);

impl Part {
    fn has(self, number: u16) -> bool {
        let open = if self.step.is_some() {
            u16::MAX
        } else {
            self.start
        };
        number >= self.start
            && number <= self.stop.unwrap_or(open)
            && (number - self.start).is_multiple_of(self.step.unwrap_or(1))
    }
}

impl Field {
    /// Exactly this number.
    pub fn only(number: u16) -> Field {
        Field(vec![Part {
            start: number,
            stop: None,
            step: None,
        }])
    }

    /// Reads `*` or a list; `what` names the field in errors, its numbers lie within the bounds.
    pub fn read(text: &str, what: &str, least: u16, most: u16) -> Result<Field, String> {
        let fits = |start: u16, step: u16| start.checked_add(step).is_some_and(|n| n <= most);
        Field::read_with(text, what, (least, most), fits)
    }

    /// Days from the end of the month. Every month has them all, or none has, as in systemd.
    pub fn read_from_end(text: &str) -> Result<Field, String> {
        Field::read_with(text, "day", (1, 28), |start, step| step < start)
    }

    /// `fits` says whether a step after its start meets at least one more number.
    fn read_with(
        text: &str,
        what: &str,
        (least, most): (u16, u16),
        fits: impl Fn(u16, u16) -> bool,
    ) -> Result<Field, String> {
        if text == "*" {
            return Ok(Field::default());
        }
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let number = digits.parse::<u16>().ok().filter(|_| plain);
            number
                .map(|n| {
                    if what == "year" {
                        century(n, digits)
                    } else {
                        n
                    }
                })
                .filter(|n| (least..=most).contains(n))
                .ok_or_else(|| format!("the {what} `{digits}` is not from {least} to {most}"))
        };
        let part = |text: &str| {
            let (range, step) = match text.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (text, None),
            };
            if range == "*" {
                return Err(format!(
                    "a step begins at a number: write `{least}/2`, not `*/2`"
                ));
            }
            let (start, stop) = match range.split_once("..") {
                Some((start, stop)) => (number(start)?, Some(number(stop)?)),
                None => (number(range)?, None),
            };
            if stop.is_some_and(|stop| stop < start) {
                return Err(format!("the range `{range}` ends before it begins"));
            }
            let step = step
                .map(|step| {
                    step.parse::<u16>()
                        .ok()
                        .filter(|n| *n > 0 && (stop.is_some() || fits(start, *n)))
                        .ok_or_else(|| {
                            format!("the step `{step}` does not fit after {what} {start}")
                        })
                })
                .transpose()?;
            Ok(Part { start, stop, step })
        };
        text.split(',')
            .map(part)
            .collect::<Result<_, _>>()
            .map(Field)
    }

    pub fn has(&self, number: u16) -> bool {
        self.0.is_empty() || self.0.iter().any(|part| part.has(number))
    }

    /// The same for numbers that count from the end, where 1 is `last`. Steps without an end go forward in
    /// time, so down to 1.
    pub fn has_from_end(&self, number: u16, last: u16) -> bool {
        let back = (last + 1).saturating_sub(number);
        let has = |part: &Part| match (part.stop, part.step) {
            (None, Some(step)) => back <= part.start && (part.start - back).is_multiple_of(step),
            _ => part.has(back),
        };
        self.0.is_empty() || self.0.iter().any(has)
    }

    /// Prints as `read` takes it, with at least `width` digits.
    pub fn show(&self, width: usize) -> String {
        if self.0.is_empty() {
            return "*".to_owned();
        }
        let part = |part: &Part| {
            let mut text = format!("{:0width$}", part.start);
            if let Some(stop) = part.stop {
                text.push_str(&format!("..{stop:0width$}"));
            }
            if let Some(step) = part.step {
                text.push_str(&format!("/{step}"));
            }
            text
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

/// Years of two digits are those around 2000, as in systemd.
fn century(year: u16, digits: &str) -> u16 {
    match year {
        0..=69 if digits.len() <= 2 => year + 2000,
        70..=99 if digits.len() <= 2 => year + 1900,
        _ => year,
    }
}
