//! What a key of a section is worth once its templates are counted in.
//!
//! It looks at one document only: a template that another file defines counts as empty.
//! Invariant: a value found here is one that some line of the document gave to that very key.
//!
//! Asterisk copies the entries of each named template to the front of the section when it reads the header
//! (`ast_category_inherit`), so a template's later additions do not count, and the last value wins
//! (`ast_variable_find_last_in_list` in res_pjsip_config_wizard.c).

use super::scan::{EntryLine, Header, HeaderOption, Kind, Operator};
use super::{Document, Section};

/// One section as Asterisk builds it, reduced to a single key and to the names of its ancestors.
struct Built<'a> {
    name: &'a str,
    template: bool,
    value: Option<String>,
    ancestors: Vec<&'a str>,
}

/// More ancestors than any file needs; it bounds what a hostile file can make us collect.
const MAX_ANCESTORS: usize = 64;

impl Document {
    /// The value that counts for `key` in `section`: its own last one, else the last one of its templates.
    ///
    /// With `+=` the pieces are joined as Asterisk joins them.
    #[must_use]
    pub fn effective(&self, section: &str, key: &str) -> Option<String> {
        let built = self.build(key);
        built
            .into_iter()
            .find(|built| built.name.eq_ignore_ascii_case(section))?
            .value
    }

    /// Everything that a section inherits from, near and far, also what this document does not define.
    #[must_use]
    pub fn ancestors(&self, section: &str) -> Vec<&str> {
        let built = self.build("");
        let found = built
            .into_iter()
            .find(|built| built.name.eq_ignore_ascii_case(section));
        found.map(|built| built.ancestors).unwrap_or_default()
    }

    fn build<'a>(&'a self, key: &str) -> Vec<Built<'a>> {
        let mut built: Vec<Built<'a>> = Vec::new();
        let mut current: Option<usize> = None;
        for line in &self.lines {
            match &line.kind {
                Kind::Header(header) => current = open(&mut built, header),
                Kind::Entry(entry) if entry.key.eq_ignore_ascii_case(key) => {
                    if let Some(section) = current.and_then(|at| built.get_mut(at)) {
                        assign(section, entry);
                    }
                }
                _ => {}
            }
        }
        built
    }
}

fn open<'a>(built: &mut Vec<Built<'a>>, header: &'a Header) -> Option<usize> {
    let mut new = Built {
        name: &header.name,
        template: false,
        value: None,
        ancestors: Vec::new(),
    };
    let mut existing = None;
    for option in &header.options {
        match option {
            HeaderOption::Template => new.template = true,
            HeaderOption::Append { templates_too } => {
                existing = built.iter().position(|b| {
                    b.name.eq_ignore_ascii_case(&header.name) && (*templates_too || !b.template)
                });
            }
            HeaderOption::Inherit(name) => {
                let base = built.iter().find(|b| b.name.eq_ignore_ascii_case(name));
                let value = base.and_then(|b| b.value.clone());
                let far = base.map(|b| b.ancestors.clone()).unwrap_or_default();
                let heir = existing
                    .and_then(|at| built.get_mut(at))
                    .unwrap_or(&mut new);
                heir.value = value.or_else(|| heir.value.take());
                for ancestor in std::iter::once(name.as_str()).chain(far) {
                    if heir.ancestors.len() < MAX_ANCESTORS && !heir.ancestors.contains(&ancestor) {
                        heir.ancestors.push(ancestor);
                    }
                }
            }
        }
    }
    let adds = header
        .options
        .iter()
        .any(|option| matches!(option, HeaderOption::Append { .. }));
    if adds {
        return existing;
    }
    built.push(new);
    Some(built.len() - 1)
}

fn assign(section: &mut Built<'_>, entry: &EntryLine) {
    section.value = Some(match (entry.operator, &section.value) {
        (Operator::Append, Some(before)) => format!("{before}{}", entry.value),
        _ => entry.value.clone(),
    });
}

impl Section<'_> {
    /// See [`Document::effective`].
    #[must_use]
    pub fn effective(&self, key: &str) -> Option<String> {
        self.document.effective(self.name(), key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[base](!)
a = base
b = base
[mid](!,base)
b = mid
[x](mid)
c = own
d = 1
d += ,2
[base](+TEMPLATES=include)
e = late
[x](+)
c = added
[y](nowhere,x)
";

    #[test]
    fn the_nearest_value_wins_and_additions_count() {
        let document = Document::parse(TEXT);
        let x = |key| document.effective("x", key);
        assert_eq!(x("a").as_deref(), Some("base"));
        assert_eq!(x("b").as_deref(), Some("mid"));
        assert_eq!(x("c").as_deref(), Some("added"));
        assert_eq!(x("d").as_deref(), Some("1,2"));
        assert_eq!(x("e"), None, "an addition to a template after it was used");
        assert_eq!(document.effective("y", "c").as_deref(), Some("added"));
    }

    #[test]
    fn ancestors_include_those_of_other_files() {
        let document = Document::parse(TEXT);
        assert_eq!(document.ancestors("y"), ["nowhere", "x", "mid", "base"]);
    }
}
