//! The words after `add`, `del` and `list`: the predecessor's set algebra with a time and a comment.
//!
//! Pure. Words may come one by one or as one quoted text, and `=` may stand without spaces. What follows `#` is a comment.
//! What sets and addresses are is `ledger::Manual`'s to know.

use std::time::Duration;

use thiserror::Error;

use crate::autoban::config;
use crate::autoban::ledger::{Manual, SetName};
use crate::autoban::policy::LONGEST;

/// The longest comment, in characters; it is written down with each entry.
const LONGEST_COMMENT: usize = 200;

/// What is wrong with the words. Displayed, it may hold a second line with a hint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misread {
    #[error("{0}")]
    Manual(String),
    #[error("`{0}` is no set\nhint: sets are watch, parole, jail, white, black, weak and all")]
    NoSet(String),
    #[error(
        "`{0}` is no time\nhint: write seconds or for example 20m, 1d2h3m4s, up to three years"
    )]
    Time(String),
    #[error("the time is given twice\nhint: write `for TIME` or `--time TIME`")]
    TimeTwice,
    #[error("the comment is given twice\nhint: write `# TEXT` or `--comment TEXT`")]
    CommentTwice,
    #[error("the comment is too long\nhint: up to {LONGEST_COMMENT} characters")]
    CommentTooLong,
    #[error("`for` has no time after it\nhint: for example `add jail = 192.0.2.7 for 1d2h`")]
    NoTime,
    #[error("a deletion takes no time and no comment\nhint: for example `del jail = 192.0.2.7`")]
    NotForDelete,
}

/// The words taken apart.
#[derive(Debug, Default)]
struct Sentence {
    words: Vec<String>,
    time: Option<String>,
    comment: Option<String>,
}

fn take_apart(given: &[String]) -> Result<Sentence, Misread> {
    let mut sentence = Sentence::default();
    let mut words = given.iter().flat_map(|text| text.split_whitespace());
    while let Some(word) = words.next() {
        if let Some(first) = word.strip_prefix('#') {
            let rest = std::iter::once(first).chain(words.by_ref());
            let text: Vec<&str> = rest.filter(|word| !word.is_empty()).collect();
            sentence.comment = Some(text.join(" "));
        } else if word == "for" {
            let time = words.next().ok_or(Misread::NoTime)?;
            if sentence.time.replace(time.to_owned()).is_some() {
                return Err(Misread::TimeTwice);
            }
        } else {
            let mut pieces = word.split('=');
            let push = |words: &mut Vec<String>, piece: &str| {
                if !piece.is_empty() {
                    words.push(piece.to_owned());
                }
            };
            push(&mut sentence.words, pieces.next().unwrap_or_default());
            for piece in pieces {
                sentence.words.push("=".to_owned());
                push(&mut sentence.words, piece);
            }
        }
    }
    Ok(sentence)
}

/// A time in the words of the configuration.
pub fn time(text: &str) -> Result<Duration, Misread> {
    config::seconds(text)
        .map(Duration::from_secs)
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| Misread::Time(text.escape_debug().to_string()))
}

/// Reads the words after `add`, and what the options say.
pub fn add(
    given: &[String],
    time_option: Option<&str>,
    comment_option: Option<&str>,
) -> Result<Manual, Misread> {
    let sentence = take_apart(given)?;
    let words: Vec<&str> = sentence.words.iter().map(String::as_str).collect();
    let mut order = Manual::add(&words).map_err(|e| Misread::Manual(e.to_string()))?;
    let span = match (sentence.time.as_deref(), time_option) {
        (Some(_), Some(_)) => return Err(Misread::TimeTwice),
        (one, other) => one.or(other).map(time).transpose()?,
    };
    let text = match (sentence.comment, comment_option) {
        (Some(_), Some(_)) => return Err(Misread::CommentTwice),
        (one, other) => one.or(other.map(str::to_owned)).unwrap_or_default(),
    };
    if text.chars().count() > LONGEST_COMMENT {
        return Err(Misread::CommentTooLong);
    }
    if let Manual::Add { time, comment, .. } = &mut order {
        *time = span;
        *comment = text;
    }
    Ok(order)
}

/// Reads the words after `del`.
pub fn delete(given: &[String]) -> Result<Manual, Misread> {
    let sentence = take_apart(given)?;
    if sentence.time.is_some() || sentence.comment.is_some() {
        return Err(Misread::NotForDelete);
    }
    let words: Vec<&str> = sentence.words.iter().map(String::as_str).collect();
    Manual::delete(&words).map_err(|e| Misread::Manual(e.to_string()))
}

