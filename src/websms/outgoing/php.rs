//! PHP's order of keys and its writing of a form: carriers' signatures are made over exactly these bytes.
//!
//! Pure. Invariant: what is written holds only unreserved signs, `+`, `=`, `&` and percent-encoded bytes.

use std::cmp::Ordering;

/// Fields in PHP's sense of an array: one of each name, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Sets a field; the last value of a name holds, at the place of the first.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.as_str())
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut String> {
        self.0
            .iter_mut()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// `ksort` and `http_build_query`.
    pub fn sorted_query(&self) -> String {
        let mut sorted: Vec<&(String, String)> = Vec::new();
        // By insertion: PHP has 9 before 10 before `1a` before 9, which is no order that a sort could rely on.
        for field in &self.0 {
            let place = sorted
                .iter()
                .rposition(|known| order(&known.0, &field.0) != Ordering::Greater);
            sorted.insert(place.map_or(0, |place| place + 1), field);
        }
        query(
            sorted
                .into_iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }
}

/// Numbers by their size, all else byte by byte (PHP 8).
fn order(a: &str, b: &str) -> Ordering {
    match (numeric(a), numeric(b)) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => a.as_bytes().cmp(b.as_bytes()),
    }
}

fn numeric(text: &str) -> Option<f64> {
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    // Rust reads `inf` and `nan`, PHP does not.
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let fits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    (digits && fits).then(|| text.parse().ok()).flatten()
}

/// `application/x-www-form-urlencoded` as RFC 1738 has it: `+` for a blank, `~` and `*` encoded.
pub(super) fn query<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => {
                to.push(char::from(byte))
            }
            b' ' => to.push('+'),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(names: &[&str]) -> Vec<String> {
        let mut fields = Fields::default();
        for name in names {
            fields.set(name, "");
        }
        let query = fields.sorted_query();
        query
            .split('&')
            .map(|field| field.trim_end_matches('=').to_owned())
            .collect()
    }

    /// Asked of PHP 8.2 itself.
    #[test]
    fn fields_stand_in_phps_order() {
        assert_eq!(
            sorted(&["10", "9", "1a", "B", "a"]),
            ["9", "10", "1a", "B", "a"]
        );
        assert_eq!(sorted(&["b", "0", "-1", ""]), ["", "-1", "0", "b"]);
        assert_eq!(
            sorted(&["To", "From", "Body", "api_key"]),
            ["Body", "From", "To", "api_key"]
        );
        assert_eq!(
            sorted(&[" c", "C", "_x", "1.5", "2", "10", "1e1"]),
            ["+c", "1.5", "2", "10", "1e1", "C", "_x"]
        );
    }

    #[test]
    fn a_form_is_written_as_php_writes_it() {
        let fields = [
            ("Body", "å\n"),
            ("From", "~a b*"),
            ("To", "+1"),
            ("a[b]", "-_."),
        ];
        assert_eq!(
            query(fields.into_iter()),
            "Body=%C3%A5%0A&From=%7Ea+b%2A&To=%2B1&a%5Bb%5D=-_."
        );
    }

    proptest! {
        #[test]
        fn nothing_gets_out_of_its_field(name in "\\PC{0,8}", value in "(\\PC|\n|\0|&|=|%){0,20}") {
            let text = query([(name.as_str(), value.as_str())].into_iter());
            prop_assert_eq!(text.matches('&').count(), 0);
            prop_assert_eq!(text.matches('=').count(), 1);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+%=".contains(&b)));
        }

        #[test]
        fn any_names_can_be_sorted(names in proptest::collection::vec("[0-9a-zA-Z .+-]{0,4}", 0..40)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut unique = names.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(sorted(&names).len(), unique.len().max(1));
        }
    }
}
