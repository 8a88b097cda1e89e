//! The interfaces of websms.conf: which there are, and what both of their sides share.
//!
//! Pure. An interface is an index that an array of [websms] or [websmsd] names; keys without index make one without a name,
//! and hold for all others, too.

use std::collections::BTreeMap;

use super::values::{Bad, Read};
use super::{Given, Interface, Named, Reader};
use crate::websms::ini::Value;

/// What is read of one side, and whether a mistake stops it.
pub(super) struct Side<'r, 'a> {
    pub reader: &'r mut Reader<'a>,
    pub section: &'static str,
    pub index: Option<String>,
    /// What a bad value brings about.
    pub consequence: &'static str,
    pub broken: bool,
}

impl<'a> Side<'_, 'a> {
    /// The value as it stands; nothing if it is empty.
    pub fn given(&self, name: &str) -> Option<Given<'a>> {
        self.stated(name).filter(|given| !given.text.is_empty())
    }

    /// The value, even an empty one.
    pub fn stated(&self, name: &str) -> Option<Given<'a>> {
        self.reader.given(self.section, name, self.index.as_deref())
    }

    /// The value that the array has for this index; the one for all does not count.
    pub fn listed(&self, name: &str) -> Option<Given<'a>> {
        let key = self.reader.key(self.section, name)?;
        self.given(name)
            .filter(|_| matches!(key.value, Value::Many(_)))
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.given(name)
            .map_or(default, |given| given.text)
            .to_owned()
    }

    /// The value, read; nothing if it is not there or bad.
    pub fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let given = self.given(name)?;
        self.judge(name, given.line, read(given.text))
    }

    /// The value or, with a mistake told, nothing.
    pub fn judge<T>(&mut self, name: &str, line: usize, read: Read<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Bad { problem, hint }) => {
                self.stop(line, &format!("{}: {problem}", self.shown(name)), &hint);
                None
            }
        }
    }

    /// Tells a mistake that stops this side.
    pub fn stop(&mut self, line: usize, problem: &str, hint: &str) {
        let consequence = self.consequence;
        self.broken = true;
        self.reader
            .tell(line, format!("{problem}; {consequence}"), hint);
    }

    /// `key [index]`, for people.
    pub fn shown(&self, name: &str) -> String {
        match &self.index {
            Some(index) => format!("{name} [{}]", index.escape_debug()),
            None => name.to_owned(),
        }
    }

    /// The profile, if one is named in either section.
    pub fn profile(&mut self) -> Option<Named> {
        let index = self.index.as_deref();
        let [first, second] = ["websms", "websmsd"].map(|section| {
            let given = self.reader.given(section, "profile", index);
            given.filter(|given| !given.text.is_empty())
        });
        if let (Some(a), Some(b)) = (first, second)
            && !a.text.eq_ignore_ascii_case(b.text)
        {
            let shown = self.shown("profile");
            self.stop(
                b.line,
                &format!("{shown} is another one in line {}", a.line),
                "name one of them, once",
            );
            return None;
        }
        let given = first.or(second)?;
        let profiles = self.reader.world.profiles;
        if let Some(profile) = profiles.get(given.text) {
            let name = given.text.to_ascii_lowercase();
            return Some(Named { name, profile });
        }
        let hint = super::nearest(given.text, profiles.names()).map_or_else(
            || {
                format!(
                    "the profiles are {}",
                    profiles.names().collect::<Vec<_>>().join(", ")
                )
            },
            |known| format!("did you mean {known}?"),
        );
        let shown = self.shown("profile");
        let name = given.text.escape_debug();
        self.stop(
            given.line,
            &format!("{shown}: there is no profile `{name}`"),
            &hint,
        );
        None
    }
}

impl Reader<'_> {
    /// The interfaces, that without index first, then in the order of the file.
    pub(super) fn interfaces(&mut self) -> Vec<Interface> {
        let mut indexes = vec![None];
        for section in ["websms", "websmsd"] {
            let keys = self
                .ini
                .section(section)
                .map_or(&[][..], |section| &section.keys);
            for key in keys
                .iter()
                .filter(|key| super::keys::find(section, &key.name).is_some())
            {
                let Value::Many(items) = &key.value else {
                    continue;
                };
                for item in items {
                    let index = item.index.trim();
                    if index != item.index {
                        self.mistakes.push(super::Mistake {
                            file: self.file.to_owned(),
                            line: item.line,
                            problem: format!(
                                "the index of `{}` ends with a blank; it is taken without",
                                key.name
                            ),
                            hint: "write it as [1]".to_owned(),
                        });
                    }
                    if !indexes.contains(&Some(index.to_owned())) {
                        indexes.push(Some(index.to_owned()));
                    }
                }
            }
        }
        let mut interfaces: Vec<Interface> = indexes
            .into_iter()
            .map(|index| self.interface(index))
            .collect();
        // Without index there is an interface only where it does something.
        interfaces.retain(|i| i.index.is_some() || i.incoming.is_some() || i.outgoing.is_some());
        self.failover(&mut interfaces);
        if self.ini.section("websmsd").is_some() {
            self.proxies_mattered(&interfaces);
        }
        interfaces
    }

    fn interface(&mut self, index: Option<String>) -> Interface {
        let mut common = Side {
            reader: self,
            section: "websms",
            index: index.clone(),
            consequence: "it is left out",
            broken: false,
        };
        let numbers = common
            .read("number", super::values::numbers)
            .unwrap_or_default();
        let country = common.read("country", super::values::country);
        let rate = common.read("rate", super::values::rate);
        let failover = common.given("failover").map(|given| given.text.to_owned());
        let outgoing = self.outgoing(index.clone(), country.clone());
        let profile_rate = match outgoing.as_ref().map(|outgoing| &outgoing.style) {
            Some(super::Style::Profile { named, .. }) => {
                named.profile.outgoing.as_ref().and_then(|o| o.rate)
            }
            _ => None,
        };
        Interface {
            incoming: self.incoming(index.clone()),
            outgoing,
            index,
            numbers,
            country,
            failover,
            rate: rate.or(profile_rate),
        }
    }

    /// Who takes over must be there and send, and not be the one that failed.
    fn failover(&mut self, interfaces: &mut [Interface]) {
        let senders: Vec<Option<String>> = interfaces
            .iter()
            .filter(|interface| interface.outgoing.is_some())
            .map(|interface| interface.index.clone())
            .collect();
        for interface in interfaces {
            let Some(other) = &interface.failover else {
                continue;
            };
            if senders.contains(&Some(other.clone())) && interface.index.as_ref() != Some(other) {
                continue;
            }
            let line = self
                .given("websms", "failover", interface.index.as_deref())
                .map_or(1, |given| given.line);
            let shown = other.escape_debug();
            let problem =
                format!("failover: [{shown}] is no other interface that sends; nobody takes over");
            self.tell(
                line,
                problem,
                "write the index of another interface with a url_host or a profile",
            );
            interface.failover = None;
        }
    }

    /// The values of `param_NAME`.
    pub(super) fn parameters(&self, index: Option<&str>) -> BTreeMap<String, String> {
        let keys = self
            .ini
            .section("websms")
            .map_or(&[][..], |section| &section.keys);
        keys.iter()
            .filter_map(|key| {
                let name = key.name.strip_prefix("param_")?;
                let given = self.given("websms", &key.name, index)?;
                Some((name.to_owned(), given.text.to_owned()))
            })
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }
}
