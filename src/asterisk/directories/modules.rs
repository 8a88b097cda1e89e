//! Modules that the PBX is not shown, because it could only complain of them.
//!
//! A modules.conf with `autoload` names the modules that its author knew and did not want. This image has more of them, and
//! some report errors when they are not configured, or need one that is not wanted. Whoever names a module gets it, and so
//! does whoever has its configuration file. Pure. Invariant: no module that modules.conf names is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::asterisk::listeners::{Settings, is_true};

/// A module that needs something to be of use.
struct Needy {
    module: &'static str,
    /// A file in the configuration directory without which it reports an error.
    file: Option<&'static str>,
    /// Modules without which it does not load.
    modules: &'static [&'static str],
}

const fn file(module: &'static str, file: &'static str) -> Needy {
    Needy {
        module,
        file: Some(file),
        modules: &[],
    }
}

const fn other(module: &'static str, modules: &'static [&'static str]) -> Needy {
    Needy {
        module,
        file: None,
        modules,
    }
}

/// What Asterisk 22.10.1 of Debian was seen to report with a modules.conf that knows none of these.
const NEEDY: &[Needy] = &[
    // Databases.
    file("res_odbc", "res_odbc.conf"),
    other("res_odbc_transaction", &["res_odbc"]),
    other("res_config_odbc", &["res_odbc"]),
    other("cdr_odbc", &["res_odbc"]),
    other("cel_odbc", &["res_odbc"]),
    other("cdr_adaptive_odbc", &["res_odbc"]),
    other("func_odbc", &["res_odbc"]),
    other("app_voicemail_odbc", &["res_odbc"]),
    file("res_config_pgsql", "res_pgsql.conf"),
    file("cdr_pgsql", "cdr_pgsql.conf"),
    file("cel_pgsql", "cel_pgsql.conf"),
    file("res_config_mysql", "res_config_mysql.conf"),
    file("res_config_ldap", "res_ldap.conf"),
    file("res_config_sqlite3", "res_config_sqlite3.conf"),
    file("cdr_tds", "cdr_tds.conf"),
    file("cel_tds", "cel_tds.conf"),
    file("cdr_radius", "cdr_radius.conf"),
    file("cel_radius", "cel_radius.conf"),
    // Other networks and devices.
    file("res_xmpp", "xmpp.conf"),
    other("chan_motif", &["res_xmpp"]),
    file("res_snmp", "res_snmp.conf"),
    file("chan_websocket", "chan_websocket.conf"),
    file("chan_mobile", "chan_mobile.conf"),
    file("chan_ooh323", "ooh323.conf"),
    file("app_jack", "jack.conf"),
    // Newer than the predecessor's Asterisk, and errors without a file.
    file("res_geolocation", "geolocation.conf"),
    other("res_pjsip_geolocation", &["res_geolocation"]),
    file("res_stir_shaken", "stir_shaken.conf"),
    other("res_pjsip_stir_shaken", &["res_stir_shaken"]),
    file("res_aeap", "aeap.conf"),
    other("res_speech_aeap", &["res_aeap"]),
    file("res_http_media_cache", "res_http_media_cache.conf"),
    // Parts of what is not wanted: they need its functions.
    other("res_fax_spandsp", &["res_fax"]),
    other("res_calendar_caldav", &["res_calendar"]),
    other("res_calendar_ews", &["res_calendar"]),
    other("res_calendar_exchange", &["res_calendar"]),
    other("res_calendar_icalendar", &["res_calendar"]),
    other("app_stasis", &["res_ari"]),
    other("res_stasis_broadcast", &["app_stasis"]),
    other("app_stasis_broadcast", &["res_stasis_broadcast"]),
    other("res_ari_applications", &["res_ari"]),
    other("res_ari_asterisk", &["res_ari"]),
    other("res_ari_bridges", &["res_ari"]),
    other("res_ari_channels", &["res_ari"]),
    other("res_ari_device_states", &["res_ari"]),
    other("res_ari_endpoints", &["res_ari"]),
    other("res_ari_events", &["res_ari"]),
    other("res_ari_playbacks", &["res_ari"]),
    other("res_ari_recordings", &["res_ari"]),
    other("res_ari_sounds", &["res_ari"]),
];

/// A part of the REST interface since 22, which reports an error without its file, but without which that does not load.
const WEBSOCKET_CLIENT: (&str, &str, &str) =
    ("res_websocket_client", "websocket_client.conf", "res_ari");

/// What modules.conf says.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    autoload: bool,
    named: BTreeSet<String>,
    unwanted: BTreeSet<String>,
}

