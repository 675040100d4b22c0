//! Looks at the folder of sockets and turns what changed in it into generations.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mecha_plugin_host::{Change, Generation, GenerationNumbers, PluginIdentity, PluginSink, Refusal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::offer::{name_of, plugin};
use crate::peer::Peer;

/// How long after a change in the folder it is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A process that has made its socket answers soon, or does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The folder, and what was found in it.
pub struct Sockets {
    folder: PathBuf,
    numbers: GenerationNumbers,
    sink: Arc<dyn PluginSink>,
    known: BTreeMap<PathBuf, Known>,
}

/// A socket, as it was found last.
struct Known {
    stamp: Stamp,
    /// Told what it serves; until then it is asked at every look.
    answered: bool,
    /// That it cannot be used was said.
    reported: bool,
    current: Option<Arc<Generation>>,
}

/// Tells a socket from one that was made later in its place: a process that starts again makes its own.
type Stamp = (u64, i64, i64);

/// What a socket's process said of itself.
type Answer = Result<Vec<String>, String>;

impl Sockets {
    /// Nothing was looked at yet. A folder that is not there is an empty one. The generations get their numbers from
    /// `numbers`, and what their components report goes to `sink`.
    pub fn new(folder: PathBuf, numbers: GenerationNumbers, sink: Arc<dyn PluginSink>) -> Self {
        Self { folder, numbers, sink, known: BTreeMap::new() }
    }

    /// Looks once, and asks whoever is new what it serves.
    pub async fn look(&mut self) -> Vec<Change> {
        let present = self.present();
        let mut changes = self.forget_missing(&present);
        let unanswered = present.into_iter().filter(|(socket, stamp)| !self.has_answered(socket, *stamp));
        let asked = join_all(unanswered.map(|(socket, stamp)| async move {
            let peer = Peer::at(&socket);
            let answer = ask(&peer).await;
            (socket, stamp, peer, answer)
        }));
        for (socket, stamp, peer, answer) in asked.await {
            changes.extend(self.take(socket, stamp, &peer, answer));
        }
        changes
    }

    fn present(&self) -> BTreeMap<PathBuf, Stamp> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let socket = |entry: fs::DirEntry| {
            let data = entry.metadata().ok().filter(|data| data.file_type().is_socket())?;
            Some((entry.path(), (data.ino(), data.ctime(), data.ctime_nsec())))
        };
        entries.filter_map(socket).collect()
    }

    fn forget_missing(&mut self, present: &BTreeMap<PathBuf, Stamp>) -> Vec<Change> {
        let gone: Vec<_> =
            self.known.keys().filter(|socket| !present.contains_key(*socket)).cloned().collect();
        let forgotten = gone.iter().filter_map(|socket| self.known.remove(socket)?.current);
        forgotten.map(|generation| Change::Removed { generation }).collect()
    }

    fn has_answered(&self, socket: &Path, stamp: Stamp) -> bool {
        self.known.get(socket).is_some_and(|known| known.stamp == stamp && known.answered)
    }

    fn take(&mut self, socket: PathBuf, stamp: Stamp, peer: &Peer, answer: Answer) -> Option<Change> {
        let before = self.known.remove(&socket);
        let was_reported = before.as_ref().is_some_and(|known| known.stamp == stamp && known.reported);
        let current = before.and_then(|known| known.current);
        let answered = answer.is_ok();
        let (change, current) = match self.generation(&socket, peer, answer) {
            Ok(generation) => {
                let change = Change::Loaded { generation: generation.clone(), replaces: current };
                (Some(change), Some(generation))
            }
            Err(reason) => {
                let keeps = current.clone();
                let told = (!was_reported).then(|| Change::Refused { path: socket.clone(), reason, keeps });
                (told, current)
            }
        };
        self.known.insert(socket, Known { stamp, answered, reported: true, current });
        change
    }

    fn generation(&self, socket: &Path, peer: &Peer, answer: Answer) -> Result<Arc<Generation>, Refusal> {
        let services = answer.map_err(Refusal::Start)?;
        let name = name_of(socket);
        let plugin = plugin(&name, peer, &services).ok_or_else(|| {
            Refusal::Start(format!("it serves no building block, only {}", services.join(", ")))
        })?;
        let identity = PluginIdentity {
            name,
            version: plugin.describe().version.into(),
            file: socket.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: String::new(),
            generation: self.numbers.next(),
        };
        Generation::elsewhere(plugin, identity, socket.to_path_buf(), self.sink.clone())
    }
}

async fn ask(peer: &Peer) -> Answer {
    match timeout(ANSWER_WITHIN, peer.services()).await {
        Ok(Ok(services)) => Ok(services),
        Ok(Err(status)) => Err(format!("it does not say what it serves: {}", explained(&status))),
        Err(_) => Err(format!("it does not answer within {ANSWER_WITHIN:?}")),
    }
}

/// The message, with the cause where the connection itself failed.
fn explained(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Reports changes until the receiver is gone.
pub async fn watch(mut sockets: Sockets, changes: mpsc::Sender<Vec<Change>>) {
    loop {
        tokio::select! {
            () = changes.closed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let found = sockets.look().await;
        if !found.is_empty() && changes.send(found).await.is_err() {
            return;
        }
    }
}