/// Reads the words after `list`; none, or `all`, is every set. Each stands once, as it came.
pub fn sets(given: &[String]) -> Result<Vec<SetName>, Misread> {
    let mut sets = Vec::new();
    for word in given.iter().flat_map(|text| text.split_whitespace()) {
        let set = match (word, SetName::parse(word)) {
            ("all", _) => return Ok(SetName::ALL.to_vec()),
            (_, Some(set)) => set,
            _ => return Err(Misread::NoSet(word.escape_debug().to_string())),
        };
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    match sets.is_empty() {
        true => Ok(SetName::ALL.to_vec()),
        false => Ok(sets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::ledger::Item;

    fn given(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn added(text: &str) -> Manual {
        add(&given(text), None, None).unwrap()
    }

    #[test]
    fn the_predecessors_examples() {
        let cidr = |text: &str| Item::Cidr(text.parse().unwrap());
        let plain = |to: &[SetName], what: &[Item]| Manual::Add {
            to: to.to_vec(),
            what: what.to_vec(),
            time: None,
            comment: String::new(),
        };
        use SetName::{Black, Jail, Parole, Watch};
        let both = [cidr("192.0.2.7"), Item::Set(Jail), cidr("192.0.2.8")];
        assert_eq!(
            added("blacklist = 192.0.2.7 jail 192.0.2.8"),
            plain(&[Black], &both)
        );
        assert_eq!(
            added("jail parole = watch"),
            plain(&[Jail, Parole], &[Item::Set(Watch)])
        );
        assert_eq!(
            delete(&given("all = all")).unwrap(),
            Manual::Delete {
                from: SetName::ALL.to_vec(),
                what: vec![Item::All],
            }
        );
        assert_eq!(
            delete(&given("jail parole = 192.0.2.7 blacklist")).unwrap(),
            Manual::Delete {
                from: vec![Jail, Parole],
                what: vec![cidr("192.0.2.7"), Item::Set(Black)],
            }
        );
    }

    #[test]
    fn a_time_and_a_comment() {
        let whole = vec!["jail=192.0.2.7 2001:db8::/48 for 1d2h # calls at night".to_owned()];
        for words in [
            whole.clone(),
            given("jail = 192.0.2.7 2001:db8::/48 for 1d2h # calls at night"),
            given("jail= 192.0.2.7 2001:db8::/48 for 1d2h #calls at night"),
        ] {
            let Manual::Add {
                to,
                what,
                time,
                comment,
            } = add(&words, None, None).unwrap()
            else {
                panic!("an addition");
            };
            assert_eq!((to, what.len()), (vec![SetName::Jail], 2), "{words:?}");
            assert_eq!(time, Some(Duration::from_secs(93_600)));
            assert_eq!(comment, "calls at night");
        }
        let by_option = add(
            &given("jail=192.0.2.7 2001:db8::/48"),
            Some("1d2h"),
            Some("calls at night"),
        );
        assert_eq!(by_option, add(&whole, None, None));
    }

    #[test]
    fn wrong_words_are_named() {
        let wrong = |text: &str, time: Option<&str>, comment: Option<&str>| {
            add(&given(text), time, comment).unwrap_err().to_string()
        };
        let all = [
            wrong("jail = 192.0.2.300", None, None),
            wrong("jial = 192.0.2.3", None, None),
            wrong("jail = 192.0.2.3 = 192.0.2.4", None, None),
            wrong("jail =", None, None),
            wrong("jail = 192.0.2.3 for", None, None),
            wrong("jail = 192.0.2.3 for ever", None, None),
            wrong("jail = 192.0.2.3 for 0", None, None),
            wrong("jail = 192.0.2.3 for 10000w", None, None),
            wrong("jail = 192.0.2.3 for 1d", Some("2d"), None),
            wrong("jail = 192.0.2.3 # a", None, Some("b")),
            wrong("jail = 192.0.2.3", None, Some(&"x".repeat(201))),
            delete(&given("jail = 192.0.2.3 for 1d"))
                .unwrap_err()
                .to_string(),
            sets(&given("jail house")).unwrap_err().to_string(),
        ];
        for (index, text) in all.iter().enumerate() {
            assert!(text.contains("\nhint: "), "{index}: {text}");
        }
        let firsts: Vec<&str> = all.iter().filter_map(|text| text.lines().next()).collect();
        insta::assert_snapshot!(firsts.join("\n"));
    }

    #[test]
    fn the_sets_of_a_list() {
        assert_eq!(sets(&[]).unwrap(), SetName::ALL);
        assert_eq!(sets(&given("jail all")).unwrap(), SetName::ALL);
        assert_eq!(
            sets(&given("blacklist jail black")).unwrap(),
            [SetName::Black, SetName::Jail]
        );
    }
}
