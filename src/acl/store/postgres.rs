//! A PostgreSQL server, for a few short statements: over its socket, or over TCP without TLS.
//!
//! Invariant: a password in clear goes to this host only, and every wait has an end.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;

use super::super::mapping::Server;
use super::scram::{First, NAME};
use super::table::{Connection, Fields};
use super::wire::{self, Message};
use super::{PATIENCE, StoreError};
use crate::asterisk::ami::md5;

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

pub(super) struct Postgres {
    stream: Box<dyn Both>,
    server: Server,
    is_here: bool,
}

impl Postgres {
    pub(super) fn open(server: &Server) -> Result<Postgres, StoreError> {
        let connected = connect(server);
        let (stream, is_here) = connected.map_err(|error| {
            StoreError::new(
                format!("{server} does not answer: {error}"),
                "see that PostgreSQL runs and listens there; Asterisk keeps the lists that it has until something reloads them",
            )
        })?;
        let mut opened = Postgres {
            stream,
            server: server.clone(),
            is_here,
        };
        opened.log_in()?;
        Ok(opened)
    }

    fn failed(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::new(
            format!("{}: {what}", self.server),
            "see PostgreSQL's log, and dbhost, dbname, dbuser and dbpass in res_pgsql.conf",
        )
    }

    fn send(&mut self, message: Option<Vec<u8>>) -> Result<(), StoreError> {
        let message = message.ok_or_else(|| self.failed("a value holds a zero byte"))?;
        let sent = self.stream.write_all(&message);
        sent.and_then(|()| self.stream.flush())
            .map_err(|error| self.failed(format!("the connection is gone: {error}")))
    }

    fn receive(&mut self) -> Result<Message, StoreError> {
        let gone = |error| format!("the connection is gone: {error}");
        let mut head = [0; 5];
        let read = self.stream.read_exact(&mut head);
        read.map_err(|error| self.failed(gone(error)))?;
        let nonsense = "it does not speak PostgreSQL's protocol";
        let (kind, length) = wire::head(head).ok_or_else(|| self.failed(nonsense))?;
        let mut body = vec![0; length];
        let read = self.stream.read_exact(&mut body);
        read.map_err(|error| self.failed(gone(error)))?;
        wire::read(kind, &body).ok_or_else(|| self.failed(nonsense))
    }

    fn log_in(&mut self) -> Result<(), StoreError> {
        let Server {
            user,
            database,
            password,
            ..
        } = self.server.clone();
        self.send(wire::startup(&user, &database))?;
        let mut proof = None;
        loop {
            match self.receive()? {
                Message::AskCleartext if !self.is_here => {
                    return Err(self
                        .failed("it asks for the password in clear, which goes over no network"));
                }
                Message::AskCleartext => self.send(wire::password(&password))?,
                Message::AskMd5 { salt } => {
                    let inner = md5::hex(format!("{password}{user}").as_bytes());
                    let mut salted = inner.into_bytes();
                    salted.extend(salt);
                    let answer = format!("md5{}", md5::hex(&salted));
                    self.send(wire::password(&answer))?;
                }
                Message::AskSasl(names) if names.iter().any(|name| name == NAME) => {
                    let mut random = [0; 18];
                    let filled = getrandom::getrandom(&mut random);
                    filled.map_err(|error| self.failed(error))?;
                    let first = First::new(&random);
                    self.send(wire::sasl_first(NAME, first.message().as_bytes()))?;
                    let Message::SaslContinue(answer) = self.told()? else {
                        return Err(self.failed("it does not go on with SCRAM"));
                    };
                    let second = first.answer(&answer, &password);
                    let (message, second) =
                        second.ok_or_else(|| self.failed("its SCRAM makes no sense"))?;
                    self.send(wire::sasl_next(message.as_bytes()))?;
                    proof = Some(second);
                }
                Message::SaslFinal(answer) => {
                    let proven = proof.take().is_some_and(|proof| proof.is_proven(&answer));
                    proven
                        .then_some(())
                        .ok_or_else(|| self.failed("it does not know the password itself"))?;
                }
                // A server that skips its proof is none that knows the password.
                Message::LoggedIn if proof.is_some() => {
                    return Err(self.failed("it does not prove that it knows the password"));
                }
                Message::AskSasl(_) | Message::AskOther(_) => {
                    return Err(self.failed("it wants a way of logging in that is not spoken here"));
                }
                Message::Error { code, text } => return Err(self.refused(&code, &text)),
                Message::Ready => return Ok(()),
                _ => {}
            }
        }
    }

    fn told(&mut self) -> Result<Message, StoreError> {
        match self.receive()? {
            Message::Error { code, text } => Err(self.refused(&code, &text)),
            other => Ok(other),
        }
    }

    /// By PostgreSQL's error codes (its documentation, appendix A).
    fn refused(&self, code: &str, text: &str) -> StoreError {
        let hint = match code {
            "28P01" | "28000" => {
                "see dbuser and dbpass in res_pgsql.conf, and the server's pg_hba.conf; a server that wants TLS is not spoken to"
            }
            "3D000" => "see dbname in res_pgsql.conf",
            "42P01" | "42703" => "docs/reference/acl.md shows the table that Asterisk looks for",
            "42501" => "GRANT SELECT, INSERT, UPDATE, DELETE on the table to that user",
            "25006" => "that server is a copy which takes no changes: name the first one",
            "57P01" | "57P02" | "57P03" => "wait until PostgreSQL runs again",
            "55P03" | "57014" => "somebody holds the table; wait for that, or end it",
            "22001" => "write two rules in its place, or let that column be wider",
            "53100" => "free some space on the server",
            code if code.starts_with("23") => "the table forbids such a row",
            _ => "see PostgreSQL's log",
        };
        StoreError::new(format!("{}: {text}", self.server), hint)
    }
}

/// Connects, and says whether the other end is on this host.
fn connect(server: &Server) -> std::io::Result<(Box<dyn Both>, bool)> {
    if server.host.starts_with('/') {
        let path = format!("{}/.s.PGSQL.{}", server.host, server.port);
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        return Ok((Box::new(stream), true));
    }
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE / 2) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok((Box::new(stream), address.ip().is_loopback()));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Connection for Postgres {
    fn query(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Fields>, StoreError> {
        self.send(wire::query(sql, parameters))?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            match self.receive()? {
                Message::Row(fields) => rows.push(fields),
                Message::Error { code, text } => {
                    let error = self.refused(&code, &text);
                    // The server ends a session with an error and nothing behind it.
                    if code.starts_with("57P") {
                        return Err(error);
                    }
                    refused = Some(error);
                }
                Message::Ready => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    fn begin(&mut self, table: &str) -> Result<(), StoreError> {
        self.query("BEGIN", &[])?;
        let limit = format!("SET LOCAL lock_timeout = {}", PATIENCE.as_millis() / 2);
        self.query(&limit, &[])?;
        let lock = format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE");
        self.query(&lock, &[]).map(|_| ())
    }
}
