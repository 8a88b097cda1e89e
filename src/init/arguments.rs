//! The few arguments of PID 1's own program.
//!
//! Pure, and by hand: the parser of the commands is larger than all of PID 1.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Run the appliance below this directory.
    Run(PathBuf),
    /// Say whether the state in this memory file is understood.
    TryResume(RawFd),
    /// Go on from the state in the memory file `state`; when that cannot be, execute `fallback`.
    Resume {
        root: PathBuf,
        state: RawFd,
        fallback: Option<RawFd>,
    },
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
    #[error("`{0}` needs the number of a descriptor")]
    NoDescriptor(&'static str),
}

/// Reads the arguments without the program's own name.
///
/// # Errors
/// With the first argument that cannot be used.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Wanted, UsageError> {
    let mut root = PathBuf::from("/");
    let (mut trial, mut state, mut fallback) = (None, None, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        if let Some(number) = bytes.strip_prefix(b"--try-resume=") {
            trial = Some(descriptor("--try-resume", number)?);
        } else if let Some(number) = bytes.strip_prefix(b"--resume=") {
            state = Some(descriptor("--resume", number)?);
        } else if let Some(number) = bytes.strip_prefix(b"--fallback=") {
            fallback = Some(descriptor("--fallback", number)?);
        } else if let Some(directory) = bytes.strip_prefix(b"--root=") {
            root = OsStr::from_bytes(directory).into();
        } else {
            match bytes {
                b"--version" | b"-V" => return Ok(Wanted::Version),
                b"--help" | b"-h" => return Ok(Wanted::Help),
                b"--root" => root = arguments.next().unwrap_or_default().into(),
                _ => {
                    let shown = argument.to_string_lossy().escape_debug().to_string();
                    return Err(UsageError::Unknown(shown));
                }
            }
        }
        if root.as_os_str().is_empty() {
            return Err(UsageError::NoDirectory);
        }
    }
    Ok(match (trial, state) {
        (Some(state), _) => Wanted::TryResume(state),
        (None, Some(state)) => Wanted::Resume {
            root,
            state,
            fallback,
        },
        (None, None) => Wanted::Run(root),
    })
}

fn descriptor(argument: &'static str, number: &[u8]) -> Result<RawFd, UsageError> {
    let number = std::str::from_utf8(number).ok();
    let number = number.and_then(|number| number.parse().ok());
    number
        .filter(|number| *number > 2)
        .ok_or(UsageError::NoDescriptor(argument))
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

    #[test]
    fn a_next_binary_is_told_by_descriptors() {
        assert_eq!(of(&["--try-resume=3"]), Ok(Wanted::TryResume(3)));
        assert_eq!(
            of(&["--root=/x", "--resume=7", "--fallback=8"]),
            Ok(Wanted::Resume {
                root: "/x".into(),
                state: 7,
                fallback: Some(8)
            })
        );
        for word in ["--resume=", "--resume=x", "--resume=1", "--resume=-4"] {
            assert_eq!(of(&[word]), Err(UsageError::NoDescriptor("--resume")));
        }
    }
}
