//! Batches to the kernel, each done as a whole or not at all, and what it answered.

use std::io;

use super::protocol::{batch_begin, batch_end};
use crate::sys::netlink::message::{Writer, errno, messages};
use crate::sys::netlink::{Received, Socket};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The answer to this one says that the whole batch was refused.
pub const BEGIN: u32 = 0;

/// Enough for a batch, and for an answer to each of its messages, in bytes.
pub const BUFFER: usize = 4 << 20;

/// The one socket that writes.
#[derive(Debug)]
pub struct Connection {
    pub socket: Socket,
    buffer: Vec<u8>,
    batch: Writer,
}

/// What the kernel said to a batch.
#[derive(Debug, Default)]
pub struct Answers {
    /// The sequence number and the error of each message that was refused.
    pub errors: Vec<(u32, i32)>,
    /// A message that asked for it was confirmed.
    pub confirmed: bool,
    /// Some answers did not fit.
    pub lost: bool,
}

impl Connection {
    pub fn open() -> io::Result<Connection> {
        let socket = Socket::open()?;
        socket.resize(BUFFER)?;
        Ok(Connection {
            socket,
            buffer: vec![0; 1 << 16],
            batch: Writer::default(),
        })
    }

    /// Sends what `body` writes as one batch. Its messages have sequence numbers above `BEGIN`, and one of them asks for a
    /// confirmation.
    pub fn transact(&mut self, body: impl FnOnce(&mut Writer)) -> io::Result<Answers> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch_begin(&mut batch, BEGIN);
        body(&mut batch);
        batch_end(&mut batch, BEGIN);
        let answers = self.exchange(batch.as_bytes());
        // The memory of a usual batch is kept, that of a restore is not.
        if batch.len() <= 1 << 20 {
            self.batch = batch;
        }
        answers
    }

    fn exchange(&mut self, datagram: &[u8]) -> io::Result<Answers> {
        self.socket.send(datagram)?;
        let mut answers = Answers::default();
        loop {
            match self.socket.receive(&mut self.buffer)? {
                Received::Nothing => return Ok(answers),
                Received::Lost => answers.lost = true,
                Received::Datagram(length) => {
                    for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                        match (message.kind, errno(message.body)) {
                            (NLMSG_ERROR, Some(0)) => answers.confirmed = true,
                            (NLMSG_ERROR, Some(error)) => {
                                answers.errors.push((message.sequence, error))
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    /// Asks one question that is no change; `each` gets the kind and the body of each message of the answer.
    pub fn ask(
        &mut self,
        question: impl FnOnce(&mut Writer),
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let mut writer = Writer::default();
        question(&mut writer);
        self.socket.send(writer.as_bytes())?;
        loop {
            match self.socket.receive(&mut self.buffer)? {
                Received::Nothing => return Ok(()),
                Received::Lost => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
                Received::Datagram(length) => {
                    for message in messages(self.buffer.get(..length).unwrap_or_default()) {
                        match (message.kind, errno(message.body)) {
                            (NLMSG_DONE, _) | (NLMSG_ERROR, Some(0) | None) => {}
                            (NLMSG_ERROR, Some(error)) => {
                                return Err(io::Error::from_raw_os_error(error));
                            }
                            (kind, _) => each(kind, message.body),
                        }
                    }
                }
            }
        }
    }
}
