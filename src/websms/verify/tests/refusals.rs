//! What is refused although nothing was turned: times, algorithms, missing things, and what belongs to somebody else.

use super::*;

/// The reason.
fn refused(case: &Case) -> String {
    case.judge().expect_err(&case.rule)
}

fn without(case: Case, name: &str) -> Case {
    let mut case = case;
    case.headers.retain(|(other, _)| other != name);
    case
}

#[test]
fn a_signature_with_or_without_the_port_is_right() {
    for (signed, public_url) in [
        ("https://h/hook", "https://h"),
        ("https://h:443/hook", "https://h"),
        ("https://h/hook", "https://h:443"),
        ("https://h/hook", "https://h:8443/hook"),
        ("http://h:80/hook", "http://h/hook"),
    ] {
        let tag = tag(hmac::HMAC_SHA256, "secret", signed.as_bytes());
        let case = Case {
            public_url: public_url.to_owned(),
            ..Case::new(TWILIO).header("X-Twilio-Signature", base64(&tag))
        };
        assert_eq!(case.judge(), Ok(()), "{signed}");
    }
    let case = Case {
        public_url: String::new(),
        ..twilio(0)
    };
    assert!(refused(&case).contains("hint: set public_url"));
    // What the request says of its host counts for nothing.
    let case = Case {
        public_url: "https://other.example.org".to_owned(),
        ..twilio(0)
            .header("Host", "mycompany.com")
            .header("X-Forwarded-Host", "mycompany.com")
    };
    assert!(refused(&case).contains("hint: check the secret"));
}

#[test]
fn a_body_that_nothing_covers_is_refused() {
    let mut case = twilio_json();
    case.target = "/hook".to_owned();
    let tag = tag(hmac::HMAC_SHA256, "secret", b"https://pbx.example.org/hook");
    let case = without(case, "X-Twilio-Signature").header("X-Twilio-Signature", base64(&tag));
    assert!(refused(&case).contains("bodySHA256"));
    let mut case = plivo_3(0);
    case.headers[0].1 = "application/json".to_owned();
    assert!(refused(&case).contains("no form"));
}

#[test]
fn a_field_that_came_twice_is_signed_twice() {
    let mut case = twilio(0);
    case.body.extend_from_slice(b"&To=%2B1900");
    assert!(case.judge().is_err());
    let mut case = vonage(1);
    case.body.extend_from_slice(b"&text=other");
    assert!(case.judge().is_err());
}

#[test]
fn a_signature_that_is_missing_or_doubled_is_refused() {
    for (case, name) in [
        (twilio(0), "X-Twilio-Signature"),
        (plivo_2(), "X-Plivo-Signature-V2"),
        (plivo_2(), "X-Plivo-Signature-V2-Nonce"),
        (telnyx(), "telnyx-signature-ed25519"),
        (telnyx(), "telnyx-timestamp"),
        (put_together(), "X-Nonce"),
        (basic(), "Authorization"),
        (jwt(HS256, &claims(",\"exp\":1700000001")), "Authorization"),
    ] {
        assert!(refused(&without(case.clone(), name)).contains(name));
        let value = case
            .headers
            .iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1
            .clone();
        assert!(refused(&case.header(name, value)).contains("two of them"));
    }
    let mut case = vonage(0);
    case.body = b"to=1&msisdn=2&timestamp=1578787200".to_vec();
    assert!(refused(&case).contains("no field sig"));
    let mut case = token();
    case.target = "/hook".to_owned();
    assert!(refused(&case).contains("no token"));
}

#[test]
fn one_right_signature_among_several_is_enough() {
    let mut case = plivo_2();
    let right = case.headers[0].1.clone();
    case.headers[0].1 = format!("{}, {right}", base64(&[1; 32]));
    assert_eq!(case.judge(), Ok(()));
    case.headers[0].1 = format!("{}{right}", format!("{},", base64(&[1; 32])).repeat(8));
    assert!(case.judge().is_err());
}

#[test]
fn what_was_signed_long_ago_is_refused() {
    for (case, window) in [
        (telnyx(), 300),
        (put_together(), 300),
        (jwt(HS256, &claims(",\"iat\":1700000000")), 300),
        (vonage(0), LONG_TOLERANCE),
        (sns(0), LONG_TOLERANCE),
    ] {
        for (now, right) in [
            (case.now + window, true),
            (case.now + window + 1, false),
            (case.now - 300, true),
            (case.now - window - 1, false),
            (0, false),
            (u64::MAX, false),
        ] {
            let case = Case {
                now,
                ..case.clone()
            };
            assert_eq!(case.judge().is_ok(), right, "{} {now}", case.rule);
        }
    }
    let late = Case {
        now: 1_700_000_301,
        ..telnyx()
    };
    assert!(refused(&late).contains("301 seconds ago"));
    let mut odd = telnyx();
    odd.headers[1].1 = "soon".to_owned();
    assert!(refused(&odd).contains("tells no time"));
}

