//! The sound of one call by hand: payloads as a test wants them, out and in, without a codec of ours.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the other side may be silent before its sound is over.
const OVER: Duration = Duration::from_millis(400);
/// How long it may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: usize = 12;

pub struct Sound {
    socket: UdpSocket,
    /// Where the other side speaks from.
    remote: Option<SocketAddr>,
}

impl Sound {
    pub fn listen(host: &str) -> Sound {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        Sound {
            socket,
            remote: None,
        }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// The payloads that come, in their order, until none comes any more. Each must be of this type.
    pub fn receive(&mut self, payload_type: u8) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        let mut packet = [0; 1500];
        let end = Instant::now() + PATIENCE;
        self.socket.set_read_timeout(Some(OVER)).unwrap();
        loop {
            match self.socket.recv_from(&mut packet) {
                Ok((length, from)) => {
                    self.remote = Some(from);
                    assert_eq!(packet[1] & 0x7f, payload_type, "another payload type");
                    payloads.push(packet[HEADER..length].to_vec());
                }
                Err(_) if payloads.is_empty() && Instant::now() < end => {}
                Err(_) => return payloads,
            }
        }
    }

    /// Sends payloads at the pace of speech; those for which `is_lost` are not sent.
    pub fn send(
        &self,
        payload_type: u8,
        payloads: &[Vec<u8>],
        samples: u32,
        is_lost: impl Fn(usize) -> bool,
    ) {
        let remote = self.remote.expect("the other side has not spoken");
        let start = Instant::now();
        for (at, payload) in payloads.iter().enumerate() {
            let number = u32::try_from(at).unwrap();
            let due = start + Duration::from_micros(u64::from(number * samples) * 125);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if is_lost(at) {
                continue;
            }
            let mut packet = vec![0x80, payload_type | if at == 0 { 0x80 } else { 0 }];
            packet.extend(u16::try_from(at + 1000).unwrap().to_be_bytes());
            packet.extend((number * samples).to_be_bytes());
            packet.extend(0x5157_4854_u32.to_be_bytes());
            packet.extend(payload);
            self.socket.send_to(&packet, remote).unwrap();
        }
    }
}
