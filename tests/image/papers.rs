//! What the images say of themselves: labels, bills of materials, licences, and the dates of files.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::docker::{image, ok};

const TARGETS: [&str; 2] = ["mini", "full"];

fn inside(target: &str, program: &str, arguments: &[&str]) -> String {
    let image = image(target);
    let mut all = vec![
        "run",
        "--rm",
        "--network=none",
        "--read-only",
        "--entrypoint",
        program,
        &image,
    ];
    all.extend(arguments);
    ok(&all)
}

fn materials(target: &str, part: &str) -> Value {
    let path = format!("/usr/share/switchhook/{part}.cdx.json");
    serde_json::from_str(&inside(target, "cat", &[&path])).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Name and version of each component.
fn components(document: &Value) -> BTreeSet<(String, String)> {
    let components = document["components"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    components
        .iter()
        .map(|component| (text(&component["name"]), text(&component["version"])))
        .collect()
}

#[test]
fn the_labels_are_those_of_the_oci() {
    for target in TARGETS {
        let labels = ok(&[
            "image",
            "inspect",
            "--format",
            "{{json .Config.Labels}}",
            &image(target),
        ]);
        let labels: Value = serde_json::from_str(&labels).unwrap();
        for name in [
            "title",
            "description",
            "vendor",
            "authors",
            "licenses",
            "created",
            "version",
            "revision",
        ] {
            let label = labels[format!("org.opencontainers.image.{name}")].as_str();
            assert!(
                label.is_some_and(|label| !label.is_empty()),
                "{target}: {name}: {labels}"
            );
        }
        assert_eq!(
            labels["org.opencontainers.image.version"],
            env!("CARGO_PKG_VERSION")
        );
        let created = labels["org.opencontainers.image.created"].as_str().unwrap();
        let form = |at: usize, wanted: u8| created.as_bytes().get(at) == Some(&wanted);
        assert!(
            created.len() == 20 && form(10, b'T') && form(19, b'Z') && !created.starts_with("1970"),
            "{created}"
        );
    }
}

#[test]
fn the_bill_of_materials_lists_what_is_inside() {
    for target in TARGETS {
        let script = "cd /var/lib/dpkg/status.d; awk '/^Package: / { name = $2 } /^Version: / { print name, $2 }' *";
        let installed: BTreeSet<(String, String)> = inside(target, "/bin/sh", &["-c", script])
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect();
        let document = materials(target, "packages");
        assert_eq!(document["bomFormat"], "CycloneDX");
        let mut listed = components(&document);
        if target == "full" {
            // What is compiled into a codec is no package of the image.
            let ffmpeg: Vec<_> = listed
                .iter()
                .filter(|(name, _)| name == "ffmpeg")
                .cloned()
                .collect();
            assert_eq!(ffmpeg.len(), 1, "{listed:?}");
            listed.remove(&ffmpeg[0]);
            let licence = inside(
                target,
                "cat",
                &["/usr/share/doc/switchhook/ffmpeg.copyright"],
            );
            assert!(licence.contains("GNU LESSER GENERAL PUBLIC LICENSE"));
        }
        assert_eq!(listed, installed, "{target}");
        assert!(listed.iter().any(|(name, _)| name == "asterisk-modules"));
        let purls = document["components"].as_array().unwrap().iter();
        assert!(purls.clone().all(|component| {
            component["purl"]
                .as_str()
                .is_some_and(|purl| purl.starts_with("pkg:deb/debian/") && !purl.contains('+'))
        }));

        let crates = components(&materials(target, "crates"));
        let lock = include_str!("../../Cargo.lock");
        for (name, version) in &crates {
            assert!(
                lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")),
                "{name} {version}"
            );
        }
        for name in ["serde", "nix", "ring"] {
            assert!(
                crates.iter().any(|(listed, _)| listed == name),
                "{name} is not in {crates:?}"
            );
        }
        // Only tests need it.
        assert!(!crates.iter().any(|(listed, _)| listed == "proptest"));
    }
}

#[test]
fn no_file_bears_the_time_of_the_build() {
    for target in TARGETS {
        // The engine's own places are made when a container is.
        let newer = inside(
            target,
            "/bin/sh",
            &[
                "-c",
                "find / -xdev -newer /usr/sbin/asterisk ! -path / ! -path '/etc/host*' ! -path /etc/resolv.conf ! -path /etc/mtab ! -path /etc ! -path '/dev*' ! -path '/proc*' ! -path '/sys*' ! -path /.dockerenv ! -path '/run*' ! -path '/tmp*'",
            ],
        );
        assert_eq!(newer, "", "{target}");
    }
}
