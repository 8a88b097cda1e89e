//! Tests of an interface by people: a webhook as the carrier would send it, over our own listener; and one that was written
//! down, judged without any effect.
//!
//! A test bears a ticket that counts once, from this host, for half a minute: it opens the interface's door from here, and
//! keeps the message from the phones. It proves nothing else: the signature is asked for as always. Invariant: what is told of
//! a test holds neither secret nor signature.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::plan::{Entrance, Plan};
use crate::sys::clock;
use crate::websms::config::Config;
use crate::websms::control::{Answered, Checked, Reply, Trial};
use crate::websms::daemon::{Office, mark};
use crate::websms::message::Heard;
use crate::websms::request::{LARGEST_BODY, Request};
use crate::websms::source;
use crate::websms::trial::Wanted;
use crate::websms::verify::sign::Draft;

/// The header with a test's ticket.
const TICKET: &str = "X-Switchhook-Test";
/// So long a ticket counts.
const LIFE: Duration = Duration::from_secs(30);
/// For the listener's answer: it waits for the disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer, in bytes.
const LONGEST: u64 = 64 * 1024;
/// From whom a test says it is, and for whom where the interface has no number: of those kept for examples.
const FROM: &str = "+12025550161";
const TO: &str = "+12025550160";

/// A test that is under way.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// The address that it counts for.
    pub sender: IpAddr,
    /// The message goes on to the phones.
    pub deliver: bool,
    since: Instant,
}

/// The tests that are under way, by their tickets.
#[derive(Debug, Default)]
pub struct Tests(Mutex<HashMap<String, Test>>);

impl Tests {
    fn add(&self, ticket: &str, test: Test) {
        if let Ok(mut tests) = self.0.lock() {
            tests.retain(|_, test| test.since.elapsed() < LIFE);
            tests.insert(ticket.to_owned(), test);
        }
    }

    fn take(&self, ticket: &str) -> Option<Test> {
        let test = self.0.lock().ok()?.remove(ticket);
        test.filter(|test| test.since.elapsed() < LIFE)
    }
}

/// The test that a request is, if it is one.
pub fn test_of(office: &Office, peer: SocketAddr, request: &Request<'_>) -> Option<Test> {
    let ticket = request.header(TICKET)?;
    let is_here = peer.ip().to_canonical().is_loopback();
    is_here.then(|| office.tests.take(ticket)).flatten()
}

/// Sends ourselves a webhook of this interface.
pub async fn run(
    office: &Office,
    interface: Option<&str>,
    to: Option<&str>,
    deliver: bool,
) -> Result<Reply, Reply> {
    let plan = Plan::new(office.config());
    let entrance = chosen(&plan, interface)?;
    let ticket = mark().map_err(|error| Reply::refused(error.to_string()))?;
    let id = format!("switchhook-test-{ticket}");
    let number = to.or(number_of(&plan.config, entrance)).unwrap_or(TO);
    let wanted = Wanted {
        to: number,
        from: FROM,
        text: "Test of the webhook by switchhook",
        id: &id,
    };
    let now = u64::try_from(clock::unix_now()).unwrap_or(0);
    let made = entrance.compose(&wanted, now, &ticket);
    let (mut draft, unsigned) = made.map_err(|why| Reply::refused(why.to_string()))?;
    let test = Test {
        sender: entrance.address(),
        deliver,
        since: Instant::now(),
    };
    let mut steps = vec![sender_step(entrance)];
    let proof = unsigned.as_ref().map(ToString::to_string);
    steps.extend(judge(&plan, test.sender, &draft, now, proof.as_deref()));
    let mut trial = Trial {
        interface: Some(entrance.name.clone()),
        steps,
        answer: None,
    };
    let Some(at) = listener(office) else {
        trial.steps.push(Checked {
            step: "listener".to_owned(),
            passed: Some(false),
            detail: "WebSMS does not listen to carriers; hint: set WEBSMSD_PORT".to_owned(),
        });
        return Ok(Reply::Trial(Box::new(trial)));
    };
    office.tests.add(&ticket, test);
    draft.headers.push((TICKET.to_owned(), ticket.clone()));
    let told = timeout(PATIENCE, send(at, &draft)).await;
    office.tests.take(&ticket);
    match told {
        Ok(Ok((status, body))) => {
            let is_taken = (200..300).contains(&status);
            // What nobody could sign must not be taken.
            let is_right = is_taken == unsigned.is_none();
            let detail = match (is_taken, unsigned.is_some()) {
                (true, false) if deliver => "taken, and on its way to the phones",
                (true, false) => "taken and kept as a test; no phone gets it",
                (false, true) => "refused without its signature, as it must be",
                (true, true) => "taken WITHOUT its signature",
                (false, false) => "refused",
            };
            trial.steps.push(Checked {
                step: "answer".to_owned(),
                passed: Some(is_right),
                detail: format!("{status}, {detail}"),
            });
            let reason = body.lines().next().unwrap_or_default().to_owned();
            trial.answer = Some(Answered {
                at: at.to_string(),
                status,
                body,
                reason,
            });
        }
        other => {
            let why = match other {
                Ok(Err(error)) => error.to_string(),
                _ => "it did not answer in time".to_owned(),
            };
            trial.steps.push(Checked {
                step: "answer".to_owned(),
                passed: Some(false),
                detail: format!("the listener at {at}: {why}"),
            });
        }
    }
    Ok(Reply::Trial(Box::new(trial)))
}

