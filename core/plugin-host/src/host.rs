//! Looks at the plugin directories and turns what changed in them into generations.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::image::Image;
use crate::inspect::identity_of;
use crate::library::Library;
use crate::private::PrivateFolder;
use crate::{Generation, PluginSink, Refusal};

/// Where plugins lie and when a file counts as written.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Plugin directories; of two plugins that offer the same type the one in the earlier directory serves it.
    pub directories: Vec<PathBuf>,
    /// How long a file must not have changed before it is read.
    pub settle: Duration,
}

/// Something that happened to a file.
pub enum Change {
    /// A new generation is ready to open components.
    Loaded {
        /// The new generation.
        generation: Arc<Generation>,
        /// The one that the same file held before.
        replaces: Option<Arc<Generation>>,
    },
    /// The file is gone.
    Removed {
        /// What it held.
        generation: Arc<Generation>,
    },
    /// The file cannot be used.
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, in one line.
        reason: Refusal,
        /// What the same file held before; it stays.
        keeps: Option<Arc<Generation>>,
    },
}

/// What identifies a version of a file without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

struct KnownFile {
    stamp: Stamp,
    seen_since: Instant,
    handled: bool,
    current: Option<Arc<Generation>>,
}

/// Counts the generations of one runtime, whatever carries them.
#[derive(Debug, Clone, Default)]
pub struct GenerationNumbers(Arc<AtomicU64>);

impl GenerationNumbers {
    /// The next number, from 1.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Owns the private copies and the mapped libraries of one runtime.
pub struct PluginHost {
    config: HostConfig,
    sink: Arc<dyn PluginSink>,
    copies: PrivateFolder,
    /// Mapped libraries by content: the same content is never mapped twice.
    libraries: HashMap<String, Library>,
    files: BTreeMap<(usize, PathBuf), KnownFile>,
    numbers: GenerationNumbers,
}

impl PluginHost {
    /// A host that has looked at nothing yet.
    ///
    /// # Errors
    /// When no private folder can be made in the system's temporary directory.
    pub fn new(config: HostConfig, sink: Arc<dyn PluginSink>) -> std::io::Result<Self> {
        let copies = PrivateFolder::new()?;
        Ok(Self {
            config,
            sink,
            copies,
            libraries: HashMap::new(),
            files: BTreeMap::new(),
            numbers: GenerationNumbers::default(),
        })
    }

    /// Where its generations get their numbers.
    pub fn numbers(&self) -> &GenerationNumbers {
        &self.numbers
    }

    /// The directories that it looks at.
    pub fn directories(&self) -> &[PathBuf] {
        &self.config.directories
    }

    /// How many distinct libraries are mapped; each stays until the process ends.
    pub fn mapped_libraries(&self) -> usize {
        self.libraries.len()
    }

    /// Looks once: loads what is new and settled, reports what is gone. Blocks while it reads and maps files.
    ///
    /// Gives the changes, and how long until a file that is not yet settled should be looked at again.
    pub fn scan(&mut self) -> (Vec<Change>, Option<Duration>) {
        let present = self.present_files();
        let mut changes = self.forget_missing(&present);
        let mut look_again: Option<Duration> = None;
        for (key, stamp) in present {
            match self.settled_in(&key, stamp) {
                Some(Duration::ZERO) => changes.extend(self.take(&key)),
                Some(wait) => look_again = Some(look_again.map_or(wait, |earlier| earlier.min(wait))),
                None => {}
            }
        }
        (changes, look_again)
    }

    fn present_files(&self) -> BTreeMap<(usize, PathBuf), Stamp> {
        let mut present = BTreeMap::new();
        for (index, directory) in self.config.directories.iter().enumerate() {
            // A directory that does not exist yet is an empty one.
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let Some(stamp) = is_library_name(&path).then(|| stamp(&path)).flatten() else { continue };
                present.insert((index, path), stamp);
            }
        }
        present
    }

    fn forget_missing(&mut self, present: &BTreeMap<(usize, PathBuf), Stamp>) -> Vec<Change> {
        let missing: Vec<_> = self.files.keys().filter(|key| !present.contains_key(*key)).cloned().collect();
        let forgotten = missing.iter().filter_map(|key| self.files.remove(key)?.current);
        forgotten.map(|generation| Change::Removed { generation }).collect()
    }

    /// Zero when the file should be taken now, a wait when it may still be changing, `None` when it was handled.
    fn settled_in(&mut self, key: &(usize, PathBuf), stamp: Stamp) -> Option<Duration> {
        let now = Instant::now();
        let file = self.files.entry(key.clone()).or_insert(KnownFile {
            stamp,
            seen_since: now,
            handled: false,
            current: None,
        });
        if file.stamp != stamp {
            (file.stamp, file.seen_since, file.handled) = (stamp, now, false);
        }
        if file.handled {
            return None;
        }
        let age = stamp.modified.and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
        let quiet = age.max(file.seen_since.elapsed());
        Some(self.config.settle.saturating_sub(quiet))
    }

    fn take(&mut self, key: &(usize, PathBuf)) -> Option<Change> {
        let file = self.files.get_mut(key)?;
        file.handled = true;
        let before = file.current.clone();
        let (directory, path) = key;
        match self.load(*directory, path, before.as_deref()) {
            Ok(None) => None,
            Ok(Some(generation)) => {
                if let Some(file) = self.files.get_mut(key) {
                    file.current = Some(generation.clone());
                }
                Some(Change::Loaded { generation, replaces: before })
            }
            Err(reason) => Some(Change::Refused { path: path.clone(), reason, keeps: before }),
        }
    }

    /// `None` when the content is what is running already.
    fn load(
        &mut self,
        directory: usize,
        path: &Path,
        running: Option<&Generation>,
    ) -> Result<Option<Arc<Generation>>, Refusal> {
        let image = Image::read(path)?;
        if running.is_some_and(|running| running.identity().sha256 == image.sha256()) {
            return Ok(None);
        }
        let library = self.library(&image)?;
        let identity = identity_of(&library, &image, path, self.numbers.next());
        let generation =
            Generation::start(&library, identity, path.to_owned(), directory, self.sink.clone())?;
        Ok(Some(generation))
    }

    fn library(&mut self, image: &Image) -> Result<Library, Refusal> {
        if let Some(library) = self.libraries.get(image.sha256()) {
            return Ok(library.clone());
        }
        let library = Library::load(&image.copy_into(self.copies.path())?)?;
        self.libraries.insert(image.sha256().to_owned(), library.clone());
        Ok(library)
    }
}

fn is_library_name(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|extension| extension == "so")
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Stamp { length: metadata.len(), modified: metadata.modified().ok(), inode: metadata.ino() })
}
