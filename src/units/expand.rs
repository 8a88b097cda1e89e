//! Variables in command lines (systemd.service(5), "Command lines").
//!
//! Pure; the environment arrives as a lookup. Invariant: the program's own name is never changed, and no
//! value is expanded a second time.

/// Puts values in place of variables in all words but the first. `${NAME}` stands for its value wherever it
/// is; a word that is nothing but `$NAME` becomes as many words as its value has, perhaps none; `$$` is one
/// `$`. A variable that is not set is empty. Any other `$` stays as it is.
pub fn expand(words: &[String], value: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    let Some((program, arguments)) = words.split_first() else {
        return out;
    };
    out.push(program.clone());
    for word in arguments {
        let name = word.strip_prefix('$').filter(|name| is_name(name));
        match name {
            Some(name) => {
                let value = value(name).unwrap_or_default();
                out.extend(value.split_whitespace().map(str::to_owned));
            }
            None => out.push(expand_within(word, value)),
        }
    }
    out
}

fn expand_within(word: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|text| text.split_once('}'));
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = braced.filter(|(name, _)| is_name(name)) {
            out.push_str(&value(name).unwrap_or_default());
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn is_name(text: &str) -> bool {
    super::value::is_variable_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        expand(&words, &|name| match name {
            "ONE" => Some("one".to_owned()),
            "TWO" => Some("two $ONE".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_manuals_forms() {
        assert_eq!(
            expanded(&[
                "/bin/echo",
                "$ONE",
                "$TWO",
                "${TWO}",
                "a${ONE}b",
                "$$ONE",
                "${NONE}"
            ]),
            [
                "/bin/echo",
                "one",
                "two",
                "$ONE",
                "two $ONE",
                "aoneb",
                "$ONE",
                ""
            ]
        );
        assert_eq!(expanded(&["/bin/a", "$NONE"]), ["/bin/a"]);
        assert_eq!(
            expanded(&["/bin/a", "$", "a$", "${", "$ONE/x", "${1}"]),
            ["/bin/a", "$", "a$", "${", "$ONE/x", "${1}"]
        );
        assert_eq!(expanded(&["$ONE"]), ["$ONE"]);
    }
}
