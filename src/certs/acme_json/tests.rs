use super::*;
use crate::certs::testing::{Authority, Issued, account, bytes, entry, store};
use crate::certs::{names, validate};
use proptest::prelude::*;
use serde_json::json;

fn issued() -> Issued {
    Authority::new("Test").issue(&["pbx.example.com"], -1, 89)
}

fn json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn mains(bytes: &[u8]) -> Vec<String> {
    let store = read(bytes).unwrap();
    let mains = store.entries.iter().map(|entry| entry.asked[0].clone());
    mains.collect()
}

#[test]
fn t01_an_empty_file_has_nothing_yet() {
    for text in ["", "\n", "  \n"] {
        assert_eq!(read(text.as_bytes()), Err(StoreError::Empty));
    }
    assert!(!StoreError::Empty.may_pass());
}

#[test]
fn t02_an_empty_object_is_an_empty_store() {
    assert_eq!(read(b"{}"), Ok(Store::default()));
}

#[test]
fn t03_a_store_that_is_cut_off_is_incomplete_at_every_byte_and_then_whole() {
    let whole = store(&[entry("pbx.example.com", &[], &issued())]);
    for length in 1..whole.len() {
        let part = &whole[..length];
        assert_eq!(read(part), Err(StoreError::Incomplete), "at {length}");
    }
    assert_eq!(mains(&whole), ["pbx.example.com"]);
}

#[test]
fn what_is_no_store_is_said_without_its_text() {
    for text in [
        "[]",
        "7",
        "\"secret\"",
        "{\"le\": secret}",
        "not json",
        "\0",
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, StoreError::Broken(_)), "{text}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let large = vec![b' '; LARGEST + 1];
    assert_eq!(read(&large), Err(StoreError::TooLarge));
}

#[test]
fn t08_an_account_that_is_null_hides_nothing() {
    let entry = entry("pbx.example.com", &[], &issued());
    let one = json!({ "le": { "Account": null, "Certificates": [entry] }, "x": { "Account": null, "Certificates": null } });
    assert_eq!(mains(&json(&one)), ["pbx.example.com"]);
}

#[test]
fn t09_certificates_that_are_null_in_the_first_or_the_last_resolver() {
    let full =
        json!({ "Account": null, "Certificates": [entry("pbx.example.com", &[], &issued())] });
    let empty = json!({ "Account": account("https://x/1"), "Certificates": null });
    for (first, last) in [(&full, &empty), (&empty, &full)] {
        let two = json!({ "a": first, "b": last, "c": null });
        assert_eq!(mains(&json(&two)), ["pbx.example.com"]);
    }
    let fresh = json!({ "le": { "Account": account("https://x/1"), "Certificates": null } });
    assert_eq!(read(&json(&fresh)), Ok(Store::default()));
}

#[test]
fn t10_an_entry_without_certificate_or_key_costs_only_itself() {
    let good = entry("pbx.example.com", &[], &issued());
    for odd in [
        json!({ "domain": { "main": "odd.example" }, "certificate": null, "key": null }),
        json!({ "domain": { "main": "odd.example" }, "key": bytes("-----BEGIN X") }),
        json!({ "domain": null, "certificate": bytes("-----BEGIN X") }),
        json!({ "domain": { "main": "odd.example" }, "certificate": "", "key": "" }),
        json!(null),
        json!(7),
        json!([]),
    ] {
        let bytes = store(&[odd.clone(), good.clone(), odd]);
        assert_eq!(mains(&bytes), ["pbx.example.com"]);
        assert_eq!(read(&bytes).unwrap().odd.len(), 2);
    }
}

#[test]
fn t12_an_account_for_tests_is_noticed() {
    let entry = entry("pbx.example.com", &[], &issued());
    let staging = account("https://acme-staging-v02.api.letsencrypt.org/acme/acct/1");
    let real = account("https://acme-v02.api.letsencrypt.org/acme/acct/1");
    let two = json!({ "stage": { "Account": staging, "Certificates": [entry] }, "real": { "Account": real, "Certificates": [entry] } });
    let store = read(&json(&two)).unwrap();
    let staging = |resolver: &str| {
        let mut entries = store.entries.iter();
        entries
            .find(|entry| entry.resolver == resolver)
            .unwrap()
            .is_staging
    };
    assert!(staging("stage") && !staging("real"));
}

#[test]
fn t20_bad_base64_and_what_is_no_pem() {
    let good = issued();
    let odd = |certificate: Value, key: Value| {
        let odd = json!({ "domain": { "main": "pbx.example.com" }, "certificate": certificate, "key": key });
        let store = read(&store(&[odd])).unwrap();
        assert!(store.entries.is_empty());
        store.odd[0].clone()
    };
    assert_eq!(
        odd(json!("%%%"), bytes(&good.key)),
        "entry 1 of the resolver `le`: the certificate of `pbx.example.com` is no base64"
    );
    assert!(odd(bytes(&good.chain), json!(good.key)).ends_with("is no base64"));
    assert!(
        odd(bytes("hello"), bytes(&good.key))
            .ends_with("the certificate of `pbx.example.com` is no PEM")
    );
    assert!(odd(bytes(&good.chain), bytes("\u{0}")).ends_with("is no PEM"));
}

