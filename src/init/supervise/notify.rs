//! Hearing the services on the notify socket, and keeping the descriptors that they ask us to keep.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Role, Supervisor};
use crate::init::flood::{Verdict, WINDOW};
use crate::init::notify::{Word, parse};
use crate::init::service::Event;
use crate::logd::syslog::{DEBUG, NOTICE, WARNING};
use crate::sys::process::ProcessHandle;
use crate::sys::socket::receive_notify;
use crate::units::spec::NotifyAccess;

/// How many datagrams are read before other events get their turn: a service may flood.
const BATCH: usize = 64;

impl Supervisor {
    pub(super) fn read_notify(&mut self) {
        for _ in 0..BATCH {
            let Some(datagram) = receive_notify(self.notify.as_raw_fd()) else {
                return;
            };
            let Some(index) = self.speaker(Pid::from_raw(datagram.sender)) else {
                let text = format!("process {} may not notify; ignored", datagram.sender);
                self.say_of_notify(DEBUG, &text);
                continue;
            };
            self.hear(index, &parse(&datagram.text), datagram.descriptors);
        }
    }

    /// The service for which this process may speak, by the unit's `NotifyAccess=`.
    fn speaker(&self, pid: Pid) -> Option<usize> {
        let role = self.roles.get(&pid.as_raw()).copied();
        let allowed = |index: usize, at_least: &[NotifyAccess]| {
            let unit = self.units.get(index)?;
            at_least.contains(&unit.spec.notify_access).then_some(index)
        };
        match role {
            Some(Role::Main(index)) => allowed(
                index,
                &[NotifyAccess::Main, NotifyAccess::Exec, NotifyAccess::All],
            ),
            Some(
                Role::Drain(index)
                | Role::Reload(index)
                | Role::Probe(index)
                | Role::Stage(index)
                | Role::Check(index)
                | Role::Control { index, .. },
            ) => allowed(index, &[NotifyAccess::Exec, NotifyAccess::All]),
            Some(Role::Hook | Role::Trial | Role::Cut) => None,
            // Only worth the look at the process when some unit lets all of its processes speak.
            None => self.units.iter().find_map(|unit| {
                let index = allowed(unit.index, &[NotifyAccess::All])?;
                let is_its = self.containment.marks(pid, index, &unit.spec.name);
                is_its.then_some(index)
            }),
        }
    }

    fn hear(&mut self, index: usize, words: &[Word], descriptors: Vec<OwnedFd>) {
        let name = words.iter().find_map(|word| match word {
            Word::DescriptorName(name) => Some(name.clone()),
            _ => None,
        });
        let mut descriptors = Some(descriptors);
        for word in words {
            match word {
                Word::Ready => {
                    self.read_outcome(index);
                    self.feed(index, Event::Ready);
                }
                Word::Watchdog => self.feed(index, Event::Watchdog),
                Word::WatchdogTrigger => self.feed(index, Event::WatchdogFailed),
                Word::WatchdogInterval(interval) => {
                    self.feed(index, Event::WatchdogInterval(*interval));
                }
                Word::ExtendTimeout(more) => self.feed(index, Event::ExtendTimeout(*more)),
                Word::Status(text) => {
                    if let Some(unit) = self.units.get_mut(index) {
                        unit.status = Some(text.clone()).filter(|text| !text.is_empty());
                    }
                }
                Word::Reloading => self.tell_of(index, "reloads"),
                Word::Stopping => self.tell_of(index, "is stopping"),
                Word::MainPid(pid) => self.change_main(index, Pid::from_raw(*pid)),
                Word::StoreDescriptors => {
                    let name = name.clone().unwrap_or("stored".to_owned());
                    self.store(index, &name, descriptors.take().unwrap_or_default());
                }
                Word::RemoveDescriptors => {
                    if let (Some(unit), Some(name)) = (self.units.get_mut(index), &name) {
                        unit.store.retain(|(stored, _)| stored != name);
                    }
                }
                // The sender waits for its descriptor to be closed: that happens when this datagram is
                // dropped, after everything before it was heard.
                Word::Barrier | Word::DescriptorName(_) => {}
            }
        }
    }

