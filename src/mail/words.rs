//! The words of a `mailcmd` of minivm.conf, and those of them that are for `minivm-send`.
//!
//! Pure. A shell runs that line; here only what needs no shell is understood: words, quotes and backslashes (POSIX, Shell
//! Command Language, 2.2). Invariant: a line with anything else gives nothing rather than something else.

/// The words after `minivm-send`, if the line runs that and nothing else.
#[must_use]
pub fn of_minivm_send(line: &str) -> Option<Vec<String>> {
    let mut words = split(line)?.into_iter();
    let program = words.next()?;
    let name = program.rsplit('/').next()?;
    let is_ours = name == "minivm-send" || name == "switchhook";
    if !is_ours || (name == "switchhook" && words.next()? != "minivm-send") {
        return None;
    }
    Some(words.collect())
}

fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match signs.next()? {
                        '\'' => break,
                        sign => word.push(sign),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match signs.next()? {
                        '"' => break,
                        '\\' => match signs.next()? {
                            sign @ ('$' | '`' | '"' | '\\') => word.push(sign),
                            sign => word.extend(['\\', sign]),
                        },
                        '$' | '`' => return None,
                        sign => word.push(sign),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(signs.next()?),
            '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '#' | '~'
            | '\n' => return None,
            sign => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_a_shells() {
        let of = |line: &str| of_minivm_send(line).map(|words| words.join("|"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("minivm-send -H mx:587 -P starttls"),
            some("-H|mx:587|-P|starttls")
        );
        assert_eq!(
            of(r#"/usr/local/bin/minivm-send -p 'a b$c' -u "x\"y\z" -f a\ b"#),
            some(r#"-p|a b$c|-u|x"y\z|-f|a b"#)
        );
        assert_eq!(of("switchhook minivm-send -H mx"), some("-H|mx"));
        for other in [
            "sendmail -t",
            "switchhook status",
            "minivm-send -p $PASSWORD",
            "minivm-send -H mx | tee /tmp/x",
            "minivm-send -p 'open",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(words in proptest::collection::vec("[^']{0,12}", 0..5)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let line = format!("minivm-send {}", quoted.join(" "));
            prop_assert_eq!(of_minivm_send(&line), Some(words));
        }
    }
}
