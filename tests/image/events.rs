//! Each security event that the PBX raises, caused for real: it must be taken for what it is, and by no means as hostile.

use std::io::{Read, Write};
use std::net::TcpStream;

use switchhook::asterisk::ami::md5;

use crate::outside::Outside;
use crate::street::Street;
use crate::talk::{Carrier, Register};

/// Phones and users that are set up to be refused.
const REFUSED: &str = "\
cat >>/srv/etc/asterisk/pjsip_endpoint.conf <<'HERE'

[fenced](tpl_phone)
hint_exten = 104
endpoint/deny = 0.0.0.0/0.0.0.0
inbound_auth/username = fenced
inbound_auth/password = secret-1

[tight](tpl_phone)
hint_exten = 105
endpoint/contact_deny = 0.0.0.0/0.0.0.0
inbound_auth/username = tight
inbound_auth/password = secret-1

[crowded](tpl_phone)
hint_exten = 106
aor/max_contacts = 1
aor/remove_existing = no
inbound_auth/username = crowded
inbound_auth/password = secret-1
HERE
cat >>/srv/etc/asterisk/pjsip_transport.conf <<'HERE'

[homeless]
type = endpoint
context = none
auth = homeless

[homeless]
type = auth
auth_type = userpass
username = homeless
password = secret-1
HERE
sed -i 's/^displayconnects.*/allowmultiplelogin = no/' /srv/etc/asterisk/manager.conf
cat >>/srv/etc/asterisk/manager.conf <<'HERE'

[probe]
secret = secret-1
read = security

[fenced]
secret = secret-1
deny = 0.0.0.0/0.0.0.0
HERE
";

/// A manager's session.
struct Session(TcpStream);

impl Session {
    fn open(within: &Outside) -> Session {
        let stream = within.tcp("127.0.0.1", "127.0.0.1:5038".parse().unwrap());
        let stream = stream.expect("the manager");
        stream
            .set_read_timeout(Some(crate::lines::PATIENCE))
            .unwrap();
        Session(stream)
    }

    /// Says lines, and waits for the answer: the first block that is a response.
    fn says(&mut self, lines: &[&str]) -> String {
        let text = format!("{}\r\n\r\n", lines.join("\r\n"));
        self.0.write_all(text.as_bytes()).unwrap();
        let mut all = String::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.0.read(&mut buffer).unwrap_or(0);
            all.push_str(&String::from_utf8_lossy(&buffer[..count]));
            let response = all.find("Response: ").map(|at| &all[at..]);
            if count == 0 || response.is_some_and(|found| found.contains("\r\n\r\n")) {
                return all;
            }
        }
    }

    fn logs_in(&mut self, user: &str, secret: &str) -> String {
        let (user, secret) = (format!("Username: {user}"), format!("Secret: {secret}"));
        self.says(&["Action: Login", &user, &secret])
    }
}

#[test]
fn each_event_of_the_pbx_is_taken_for_what_it_is() {
    let street = Street::prepared("maxcount = 1000", REFUSED);
    let mut known: Vec<(&str, u64)> = Vec::new();
    let mut rises = |name: &'static str| {
        let count = known.iter_mut().find(|(found, _)| *found == name);
        let least = match count {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                known.push((name, 1));
                1
            }
        };
        street.wait_counter(name, least);
    };
    let from = "198.18.8.1";
    street.outside.move_in(from);
    let talk = || street.talk(from, Carrier::Tcp).expect("a connection");

    // Before the password: access lists, unknown accounts.
    // Who is refused by a list is not told so.
    assert_eq!(talk().ask(&Register::of("fenced")).map(|a| a.0), Some(401));
    rises("FailedACL strong");
    assert_eq!(talk().ask(&Register::of("tight")).map(|a| a.0), Some(401));
    rises("FailedACL strong");
    assert_eq!(talk().knock(), Some(401));
    rises("InvalidAccountID strong");
    assert_eq!(talk().register("crowded", "wrong"), Some(401));
    rises("ChallengeResponseFailed strong");
    street.counted(from, "strong_events", 4);

    // After it: phones that are set up wrongly. Nothing of that counts.
    let mut phone = talk();
    let mut registers = |request: Register, user: &str| {
        let answer = phone.register_as(&request, user, "secret-1");
        answer.map(|answer| answer.0)
    };
    let first = registers(Register::of("crowded"), "crowded");
    assert_eq!(first, Some(200));
    let second = registers(Register::of("crowded"), "crowded");
    assert_eq!(second, Some(403));
    rises("FailedACL");
    let mut all = Register::of("crowded");
    all.contact = Some("*".to_owned());
    assert_eq!(registers(all, "crowded"), Some(400));
    rises("FailedACL");
    assert_eq!(registers(Register::of("homeless"), "homeless"), Some(403));
    rises("FailedACL");
    let mut other = Register::of("crowded");
    other.to = Some(b"nobody".to_vec());
    assert_eq!(registers(other, "crowded"), Some(404));
    rises("RequestNotSupported");
    let why = street.why(from);
    assert_eq!(
        (&why["strong_events"], &why["standing"]),
        (&4.into(), &"trusted".into()),
        "{why}"
    );

    // The manager's.
    let within = Outside::within(&street.exchange);
    let session = || Session::open(&within);
    session().says(&["Action: Ping"]);
    rises("RequestNotAllowed weak");
    session().logs_in("nobody", "x");
    rises("InvalidAccountID strong");
    session().logs_in("probe", "wrong");
    rises("InvalidPassword strong");
    session().logs_in("fenced", "secret-1");
    rises("FailedACL strong");
    let mut guesser = session();
    let challenge = guesser.says(&["Action: Challenge", "AuthType: MD5"]);
    assert!(challenge.contains("Challenge: "), "{challenge}");
    let key = format!("Key: {}", md5::hex(b"wrong"));
    guesser.says(&["Action: Login", "AuthType: MD5", "Username: probe", &key]);
    rises("ChallengeResponseFailed strong");
    let mut probe = session();
    let answer = probe.logs_in("probe", "secret-1");
    assert!(answer.contains("Response: Success"), "{answer}");
    probe.says(&["Action: Nonsense"]);
    rises("RequestBadFormat");
    probe.says(&["Action: Command", "Command: core show version"]);
    rises("RequestNotAllowed");
    session().logs_in("probe", "secret-1");
    rises("SessionLimit");

    assert_eq!(street.counter("hostile frames"), 0);
    assert_eq!(street.counter("jailed") + street.counter("gaps"), 0);
}
