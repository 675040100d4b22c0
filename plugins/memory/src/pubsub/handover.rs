//! Gives what one copy of the plugin still holds to the copy that replaces it.
//!
//! Two versions of a library share no memory that either could name, so they meet at a socket: a component listens at an
//! abstract address made of the process, the folder that its host loads libraries from, the application and its own name. A
//! component that finds somebody there is the successor. It learns the groups at once, so that nothing published to it is
//! dropped before their subscriptions are opened again, and then gets each group's messages when its last subscription on the
//! old side is closed. Who connects must be this very process.

mod frame;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mecha_plugin_api::ComponentSpec;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use self::frame::Frame;
use super::bus::{Bus, GroupId};

/// How often the old side looks whether another group can go.
const LOOK: Duration = Duration::from_millis(20);
/// How long the successor waits for the list of groups; it comes at once or never.
const GREETING: Duration = Duration::from_secs(2);

/// Where the copies of one component meet.
#[derive(Clone)]
pub(crate) struct Address(String);

impl Address {
    /// The address of a component of this process and of the host that loaded this library.
    pub(crate) fn of(spec: &ComponentSpec) -> Self {
        Self::in_folder(&library_folder(), spec)
    }

    pub(crate) fn in_folder(folder: &Path, spec: &ComponentSpec) -> Self {
        // Processes of two containers may have one number and still share a network.
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
        let mut hasher = DefaultHasher::new();
        (folder, spec.app_id.as_str(), spec.name.as_str()).hash(&mut hasher);
        let (process, component) = (std::process::id(), hasher.finish());
        Self(format!("\0mecha-pubsub.in-memory/1/{namespace}/{process}/{component:016x}"))
    }
}

#[cfg(test)]
impl Address {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// The folder of the file that this code was mapped from.
fn library_folder() -> PathBuf {
    let here = library_folder as fn() -> PathBuf as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let line = maps.lines().find(|line| covers(line, here)).unwrap_or_default();
    let path = line.find('/').map(|slash| PathBuf::from(&line[slash..])).unwrap_or_default();
    path.parent().map(PathBuf::from).unwrap_or_default()
}

/// Whether a line of `/proc/self/maps` is about the address.
fn covers(line: &str, address: usize) -> bool {
    let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
    let number = |text| usize::from_str_radix(text, 16).ok();
    let range = range.and_then(|(from, to)| Some(number(from)?..number(to)?));
    range.is_some_and(|range| range.contains(&address))
}

/// Takes over from a predecessor, if there is one, and stands ready for a successor.
pub(crate) async fn start(bus: Arc<Bus>, address: Address) {
    if let Some(taking) = greet(&bus, &address).await {
        tokio::spawn(taking.run(bus.clone()));
    }
    tokio::spawn(stand_ready(bus, address));
}

/// The successor's side.
struct Taking {
    from: BufReader<UnixStream>,
    groups: HashMap<u64, GroupId>,
}

/// Meets the predecessor and learns its groups.
async fn greet(bus: &Bus, address: &Address) -> Option<Taking> {
    let stream = UnixStream::connect(&address.0).await.ok().filter(is_own_process)?;
    bus.take_over();
    let mut taking = Taking { from: BufReader::new(stream), groups: HashMap::new() };
    let greeted = tokio::time::timeout(GREETING, taking.learn_groups(bus)).await;
    if !matches!(greeted, Ok(Ok(()))) {
        tracing::warn!("the replaced copy of the component did not tell its subscriptions");
    }
    Some(taking)
}

impl Taking {
    async fn learn_groups(&mut self, bus: &Bus) -> std::io::Result<()> {
        while let Some(frame) = Frame::read(&mut self.from).await? {
            if let Frame::EndOfGroups = frame {
                break;
            }
            self.take(bus, frame);
        }
        Ok(())
    }