impl Wanted {
    /// `text`: modules.conf with what it includes.
    pub fn read(text: &str) -> Wanted {
        let settings = Settings::read(text, "modules");
        let mut wanted = Wanted {
            autoload: settings.last(&["autoload"]).is_some_and(is_true),
            ..Wanted::default()
        };
        for (key, value) in settings.entries() {
            let name = value.strip_suffix(".so").unwrap_or(value).to_owned();
            match key {
                "noload" => {
                    wanted.unwanted.insert(name.clone());
                    wanted.named.insert(name);
                }
                "load" | "preload" | "require" | "preload-require" => {
                    wanted.named.insert(name);
                }
                _ => {}
            }
        }
        wanted
    }

    /// Whether Asterisk is told not to load it.
    pub fn excludes(&self, module: &str) -> bool {
        self.unwanted.contains(module) || !self.autoload && !self.named.contains(module)
    }

    /// The modules of `present` (names without `.so`) that are not to be shown, each with the reason.
    pub fn left_out(
        &self,
        present: &BTreeSet<String>,
        has_file: &dyn Fn(&str) -> bool,
    ) -> BTreeMap<&'static str, String> {
        let mut out: BTreeMap<&'static str, String> = BTreeMap::new();
        if !self.autoload {
            return out;
        }
        let is_free = |module: &str| present.contains(module) && !self.named.contains(module);
        let (client, its_file, user) = WEBSOCKET_CLIENT;
        let is_used = present.contains(user) && !self.excludes(user);
        if is_free(client) && !is_used && !has_file(its_file) {
            out.insert(client, format!("there is no {its_file}"));
        }
        loop {
            let before = out.len();
            for needy in NEEDY {
                if !is_free(needy.module) || out.contains_key(needy.module) {
                    continue;
                }
                let missing = needy.file.filter(|file| !has_file(file));
                let lacking = needy.modules.iter().find(|module| {
                    out.contains_key(**module)
                        || self.excludes(module)
                        || !present.contains(**module)
                });
                let reason = match (missing, lacking) {
                    (Some(file), _) => format!("there is no {file}"),
                    (None, Some(module)) => format!("it needs {module}"),
                    (None, None) => continue,
                };
                out.insert(needy.module, reason);
            }
            if out.len() == before {
                return out;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn left_out(conf: &str, names: &[&str], files: &[&str]) -> Vec<&'static str> {
        let out = Wanted::read(conf).left_out(&present(names), &|file| files.contains(&file));
        out.into_keys().collect()
    }

    #[test]
    fn what_would_only_complain_is_left_out_with_what_needs_it() {
        let names = [
            "res_odbc",
            "func_odbc",
            "res_fax_spandsp",
            "res_fax",
            "app_dial",
        ];
        let conf = "[modules]\nautoload = yes\nnoload => res_fax.so\n";
        assert_eq!(
            left_out(conf, &names, &[]),
            ["func_odbc", "res_fax_spandsp", "res_odbc"]
        );
        assert_eq!(
            left_out(conf, &names, &["res_odbc.conf"]),
            ["res_fax_spandsp"]
        );
        let wanted = "[modules]\nautoload = yes\n";
        assert_eq!(
            left_out(wanted, &names, &["res_odbc.conf"]),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn whoever_names_a_module_gets_it() {
        for word in ["load", "preload", "require", "noload"] {
            let conf = format!("[modules]\nautoload = yes\n{word} = res_odbc.so\n");
            assert_eq!(
                left_out(&conf, &["res_odbc"], &[]),
                Vec::<&str>::new(),
                "{word}"
            );
        }
        let conf = "[modules]\nautoload = no\n";
        assert_eq!(left_out(conf, &["res_odbc"], &[]), Vec::<&str>::new());
    }

    #[test]
    fn the_rest_interface_keeps_its_parts() {
        let names = ["res_ari", "res_websocket_client", "app_stasis"];
        let yes = "[modules]\nautoload = yes\n";
        assert_eq!(left_out(yes, &names, &[]), Vec::<&str>::new());
        let no = "[modules]\nautoload = yes\nnoload = res_ari.so\n";
        assert_eq!(
            left_out(no, &names, &[]),
            ["app_stasis", "res_websocket_client"]
        );
    }

    #[test]
    fn the_sample_leaves_nothing_out() {
        let sample = include_str!("../../../seed-config/etc/asterisk/modules.conf");
        let all = NEEDY.iter().map(|needy| needy.module);
        let all: Vec<&str> = all.chain(["res_ari", "res_calendar", "res_fax"]).collect();
        let files = ["websocket_client.conf"];
        assert_eq!(left_out(sample, &all, &files), Vec::<&str>::new());
    }
}
