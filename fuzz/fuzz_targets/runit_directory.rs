//! Any service directory is read without panic; a spec has an executable `run` and clean variables.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use switchhook::units::runit::{self, RunitDirectory, RunitFile};
use switchhook::units::{Origins, read_all};

type Files = Vec<(String, u32, Vec<u8>)>;

fn directory(path: &str, files: Files) -> RunitDirectory {
    RunitDirectory {
        path: path.into(),
        home: path.into(),
        files: files
            .into_iter()
            .map(|(name, mode, bytes)| (name, RunitFile { mode, bytes }))
            .collect(),
        directories: BTreeMap::new(),
    }
}

fuzz_target!(|input: (Vec<u8>, u32, Files, Files, Option<Files>)| {
    let (run, mode, own, env, log) = input;
    let mut it = directory("a", own);
    it.files.insert("run".into(), RunitFile { mode, bytes: run });
    it.directories.insert("env".into(), directory("a/env", env));
    if let Some(log) = log {
        it.directories.insert("log".into(), directory("a/log", log));
    }
    if let (Some(spec), _) = runit::read("a", &it) {
        assert!(mode & 0o111 != 0);
        for (name, value) in &spec.environment {
            assert!(!name.contains('=') && !value.contains('\0'));
        }
    }
    let runit = BTreeMap::from([("a".to_owned(), it)]);
    let (set, _) = read_all(Origins { units: &[], runit: &runit });
    for (index, service) in set.services.iter().enumerate() {
        assert!(set.services.iter().skip(index + 1).all(|other| other.name != service.name));
    }
});
