//! Signalling by sipp: a scenario of ours is sent through, or the test fails with the messages.

use crate::docker::{Network, run};
use crate::exchange::Exchange;
use crate::phone::{Family, Transport};

/// Registers, answering the challenge; expects 200.
pub const REGISTER: &str = include_str!("sipp/register.xml");
/// Registers with a password that the exchange must not take; expects a second challenge, or 403.
pub const REGISTER_REFUSED: &str = include_str!("sipp/register_refused.xml");
/// Calls, and hangs up when the other side has answered.
pub const CALL: &str = include_str!("sipp/call.xml");
/// Calls, and expects the final answer `@STATUS@`.
pub const CALL_REFUSED: &str = include_str!("sipp/call_refused.xml");
/// Calls with the sound at port `@PORT@` in the payload type `@TYPE@`, named `@NAME@`, until the other side hangs up.
pub const SOUND: &str = include_str!("sipp/sound.xml");
/// Sends the text `@TEXT@`; expects 202.
pub const TEXT: &str = include_str!("sipp/text.xml");

/// Who sends, and to whom.
pub struct Request<'a> {
    pub user: &'a str,
    pub password: &'a str,
    /// The number called, or the user registered.
    pub to: &'a str,
    pub transport: Transport,
    pub family: Family,
}

/// Plays a scenario once; on failure the value is what went over the wire.
pub fn play(
    exchange: &Exchange,
    network: &Network,
    request: &Request<'_>,
    scenario: &str,
) -> Result<(), String> {
    network.wait_usable();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("scenario.xml"), scenario).unwrap();
    let local = match request.family {
        Family::Four => network.host4.clone(),
        Family::Six => network.host6.clone(),
    };
    let remote = format!("{}:5060", request.family.host(exchange));
    let transport = match request.transport {
        Transport::Udp => "u1",
        Transport::Tcp => "t1",
        Transport::Tls => panic!("Debian's sipp speaks no TLS; let a phone do it"),
    };
    let (scenario, messages, errors) = (path("scenario.xml"), path("messages"), path("errors"));
    let mut arguments = vec![remote.as_str(), "-sf", &scenario, "-t", transport];
    arguments.extend(["-i", &local, "-s", request.to]);
    arguments.extend(["-key", "user", request.user]);
    arguments.extend(["-au", request.user, "-ap", request.password]);
    arguments.extend(["-m", "1", "-nostdin", "-timeout", "60s", "-timeout_error"]);
    arguments.extend(["-trace_msg", "-message_file", &messages]);
    arguments.extend(["-trace_err", "-error_file", &errors]);
    let ended = run("sipp", &arguments);
    if ended.code == 0 {
        return Ok(());
    }
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (errors, messages) = (read(&errors), read(&messages));
    Err(format!(
        "sipp: exit code {}\n{errors}\n{messages}",
        ended.code
    ))
}
