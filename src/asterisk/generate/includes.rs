//! Configuration files with what they include put in its place, as Asterisk reads them.
//!
//! A user wrote them, so files are plain and bounded, and includes end. Invariant: no more than `MOST_FILES` files are read.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::asterisk::conf::Document;
use crate::config::paths::Paths;

/// The longest configuration file that is read.
const LONGEST: u64 = 1 << 20;
/// How deep files may include each other (`MAX_INCLUDE_LEVEL` in main/config.c), and how many there may be.
const DEEPEST: usize = 10;
const MOST_FILES: usize = 200;

/// A file and all that it includes, apart from each other.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Each with its name, below the configuration where it lies there, and its text.
    pub files: Vec<(String, String)>,
    pub includes: Vec<Included>,
}

/// An `#include` or `#tryinclude`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// In which file, and at which line of it.
    pub file: String,
    pub line: usize,
    pub argument: String,
    /// Asterisk refuses the whole file when what it names is not there.
    pub is_required: bool,
    pub is_there: bool,
}

/// A text with what it includes in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    pub text: String,
    /// The files that were read, in the order of their first lines.
    pub files: Vec<PathBuf>,
    /// For each line of the text its file's place in `files` and its number there, from 1.
    origins: Vec<(usize, usize)>,
}

impl Whole {
    /// The file and the line there of a line of the whole, both from 1.
    #[must_use]
    pub fn origin(&self, line: usize) -> Option<(&Path, usize)> {
        let (file, line) = *self.origins.get(line.checked_sub(1)?)?;
        Some((self.files.get(file)?, line))
    }

    fn push(&mut self, line: &str, file: usize, number: usize) {
        // A last line without its end would swallow the next one.
        let end = if line.ends_with('\n') { "" } else { "\n" };
        self.text.push_str(line);
        self.text.push_str(end);
        self.origins.push((file, number));
    }
}

/// Reads a file with what it includes in its place.
pub struct Includes<'a> {
    paths: &'a Paths,
    home: &'a Path,
    left: usize,
}

impl<'a> Includes<'a> {
    pub fn at(paths: &'a Paths, home: &'a Path) -> Includes<'a> {
        Includes {
            paths,
            home,
            left: MOST_FILES,
        }
    }

    pub fn read(self, name: &str) -> Option<String> {
        self.whole(name).map(|whole| whole.text)
    }

    /// The file and all that it includes; nothing when it is not there.
    pub fn survey(mut self, name: &str) -> Survey {
        let mut survey = Survey::default();
        self.visit(&self.home.join(name), DEEPEST, &mut survey);
        survey
    }

    fn visit(&mut self, path: &Path, depth: usize, survey: &mut Survey) {
        let name = self.name(path);
        if survey.files.iter().any(|(known, _)| *known == name) {
            return;
        }
        let Some(left) = self.left.checked_sub(1) else {
            return;
        };
        self.left = left;
        let Ok(text) = read_plain(path) else {
            return;
        };
        let document = Document::parse(&text);
        survey.files.push((name.clone(), text));
        for (line, directive) in document.directives() {
            let word = directive.word.to_ascii_lowercase();
            let is_required = word == "include";
            let Some(depth) = depth.checked_sub(1) else {
                return;
            };
            if !is_required && word != "tryinclude" {
                continue;
            }
            let found = self.matching(&directive.argument);
            survey.includes.push(Included {
                file: name.clone(),
                line,
                argument: directive.argument.clone(),
                is_required,
                is_there: found.iter().any(|path| path.exists()),
            });
            for included in found {
                self.visit(&included, depth, survey);
            }
        }
    }

    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(self.home).unwrap_or(path);
        below.display().to_string()
    }

    /// As `read`, and says where each line comes from. `None` where the file itself cannot be read.
    pub fn whole(mut self, name: &str) -> Option<Whole> {
        let mut whole = Whole::default();
        self.file(&self.home.join(name), DEEPEST, &mut whole)?;
        Some(whole)
    }

    fn file(&mut self, path: &Path, depth: usize, whole: &mut Whole) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let text = read_plain(path).ok()?;
        let document = Document::parse(&text);
        let file = whole.files.len();
        whole.files.push(path.to_owned());
        let mut directives = document.directives().peekable();
        let mut sections = document.sections().peekable();
        let mut section = None;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let number = index + 1;
            if let Some(header) = sections.next_if(|found| found.line() == number) {
                // A template is found by its filter only.
                let filter = if header.is_template() {
                    "TEMPLATES=include"
                } else {
                    ""
                };
                section = Some(format!("[{}](+{filter})\n", header.name()));
            }
            let Some((_, directive)) = directives.next_if(|(at, _)| *at == number) else {
                whole.push(line, file, number);
                continue;
            };
            let word = directive.word.to_ascii_lowercase();
            if let Some(depth) = depth.checked_sub(1)
                && (word == "include" || word == "tryinclude")
            {
                for included in self.matching(&directive.argument) {
                    self.file(&included, depth, whole);
                }
                // Asterisk goes on in the section in which the directive stood.
                if let Some(again) = &section {
                    whole.push(again, file, number);
                }
            }
        }
        Some(())
    }

    /// The files that an argument names, relative to the configuration; its last part may be a pattern (glob(7)).
    fn matching(&self, argument: &str) -> Vec<PathBuf> {
        let path = if argument.starts_with('/') {
            self.paths.at(argument)
        } else {
            self.home.join(argument)
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.contains(['*', '?']) {
            return vec![path];
        }
        let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else {
            return Vec::new();
        };
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| matches(name.as_bytes(), entry.file_name().as_encoded_bytes()))
            .map(|entry| entry.path())
            .collect();
        found.sort();
        found
    }
}

