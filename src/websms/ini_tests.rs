use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::*;

fn environment(name: &str) -> Option<String> {
    match name {
        "precision" => Some("14".to_owned()),
        "HOME" => Some("/root".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Ini {
    Ini::parse(text, &environment)
}

fn json(keys: &[Key]) -> Map<String, Json> {
    keys.iter()
        .map(|key| {
            let value = match &key.value {
                Value::One(text) => Json::from(text.as_str()),
                Value::Many(items) => items
                    .iter()
                    .map(|item| (item.index.clone(), Json::from(item.value.as_str())))
                    .collect::<Map<_, _>>()
                    .into(),
            };
            (key.name.clone(), value)
        })
        .collect()
}

fn whole_json(ini: &Ini) -> Json {
    let mut all = json(&ini.loose);
    for section in &ini.sections {
        all.insert(section.name.clone(), json(&section.keys).into());
    }
    all.into()
}

/// What is read where PHP gives up or computes; each has a warning.
const OWN: &[(&str, &str)] = &[
    (
        "constants",
        r#"{"w":{"a":"PHP_VERSION_ID_X","b":"E_ALL","c":"PHP_EOL","d":"M_PI","e":"SORT_ASC"}}"#,
    ),
    ("url with query eq", r#"{"w":{"a":"https://h/x?y=1"}}"#),
    ("unquoted eq", r#"{"w":{"resp_check":"status=success"}}"#),
    ("parens", r#"{"w":{"a":"f(x)"}}"#),
    ("bang", r#"{"w":{"a":"pass!word"}}"#),
    ("pipe", r#"{"w":{"a":"a|b"}}"#),
    ("missing close bracket", r#"{"w":{"a":"1"}}"#),
    ("reserved key null", r#"{"w":{"null":"1"}}"#),
    ("asterisk template", r#"{"w":{"a":"1"}}"#),
    ("unterminated quote", r#"{"w":{"a":"\"x","b":"1"}}"#),
];

#[test]
fn every_golden_case_of_php() {
    let golden: Json = serde_json::from_str(include_str!("../../tests/data/php-ini.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 42);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let ini = parse(case["ini"].as_str().unwrap());
        match OWN.iter().find(|(own, _)| *own == name) {
            Some((_, expected)) => {
                let expected: Json = serde_json::from_str(expected).unwrap();
                assert_eq!(whole_json(&ini), expected, "{name}");
                assert!(!ini.warnings.is_empty(), "{name}");
            }
            None => assert_eq!(whole_json(&ini), case["result"], "{name}"),
        }
    }
}

/// Asked of PHP 8.2 itself.
#[test]
fn what_php_says_of_odd_values() {
    for (text, expected) in [
        ("a = \" x \"", " x "),
        ("a = x \"y\" z", "xyz"),
        ("a = ''", ""),
        ("a = 'x'y", "xy"),
        ("a=x'y z'w", "xy zw"),
        ("a = x$y", "x$y"),
        ("a = \"\\${X}\"", "${X}"),
        ("a = \"x\\'y\"", "x\\'y"),
        ("a = \"\\a\\\\b\\\"c\"", "\\a\\b\"c"),
        ("a = \"\\\\${HOME}\"", "\\/root"),
        ("a = \"$${HOME}\"", "$/root"),
        ("a = $${HOME}", "$${HOME}"),
        ("a = x ${HOME} y", "x /root y"),
        ("a= ${ HOME }", "/root"),
        ("a = '${HOME}'", "${HOME}"),
        ("a = ${NOPE}", ""),
        ("a = yes ; c", "1"),
        ("a = online", "online"),
        ("a = \"l1\nl2\"", "l1\nl2"),
        ("a = 'multi\nline'\nb=1", "multi\nline"),
        ("a = \"x;y\" ; z", "x;y"),
        ("a =\tx\ty\t", "x\ty"),
        ("a = 12abc", "12abc"),
        ("a = \\", "\\"),
    ] {
        let ini = parse(text);
        assert_eq!(json(&ini.loose)["a"], expected, "{text}");
    }
    for (text, expected) in [
        (
            "k[null]=1\nk[NULL]=2\nk[false]=3\nk[true]=4\nk[on]=5",
            r#"{"0":"1","1":"4","2":"3","on":"5"}"#,
        ),
        ("k[\"\"]=1", r#"{"0":"1"}"#),
        (
            "k[1] = a\nk[x] = b\nk[] = c\nk[01] = d\nk[-5] = e\nk[] = f",
            r#"{"1":"a","x":"b","2":"c","01":"d","-5":"e","3":"f"}"#,
        ),
        ("k[]=1\nk=2\nk[]=3", r#"{"0":"3"}"#),
        ("k[${HOME}]=1", r#"{"/root":"1"}"#),
        ("k[a\"b\"c]=1", r#"{"abc":"1"}"#),
        ("k['a]b']=1", r#"{"a]b":"1"}"#),
        ("k[a=b]=1", r#"{"a=b":"1"}"#),
    ] {
        let expected: Json = serde_json::from_str(expected).unwrap();
        assert_eq!(json(&parse(text).loose)["k"], expected, "{text}");
    }
}

#[test]
fn where_php_gives_up_the_text_holds_and_the_line_is_told() {
    let ini = parse(
        "[w]\nresp_ack = SMS on its way ; c\nauth_secret = hun|ter2\na = it's\nb = that's\nk[1]x = 2\nyes = 1\n[w\nz = ${NOPE}\nz = $\n(!)\nrubbish\n",
    );
    let lines: Vec<usize> = ini.warnings.iter().map(|w| w.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 10, 11, 12]);
    let told: String = ini.warnings.iter().map(|w| w.problem.as_str()).collect();
    assert!(!told.contains("ter2"), "{told}");
    let first = parse("resp_ack = SMS on its way ; c\na = it's\nb = that's\n");
    assert_eq!(
        Json::from(json(&first.loose)),
        serde_json::json!({"resp_ack": "SMS on its way", "a": "it's", "b": "that's"})
    );
    assert!(!format!("{ini:?}").contains("hun|"));
}

#[test]
fn order_and_lines_are_kept() {
    let ini = parse("[b]\r\nz = 1\r\na = \"x\r\ny\"\r\nk[2] = v\r\nk[1] = w\r\n[a]\r\nq=1\r\n");
    assert_eq!(ini.warnings, []);
    assert_eq!(
        format!("{ini:?}"),
        "Ini { loose: [], sections: [Section { name: \"b\", line: 1, keys: [2:z, 3:a, 5:k] }, Section { name: \"a\", line: 7, keys: [8:q] }], warnings: [] }"
    );
    let Value::Many(items) = &ini.sections[0].keys[2].value else {
        panic!("no array");
    };
    let places: Vec<_> = items.iter().map(|i| (i.index.as_str(), i.line)).collect();
    assert_eq!(places, [("2", 5), ("1", 6)]);
}

#[test]
fn a_second_section_of_one_name_takes_its_place() {
    let ini = parse("[w]\na=1\n[v]\nb=1\n[w]\nc=1\n");
    assert_eq!(
        whole_json(&ini),
        serde_json::json!({"w": {"c": "1"}, "v": {"b": "1"}})
    );
    assert_eq!(
        (ini.warnings[0].line, ini.warnings[0].problem.as_str()),
        (
            5,
            "[w] was already there in line 1; nothing of that one holds"
        )
    );
}

proptest! {
    #[test]
    fn any_text_is_read(text in "(\\PC|\n|\r|\0|\\[|\\]|\"|'|\\$\\{|\\}|;|#|=|k\\[1\\] = | on |\\\\){0,60}") {
        let ini = parse(&text);
        let lines = text.lines().count() + text.matches('\r').count() + 1;
        for section in &ini.sections {
            prop_assert!(section.line <= lines);
        }
    }

    /// What a careful hand puts into quotation marks comes out as it went in.
    #[test]
    fn quoted_text_is_itself(text in "\\PC{0,40}") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        let ini = parse(&format!("a = \"{quoted}\"\n"));
        prop_assert_eq!(&json(&ini.loose)["a"], &Json::from(text));
        prop_assert!(ini.warnings.is_empty());
    }
}
