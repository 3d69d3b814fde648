//! The ledger's file: a line for each state, of which the last whole one counts.
//!
//! A line is the kernel's when [`Journal::save`] returns, so it outlives the container. A thread brings it to the disk
//! behind that: a disk takes longer than the end of a model's answer may be held up.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use parking_lot::Mutex;

use super::ledger::Saved;
use super::{OpenRecord, WriteLedger};

const NAME: &str = "ledger.jsonl";

/// The file is begun anew when it would become longer than this; some ten thousand states fit.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    tail: Mutex<Tail>,
    disk: Disk,
}

/// Where the next line goes.
#[derive(Debug)]
struct Tail {
    file: Arc<File>,
    length: u64,
}

/// The thread that syncs, and what went wrong there.
#[derive(Debug)]
struct Disk {
    queue: Sender<Arc<File>>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

/// The last state in `folder`. What follows it was cut short when the node lost its power.
pub fn load(folder: &Path) -> Result<Option<Saved>, OpenRecord> {
    let path = folder.join(NAME);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenRecord::ReadLedger { path, source }),
    };
    let mut first_error = None;
    for line in text
        .split(|byte| *byte == b'\n')
        .rev()
        .filter(|line| !line.is_empty())
    {
        match serde_json::from_slice(line) {
            Ok(saved) => return Ok(Some(saved)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(None), |source| Err(OpenRecord::ParseLedger { path, source }))
}

impl Journal {
    /// Begins the file in `folder` anew, with `saved` as its only line.
    pub fn begin(folder: &Path, saved: &Saved) -> Result<Self, WriteLedger> {
        let path = folder.join(NAME);
        let begun = line(saved).and_then(|line| Ok((Tail::begin(&path, &line)?, Disk::start()?)));
        match begun {
            Ok((tail, disk)) => Ok(Self {
                path,
                tail: Mutex::new(tail),
                disk,
            }),
            Err(source) => Err(WriteLedger { path, source }),
        }
    }

    /// Adds a state.
    pub fn save(&self, saved: &Saved) -> Result<(), WriteLedger> {
        self.add(saved).map_err(|source| WriteLedger {
            path: self.path.clone(),
            source,
        })
    }

    fn add(&self, saved: &Saved) -> io::Result<()> {
        self.disk.check()?;
        let line = line(saved)?;
        let mut tail = self.tail.lock();
        if tail.length + length(&line) > MOST_BYTES {
            *tail = Tail::begin(&self.path, &line)?;
            return Ok(());
        }
        tail.add(&line)?;
        self.disk.sync(&tail.file)
    }
}

impl Tail {
    /// Replaces the file as a whole, so that at no moment there is none.
    fn begin(path: &Path, line: &[u8]) -> io::Result<Self> {
        let next = path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(line)?;
        file.sync_data()?;
        // The folder is not synced: a node that loses power takes the pod with it.
        std::fs::rename(&next, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self {
            file: Arc::new(file),
            length: length(line),
        })
    }

    /// A line that does not fit is taken back, so that the next one does not stand behind half of it.
    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if let Err(error) = (&*self.file).write_all(line) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += length(line);
        Ok(())
    }
}

impl Disk {
    fn start() -> io::Result<Self> {
        let (queue, files) = mpsc::channel::<Arc<File>>();
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let sync = move || {
            for file in files {
                if let Err(error) = file.sync_data() {
                    told.lock().get_or_insert(error);
                }
            }
        };
        thread::Builder::new().name("ledger".to_owned()).spawn(sync)?;
        Ok(Self { queue, failure })
    }

    fn sync(&self, file: &Arc<File>) -> io::Result<()> {
        let sent = self.queue.send(Arc::clone(file));
        sent.map_err(|_| io::Error::other("the thread that syncs the ledger has ended"))
    }

    /// A disk that failed once is not written to again: what it lost is not known.
    fn check(&self) -> io::Result<()> {
        match &*self.failure.lock() {
            None => Ok(()),
            Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

fn line(saved: &Saved) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(saved)?;
    line.push(b'\n');
    Ok(line)
}

fn length(line: &[u8]) -> u64 {
    line.len() as u64
}

#[cfg(test)]
mod tests {
    use gastown_api::evidence::Evidence;

    use super::*;

    fn state(number: u64) -> Saved {
        Saved {
            evidence: Evidence::starting(1),
            unparked_millis: number,
            parked_millis: 0,
        }
    }

    fn loaded(folder: &Path) -> Option<u64> {
        load(folder).unwrap().map(|saved| saved.unparked_millis)
    }

    #[test]
    fn the_last_whole_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(loaded(folder.path()), None);
        let journal = Journal::begin(folder.path(), &state(1)).unwrap();
        assert_eq!(loaded(folder.path()), Some(1));
        journal.save(&state(2)).unwrap();
        journal.save(&state(3)).unwrap();
        assert_eq!(loaded(folder.path()), Some(3));
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for cut in [&whole[..whole.len() - 5], &[&whole[..], b"{\"evi\0\0\0"].concat()] {
            std::fs::write(&path, cut).unwrap();
            let last = if cut.len() < whole.len() { 2 } else { 3 };
            assert_eq!(loaded(folder.path()), Some(last));
        }
    }

    #[test]
    fn a_long_journal_begins_anew_with_its_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::begin(folder.path(), &state(1)).unwrap();
        journal.tail.lock().length = MOST_BYTES;
        journal.save(&state(2)).unwrap();
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!((text.lines().count(), loaded(folder.path())), (1, Some(2)));
        journal.save(&state(3)).unwrap();
        assert_eq!(loaded(folder.path()), Some(3));
    }

    #[test]
    fn after_a_disk_that_failed_nothing_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::begin(folder.path(), &state(1)).unwrap();
        // What cannot be synced: the kernel refuses it for a pipe.
        let (_, pipe) = io::pipe().unwrap();
        let pipe = Arc::new(File::from(std::os::fd::OwnedFd::from(pipe)));
        journal.disk.sync(&pipe).unwrap();
        while journal.disk.check().is_ok() {
            thread::yield_now();
        }
        let error = journal.save(&state(2)).unwrap_err();
        assert!(error.to_string().contains(NAME), "{error}");
        assert_eq!(loaded(folder.path()), Some(1));
    }
}
