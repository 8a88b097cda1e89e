//! The few arguments of PID 1's own program.
//!
//! Pure, and by hand: the parser of the commands is larger than all of PID 1.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Run the appliance below this directory.
    Run(PathBuf),
    Version,
    Help,
}

/// An argument that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("`{0}` is not an argument of switchhook-init")]
    Unknown(String),
    #[error("`--root` needs a directory")]
    NoDirectory,
}

/// Reads the arguments without the program's own name.
///
/// # Errors
/// With the first argument that cannot be used.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Wanted, UsageError> {
    let mut root = PathBuf::from("/");
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let directory = match argument.to_str().unwrap_or_default() {
            "--version" | "-V" => return Ok(Wanted::Version),
            "--help" | "-h" => return Ok(Wanted::Help),
            "--root" => arguments.next().unwrap_or_default(),
            word => match word.strip_prefix("--root=") {
                Some(directory) => directory.into(),
                None => {
                    let shown = argument.to_string_lossy().escape_debug().to_string();
                    return Err(UsageError::Unknown(shown));
                }
            },
        };
        if directory.is_empty() {
            return Err(UsageError::NoDirectory);
        }
        root = PathBuf::from(directory);
    }
    Ok(Wanted::Run(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Wanted, UsageError> {
        read(words.iter().map(OsString::from))
    }

    #[test]
    fn the_root_is_the_one_setting() {
        assert_eq!(of(&[]), Ok(Wanted::Run("/".into())));
        assert_eq!(of(&["--root", "/tmp/x"]), Ok(Wanted::Run("/tmp/x".into())));
        assert_eq!(of(&["--root=/tmp/x"]), Ok(Wanted::Run("/tmp/x".into())));
        assert_eq!(of(&["--version"]), Ok(Wanted::Version));
        assert_eq!(of(&["--root", "/x", "-h"]), Ok(Wanted::Help));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for word in ["init", "--rot", "-r", "", "--version=1"] {
            assert_eq!(of(&[word]), Err(UsageError::Unknown(word.to_owned())));
        }
        assert_eq!(
            of(&["\x1b[2J"]),
            Err(UsageError::Unknown("\\u{1b}[2J".to_owned()))
        );
        for words in [&["--root"][..], &["--root="], &["--root", ""]] {
            assert_eq!(of(words), Err(UsageError::NoDirectory));
        }
    }
}
