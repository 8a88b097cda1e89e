use super::*;
use crate::certs::testing::{Authority, DAY, Issued, NOW, rsa};

const RSA_PKCS1: &str = include_str!("../../../tests/certs/rsa2048.pkcs1.pem");
const P256_SEC1: &str = include_str!("../../../tests/certs/p256.sec1.pem");

fn authority() -> Authority {
    Authority::new("Test")
}

fn issued() -> Issued {
    authority().issue(&["pbx.example.com", "192.0.2.1"], -1, 89)
}

fn examined(issued: &Issued) -> Result<Pair, Refusal> {
    examine(&issued.chain, &issued.private_key())
}

#[test]
fn a_sound_pair_tells_what_it_is() {
    let pair = examined(&issued()).unwrap();
    let facts = &pair.facts;
    assert_eq!(facts.names, ["pbx.example.com", "192.0.2.1"]);
    assert_eq!((facts.algorithm, facts.bits), (Algorithm::Ecdsa, 256));
    assert_eq!(facts.chain, ["pbx.example.com", "Test R1"]);
    assert_eq!(
        (facts.issuer.as_str(), facts.is_self_signed),
        ("CN=Test R1", false)
    );
    assert_eq!(facts.notes, Vec::<String>::new());
    assert_eq!(facts.not_after, NOW + 89 * DAY);
    assert_eq!(facts.left(NOW + 59 * DAY), 333);
    assert_eq!(facts.left(NOW + 90 * DAY), 0);
}

#[test]
fn what_is_written_out_reads_back_as_the_same() {
    let pair = examined(&issued()).unwrap();
    assert_eq!(examine(&pair.chain, &pair.key), Ok(pair));
}

#[test]
fn t19_a_key_of_another_certificate_is_refused() {
    let (one, other) = (issued(), issued());
    let of_rsa = PrivateKey::new(RSA_PKCS1);
    for key in [other.private_key(), of_rsa] {
        assert_eq!(examine(&one.chain, &key), Err(Refusal::KeyMismatch));
    }
    let rsa_chain = authority().issue_with(&rsa(), &["pbx.example.com"], -1, 89);
    for key in [one.private_key(), PrivateKey::new(P256_SEC1)] {
        assert_eq!(examine(&rsa_chain.chain, &key), Err(Refusal::KeyMismatch));
    }
}

#[test]
fn t20_what_is_cut_off_or_no_pem_is_refused_and_never_taken_in_part() {
    let good = issued();
    let key = good.private_key();
    assert_eq!(examine("", &key), Err(Refusal::NoCertificate));
    assert_eq!(examine("hello", &key), Err(Refusal::NoCertificate));
    let refused = |chain: &str| examine(chain, &key).is_err();
    for length in 0..good.leaf.trim_end().len() {
        assert!(refused(&good.chain[..length]), "the chain up to {length}");
    }
    let text = good.key.trim_end();
    for length in 0..text.len() {
        let cut = PrivateKey::new(&text[..length]);
        assert!(
            examine(&good.chain, &cut).is_err(),
            "the key up to {length}"
        );
    }
    let damaged = good.chain.replacen("MII", "M!I", 1);
    assert_eq!(examine(&damaged, &key), Err(Refusal::BrokenChain));
    let other = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(examine(other, &key), Err(Refusal::NotX509(1)));
}

#[test]
fn a_reversed_chain_and_a_foreign_one_are_refused() {
    let authority = authority();
    let good = authority.issue(&["pbx.example.com"], -1, 89);
    let key = good.private_key();
    let reversed = format!("{}{}", authority.intermediate, good.leaf);
    assert_eq!(examine(&reversed, &key), Err(Refusal::Reversed));
    let root_first = format!("{}{}{}", authority.root, authority.intermediate, good.leaf);
    assert_eq!(examine(&root_first, &key), Err(Refusal::Reversed));
    let foreign = format!("{}{}", good.leaf, Authority::new("Other").intermediate);
    assert_eq!(examine(&foreign, &key), Err(Refusal::Foreign(2)));
    let two_leaves = format!("{}{}", good.leaf, issued().leaf);
    assert_eq!(examine(&two_leaves, &key), Err(Refusal::Foreign(2)));
    let endless = good.leaf.clone() + &authority.root.repeat(12);
    assert_eq!(examine(&endless, &key), Err(Refusal::LongChain));
}