/// Whether a name fits a pattern of `*` and `?`; a name that begins with a dot only by a dot. Time grows with the product of
/// their lengths and no faster, whatever the pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut place) = (0, 0);
    // The last star: where the pattern goes on behind it, and how far it has swallowed the name.
    let mut star = None;
    while place < name.len() {
        match (pattern.get(at), name.get(place)) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, place));
            }
            (Some(b'?'), _) => (at, place) = (at + 1, place + 1),
            (Some(wanted), Some(given)) if wanted == given => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((behind, swallowed)) = star else {
                    return false;
                };
                star = Some((behind, swallowed + 1));
                (at, place) = (behind, swallowed + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

/// The text of a plain file of a bounded size.
pub fn read_plain(path: &Path) -> std::io::Result<String> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(LONGEST)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_names_what_is_missing_and_where() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("etc");
        std::fs::create_dir_all(home.join("more")).unwrap();
        std::fs::write(
            home.join("a.conf"),
            "[x]\n#include more/*.conf\n#tryinclude none.conf\n",
        )
        .unwrap();
        std::fs::write(
            home.join("more/b.conf"),
            "#include \"c.conf\"\n#include a.conf\n",
        )
        .unwrap();
        let paths = Paths::under(root.path());
        let survey = Includes::at(&paths, &home).survey("a.conf");
        let names: Vec<&str> = survey.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.conf", "more/b.conf"]);
        let missing: Vec<(&str, usize, &str, bool)> = survey
            .includes
            .iter()
            .filter(|one| !one.is_there)
            .map(|one| {
                (
                    one.file.as_str(),
                    one.line,
                    one.argument.as_str(),
                    one.is_required,
                )
            })
            .collect();
        assert_eq!(
            missing,
            [
                ("more/b.conf", 1, "c.conf", true),
                ("a.conf", 3, "none.conf", false)
            ]
        );
    }

    #[test]
    fn patterns_are_those_of_the_shell() {
        assert!(matches(b"*.conf", b"a.conf") && matches(b"a?c*", b"abcd"));
        assert!(matches(b"*a*b", b"xaxbxb") && matches(b"a**", b"a") && !matches(b"?", b""));
        let many = "*a".repeat(60) + "b";
        assert!(!matches(many.as_bytes(), "a".repeat(250).as_bytes()));
        assert!(!matches(b"*.conf", b".a.conf") && !matches(b"*.conf", b"a.con"));
    }
}