#[test]
fn t23_every_form_that_traefik_has_written() {
    let good = issued();
    let account = account("https://acme-v02.api.letsencrypt.org/acme/acct/1");
    // v1.0 to v1.5
    let v0 = json!({ "Email": "a@example.com", "Registration": { "body": {}, "uri": "https://x/1" }, "PrivateKey": bytes("k"),
        "DomainsCertificate": { "Certs": [ { "Domains": { "Main": "pbx.example.com", "SANs": null }, "Certificate":
            { "Domain": "pbx.example.com", "CertURL": "https://x", "CertStableURL": "https://x",
              "PrivateKey": bytes(&good.key), "Certificate": bytes(&good.chain) } } ] },
        "ChallengeCerts": {}, "HTTPChallenge": {} });
    // v1.6 and v1.7
    let v1 = json!({ "Account": account, "Certificates": [ { "Domain": { "Main": "pbx.example.com", "SANs": null },
        "Certificate": bytes(&good.chain), "Key": bytes(&good.key) } ], "HTTPChallenges": {}, "TLSChallenges": {} });
    // A mixture of both that tools have written.
    let mixed = json!({ "Account": null, "Certificates": [ { "domain": { "main": "pbx.example.com" },
        "certificate": bytes(&good.chain), "key": bytes(&good.key) } ] });
    let v2 = json!({ "le": { "Account": account, "Certificates": [ entry("pbx.example.com", &[], &good) ] } });
    let mut short = account.clone();
    short.as_object_mut().unwrap().remove("KeyType");
    let v3 = json!({ "le": { "Account": short, "Certificates": [ entry("pbx.example.com", &["a.example.com"], &good) ] } });
    for (form, value) in [
        ("v0", v0),
        ("v1", v1),
        ("mixed", mixed),
        ("v2", v2),
        ("v3", v3),
    ] {
        let store = read(&json(&value)).unwrap();
        let [entry] = &store.entries[..] else {
            panic!("{form}: {store:?}")
        };
        assert_eq!(entry.asked[0], "pbx.example.com", "{form}");
        let pair = validate::examine(&entry.chain, &entry.key).unwrap();
        assert_eq!(pair.facts.names, ["pbx.example.com"], "{form}");
    }
}

#[test]
fn a_resolver_may_have_any_name() {
    let entry = entry("pbx.example.com", &[], &issued());
    for name in [
        "account",
        "Certificates",
        "DomainsCertificate",
        "registration",
        "",
        "../x",
    ] {
        let one = json!({ name: { "Account": account("https://x/1"), "Certificates": [entry] } });
        assert_eq!(mains(&json(&one)), ["pbx.example.com"], "{name}");
    }
}

#[test]
fn t31_a_domain_that_is_a_path_is_only_text_and_no_name() {
    let evil = entry("../../../evil", &["/etc/passwd"], &issued());
    let store = read(&store(&[evil])).unwrap();
    assert_eq!(store.entries[0].asked, ["../../../evil", "/etc/passwd"]);
    // What a certificate is good for it says itself.
    let pair = validate::examine(&store.entries[0].chain, &store.entries[0].key).unwrap();
    assert_eq!(pair.facts.names, ["pbx.example.com"]);
    assert_eq!(names::Name::read("../../../evil"), None);
}

#[test]
fn t32_another_store_than_the_default_one_is_taken_too() {
    let mut other = entry("pbx.example.com", &[], &issued());
    other["Store"] = json!("internal");
    assert_eq!(mains(&store(&[other])), ["pbx.example.com"]);
}

#[test]
fn t33_a_hundred_entries_and_a_megabyte() {
    let good = issued();
    let mut entries: Vec<Value> = (0..600)
        .map(|n| entry(&format!("h{n}.example.net"), &[], &good))
        .collect();
    entries.push(entry("pbx.example.com", &[], &good));
    let bytes = store(&entries);
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    assert_eq!(mains(&bytes).len(), 601);
}

#[test]
fn no_secret_shows_in_debug() {
    let store = read(&store(&[entry("pbx.example.com", &[], &issued())])).unwrap();
    let shown = format!("{store:?}");
    assert!(
        shown.contains("***") && !shown.contains("PRIVATE KEY"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_json_breaks_it(keys in proptest::collection::vec("[Aa]ccount|[Cc]ertificates?|[Kk]ey|[Dd]omains?|Main|sans|DomainsCertificate|Certs|le", 1..9), leaf in "null|7|\\[\\]|\\{\\}|\"x\"|\\[null\\]") {
        let mut text = leaf;
        for (depth, key) in keys.iter().enumerate() {
            text = match depth % 3 {
                2 => format!("{{\"{key}\":[{text}]}}"),
                _ => format!("{{\"{key}\":{text}}}"),
            };
        }
        prop_assert!(read(text.as_bytes()).is_ok());
    }
}