#[test]
fn a_root_at_the_end_is_left_out() {
    let authority = authority();
    let good = authority.issue(&["pbx.example.com"], -1, 89);
    let with_root = format!("{}{}", good.chain, authority.root);
    let pair = examine(&with_root, &good.private_key()).unwrap();
    assert_eq!(pair, examined(&good).unwrap());
}

#[test]
fn a_leaf_alone_is_served_and_noted() {
    let good = issued();
    let facts = examine(&good.leaf, &good.private_key()).unwrap().facts;
    assert!(
        facts.notes[0].contains("lacks the issuer's certificate"),
        "{facts:?}"
    );
}

#[test]
fn t21_expired_and_not_yet_valid() {
    let facts = |from, until| {
        let issued = authority().issue(&["pbx.example.com"], from, until);
        examined(&issued).unwrap().facts
    };
    let not_after = NOW - DAY;
    let expired = in_time(&facts(-90, -1), NOW);
    assert_eq!(expired, Err(Refusal::Expired { not_after }));
    let not_before = NOW + 2 * DAY;
    let early = in_time(&facts(2, 90), NOW);
    assert_eq!(early, Err(Refusal::NotYetValid { not_before }));
    // A clock that is a day slow is no reason.
    assert_eq!(in_time(&facts(1, 90), NOW), Ok(()));
    assert_eq!(in_time(&facts(-1, 1), NOW), Ok(()));
}

#[test]
fn t22_keys_in_every_form_and_of_every_kind() {
    let of_rsa = authority().issue_with(&rsa(), &["pbx.example.com"], -1, 89);
    let by_form = [of_rsa.key.as_str(), RSA_PKCS1].map(|key| {
        let facts = examine(&of_rsa.chain, &PrivateKey::new(key)).unwrap().facts;
        (facts.algorithm, facts.bits)
    });
    assert_eq!(by_form, [(Algorithm::Rsa, 2048); 2]);
    let common = include_str!("../../../tests/certs/common_name.crt");
    let facts = examine(common, &PrivateKey::new(P256_SEC1)).unwrap().facts;
    assert_eq!(
        (facts.algorithm, facts.names),
        (Algorithm::Ecdsa, vec!["pbx.example.com".to_owned()])
    );
    assert!(
        facts.notes[0].contains("only a common name"),
        "{:?}",
        facts.notes
    );
    let of_ed = examine(
        include_str!("../../../tests/certs/ed25519.crt"),
        &PrivateKey::new(include_str!("../../../tests/certs/ed25519.key")),
    );
    assert_eq!(of_ed.unwrap().facts.algorithm, Algorithm::Ed25519);
}

#[test]
fn keys_that_are_too_short_too_long_or_on_a_curve_of_few_are_named() {
    let refused = |chain, key| {
        examine(chain, &PrivateKey::new(key))
            .unwrap_err()
            .to_string()
    };
    let short = refused(
        include_str!("../../../tests/certs/rsa1024.crt"),
        include_str!("../../../tests/certs/rsa1024.key"),
    );
    assert!(short.contains("RSA of 1024 bits"), "{short}");
    let long = refused(
        include_str!("../../../tests/certs/rsa8192.crt"),
        include_str!("../../../tests/certs/rsa8192.key"),
    );
    assert!(long.contains("RSA of 8192 bits"), "{long}");
    let curve = refused(
        include_str!("../../../tests/certs/p521.crt"),
        include_str!("../../../tests/certs/p521.key"),
    );
    assert!(curve.contains("ECDSA of 521 bits"), "{curve}");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = examine(&issued().chain, &PrivateKey::new(locked));
    assert_eq!(locked, Err(Refusal::EncryptedKey));
    let none = examine(&issued().chain, &PrivateKey::new(""));
    assert_eq!(none, Err(Refusal::NoKey));
}

#[test]
fn an_authority_for_tests_is_known_by_its_name() {
    let staging = Authority::new("(STAGING) Ersatz").issue(&["pbx.example.com"], -1, 89);
    assert!(examined(&staging).unwrap().facts.is_staging);
}

#[test]
fn no_key_shows_in_debug() {
    let pair = examined(&issued()).unwrap();
    assert!(!format!("{pair:?}").contains("PRIVATE"));
}
