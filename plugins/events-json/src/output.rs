//! Where lines go, and what happens when they cannot.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::file::LogFile;

/// Complaints about the same output come no more often than this, and a rotation that failed is not tried before.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody moved the file away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

enum Target {
    Stdout,
    File(LogFile),
}

/// An output of whole lines. Time comes in as an argument.
pub(crate) struct Output {
    target: Target,
    rotate_bytes: u64,
    keep_files: u32,
    looked: Instant,
    rotate_not_before: Option<Instant>,
    complained: Option<Instant>,
    /// Why the last batch could not be written, or the file not rotated.
    trouble: Option<String>,
    /// Events lost that nobody was told of yet.
    lost: u64,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) lost: bool,
    /// To be logged.
    pub(crate) complaint: Option<String>,
}

impl Output {
    /// Opens it.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub(crate) fn open(config: &Config, now: Instant) -> Result<Self, String> {
        let target = match config.file.as_str() {
            "-" => Target::Stdout,
            path => Target::File(LogFile::open(Path::new(path))?),
        };
        Ok(Output {
            target,
            rotate_bytes: config.rotate_bytes,
            keep_files: config.keep_files,
            looked: now,
            rotate_not_before: None,
            complained: None,
            trouble: None,
            lost: 0,
        })
    }

    /// Writes the lines of `events` events, in one write where the system takes them in one.
    pub(crate) fn write(&mut self, lines: &[u8], events: u64, now: Instant) -> Written {
        self.trouble = None;
        let written = match &mut self.target {
            Target::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush()).map_err(|e| format!("standard output: {e}"))
            }
            Target::File(file) => {
                if now.saturating_duration_since(self.looked) >= LOOK_EVERY {
                    self.looked = now;
                    file.follow();
                }
                let larger = file.bytes().saturating_add(lines.len() as u64);
                let due = self.rotate_bytes > 0 && file.bytes() > 0 && larger > self.rotate_bytes;
                if due && self.rotate_not_before.is_none_or(|at| at <= now) {
                    self.rotate_not_before = None;
                    if let Err(e) = file.rotate(self.keep_files) {
                        self.rotate_not_before = Some(now + COMPLAIN_EVERY);
                        self.trouble = Some(format!("{e}; it grows beyond rotate_bytes until it can"));
                    }
                }
                file.append(lines)
            }
        };
        let lost = written.is_err();
        if let Err(e) = written {
            self.lost = self.lost.saturating_add(events);
            self.trouble = Some(format!("{e}; {} events are lost", self.lost));
        }
        Written { lost, complaint: self.complaint(now) }
    }

    fn complaint(&mut self, now: Instant) -> Option<String> {
        if self.complained.is_some_and(|at| now.saturating_duration_since(at) < COMPLAIN_EVERY) {
            return None;
        }
        let complaint = match &self.trouble {
            Some(trouble) => trouble.clone(),
            None if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                format!("events are written again; {lost} were lost")
            }
            None => return None,
        };
        self.complained = Some(now);
        Some(complaint)
    }

    /// Why it is not well, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Nothing waits in here but what standard output keeps.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        match &self.target {
            Target::Stdout => std::io::stdout().lock().flush().map_err(|e| format!("standard output: {e}")),
            Target::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    struct Fixture {
        dir: tempfile::TempDir,
        now: Instant,
        output: Output,
    }

    fn fixture(rotate_bytes: u64, keep_files: u32) -> Fixture {
        let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let config = config(&dir.path().join("e.json"), rotate_bytes, keep_files);
        Fixture { output: Output::open(&config, now).unwrap(), dir, now }
    }

    fn config(file: &Path, rotate_bytes: u64, keep_files: u32) -> Config {
        let json = serde_json::json!({"file": file, "rotate_bytes": rotate_bytes, "keep_files": keep_files});
        serde_json::from_value(json).unwrap()
    }

    impl Fixture {
        fn write(&mut self, lines: &str) -> Written {
            self.output.write(lines.as_bytes(), 1, self.now)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.dir.path().join(name)).ok()
        }

        /// As if the file were on the disk of `path`; `/dev/full` is a full one.
        fn move_to_disk(&mut self, path: &Path) {
            match &mut self.output.target {
                Target::File(file) => file.replace_handle(fs::File::options().append(true).open(path).unwrap()),
                Target::Stdout => unreachable!("the fixture writes a file"),
            }
        }
    }

    /// Guards rotation: whole batches, in order, no more files than told, and no line lost.
    #[test]
    fn rotates_at_batch_borders() {
        let mut f = fixture(10, 2);
        for batch in ["1111\n", "2222\n", "3333\n", "4444444444444\n", "5\n", "66\n"] {
            assert_eq!(f.write(batch), Written { lost: false, complaint: None });
        }
        assert_eq!(f.read("e.json").as_deref(), Some("5\n66\n"));
        assert_eq!(f.read("e.json.1").as_deref(), Some("4444444444444\n"));
        assert_eq!(f.read("e.json.2").as_deref(), Some("3333\n"));
        assert_eq!(f.read("e.json.3"), None);
    }

    /// Guards the two ends of the rotation's settings: never, and keeping nothing.
    #[test]
    fn rotates_never_or_keeps_nothing() {
        let (mut never, mut nothing) = (fixture(0, 2), fixture(4, 0));
        for f in [&mut never, &mut nothing] {
            f.write("1111\n");
            f.write("2222\n");
            assert_eq!(f.read("e.json.1"), None);
        }
        assert_eq!(never.read("e.json").as_deref(), Some("1111\n2222\n"));
        assert_eq!(nothing.read("e.json").as_deref(), Some("2222\n"));
    }

    /// Guards that events are kept when the file cannot be rotated, that it is said, and that it is tried again.
    #[test]
    fn writes_on_where_it_cannot_rotate() {
        let mut f = fixture(8, 1);
        fs::create_dir_all(f.dir.path().join("e.json.1/full")).unwrap();
        f.write("1111\n");
        let second = f.write("2222\n");
        assert!(!second.lost && second.complaint.is_some(), "{second:?}");
        assert!(f.output.trouble().is_some());
        assert_eq!(f.read("e.json").as_deref(), Some("1111\n2222\n"));
        fs::remove_dir_all(f.dir.path().join("e.json.1")).unwrap();
        f.now += COMPLAIN_EVERY;
        f.write("3333\n");
        assert_eq!(f.read("e.json").as_deref(), Some("3333\n"));
        assert_eq!(f.output.trouble(), None);
    }

    /// Guards a full disk: it is counted, said once in ten seconds, told by `health`, and over when it is over.
    #[test]
    fn a_full_disk_costs_events_and_nothing_else() {
        let mut f = fixture(0, 1);
        f.move_to_disk(Path::new("/dev/full"));
        let first = f.write("1\n");
        assert!(first.lost && first.complaint.unwrap().contains("1 events are lost"));
        assert_eq!(f.write("2\n"), Written { lost: true, complaint: None });
        f.now += COMPLAIN_EVERY;
        let third = f.write("3\n");
        assert!(third.complaint.is_some_and(|c| c.contains("3 events are lost")), "the disk is still full");
        assert!(f.output.trouble().is_some_and(|t| t.contains("3 events")));
        f.now += COMPLAIN_EVERY;
        let path = f.dir.path().join("e.json");
        f.move_to_disk(&path);
        let again = f.write("4\n");
        assert_eq!(again.complaint.as_deref(), Some("events are written again; 3 were lost"));
        assert_eq!(f.output.trouble(), None);
        assert_eq!(f.read("e.json").as_deref(), Some("4\n"));
    }

    /// Guards logrotate: a file that was moved away, or emptied, is followed within a second.
    #[test]
    fn follows_a_file_that_was_moved_away() {
        let mut f = fixture(0, 1);
        f.write("1\n");
        fs::rename(f.dir.path().join("e.json"), f.dir.path().join("moved")).unwrap();
        f.write("2\n");
        assert_eq!(f.read("moved").as_deref(), Some("1\n2\n"), "not looked at every batch");
        f.now += LOOK_EVERY;
        f.write("3\n");
        assert_eq!(f.read("e.json").as_deref(), Some("3\n"));
        assert_eq!(f.read("moved").as_deref(), Some("1\n2\n"));
    }

    /// Guards that a line torn by a crash or a full disk does not swallow the next one.
    #[test]
    fn begins_on_a_line_of_its_own() {
        let mut f = fixture(0, 1);
        let path = f.dir.path().join("e.json");
        fs::write(&path, "{\"torn").unwrap();
        f.output = Output::open(&config(&path, 0, 1), f.now).unwrap();
        f.write("1\n");
        f.write("2\n");
        assert_eq!(f.read("e.json").as_deref(), Some("{\"torn\n1\n2\n"));
    }

    /// Guards who may read the file (it names clients), and that restarting appends.
    #[test]
    fn is_not_for_everybody_to_read() {
        let mut f = fixture(0, 1);
        let path = f.dir.path().join("e.json");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o037, metadata.len()), (0, 0));
        f.write("1\n");
        f.output = Output::open(&config(&path, 0, 1), f.now).unwrap();
        f.write("2\n");
        assert_eq!(f.read("e.json").as_deref(), Some("1\n2\n"));
        assert_eq!(fs::metadata(&path).unwrap().ino(), metadata.ino());
    }

    /// Guards that a path which cannot work is refused at the start, and says what to do.
    #[test]
    fn refuses_paths_that_cannot_work() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Output::open(&config(path, 0, 1), Instant::now()).err().unwrap();
        assert!(refused(dir.path()).contains("is a directory"));
        let missing = refused(&dir.path().join("no/e.json"));
        assert!(missing.contains("does not exist") && missing.contains("create it"), "{missing}");
        assert!(refused(Path::new("/dev/full")).contains("not a regular file"));
        assert!(refused(Path::new("")).contains("is empty"));
        assert!(Output::open(&config(&dir.path().join("e.json"), 0, 1), Instant::now()).is_ok());
    }
}
