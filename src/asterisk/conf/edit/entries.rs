//! Edits of keys that can stand many times in a section, where their order counts: add one, remove one.

use super::{Document, EditError, Kind, check_key, check_value, escape, insert_lines};

impl Document {
    /// Adds a line `key = value` to a section: before the entry in line `before`, else behind all that the section and its
    /// additions have, files that they include among it.
    ///
    /// # Errors
    /// If the section does not exist, if line `before` is none of its entries, if the format cannot hold key or value, or if
    /// other lines would change their meaning.
    pub fn add_entry(
        &mut self,
        section: &str,
        key: &str,
        value: &str,
        before: Option<usize>,
    ) -> Result<(), EditError> {
        check_key(key)?;
        check_value(key, value)?;
        let no_section = || EditError::NoSection(section.to_owned());
        let at = match before {
            Some(line) => {
                let mut entries = self.pieces(section).flat_map(|piece| piece.entries());
                if !entries.any(|entry| entry.line == line) {
                    return Err(EditError::NoEntry { line });
                }
                line - 1
            }
            None => {
                let piece = self.pieces(section).last().ok_or_else(no_section)?;
                let header = piece.line() - 1;
                let body = self.lines.iter().enumerate().skip(header + 1);
                let body = body.take_while(|(_, line)| !matches!(line.kind, Kind::Header(_)));
                let said = body
                    .filter(|(_, line)| matches!(line.kind, Kind::Entry(_) | Kind::Directive(_)));
                let last = said.last().map_or(header, |(at, _)| at);
                self.end_of_comment(last) + 1
            }
        };
        let mut wanted = self.own_entries(section);
        let place = wanted.iter().take_while(|(line, ..)| *line <= at).count();
        wanted.insert(place, (0, key.to_owned(), value.to_owned()));
        let mut drafts = self.drafts();
        let line = format!("{key} = {}", escape(value));
        insert_lines(&mut drafts, at, &[line], self.line_end());
        let edited = self.checked(drafts)?;
        edited.holds(section, &wanted, at)?;
        *self = edited;
        Ok(())
    }

    /// Removes the entry in this line, and the comment behind it.
    ///
    /// # Errors
    /// If the line is none of the section's entries, or if other lines would change their meaning.
    pub fn remove_entry(&mut self, section: &str, line: usize) -> Result<(), EditError> {
        let mut wanted = self.own_entries(section);
        let Some(place) = wanted.iter().position(|(at, ..)| *at == line) else {
            return Err(EditError::NoEntry { line });
        };
        wanted.remove(place);
        let mut drafts = self.drafts();
        drafts.remove(line - 1);
        let edited = self.checked(drafts)?;
        edited.holds(section, &wanted, line - 1)?;
        *self = edited;
        Ok(())
    }

    /// A section and its additions.
    fn pieces(&self, section: &str) -> impl Iterator<Item = crate::asterisk::conf::Section<'_>> {
        let section = section.to_owned();
        self.sections()
            .filter(move |s| s.name().eq_ignore_ascii_case(&section))
    }

    fn own_entries(&self, section: &str) -> Vec<(usize, String, String)> {
        let entries = self.pieces(section).flat_map(|piece| piece.entries());
        let entries = entries.map(|e| (e.line, e.key.to_owned(), e.value.to_owned()));
        entries.collect()
    }

    fn holds(
        &self,
        section: &str,
        wanted: &[(usize, String, String)],
        at: usize,
    ) -> Result<(), EditError> {
        let found = self.own_entries(section);
        let bare = |entries: &[(usize, String, String)]| -> Vec<(String, String)> {
            let entries = entries.iter();
            entries
                .map(|(_, key, value)| (key.clone(), value.clone()))
                .collect()
        };
        match bare(&found) == bare(wanted) {
            true => Ok(()),
            false => Err(EditError::Entangled { line: at + 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "; head\n[a]\ndeny = 0.0.0.0/0 ; all\n;permit = 1\npermit=10.0.0.1\n; of b\n\n[b]\n#tryinclude x\n; c\n[c]\n[a](+)\npermit=10.0.0.2";

    fn edited(edit: impl FnOnce(&mut Document) -> Result<(), EditError>) -> String {
        let mut document = Document::parse(TEXT);
        edit(&mut document).unwrap();
        document.to_string()
    }

    #[test]
    fn a_line_goes_behind_all_that_the_section_has() {
        assert_eq!(
            edited(|d| d.add_entry("a", "deny", "10.0.0.3", None)),
            format!("{TEXT}\ndeny = 10.0.0.3\n")
        );
        assert_eq!(
            edited(|d| d.add_entry("b", "deny", "10.0.0.3", None)),
            TEXT.replace("#tryinclude x\n", "#tryinclude x\ndeny = 10.0.0.3\n")
        );
        assert_eq!(
            edited(|d| d.add_entry("c", "deny", "10.0.0.3", None)),
            TEXT.replace("[c]\n", "[c]\ndeny = 10.0.0.3\n")
        );
    }

    #[test]
    fn a_line_goes_before_another() {
        assert_eq!(
            edited(|d| d.add_entry("a", "deny", "10.0.0.3", Some(5))),
            TEXT.replace("permit=10.0.0.1", "deny = 10.0.0.3\npermit=10.0.0.1")
        );
        let mut document = Document::parse(TEXT);
        for line in [1, 4, 9, 99] {
            assert_eq!(
                document.add_entry("a", "deny", "1.1.1.1", Some(line)),
                Err(EditError::NoEntry { line })
            );
        }
    }

    #[test]
    fn a_line_is_removed_alone() {
        assert_eq!(
            edited(|d| d.remove_entry("a", 3)),
            TEXT.replace("deny = 0.0.0.0/0 ; all\n", "")
        );
        assert_eq!(
            Document::parse(TEXT).remove_entry("a", 4),
            Err(EditError::NoEntry { line: 4 })
        );
        let open = "[a]\ndeny=1 ;-- x\npermit=2\n--;\npermit=3\n";
        assert!(matches!(
            Document::parse(open).remove_entry("a", 2),
            Err(EditError::Entangled { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_added_and_removed_leaves_the_text(
            lines in proptest::collection::vec("\\[[ab]\\](\\((!|\\+)\\))?|(deny|permit) ?=>? ?[0-9./]{1,9}( ;.{0,4})?|;(--)? ?[ -~]{0,6}|#tryinclude x|", 0..12),
        ) {
            let text = lines.join("\n") + "\n";
            let mut document = Document::parse(&text);
            if document.add_entry("a", "deny", "10.9.9.9", None).is_ok() {
                let added = document.own_entries("a");
                let (line, ..) = added.last().unwrap();
                document.remove_entry("a", *line).unwrap();
                prop_assert_eq!(document.to_string(), text);
            }
        }
    }
}
