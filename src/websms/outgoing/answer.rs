//! A carrier's answer as a document, and paths into it.
//!
//! Pure. A path has names with dots between them, `[0]` for an item and `[*]` for all. Invariant: fields keep their order, and
//! ids come out as text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What an answer in JSON says.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// A string, a number or a truth.
    Text(String),
    List(Vec<Answer>),
    Fields(Vec<(String, Answer)>),
    Nothing,
}

impl Answer {
    /// An answer that is no JSON says nothing.
    pub fn of(body: &str) -> Answer {
        serde_json::from_str(body).unwrap_or(Answer::Nothing)
    }

    /// The values at a path.
    pub fn texts(&self, path: &str) -> Vec<&str> {
        let mut found = vec![self];
        let path = path.strip_prefix('$').unwrap_or(path);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            found = found
                .into_iter()
                .flat_map(|value| value.next(step))
                .collect();
        }
        found.into_iter().filter_map(Answer::text).collect()
    }

    fn next(&self, step: &str) -> Vec<&Answer> {
        match (step.strip_suffix(']'), self) {
            (Some("*"), Answer::List(values)) => values.iter().collect(),
            (Some(at), Answer::List(values)) => {
                let at = at.parse().ok();
                at.and_then(|at: usize| values.get(at))
                    .into_iter()
                    .collect()
            }
            (None, Answer::Fields(fields)) => {
                let named = fields.iter().rfind(|(name, _)| name == step);
                named.map(|(_, value)| value).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Answer::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The last field of this name at any depth, as the predecessor found it.
    pub fn last(&self, name: &str) -> Option<&str> {
        match self {
            Answer::Fields(fields) => fields.iter().rev().find_map(|(field, value)| {
                // What is within a field comes after it.
                let own = (field == name).then(|| value.text()).flatten();
                value.last(name).or(own)
            }),
            Answer::List(values) => values.iter().rev().find_map(|value| value.last(name)),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Answer, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Answer, E> {
        Ok(Answer::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Answer, E> {
        Ok(Answer::Text(truth.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Answer, E> {
        Ok(Answer::Text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Answer, E> {
        Ok(Answer::Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Answer, E> {
        Ok(Answer::Text(number.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Answer, E> {
        Ok(Answer::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Answer, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Answer::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Answer::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_depths() {
        let answer = Answer::of(
            r#"{"z":{"id":"deep"},"messages":[{"status":"0","message-id":"00A"},{"status":1}],"id":12345678901234567890,"ok":true,"uuid":["u"],"n":null}"#,
        );
        assert_eq!(answer.texts("messages[*].status"), ["0", "1"]);
        assert_eq!(answer.texts("messages[0].message-id"), ["00A"]);
        assert_eq!(answer.texts("id"), ["12345678901234567890"]);
        assert_eq!(answer.texts("uuid[0]"), ["u"]);
        assert_eq!(answer.texts("ok"), ["true"]);
        for none in [
            "n",
            "messages",
            "messages[9].status",
            "id.x",
            "z[0]",
            "nope",
        ] {
            assert_eq!(answer.texts(none), [""; 0], "{none}");
        }
        assert_eq!(answer.last("id"), Some("12345678901234567890"));
        assert_eq!(answer.last("status"), Some("1"));
        let deep = Answer::of(r#"{"status":"ok","a":[{"status":"err"}],"b":{}}"#);
        assert_eq!(deep.last("status"), Some("err"));
        assert_eq!(Answer::of("<html>"), Answer::Nothing);
    }
}