    async fn run(mut self, bus: Arc<Bus>) {
        let mut messages = 0_u64;
        let ended = loop {
            let read = tokio::select! {
                biased;
                // It was opened in vain: what is left stays with the predecessor.
                () = bus.abandoned() => return,
                read = Frame::read(&mut self.from) => read,
            };
            match read {
                Ok(Some(frame)) => messages += u64::from(self.take(&bus, frame)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        bus.taken_over();
        match ended {
            Ok(()) => tracing::debug!(messages, "took over from the replaced copy of the component"),
            Err(error) => {
                tracing::error!(messages, %error, "messages of the replaced copy of the component were lost")
            }
        }
    }

    /// Gives whether it was a message.
    fn take(&mut self, bus: &Bus, frame: Frame) -> bool {
        match frame {
            Frame::Group { id, topic, consumer } => {
                self.groups.insert(id, bus.expect_group(&topic, consumer.as_deref()));
                false
            }
            Frame::EndOfGroups => false,
            Frame::Message { group, entry } => {
                if let Some(group) = self.groups.get(&group) {
                    bus.restore(*group, entry);
                }
                true
            }
        }
    }
}

/// Waits for a successor for as long as the component is open, and gives everything to it.
async fn stand_ready(bus: Arc<Bus>, address: Address) {
    while let Some(listener) = listen(&bus, &address).await {
        let Some(successor) = accept(&bus, &listener).await else { return };
        // Gone before the successor hears from us, which takes the address over then.
        drop(listener);
        bus.hand_over();
        let handed_over = {
            let bus = bus.clone();
            // A blocking task: the plugin's runtime waits for such when it is shut down.
            tokio::task::spawn_blocking(move || hand_over(&bus, successor)).await
        };
        match handed_over {
            Ok(true) => return,
            Ok(false) => bus.not_handed_over(),
            Err(error) => tracing::error!(%error, "handing over ended abnormally"),
        }
    }
}

/// Takes the address as soon as it is free; `None` when the component is closed.
async fn listen(bus: &Bus, address: &Address) -> Option<UnixListener> {
    while !bus.is_closed() {
        match UnixListener::bind(&address.0) {
            Ok(listener) => return Some(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::time::sleep(LOOK).await,
            Err(error) => {
                tracing::debug!(%error, "a replaced plugin cannot hand its messages over here");
                return None;
            }
        }
    }
    None
}

async fn accept(bus: &Bus, listener: &UnixListener) -> Option<BlockingStream> {
    loop {
        let stream = tokio::select! {
            biased;
            () = bus.closed() => return None,
            accepted = listener.accept() => accepted.ok().map(|(stream, _)| stream),
        };
        let Some(stream) = stream.filter(is_own_process) else { continue };
        let stream = stream.into_std().and_then(|stream| {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(LOOK))?;
            Ok(stream)
        });
        if let Ok(stream) = stream {
            return Some(stream);
        }
    }
}

fn is_own_process(stream: &UnixStream) -> bool {
    let own = i32::try_from(std::process::id()).ok();
    stream.peer_cred().is_ok_and(|peer| peer.pid().is_some() && peer.pid() == own)
}

/// Gives each group away when nobody reads it here any more. Gives no when the successor has gone: then everything stays.
fn hand_over(bus: &Bus, mut successor: BlockingStream) -> bool {
    let since = Instant::now();
    let mut told: Vec<GroupId> = Vec::new();
    let mut frames = Vec::new();
    for (id, topic, consumer) in bus.groups() {
        told.push(id);
        Frame::Group { id, topic, consumer }.write(&mut frames);
    }
    Frame::EndOfGroups.write(&mut frames);
    if successor.write_all(&frames).is_err() {
        return false;
    }
    loop {
        // Asked first: what is left after that was left for good.
        let is_finished = bus.is_finished();
        if !give(bus, &mut successor, &mut told, (!is_finished).then_some(since)) {
            return false;
        }
        if is_finished {
            return true;
        }
        match successor.read(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return false,
        }
    }
}

/// Gives away what was left since then, or all.
fn give(bus: &Bus, successor: &mut BlockingStream, told: &mut Vec<GroupId>, since: Option<Instant>) -> bool {
    let mut is_there = true;
    for left in bus.drain_left(since) {
        let mut frame = Vec::new();
        if !told.contains(&left.id) {
            told.push(left.id);
            Frame::Group { id: left.id, topic: left.topic, consumer: left.consumer }.write(&mut frame);
        }
        for entry in left.entries {
            if is_there {
                Frame::Message { group: left.id, entry: entry.clone() }.write(&mut frame);
                is_there = successor.write_all(&frame).is_ok();
                frame.clear();
            }
            if !is_there {
                bus.restore(left.id, entry);
            }
        }
    }
    is_there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_code_is_found() {
        let test = std::env::current_exe().unwrap();
        assert_eq!(library_folder(), test.parent().unwrap());
    }

    #[test]
    fn components_and_hosts_do_not_share_an_address() {
        let address = |folder: &str, name: &str| {
            let spec = ComponentSpec::new(name, "pubsub.in-memory", Default::default());
            Address::in_folder(Path::new(folder), &spec).0
        };
        assert_eq!(address("a", "x"), address("a", "x"));
        assert_ne!(address("a", "x"), address("b", "x"));
        assert_ne!(address("a", "x"), address("a", "y"));
        assert!(address("a", "x").len() < 100, "the kernel takes 107 bytes");
    }
}