#[test]
fn a_token_of_another_kind_is_refused() {
    let good = claims(",\"exp\":1700000001");
    for (head, told) in [
        (r#"{"alg":"none"}"#, "HS256"),
        (r#"{"alg":"HS512"}"#, "HS256"),
        (r#"{"alg":"RS256"}"#, "HS256"),
        (r#"{"alg":"hs256"}"#, "HS256"),
        ("{}", "HS256"),
        (r#"{"alg":"HS256","crit":["x"]}"#, "HS256"),
        ("x", "no signed token"),
    ] {
        assert!(refused(&jwt(head, &good)).contains(told), "{head}");
    }
    let digest = secret::sha256_hex(b"other");
    for (claims, told) in [
        (claims(""), "does not tell its time"),
        (claims(",\"exp\":1700000000"), "past its end"),
        (claims(",\"exp\":\"1800000000\""), "exp is no time"),
        (claims(",\"exp\":18e8"), "exp is no time"),
        (claims(",\"exp\":-1"), "exp is no time"),
        (
            claims(",\"exp\":1800000000,\"nbf\":1700001000"),
            "not count yet",
        ),
        ("{\"exp\":1800000000}".to_owned(), "does not cover the body"),
        (
            format!("{{\"exp\":1800000000,\"payload_hash\":\"{digest}\"}}"),
            "body is not",
        ),
    ] {
        assert!(refused(&jwt(HS256, &claims)).contains(told), "{claims}");
    }
    assert!(
        jwt(HS256, &claims(",\"exp\":1700000000.5e"))
            .judge()
            .is_err()
    );
    assert_eq!(jwt(HS256, &claims(",\"exp\":1700000001.5")).judge(), Ok(()));
    let mut unsigned = jwt(HS256, &good);
    let bare = unsigned.headers[0].1.rsplit_once('.').unwrap().0.to_owned();
    unsigned.headers[0].1 = format!("{bare}.");
    assert!(refused(&unsigned).contains("signature is not right"));
    unsigned.headers[0].1 = "Bearer x".to_owned();
    assert!(refused(&unsigned).contains("no signed token"));
}

#[test]
fn a_topic_of_somebody_else_is_refused_though_amazon_signed_it() {
    let case = Case {
        topic: "arn:aws:sns:eu-west-1:210987654321:sms".to_owned(),
        ..sns(0)
    };
    assert!(refused(&case).contains("none of ours"));
}

#[test]
fn a_certificate_must_be_amazons_and_in_its_time() {
    let other = Case {
        certificate: text(&SNS["another certificate"]).to_owned(),
        ..sns(1)
    };
    assert!(refused(&other).contains("not right by Amazon's certificate"));
    let none = Case {
        certificate: String::new(),
        ..sns(1)
    };
    assert!(refused(&none).contains("could not be fetched"));
    let garbage = Case {
        certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        ..sns(1)
    };
    assert!(refused(&garbage).contains("cannot be read"));
    for now in [1_700_000_000, 2_000_000_000] {
        let late = Case { now, ..sns(1) };
        assert!(refused(&late).contains("out of its time"));
    }
}

#[test]
fn no_certificate_is_wanted_from_elsewhere() {
    let asked = |url: &str| {
        let body = serde_json::json!({"SigningCertURL": url}).to_string();
        let request = Request {
            method: "POST",
            target: "/",
            headers: &[],
            body: body.as_bytes(),
        };
        sns(0).verifier().certificate_url(&request).ok().flatten()
    };
    for url in [
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/x.pem",
    ] {
        assert_eq!(asked(url).as_deref(), Some(url));
    }
    for url in [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.org/x.pem",
        "https://sns.evil.org/x.pem",
        "https://evil.org/sns.eu-west-1.amazonaws.com/x.pem",
        "https://evil.org#sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.a.b.amazonaws.com/x.pem",
        "https://sns.evil.org?.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.org/x.pem",
        "https://u@sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://bucket.s3.amazonaws.com/x.pem",
        "https://sns..amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.pem?y",
        "https://sns.eu-west-1.amazonaws.com/x?y=.pem",
        "https://sns.eu-west-1.amazonaws.com/x.pem\r\n.pem",
        "https://sns.eu-west-1.amazonaws.com",
        "",
    ] {
        assert_eq!(asked(url), None, "{url}");
    }
}

#[test]
fn only_amazons_confirmations_are_fetched() {
    let amazons = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1";
    assert!(sns(0).verifier().confirms(amazons));
    assert!(!telnyx().verifier().confirms(amazons));
    for url in [
        "https://evil.org/?Action=ConfirmSubscription",
        "http://169.254.169.254/?x",
        "https://sns.eu-west-1.amazonaws.com/x",
        "https://sns.eu-west-1.amazonaws.com/? x",
    ] {
        assert!(!sns(0).verifier().confirms(url), "{url}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_in_a_request_is_too_odd(
        body in r#"(to=1&|sig=[0-9a-f]{2,40}|timestamp=1|\{"|Type|Signature|":|"\}|[ -~]){0,20}"#,
        value in r#"(Basic |Bearer |[A-Za-z0-9+/_-]{1,8}|\.|=|,|sha512=){0,10}"#,
        kind in proptest::sample::select(vec![FORM, "application/json", "multipart/form-data; boundary=b", ""]),
        target in r#"/(hook)?(\?|&|=|bodySHA256|key|%|a){0,8}"#,
    ) {
        for case in [twilio(0), plivo_3(0), plivo_2(), vonage(0), zadarma(), telnyx(), sns(0), put_together(), basic(), token(), jwt(HS256, "{}")] {
            let mut case = case;
            case.body = body.clone().into_bytes();
            case.target = target.clone();
            for (name, old) in &mut case.headers {
                *old = if name == "Content-Type" { kind.to_owned() } else { value.clone() };
            }
            proptest::prop_assert!(case.judge().is_err(), "{}", case.rule);
        }
    }
}