/// Judges a request that was written down.
pub fn replay(
    office: &Office,
    request: &str,
    peer: Option<IpAddr>,
    at: Option<u64>,
) -> Result<Reply, Reply> {
    let bytes = STANDARD.decode(request);
    let bytes = bytes.map_err(|_| Reply::refused("the request is no base64"))?;
    let draft = read(&bytes).map_err(Reply::refused)?;
    let plan = Plan::new(office.config());
    let now = at.unwrap_or_else(|| u64::try_from(clock::unix_now()).unwrap_or(0));
    let mut steps = Vec::new();
    let sender = match peer {
        Some(peer) => {
            let head = draft.head();
            match source::sender(peer, &draft.request(&head), &plan.proxies) {
                Ok(sender) => {
                    steps.push(passed("sender", sender.to_string()));
                    sender
                }
                Err(unknown) => {
                    steps.push(failed("sender", unknown.to_string()));
                    return Ok(Reply::Trial(Box::new(Trial {
                        steps,
                        ..Trial::default()
                    })));
                }
            }
        }
        None => {
            let takes = |entrance: &&Arc<Entrance>| entrance.inbound.takes(&draft.target);
            let entrance = plan.entrances().find(takes);
            steps.push(Checked {
                step: "sender".to_owned(),
                passed: None,
                detail: "no address is given; hint: --peer ADDRESS".to_owned(),
            });
            entrance.map_or(IpAddr::from(Ipv4Addr::LOCALHOST), |entrance| {
                entrance.address()
            })
        }
    };
    steps.extend(judge(&plan, sender, &draft, now, None));
    let head = draft.head();
    let door = plan.doors.find(sender, &draft.request(&head)).ok();
    Ok(Reply::Trial(Box::new(Trial {
        interface: door.map(|door| door.interface.clone()),
        steps,
        answer: None,
    })))
}

fn chosen<'a>(plan: &'a Plan, interface: Option<&str>) -> Result<&'a Arc<Entrance>, Reply> {
    let mut names: Vec<&str> = plan.entrances().map(|of| of.name.as_str()).collect();
    names.sort_unstable();
    let known = names.join(", ");
    match (interface, names.as_slice()) {
        (_, []) => Err(Reply::refused(
            "no interface of websms.conf receives messages",
        )),
        (Some(name), _) => plan.entrance(name).ok_or_else(|| {
            Reply::refused(format!(
                "there is no such interface that receives; there are {known}"
            ))
        }),
        (None, [only]) => plan
            .entrance(only)
            .ok_or_else(|| Reply::refused("the interface is gone")),
        (None, _) => Err(Reply::refused(format!(
            "several interfaces receive: name one of {known}"
        ))),
    }
}

