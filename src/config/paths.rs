//! The places of the appliance, below one root.
//!
//! The root is `/` in the image and a temporary directory in process tests. Invariant: no other module
//! spells one of these paths.

use std::path::{Path, PathBuf};

use super::pbx::Pbx;

/// Joins the appliance's places below its root.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    pbx: Pbx,
}

impl Paths {
    pub fn under(root: impl Into<PathBuf>) -> Paths {
        Paths {
            root: root.into(),
            pbx: Pbx::default(),
        }
    }

    /// The places of an exchange that runs this PBX.
    pub fn of_pbx(mut self, pbx: Pbx) -> Paths {
        self.pbx = pbx;
        self
    }

    pub fn pbx(&self) -> Pbx {
        self.pbx
    }

    /// An absolute path of the image, below the root.
    pub fn at(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn volume(&self) -> PathBuf {
        self.at("srv")
    }

    /// Our own state in the volume.
    pub fn state(&self) -> PathBuf {
        self.at("srv/var/lib/switchhook")
    }

    pub fn runtime(&self) -> PathBuf {
        self.at("run")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.at("run/switchhook/control.sock")
    }

    /// The answers that an authority looks for; everybody may read them.
    pub fn acme_answers(&self) -> PathBuf {
        self.at("run/switchhook/acme")
    }

    /// Accounts, issued certificates and the schedule of own ACME; root's alone.
    pub fn acme_state(&self) -> PathBuf {
        self.state().join("certs/acme")
    }

    /// Which changes of named lists one reload has carried, and the locks beside it.
    pub fn acl_ledger(&self) -> PathBuf {
        self.at("run/switchhook/acl-ledger")
    }

    pub fn notify_socket(&self) -> PathBuf {
        self.at("run/switchhook/notify.sock")
    }

    /// Where the log service answers; `docker/units/logd-query.socket` names it too.
    pub fn log_socket(&self) -> PathBuf {
        self.at("run/switchhook/log.sock")
    }

    /// Where the log service tells AutoBan what may speak against somebody; `docker/units/logd-evidence.socket` names it too.
    pub fn evidence_socket(&self) -> PathBuf {
        self.at("run/switchhook/evidence.sock")
    }

    /// The file by which hooks pass variables on.
    pub fn hook_environment(&self) -> PathBuf {
        self.at("run/switchhook/hook.env")
    }

    /// Our address outside, where the PBX includes it.
    pub fn nat(&self) -> PathBuf {
        self.at("run/switchhook/nat")
    }

    /// Units that follow from the PBX's configuration, made anew at each start.
    pub fn generated_units(&self) -> PathBuf {
        self.at("run/switchhook/units")
    }

    /// What the PBX is shown in place of directories of another distribution; made anew at each start.
    pub fn arranged(&self) -> PathBuf {
        self.at("run/switchhook/pbx")
    }

    /// Copies of what was changed in the volume, one directory for each time.
    pub fn backup(&self) -> PathBuf {
        self.state().join("backup")
    }

    /// The image's units, the generated ones, the volume's; later ones replace those of the same name.
    pub fn units(&self) -> [PathBuf; 3] {
        [
            self.at("usr/lib/switchhook/units"),
            self.generated_units(),
            self.at("srv/etc/units"),
        ]
    }

    pub fn user_entry_hooks(&self) -> PathBuf {
        self.at("srv/etc/entry.d")
    }

    /// What runs behind the last entry hook, if there was one.
    pub fn sockets_hook(&self) -> PathBuf {
        self.at("usr/lib/switchhook/libexec/sockets.optional")
    }

    pub fn user_exit_hooks(&self) -> PathBuf {
        self.at("srv/etc/exit.d")
    }

    pub fn seed(&self) -> PathBuf {
        self.at("usr/share/switchhook/seed-config")
    }

    pub fn asterisk_control(&self) -> PathBuf {
        let name = self.pbx.name();
        self.at("run").join(name).join(self.pbx.console())
    }

    pub fn asterisk_config(&self) -> PathBuf {
        self.at("srv/etc").join(self.pbx.name())
    }

    pub fn certificates(&self) -> PathBuf {
        self.at("srv/etc/ssl").join(self.pbx.name())
    }
}
