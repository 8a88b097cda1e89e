//! What the files and variables themselves say that cannot work.
//!
//! Pure. Invariant: every finding names the file and its line, and no value of a file but names of hosts, files and contexts.

use std::collections::BTreeSet;

use super::evidence::Evidence;
use super::{Answer, Finding, Severity};
use crate::asterisk::conf::Document;

/// The most findings of one kind that are told one by one.
const MOST: usize = 20;

pub fn environment(evidence: &Evidence) -> Answer {
    let found = evidence.mistakes.iter().map(|mistake| {
        let (text, hint) = mistake
            .split_once("\nhint: ")
            .unwrap_or((mistake.as_str(), ""));
        Finding::new(
            Severity::Error,
            "a variable cannot be used, so that the exchange does not start with it",
            text,
            hint,
        )
    });
    Ok(found.collect())
}

/// Places for which Asterisk refuses a whole file.
pub fn syntax(evidence: &Evidence) -> Answer {
    let files = &evidence.files.texts;
    if files.is_empty() {
        return Err("there is no configuration".to_owned());
    }
    let problems = files.iter().flat_map(|(name, text)| {
        let problems = Document::parse(text).problems();
        problems.into_iter().map(move |problem| (name, problem))
    });
    let found = problems.take(MOST).map(|(name, problem)| {
        Finding::new(
            Severity::Error,
            format!("Asterisk does not read {name} to its end"),
            format!("{name}:{}: {}", problem.line, problem.what),
            "mend the line, and have it read: `switchhook reload asterisk`",
        )
    });
    Ok(found.collect())
}

/// Files and contexts that are included and not there.
pub fn includes(evidence: &Evidence) -> Answer {
    let files = &evidence.files;
    if files.texts.is_empty() {
        return Err("there is no configuration".to_owned());
    }
    let missing = files
        .includes
        .iter()
        .filter(|included| included.is_required && !included.is_there);
    let mut found: Vec<Finding> = missing
        .take(MOST)
        .map(|included| {
            let file = &included.file;
            Finding::new(
                Severity::Error,
                format!("Asterisk refuses {file}, for a file that it includes is not there"),
                format!("{file}:{}: `#include {}`", included.line, included.argument),
                "put the file there, take the line out, or write `#tryinclude` when it may be missing",
            )
        })
        .collect();
    found.extend(contexts(evidence));
    Ok(found)
}

/// Contexts of the dialplan that are included and nowhere defined. Modules define some, so that the PBX is asked as well.
fn contexts(evidence: &Evidence) -> Vec<Finding> {
    let Some(known) = &evidence.pbx.contexts else {
        return Vec::new();
    };
    let mut defined: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let documents: Vec<(&str, Document)> = evidence
        .files
        .texts
        .iter()
        .filter(|(name, _)| name.starts_with("extensions"))
        .map(|(name, text)| (name.as_str(), Document::parse(text)))
        .collect();
    for (_, document) in &documents {
        defined.extend(document.sections().map(|section| section.name()));
    }
    let mut found = Vec::new();
    for (name, document) in &documents {
        for section in document.sections() {
            let entries = section
                .entries()
                .filter(|entry| entry.key.eq_ignore_ascii_case("include"));
            for entry in entries {
                // A time may stand behind it.
                let context = entry.value.split([',', '|']).next().unwrap_or_default();
                let context = context.trim();
                // What is put in at load time cannot be known here.
                let is_plain = !context.contains("${");
                if is_plain && !defined.contains(context) && found.len() < MOST {
                    found.push(Finding::new(
                        Severity::Warning,
                        format!("the dialplan includes a context that is not there: `{context}`"),
                        format!("{name}:{}: `include => {context}`", entry.line),
                        "define the context, or take the line out",
                    ));
                }
            }
        }
    }
    found
}

