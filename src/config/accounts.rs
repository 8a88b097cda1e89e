//! Users and groups from the text of /etc/passwd and /etc/group (passwd(5), group(5)).
//!
//! Pure, and our own because the C library's look-ups load modules at run time (nsswitch.conf(5)), which a static
//! program must not do. Only what these two files say counts: `+` and `-` entries, which ask for a directory service,
//! are passed over, as is every line that is no entry. Where a name stands twice, the first line is in force.

/// A line longer than this is no entry; names and directories are shorter by far.
const LONGEST_LINE: usize = 4096;

/// What is needed of a user's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    /// The main group.
    pub gid: u32,
    /// `/` where the entry names none.
    pub home: String,
}

/// The user of this name; a name of digits only is a number, as in `User=1000`, and must have an entry too.
pub fn user(passwd: &[u8], name: &str) -> Option<Account> {
    let number = number(name.as_bytes());
    entries(passwd).find_map(|entry| {
        let mut fields = entry.split(|byte| *byte == b':');
        let (known, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (self::number(fields.next()?)?, self::number(fields.next()?)?);
        let is_meant = match number {
            Some(number) => uid == number,
            None => known == name.as_bytes(),
        };
        let home = fields.nth(1).filter(|home| home.starts_with(b"/"));
        is_meant.then(|| Account {
            uid,
            gid,
            home: String::from_utf8_lossy(home.unwrap_or(b"/")).into_owned(),
        })
    })
}

/// The number of the group of this name; a name of digits only is a number, and must have an entry too.
pub fn group(groups: &[u8], name: &str) -> Option<u32> {
    let number = number(name.as_bytes());
    entries(groups).find_map(|entry| {
        let mut fields = entry.split(|byte| *byte == b':');
        let (known, _password) = (fields.next()?, fields.next()?);
        let gid = self::number(fields.next()?)?;
        let is_meant = match number {
            Some(number) => gid == number,
            None => known == name.as_bytes(),
        };
        is_meant.then_some(gid)
    })
}

/// The lines that can be an entry.
fn entries(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| {
        let is_other = matches!(line.first(), None | Some(b'+' | b'-' | b'#' | b':'));
        !is_other && line.len() <= LONGEST_LINE && !line.contains(&0)
    })
}

/// A user or group id: decimal digits without a sign or a leading zero. 65535 and 4294967295 are not ids: system calls
/// read them as "leave it as it is" (chown(2), setresuid(2), the former of the 16-bit calls).
fn number(text: &[u8]) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let has_zeros = text.len() > 1 && text.first() == Some(&b'0');
    if !is_decimal || has_zeros {
        return None;
    }
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number != u32::from(u16::MAX) && number != u32::MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        asterisk:x:5060:5061:Asterisk:/var/lib/asterisk:/bin/false\n\
        asterisk:x:1:1:a second one:/:/bin/false\n\
        +nis:x:7:7::/:\n\
        -nis:x:7:7::/:\n\
        +::::::\n\
        short:x:8\n\
        letters:x:eight:8::/:\n\
        signed:x:+9:9::/:\n\
        huge:x:4294967296:9::/:\n\
        keep:x:4294967295:9::/:\n\
        keep16:x:65535:9::/:\n\
        homeless:x:10:10\n\
        relative:x:11:11::var:/bin/sh\n\
        1000:x:12:12::/:\n\
        ann:x:1000:100::/home/ann:/bin/sh\n\
        last:x:13:13::/last:/bin/sh";

    fn uid(name: &str) -> Option<u32> {
        user(PASSWD, name).map(|account| account.uid)
    }

    #[test]
    fn a_user_is_found_by_name_and_the_first_line_counts() {
        let account = Account {
            uid: 5060,
            gid: 5061,
            home: "/var/lib/asterisk".into(),
        };
        assert_eq!(user(PASSWD, "asterisk"), Some(account));
        assert_eq!((uid("root"), uid("last")), (Some(0), Some(13)));
    }

    #[test]
    fn digits_are_a_number_and_never_a_name() {
        assert_eq!(user(PASSWD, "1000").unwrap().home, "/home/ann");
        for none in [
            "12345",
            "01000",
            "+1000",
            "-1",
            "4294967295",
            "65535",
            "1e3",
        ] {
            assert_eq!(uid(none), None, "{none}");
        }
    }

    #[test]
    fn lines_that_are_no_entry_are_passed_over() {
        for none in [
            "",
            "nis",
            "+nis",
            "-nis",
            "+",
            "short",
            "letters",
            "signed",
            "huge",
            "keep",
            "keep16",
            "# a comment",
            "nobody",
            "root:x",
            "Root",
        ] {
            assert_eq!(uid(none), None, "{none}");
        }
    }

    #[test]
    fn a_home_that_is_missing_or_relative_is_the_root() {
        assert_eq!(user(PASSWD, "homeless").unwrap().home, "/");
        assert_eq!(user(PASSWD, "relative").unwrap().home, "/");
    }

    #[test]
    fn a_group_needs_no_members_field() {
        let groups = b"+:::\nroot:x:0:\naudio:x:29:ann,bob\nbare:x:30\nbad:x\n31:x:5:\n";
        let find = |name| group(groups, name);
        assert_eq!(
            (find("audio"), find("bare"), find("29")),
            (Some(29), Some(30), Some(29))
        );
        assert_eq!(
            (find("bad"), find("31"), find("+"), find("ann")),
            (None, None, None, None)
        );
    }

    #[test]
    fn an_endless_line_and_a_nul_are_no_entry() {
        let long = format!(
            "a:x:1:1:{}:/:\nb:x:2:2::/:\nc\0:x:3:3::/:\n",
            "x".repeat(5000)
        );
        assert_eq!(user(long.as_bytes(), "a"), None);
        assert_eq!(user(long.as_bytes(), "b").unwrap().uid, 2);
        assert_eq!(user(long.as_bytes(), "c\0"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,8}") {
            let _ = (user(&text, &name), group(&text, &name));
        }

        #[test]
        fn what_is_written_is_found(name in "[a-z_][a-z0-9_-]{0,12}", uid in 0..60_000u32, gid in 0..60_000u32) {
            let text = format!("other:x:1:1::/:\n{name}:x:{uid}:{gid}::/home/{name}:/bin/sh\n");
            prop_assume!(name != "other");
            let found = user(text.as_bytes(), &name).unwrap();
            prop_assert_eq!((found.uid, found.gid, found.home), (uid, gid, format!("/home/{name}")));
        }
    }
}
