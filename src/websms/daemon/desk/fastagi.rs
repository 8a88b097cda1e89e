//! FastAGI: the dialplan hands a text in without a program being started, and without the text in an argument.
//!
//! `AGI(agi://127.0.0.1/websms,NUMBER,INDEX)`: sender and text are read from MESSAGE(from) and MESSAGE(body), and
//! WEBSMSSTATUS becomes QUEUED or FAILED. Asterisk handles one text after the other, and waits for us: so the answer comes
//! after the commit and never waits for a carrier, and the whole session has an end. Invariant: a connection whose owner
//! would not be heard at the control socket is not heard here.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::Office;
use super::{Guests, Rights, answers};
use crate::sys::say::{ERROR, WARNING, say};
use crate::websms::agi::{self, Head, NoAnswer};
use crate::websms::control::{HandedIn, Reply};

/// Sessions at once.
const SESSIONS: usize = 32;
/// How long one may take, all in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before another try to listen.
const PAUSE: Duration = Duration::from_secs(30);
/// Bytes of one answer: a value and what stands around it.
const LONGEST: usize = agi::LONGEST_VALUE + 128;

/// Serves for ever. An address that is taken is tried again: without it the dialplan starts the program instead.
pub async fn serve(office: Arc<Office>, guests: Guests) {
    let Some(address) = office.agi else {
        return std::future::pending().await;
    };
    let mut is_told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !is_told => {
                is_told = true;
                say(
                    WARNING,
                    &format!(
                        "cannot listen for FastAGI on {address}: {error}\nhint: does another program have that port? the dialplan runs `websms` meanwhile"
                    ),
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    };
    let places = Arc::new(Semaphore::new(SESSIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let office = Arc::clone(&office);
                tokio::spawn(async move {
                    if let Ok(Err(error)) = timeout(PATIENCE, attend(stream, &office, guests)).await
                    {
                        say(ERROR, &format!("a FastAGI session failed: {error}"));
                    }
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn attend(mut stream: TcpStream, office: &Office, guests: Guests) -> io::Result<()> {
    if !is_heard(&stream, guests) {
        return Err(io::Error::other(
            "its user is neither root nor the PBX's nor WebSMS's own",
        ));
    }
    let head = head(&mut stream).await?;
    if head.script != agi::SCRIPT {
        let script: String = head.script.chars().take(32).collect();
        return Err(io::Error::other(format!(
            "there is no script `{script}`, only `{}`",
            agi::SCRIPT
        )));
    }
    let from = ask(&mut stream, "${MESSAGE(from)}").await?;
    let body = ask(&mut stream, "${MESSAGE(body)}").await?;
    let index = match head.argument(1) {
        Some(index) => index.to_owned(),
        None => ask(&mut stream, "${WEBSMS_INDEX}").await?,
    };
    let reply = match body.len() >= agi::LONGEST_VALUE {
        true => Reply::refused("the text is longer than the PBX hands over"),
        false => {
            let message = HandedIn {
                to: head.argument(0).unwrap_or(&head.extension).to_owned(),
                from,
                body,
                index: Some(index),
                key: None,
                media: Vec::new(),
            };
            answers::hand_in(office, &message).await
        }
    };
    let word = match &reply {
        Reply::Queued { .. } => "QUEUED",
        Reply::Refused { reason, .. } => {
            say(
                WARNING,
                &format!("a text from the dialplan is not taken: {reason}"),
            );
            "FAILED"
        }
        _ => "FAILED",
    };
    let last = format!("SET VARIABLE WEBSMSSTATUS {word}\n");
    stream.write_all(last.as_bytes()).await?;
    // Asterisk has set it when it answers.
    let mut answer = [0; 64];
    stream.read(&mut answer).await.map(drop)
}

async fn head(stream: &mut TcpStream) -> io::Result<Head> {
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    while !text.ends_with(b"\n\n") {
        let count = stream.read(&mut piece).await?;
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        if count == 0 || text.len() > agi::LONGEST_HEAD {
            return Err(io::Error::other(NoAnswer));
        }
    }
    Ok(Head::read(&String::from_utf8_lossy(&text)))
}

/// What an expression comes to.
async fn ask(stream: &mut TcpStream, expression: &str) -> io::Result<String> {
    let mark = super::super::mark()?;
    let question = agi::question(expression, &mark);
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = stream.read(&mut piece).await?;
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        if let Some(value) = agi::value(&answer, &mark).map_err(io::Error::other)? {
            return Ok(value);
        }
        if count == 0 || answer.len() > LONGEST {
            return Err(io::Error::other(NoAnswer));
        }
    }
}

/// TCP on the loopback knows no users; the kernel's table does.
fn is_heard(stream: &TcpStream, guests: Guests) -> bool {
    let (Ok(SocketAddr::V4(client)), Ok(SocketAddr::V4(server))) =
        (stream.peer_addr(), stream.local_addr())
    else {
        return false;
    };
    owner(client, server).is_some_and(|user| guests.rights(user) != Rights::None)
}

fn owner(client: SocketAddrV4, server: SocketAddrV4) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    agi::owner(&table, client, server)
}
