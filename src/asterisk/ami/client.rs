//! The connection to Asterisk's manager: login, what it says, what it is asked, and how it is had again when it is lost.
//!
//! It waits for events and never for an answer: answers come when they come, each with the number of its question. It does
//! not know what its owner asks for. Invariant: nothing is believed that comes without the ActionID of our own question, and
//! no text of a stranger makes us say anything to the manager.

use std::collections::VecDeque;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::action::{Action, Refused};
use super::event::SecurityEvent;
use super::frame::{Frame, Framer, Hostile, Lines};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Between attempts when the secret is refused: Asterisk tells the log of each.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);
const PING: Duration = Duration::from_secs(10);
/// How long a connection, an answer to the login or to a ping may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes that are read before anything else has its turn: some thousand events.
const TURN: usize = 1 << 20;
/// Questions that are open at once; more wait. They fit the socket's buffer.
const OPEN: usize = 64;

/// Where the manager is and who we are there.
#[derive(Clone)]
pub struct Door {
    pub server: String,
    pub port: u16,
    pub username: String,
    pub secret: String,
    /// The classes of events that are wanted, such as `security,system`.
    pub events: &'static str,
}

/// What the connection has to tell.
pub enum News<'a> {
    Security(SecurityEvent<'a>),
    Hostile(Hostile),
    /// An event of another kind, or an answer to nothing.
    Other(Lines<'a>),
    /// The answer to the question of this number.
    Answer(u64, Lines<'a>),
    /// Events come from now on, and questions are asked.
    Connected,
    /// It ended, or never came about.
    Lost(String),
    /// The manager does not let us in; its words.
    Denied(String),
}

/// Writes an action under the ActionID that it is given.
pub type Question = Box<dyn FnOnce(&str) -> Result<Action, Refused> + Send>;

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum State {
    /// Until then nothing happens.
    Resting(Instant),
    Connecting(Attempt, Door),
    Arrived(io::Result<TcpStream>, Door),
    Talking(Box<Talk>),
}

struct Talk {
    stream: TcpStream,
    framer: Framer,
    door: Door,
    /// Nobody can guess it; each question adds its number.
    id: String,
    asked: u64,
    stage: Stage,
    /// When an answer must be here, or the next ping is sent.
    due: Instant,
    /// What our owner asked and has had no answer to, by its number. It is answered whenever that is done: neither does it
    /// wait for a ping's answer, nor a ping for this one's.
    open: VecDeque<(u64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Challenged,
    LoggingIn,
    Listening,
    Pinged,
}

/// Why a conversation ends.
enum End {
    Lost(String),
    Denied(String),
}

/// The client.
pub struct Client {
    state: State,
    pause: Duration,
    buffer: Vec<u8>,
    /// To be asked as soon as there is somebody to be asked.
    questions: VecDeque<(u64, Question)>,
    asked: u64,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            state: State::Resting(Instant::now()),
            pause: FIRST_PAUSE,
            buffer: vec![0; 1 << 16],
            questions: VecDeque::new(),
            asked: 0,
        }
    }
}

impl Client {
    /// Begins anew, as with another configuration.
    pub fn restart(&mut self) {
        self.pause = FIRST_PAUSE;
        self.questions.clear();
        self.state = State::Resting(Instant::now());
    }

    /// Lets go of the connection, if there is one.
    pub fn rest(&mut self) {
        if !matches!(self.state, State::Resting(_)) {
            self.restart();
        }
    }

    /// Asks, now or when the connection is there, and gives the question's number. [`News::Answer`] tells what became of it,
    /// unless [`News::Lost`] or [`News::Denied`] comes before: then it is forgotten.
    pub fn ask(&mut self, question: Question) -> u64 {
        self.asked += 1;
        self.questions.push_back((self.asked, question));
        self.asked
    }

    /// Waits until `turn` has something to do. Can be given up at any time.
    pub async fn wait(&mut self) {
        match &mut self.state {
            State::Resting(until) => sleep_until(*until).await,
            State::Connecting(attempt, door) => {
                let arrived = attempt.await;
                let door = door.clone();
                self.state = State::Arrived(arrived, door);
            }
            State::Arrived(..) => {}
            State::Talking(talk) if !self.questions.is_empty() && talk.is_free() => {}
            State::Talking(talk) => {
                tokio::select! {
                    _ = talk.stream.readable() => {}
                    () = sleep_until(talk.due) => {}
                }
            }
        }
    }

    /// Does what is due. `door` is asked for when a connection is to be made.
    pub fn turn(
        &mut self,
        door: impl FnOnce() -> Result<Door, String>,
        tell: &mut impl FnMut(News<'_>),
    ) {
        let state = std::mem::replace(&mut self.state, State::Resting(Instant::now()));
        let end = match state {
            State::Resting(until) if until > Instant::now() => {
                self.state = State::Resting(until);
                return;
            }
            State::Resting(_) => match door() {
                Ok(door) => {
                    let (server, port) = (door.server.clone(), door.port);
                    let attempt = async move {
                        timeout(ANSWER, TcpStream::connect((server.as_str(), port))).await?
                    };
                    self.state = State::Connecting(Box::pin(attempt), door);
                    return;
                }
                Err(why) => End::Denied(why),
            },
            state @ State::Connecting(..) => {
                self.state = state;
                return;
            }
            State::Arrived(Ok(stream), door) => match Talk::begin(stream, door) {
                Ok(talk) => {
                    self.state = State::Talking(Box::new(talk));
                    return;
                }
                Err(e) => End::Lost(e.to_string()),
            },
            State::Arrived(Err(e), door) => {
                End::Lost(format!("{}:{}: {e}", door.server, door.port))
            }
            State::Talking(mut talk) => match talk
                .turn(&mut self.buffer, tell)
                .and_then(|()| talk.order(&mut self.questions))
            {
                Ok(()) => {
                    if talk.stage == Stage::Listening {
                        self.pause = FIRST_PAUSE;
                    }
                    self.state = State::Talking(talk);
                    return;
                }
                Err(end) => end,
            },
        };
        let pause = match &end {
            End::Lost(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                pause
            }
            End::Denied(_) => AFTER_REFUSAL,
        };
        self.questions.clear();
        self.state = State::Resting(Instant::now() + pause);
        tell(match end {
            End::Lost(why) => News::Lost(why),
            End::Denied(why) => News::Denied(why),
        });
    }
}

impl Talk {
    fn begin(stream: TcpStream, door: Door) -> io::Result<Talk> {
        let mut random = [0; 16];
        getrandom::getrandom(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Talk {
            stream,
            framer: Framer::new(),
            door,
            id,
            asked: 0,
            stage: Stage::Greeting,
            due: Instant::now() + ANSWER,
            open: VecDeque::new(),
        })
    }

    /// Whether one more question may be asked.
    fn is_free(&self) -> bool {
        matches!(self.stage, Stage::Listening | Stage::Pinged) && self.open.len() < OPEN
    }

    /// Asks what is to be asked, as far as that can be.
    fn order(&mut self, questions: &mut VecDeque<(u64, Question)>) -> Result<(), End> {
        while self.is_free()
            && let Some((number, question)) = questions.pop_front()
        {
            let id = format!("{}-q{number}", self.id);
            let action = question(&id);
            self.open.push_back((number, id));
            self.send(action)?;
        }
        Ok(())
    }

    /// Reads what is there, and asks what is due.
    fn turn(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(News<'_>)) -> Result<(), End> {
        let mut taken = 0;
        while taken < TURN {
            match self.stream.try_read(buffer) {
                Ok(0) => return Err(End::Lost("Asterisk closed the connection".to_owned())),
                Ok(count) => {
                    taken += count;
                    self.framer.feed(buffer.get(..count).unwrap_or_default());
                    self.frames(tell)?;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(End::Lost(e.to_string())),
            }
        }
        if Instant::now() < self.due {
            return Ok(());
        }
        match self.stage {
            Stage::Listening if taken > 0 => self.due = Instant::now() + PING,
            Stage::Listening => {
                self.ask(Action::ping)?;
                self.enter(Stage::Pinged);
            }
            _ => return Err(End::Lost("Asterisk does not answer".to_owned())),
        }
        Ok(())
    }

    fn frames(&mut self, tell: &mut impl FnMut(News<'_>)) -> Result<(), End> {
        // The framer is taken out, so that a frame and the rest of us can be used together.
        let mut framer = std::mem::take(&mut self.framer);
        let done = loop {
            let Some(frame) = framer.next() else {
                break Ok(());
            };
            let done = match frame {
                Frame::Banner(_) => {
                    let asked = self.ask(Action::challenge);
                    self.enter(Stage::Challenged);
                    asked
                }
                Frame::Security(event) => {
                    tell(News::Security(event));
                    Ok(())
                }
                Frame::Hostile(hostile) if self.stage == Stage::Greeting => Err(End::Lost(
                    format!("that is no manager interface: {}", hostile.suspicion.word()),
                )),
                Frame::Hostile(hostile) => {
                    tell(News::Hostile(hostile));
                    Ok(())
                }
                Frame::Other(lines) => self.other(&lines, tell),
            };
            if done.is_err() {
                break done;
            }
        };
        self.framer = framer;
        done
    }

    fn other(&mut self, lines: &Lines<'_>, tell: &mut impl FnMut(News<'_>)) -> Result<(), End> {
        let text = |header| {
            let value = lines.get(header).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let response = lines.value(0, b"Response");
        let id = lines.get("ActionID");
        let is_of = |(_, open): &(u64, String)| response.is_some() && id == Some(open.as_bytes());
        if let Some(at) = self.open.iter().position(is_of) {
            if let Some((number, _)) = self.open.remove(at) {
                tell(News::Answer(number, *lines));
            }
            return Ok(());
        }
        let expected = format!("{}-{}", self.id, self.asked);
        let is_ours = id == Some(expected.as_bytes());
        let Some(response) = response.filter(|_| is_ours) else {
            tell(News::Other(*lines));
            return Ok(());
        };
        match (self.stage, response == b"Success") {
            (Stage::Challenged, true) => {
                let challenge = text("Challenge");
                let (user, secret) = (self.door.username.clone(), self.door.secret.clone());
                let events = self.door.events;
                self.ask(|id| Action::login_md5(id, &user, &challenge, &secret, events))?;
                self.enter(Stage::LoggingIn);
            }
            (Stage::LoggingIn, true) => {
                self.enter(Stage::Listening);
                tell(News::Connected);
            }
            (Stage::Challenged | Stage::LoggingIn, false) => {
                return Err(End::Denied(text("Message")));
            }
            (Stage::Pinged, _) => self.enter(Stage::Listening),
            (Stage::Greeting | Stage::Listening, _) => {}
        }
        Ok(())
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        let after = if stage == Stage::Listening {
            PING
        } else {
            ANSWER
        };
        self.due = Instant::now() + after;
    }

    /// Sends one question. It fits the socket's buffer, or the connection is no good.
    fn ask(&mut self, action: impl FnOnce(&str) -> Result<Action, Refused>) -> Result<(), End> {
        self.asked += 1;
        let action = action(&format!("{}-{}", self.id, self.asked));
        self.send(action)
    }

    fn send(&mut self, action: Result<Action, Refused>) -> Result<(), End> {
        let bytes = action.map_err(|e| End::Denied(e.to_string()))?.into_bytes();
        match self.stream.try_write(&bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err(End::Lost("Asterisk does not read".to_owned())),
            Err(e) => Err(End::Lost(e.to_string())),
        }
    }
}