/// Names without an address.
pub fn names(evidence: &Evidence) -> Answer {
    let Some(unresolved) = &evidence.files.unresolved else {
        return Err("names were not looked up".to_owned());
    };
    let found = unresolved.iter().take(MOST).map(|one| {
        let key = one.key.rsplit('/').next().unwrap_or(&one.key);
        let is_identity = ["match", "remote_hosts"].contains(&key);
        let severity = match is_identity || key.starts_with("external_") {
            true => Severity::Error,
            // Its service records, which are not looked for here, may name another.
            false => Severity::Warning,
        };
        let issue = match is_identity {
            true => format!(
                "a trunk is not set up, for its name `{}` has no address",
                one.name
            ),
            false => format!("the name `{}` has no address", one.name),
        };
        Finding::new(
            severity,
            issue,
            format!("{}:{}: {}: {}", one.file, one.line, one.key, one.why),
            "correct the name, or let the container reach a name server (`--dns`); then `switchhook reload asterisk`",
        )
    });
    Ok(found.collect())
}

/// Named lists of addresses: used and not there, there and not used, and mistakes.
pub fn lists(evidence: &Evidence) -> Answer {
    let Some(notes) = &evidence.lists else {
        return Err("the lists were not looked at".to_owned());
    };
    let found = notes.iter().take(MOST).map(|note| {
        let severity = match note.is_trouble {
            true => Severity::Warning,
            false => Severity::Note,
        };
        let place = match note.line {
            0 => note.file.clone(),
            line => format!("{}:{line}", note.file),
        };
        let remedy = "`switchhook acl list` shows the lists and who uses them; correct the name or the rule, then `switchhook acl reload`";
        Finding::new(severity, note.text.clone(), place, remedy)
    });
    Ok(found.collect())
}

/// The names of hosts in a file of pjsip: line, key and name.
#[must_use]
pub fn hosts(text: &str) -> Vec<(usize, String, String)> {
    const LISTS: [&str; 2] = ["match", "remote_hosts"];
    const URIS: [&str; 4] = ["server_uri", "client_uri", "outbound_proxy", "contact"];
    const PLAIN: [&str; 2] = ["external_signaling_address", "external_media_address"];
    let document = Document::parse(text);
    let mut found = Vec::new();
    for section in document.sections() {
        for entry in section.entries() {
            let key = entry.key.to_ascii_lowercase();
            let last = key.rsplit('/').next().unwrap_or(&key);
            let names: Vec<&str> = match last {
                last if LISTS.contains(&last) => entry.value.split(',').collect(),
                last if PLAIN.contains(&last) => vec![entry.value],
                last if URIS.contains(&last) => {
                    Vec::from_iter(entry.value.split(',').filter_map(host_of_uri))
                }
                _ => continue,
            };
            let names = names.into_iter().map(|name| without_port(name.trim()));
            let names = names.filter(|name| is_name(name));
            found.extend(names.map(|name| (entry.line, entry.key.to_owned(), name.to_owned())));
        }
    }
    found
}