fn number_of<'a>(config: &'a Config, entrance: &Entrance) -> Option<&'a str> {
    let mut all = config.interfaces.iter();
    let interface = all.find(|interface| interface.name() == entrance.name)?;
    interface.numbers.first().map(String::as_str)
}

fn passed(step: &str, detail: impl Into<String>) -> Checked {
    Checked {
        step: step.to_owned(),
        passed: Some(true),
        detail: detail.into(),
    }
}

fn failed(step: &str, detail: impl Into<String>) -> Checked {
    Checked {
        passed: Some(false),
        ..passed(step, detail)
    }
}

fn sender_step(entrance: &Entrance) -> Checked {
    match &entrance.inbound.addresses {
        None => passed("sender", "anybody may send"),
        Some(addresses) => Checked {
            passed: None,
            ..passed(
                "sender",
                format!(
                    "it counts as {}, of {} networks of remt_addr; whether they are the carrier's is not known here",
                    entrance.address(),
                    addresses.len()
                ),
            )
        },
    }
}

/// The steps of `webhook` without their effects. `unsigned`: why there is no signature to be judged.
fn judge(
    plan: &Plan,
    sender: IpAddr,
    draft: &Draft,
    now: u64,
    unsigned: Option<&str>,
) -> Vec<Checked> {
    let mut steps = Vec::new();
    let head = draft.head();
    let request = draft.request(&head);
    let entrance = plan.doors.find(sender, &request);
    let entrance = match entrance {
        Ok(door) => plan.entrance(&door.interface),
        Err(closed) => {
            steps.push(failed("door", closed.to_string()));
            return steps;
        }
    };
    let Some(entrance) = entrance else {
        steps.push(failed("door", "the interface is gone"));
        return steps;
    };
    let path = request.path();
    steps.push(passed("door", format!("{path} is of {}", entrance.name)));
    if let Err(malformed) = entrance.takes(request.method) {
        steps.push(failed("method", malformed.to_string()));
        return steps;
    }
    steps.push(passed("method", request.method));
    if request.body.len() > LARGEST_BODY {
        let detail = format!("the body is larger than {LARGEST_BODY} bytes");
        steps.push(failed("body", detail));
        return steps;
    }
    match entrance.echo(&request) {
        Ok(None) => {}
        Ok(Some(_)) => {
            steps.push(passed("meaning", "a test of the address"));
            return steps;
        }
        Err(malformed) => {
            steps.push(failed("meaning", malformed.to_string()));
            return steps;
        }
    }
    let proof = proof(entrance, &request, now, unsigned);
    let goes_on = proof.passed != Some(false);
    steps.push(proof);
    if goes_on {
        steps.push(meaning(entrance, &request));
    }
    steps
}

fn proof(entrance: &Entrance, request: &Request<'_>, now: u64, unsigned: Option<&str>) -> Checked {
    if !entrance.asks_for_proof() {
        return match entrance.inbound.profile.is_some() && !entrance.inbound.verify {
            true => passed("signature", "not asked for: verify = no"),
            false => passed("signature", "this interface has none"),
        };
    }
    if let Some(why) = unsigned {
        return Checked {
            passed: None,
            ..passed("signature", format!("not tested: {why}"))
        };
    }
    match entrance.certificate_url(request) {
        Ok(None) => {}
        Ok(Some(_)) => {
            return Checked {
                passed: None,
                ..passed(
                    "signature",
                    "not tested: Amazon's certificate is fetched for real requests only",
                )
            };
        }
        Err(why) => return failed("signature", why.to_string()),
    }
    match entrance.verify(request, None, now) {
        Ok(()) => passed("signature", "it is right"),
        Err(why) => failed("signature", why.to_string()),
    }
}

