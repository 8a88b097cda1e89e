//! What is said to people about messages to phones: numbers and ids, never a text.

use crate::asterisk::ari::AriError;
use crate::sys::say::{INFO, WARNING, say};
use crate::websms::delivery::State;
use crate::websms::spool::Id;

/// What becomes of a message for good, without its text.
pub fn tell_end(id: Id, state: State, to: &str, detail: &str) {
    match state {
        State::Expired => say(
            WARNING,
            &format!("message {id} for {to} is given up: no phone took it in time"),
        ),
        State::Rejected => say(
            WARNING,
            &format!("message {id} for {to} was refused: {detail}"),
        ),
        State::Delivered => say(
            INFO,
            &format!("message {id} for {to} is delivered: {detail}"),
        ),
        _ => {}
    }
}

pub fn unheard(error: &AriError) -> String {
    let hint = match error {
        AriError::Denied { .. } => {
            "\nhint: [websms] in ari.conf needs the password of the file and read_only = no; let Asterisk read it (`asterisk -rx 'module reload res_ari'`)"
        }
        AriError::Unreachable { .. } => {
            "\nhint: http.conf needs enabled = yes and bindaddr = 127.0.0.1, ari.conf enabled = yes"
        }
        AriError::NotThere | AriError::Status(_) => "",
    };
    format!("messages wait: {error}{hint}")
}
