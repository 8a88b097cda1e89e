//! The entries of one section as Asterisk hands them to a module: those of its templates first, additions last.
//!
//! Pure. Invariant: the order is that in which the module sees them, so that "the last one" is the module's last one.

use crate::asterisk::conf::{Document, Section};

/// More sections and additions than any file needs; it bounds what templates of templates can cost.
const MOST_SECTIONS: usize = 200;

/// The entries of a section, in order.
#[derive(Debug, Clone, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads the first section of that name that is no template; a section that is missing is empty.
    pub fn read(text: &str, section: &str) -> Settings {
        let document = Document::parse(text);
        let is_it = |found: &Section<'_>| found.name().eq_ignore_ascii_case(section);
        let mut settings = Settings::default();
        let mut left = MOST_SECTIONS;
        let first = document
            .sections()
            .find(|found| is_it(found) && !found.is_addition() && !found.is_template());
        if let Some(first) = first {
            settings.take(&document, first, &mut left);
            let additions = document
                .sections()
                .filter(|found| is_it(found) && found.is_addition() && found.line() > first.line());
            for addition in additions {
                settings.take(&document, addition, &mut left);
            }
        }
        settings
    }

    /// What a section inherits stands earlier in the file, so that no ring is possible.
    fn take(&mut self, document: &Document, section: Section<'_>, left: &mut usize) {
        let Some(less) = left.checked_sub(1) else {
            return;
        };
        *left = less;
        for name in section.inherits() {
            let named = document.sections().filter(|found| {
                found.name().eq_ignore_ascii_case(name) && found.line() < section.line()
            });
            // The first of that name is the one, with what was added to it before it is used.
            for (number, found) in named.enumerate() {
                if number == 0 || found.is_addition() {
                    self.take(document, found, left);
                }
            }
        }
        let own = section
            .entries()
            .map(|entry| (entry.key.to_ascii_lowercase(), entry.value.to_owned()));
        self.0.extend(own);
    }

    /// The values of any of these keys, which are in small letters.
    pub fn all<'a>(&'a self, keys: &'a [&str]) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0
            .iter()
            .filter(|(key, _)| keys.contains(&key.as_str()))
            .map(|(_, value)| value.as_str())
    }

    /// All entries in their order, keys in small letters.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value that counts where the last one does.
    pub fn last(&self, keys: &[&str]) -> Option<&str> {
        let entry = |(key, _): &&(String, String)| keys.contains(&key.as_str());
        let found = self.0.iter().rev().find(entry);
        found.map(|(_, value)| value.as_str())
    }
}

/// What Asterisk takes for yes (`ast_true` in main/utils.c).
pub fn is_true(text: &str) -> bool {
    ["yes", "true", "y", "t", "1", "on"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}