fn meaning(entrance: &Entrance, request: &Request<'_>) -> Checked {
    let heard = match entrance.hear(request) {
        Ok(heard) => heard,
        Err(malformed) => return failed("meaning", malformed.to_string()),
    };
    let said = match &heard {
        Heard::Messages(all) => match all.as_slice() {
            [one] => format!(
                "a message from {} to {}, {} characters, {} media",
                one.from,
                one.to,
                one.body.chars().count(),
                one.media.len()
            ),
            all => format!("{} messages", all.len()),
        },
        Heard::Receipts(all) => match all.as_slice() {
            [one] => format!("a receipt: {} is {:?}", one.id, one.state).to_lowercase(),
            all => format!("{} receipts", all.len()),
        },
        Heard::Both(messages, receipts) => {
            format!("{} messages, {} receipts", messages.len(), receipts.len())
        }
        Heard::Echo(_) => "a test of the address".to_owned(),
        Heard::Confirm(_) => "a subscription that wants to be confirmed".to_owned(),
        Heard::Nothing => {
            "neither a message nor a receipt: answered as taken, and nothing is done".to_owned()
        }
    };
    passed("meaning", said)
}

/// Where we listen, as this host reaches it.
fn listener(office: &Office) -> Option<SocketAddr> {
    let first = office.listeners.get()?.first()?;
    let ip = match first.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, first.port()))
}

/// Asks the listener; its status and body.
async fn send(at: SocketAddr, draft: &Draft) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at).await?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        draft.method,
        draft.target,
        draft.body.len()
    );
    for (name, value) in &draft.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&draft.body).await?;
    let mut bytes = Vec::new();
    stream.take(LONGEST).read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let broken = || std::io::Error::other("its answer broke off");
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}

/// A request as it stands on the wire, or in a file whose lines end as people's do.
fn read(bytes: &[u8]) -> Result<Draft, &'static str> {
    const NONE: &str = "that is no HTTP request: first a line `POST /path HTTP/1.1`, then headers, an empty line, the body";
    let find = |mark: &[u8]| bytes.windows(mark.len()).position(|piece| piece == mark);
    let (end, gap) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
        (Some(long), Some(short)) if short < long => (short, 2),
        (Some(long), _) => (long, 4),
        (None, Some(short)) => (short, 2),
        (None, None) => (bytes.len(), 0),
    };
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).map_err(|_| NONE)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next());
    let target = target.filter(|target| target.starts_with('/'));
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    let (true, Some(target)) = (is_http && !method.is_empty(), target) else {
        return Err(NONE);
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(NONE)?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut body = rest.get(gap..).unwrap_or_default().to_vec();
    // An editor's last line has an end that the carrier did not send.
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
    if let Some(length) = length {
        match body.len() < length {
            true => return Err("the body is shorter than its Content-Length"),
            false => body.truncate(length),
        }
    }
    Ok(Draft {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_a_file_is_read_with_either_ends_of_lines() {
        for text in [
            "POST /hook?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na\n\nxyz",
            "POST /hook?a=1 HTTP/1.1\nHost: x\nContent-Length: 3\n\na\n\n",
        ] {
            let draft = read(text.as_bytes()).unwrap();
            assert_eq!(
                (draft.method.as_str(), draft.target.as_str()),
                ("POST", "/hook?a=1")
            );
            assert_eq!(draft.body, b"a\n\n");
            assert_eq!(draft.headers[0], ("Host".to_owned(), "x".to_owned()));
        }
        let bare = read(b"GET /hook HTTP/1.0\nHost: x").unwrap();
        assert!(bare.body.is_empty());
        for text in [
            "",
            "x",
            "POST hook HTTP/1.1\n\n",
            "POST / HTTP/1.1\nContent-Length: 9\n\nx",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_counts_once() {
        let tests = Tests::default();
        let test = Test {
            sender: Ipv4Addr::LOCALHOST.into(),
            deliver: false,
            since: Instant::now(),
        };
        tests.add("a", test);
        assert!(tests.take("b").is_none());
        assert!(tests.take("a").is_some());
        assert!(tests.take("a").is_none());
    }
}
