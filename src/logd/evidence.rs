//! Which lines of the PBX AutoBan is told: those of a request that failed, and of a security event that could not be raised.
//!
//! Pure. It looks no closer than that: what a line says is AutoBan's to read. Invariant: AutoBan is told of no line of another
//! service, and of nothing that says who calls whom.

use super::syslog::Record;
use crate::config::pbx::Pbx;

/// A level and what stands in the lines that are wanted. The functions of Asterisk that say them:
/// `log_failed_request` (res_pjsip/pjsip_distributor.c), `ast_security_event_report` (main/security_events.c), and the
/// logger itself when it has left out lines (main/logger.c).
const WANTED: &[(&str, &str)] = &[
    ("NOTICE[", " in log_failed_request: Request '"),
    (
        "ERROR[",
        " in ast_security_event_report: Failed to issue security event",
    ),
    ("WARNING[", "]: logger.c:"),
];

/// Whether a record of /dev/log is one of them. In that of a pipe a stranger's text can end a line and begin the next.
#[must_use]
pub fn is_wanted(record: &Record) -> bool {
    let text = record.text.as_str();
    Pbx::WORDS.contains(&record.service.as_str())
        && WANTED
            .iter()
            .any(|(level, part)| text.starts_with(level) && text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logd::syslog::NOTICE;

    #[test]
    fn requests_that_failed_are_wanted_and_nothing_else() {
        let is_wanted = |service: &str, text: &str| {
            is_wanted(&Record {
                service: service.to_owned(),
                severity: NOTICE,
                text: text.to_owned(),
            })
        };
        let line = "NOTICE[40]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'REGISTER' from";
        assert!(is_wanted("asterisk", line));
        assert!(is_wanted("gabpbx", line));
        assert!(!is_wanted("websms", line));
        assert!(!is_wanted("asterisk", &line.replace("NOTICE", "VERBOSE")));
        assert!(!is_wanted(
            "asterisk",
            "NOTICE[40]: chan.c:7 in dial: alice calls bob"
        ));
    }
}
