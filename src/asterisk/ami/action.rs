//! What we ask of the manager, as text.
//!
//! Pure. A value with CR, LF or NUL is refused: it would be an action of its own.

use std::fmt;

use super::md5;

/// One action. Give each an `ActionID` that nobody can guess: an answer without it is no answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Action {
    text: String,
}

/// A value that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manager's `{header}` cannot hold a line end\nhint: remove the line end from its value"
)]
pub struct Refused {
    pub header: &'static str,
}

impl Action {
    fn new(name: &'static str, id: &str) -> Result<Action, Refused> {
        let text = String::new();
        Action { text }.with("Action", name)?.with("ActionID", id)
    }

    fn with(mut self, header: &'static str, value: &str) -> Result<Action, Refused> {
        if value.contains(['\r', '\n', '\0']) {
            return Err(Refused { header });
        }
        for part in [header, ": ", value, "\r\n"] {
            self.text.push_str(part);
        }
        Ok(self)
    }

    /// Logs in with the secret itself.
    pub fn login(id: &str, user: &str, secret: &str, events: &str) -> Result<Action, Refused> {
        Action::new("Login", id)?
            .with("Username", user)?
            .with("Secret", secret)?
            .with("Events", events)
    }

    /// Asks for the challenge that [`Action::login_md5`] answers.
    pub fn challenge(id: &str) -> Result<Action, Refused> {
        Action::new("Challenge", id)?.with("AuthType", "MD5")
    }

    /// Logs in with the answer to a challenge: the MD5 of the challenge and the secret (main/manager.c, `authenticate`).
    pub fn login_md5(
        id: &str,
        user: &str,
        challenge: &str,
        secret: &str,
        events: &str,
    ) -> Result<Action, Refused> {
        Action::new("Login", id)?
            .with("AuthType", "MD5")?
            .with("Username", user)?
            .with("Key", &md5::hex(format!("{challenge}{secret}").as_bytes()))?
            .with("Events", events)
    }

    pub fn ping(id: &str) -> Result<Action, Refused> {
        Action::new("Ping", id)
    }

    /// Chooses the events of this connection, such as `security` or `off`.
    pub fn events(id: &str, mask: &str) -> Result<Action, Refused> {
        Action::new("Events", id)?.with("EventMask", mask)
    }

    /// A line of the PBX's own command line.
    pub fn command(id: &str, line: &str) -> Result<Action, Refused> {
        Action::new("Command", id)?.with("Command", line)
    }

    /// Reads one module's configuration again, such as `acl`.
    pub fn reload(id: &str, module: &str) -> Result<Action, Refused> {
        Action::new("Reload", id)?.with("Module", module)
    }

    /// Asks for the hint of an extension, and whether the phones behind it are there.
    pub fn extension_state(id: &str, extension: &str, context: &str) -> Result<Action, Refused> {
        Action::new("ExtensionState", id)?
            .with("Exten", extension)?
            .with("Context", context)
    }

    /// Asks for the value of a global variable, or of a function of the dialplan.
    pub fn variable(id: &str, expression: &str) -> Result<Action, Refused> {
        Action::new("Getvar", id)?.with("Variable", expression)
    }

    /// An action without headers of its own, such as `PJSIPShowContacts`.
    pub fn plain(id: &str, name: &'static str) -> Result<Action, Refused> {
        Action::new(name, id)
    }

    /// The bytes to send.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.text.push_str("\r\n");
        self.text.into_bytes()
    }
}

/// Shows the name only: a login holds a secret.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.text.lines().next().unwrap_or_default();
        f.debug_tuple("Action").field(&name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(action: Result<Action, Refused>) -> String {
        String::from_utf8(action.unwrap().into_bytes()).unwrap()
    }

    #[test]
    fn actions_are_written_as_the_manager_reads_them() {
        assert_eq!(
            text(Action::login("x1", "autoban", "s", "security")),
            "Action: Login\r\nActionID: x1\r\nUsername: autoban\r\nSecret: s\r\nEvents: security\r\n\r\n"
        );
        assert_eq!(
            text(Action::login_md5("x2", "autoban", "840415273", "s", "on")),
            format!(
                "Action: Login\r\nActionID: x2\r\nAuthType: MD5\r\nUsername: autoban\r\nKey: {}\r\nEvents: on\r\n\r\n",
                md5::hex(b"840415273s")
            )
        );
        assert_eq!(
            text(Action::ping("x3")),
            "Action: Ping\r\nActionID: x3\r\n\r\n"
        );
        assert_eq!(
            text(Action::reload("x4", "acl")),
            "Action: Reload\r\nActionID: x4\r\nModule: acl\r\n\r\n"
        );
    }

    #[test]
    fn a_line_end_within_a_value_is_refused() {
        for value in ["a\r\nAction: Command", "a\n", "a\rb", "a\0b"] {
            assert_eq!(
                Action::command("x", value),
                Err(Refused { header: "Command" })
            );
            assert!(Action::login("x", "u", value, "on").is_err());
            assert!(Action::ping(value).is_err());
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let action = Action::login("x", "u", "hunter2", "on").unwrap();
        assert_eq!(format!("{action:?}"), "Action(\"Action: Login\")");
    }
}