    /// The descriptor on which the service at `index` will write that it is ready.
    pub(super) fn notification(&self, index: usize) -> Option<RawFd> {
        Some(self.units.get(index)?.notification.as_ref()?.as_raw_fd())
    }

    /// A newline on the notification descriptor is readiness (s6's notification-fd); all else means nothing.
    pub(super) fn read_notification(&mut self, fd: RawFd) -> bool {
        let index = (0..self.units.len()).find(|index| self.notification(*index) == Some(fd));
        let Some(unit) = index.and_then(|index| self.units.get_mut(index)) else {
            return false;
        };
        let mut buffer = [0u8; 512];
        let length = unit
            .notification
            .as_ref()
            .map_or(Ok(0), |fd| nix::unistd::read(fd, &mut buffer));
        let is_ready = match length {
            Ok(length @ 1..) => buffer.iter().take(length).any(|byte| *byte == b'\n'),
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Ok(0) | Err(_) => {
                let index = unit.index;
                self.close_notification(index);
                return true;
            }
        };
        if is_ready {
            let index = unit.index;
            self.close_notification(index);
            self.read_outcome(index);
            self.feed(index, Event::Ready);
        }
        true
    }

    /// Taken out of the epoll first, as `read_outcome` says.
    pub(super) fn close_notification(&mut self, index: usize) {
        let unit = self.units.get_mut(index);
        if let Some(fd) = unit.and_then(|unit| unit.notification.take()) {
            let _ = self.epoll.delete(fd);
        }
    }

    fn tell_of(&mut self, index: usize, what: &str) {
        let name = self.name(index);
        self.say_of_notify(DEBUG, &format!("{name}: {what}"));
    }

    /// Says what a service's word is worth saying, but does not let a flood of words drown the other lines.
    fn say_of_notify(&mut self, severity: u8, text: &str) {
        match self.notify_flood.judge(self.clock.elapsed()) {
            Verdict::Say => self.journal.say(severity, text),
            Verdict::SayEnough => {
                let seconds = WINDOW.as_secs();
                let last = format!(
                    "the notify socket is flooded (last: {text}); nothing more is said of it for {seconds} s"
                );
                self.journal.say(WARNING, last);
            }
            Verdict::Silence => {}
        }
    }

    /// The service names another of its processes as its main one, after a fork of its own.
    fn change_main(&mut self, index: usize, pid: Pid) {
        let name = self.name(index);
        let is_its = self.containment.marks(pid, index, &name);
        let known = self.roles.contains_key(&pid.as_raw());
        let Ok(handle) = ProcessHandle::open(pid) else {
            return;
        };
        if known || !is_its {
            if !known {
                let text = format!("{name}: MAINPID={pid} is not a process of its own; ignored");
                self.say_of_notify(WARNING, &text);
            }
            return;
        }
        if let Some(unit) = self.units.get_mut(index) {
            if let Some((old, _)) = unit.process.replace((pid, handle)) {
                self.roles.remove(&old.as_raw());
            }
            self.roles.insert(pid.as_raw(), Role::Main(index));
            let text = format!("{name}: its main process is {pid} now");
            self.say_of_notify(NOTICE, &text);
        }
    }

    fn store(&mut self, index: usize, name: &str, descriptors: Vec<OwnedFd>) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let most = usize::try_from(unit.spec.descriptor_store).unwrap_or(usize::MAX);
        let room = most.saturating_sub(unit.store.len());
        let refused = descriptors.len().saturating_sub(room);
        let kept = descriptors.into_iter().take(room);
        unit.store.extend(kept.map(|fd| (name.to_owned(), fd)));
        if refused > 0 {
            let text = format!(
                "{}: {refused} descriptors were not stored (FileDescriptorStoreMax={most})",
                unit.spec.name
            );
            self.say_of_notify(WARNING, &text);
        }
    }
}