/// The host of `sip:user@host:port;...`.
fn host_of_uri(uri: &str) -> Option<&str> {
    let uri = uri.trim().trim_matches(['"', '<', '>']);
    let rest = uri
        .strip_prefix("sip:")
        .or_else(|| uri.strip_prefix("sips:"))?;
    let rest = rest.split([';', '?', '>']).next()?;
    Some(rest.rsplit_once('@').map_or(rest, |(_, host)| host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

/// No address, no network, and nothing that only looks like a name.
fn is_name(host: &str) -> bool {
    let is_sign = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_';
    host.bytes().all(is_sign)
        && host.bytes().any(|b| b.is_ascii_alphabetic())
        && host.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::review::Note;
    use crate::asterisk::generate::includes::Included;
    use crate::doctor::evidence::Unresolved;

    fn with(files: &[(&str, &str)]) -> Evidence {
        let mut evidence = Evidence::default();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        evidence.files.texts = files.iter().map(owned).collect();
        evidence
    }

    #[test]
    fn a_mistake_is_split_into_its_parts() {
        let evidence = Evidence {
            mistakes: vec!["X=1 is not valid: no\nhint: leave it out".to_owned()],
            ..Evidence::default()
        };
        let found = environment(&evidence).unwrap();
        assert_eq!(
            (found[0].evidence.as_str(), found[0].remedy.as_str()),
            ("X=1 is not valid: no", "leave it out")
        );
    }

    #[test]
    fn a_header_without_its_end_is_told_with_its_line() {
        let found = syntax(&with(&[("pjsip.conf", "[a]\nb=1\n[c\n")])).unwrap();
        assert_eq!(found[0].evidence, "pjsip.conf:3: no closing `]`");
        assert!(syntax(&Evidence::default()).is_err());
        assert!(syntax(&with(&[("a.conf", "[a]\n")])).unwrap().is_empty());
    }

    #[test]
    fn what_is_included_must_be_there_when_it_has_to() {
        let mut evidence = with(&[(
            "extensions.conf",
            "[a]\ninclude => b\ninclude => hints\ninclude => gone,9:00-17:00,mon-fri,*,*\n[b]\n",
        )]);
        let included = |is_required| Included {
            file: "extensions.conf".to_owned(),
            line: 7,
            argument: "mine.conf".to_owned(),
            is_required,
            is_there: false,
        };
        evidence.files.includes = vec![included(false), included(true)];
        evidence.pbx.contexts = Some(vec!["hints".to_owned()]);
        let found = includes(&evidence).unwrap();
        let told: Vec<&str> = found.iter().map(|one| one.evidence.as_str()).collect();
        assert_eq!(
            told,
            [
                "extensions.conf:7: `#include mine.conf`",
                "extensions.conf:4: `include => gone`"
            ]
        );
    }

    #[test]
    fn hosts_are_found_wherever_they_stand() {
        let text = "[t]\nremote_hosts = sip.example.com:5061, 192.0.2.1/24,2001:db8::1\n\
            registration/server_uri = sip:reg.example.com\noutbound_proxy=sip:p.example.com:5060\\;lr\n\
            aor/contact = <sip:alice@c.example.com:5060;transport=tcp>\nexternal_media_address = m.example.com\n\
            endpoint/context = no.example.com\nmatch=198.51.100.1\n";
        let found = hosts(text);
        let told: Vec<(usize, &str)> = found
            .iter()
            .map(|(line, _, name)| (*line, name.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (2, "sip.example.com"),
                (3, "reg.example.com"),
                (4, "p.example.com"),
                (5, "c.example.com"),
                (6, "m.example.com")
            ]
        );
    }

    #[test]
    fn a_trunk_without_an_address_is_an_error_and_a_registrar_may_have_others() {
        let mut evidence = Evidence::default();
        assert!(names(&evidence).is_err());
        let one = |key: &str| Unresolved {
            file: "pjsip_endpoint.conf".to_owned(),
            line: 4,
            key: key.to_owned(),
            name: "sip.example.com".to_owned(),
            why: "no such name".to_owned(),
        };
        evidence.files.unresolved = Some(vec![one("remote_hosts"), one("registration/server_uri")]);
        let found = names(&evidence).unwrap();
        let told: Vec<Severity> = found.iter().map(|one| one.severity).collect();
        assert_eq!(told, [Severity::Error, Severity::Warning]);
        assert!(
            found[0]
                .evidence
                .starts_with("pjsip_endpoint.conf:4: remote_hosts: ")
        );
    }

    #[test]
    fn a_list_that_is_not_there_is_trouble_and_one_that_nobody_uses_is_not() {
        let note = |text: &str, line, is_trouble| Note {
            file: "acl.conf".to_owned(),
            line,
            text: text.to_owned(),
            is_trouble,
        };
        let evidence = Evidence {
            lists: Some(vec![note("missing", 3, true), note("unused", 0, false)]),
            ..Evidence::default()
        };
        let found = lists(&evidence).unwrap();
        let told = found
            .iter()
            .map(|one| (one.severity, one.evidence.as_str()));
        let expected = [
            (Severity::Warning, "acl.conf:3"),
            (Severity::Note, "acl.conf"),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert!(lists(&Evidence::default()).is_err());
    }
}
