//! What a tick decided and could write nowhere: `pending.jsonl` in the state directory. The next tick that can write takes it
//! into the ledger and the journal.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::Event;
use crate::policy::ladder::Standing;

/// The most events that are kept: more is a long time without a disk, and the first tell why.
const MAX_EVENTS: usize = 2000;

/// What waits to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// By host, where it stands, as decided in this epoch.
    pub standings: BTreeMap<String, (u64, Standing)>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// One line: a standing, or an event. No enum with a tag: numbers of any precision do not get through one.
#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standing: Option<Decided>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
}

#[derive(Serialize, Deserialize)]
struct Decided {
    epoch: u64,
    host: String,
    standing: Standing,
}

fn path(state: &Path) -> PathBuf {
    state.join("pending.jsonl")
}

impl Pending {
    /// What waits; nothing where there is no such file. A line that cannot be read is left out: it was cut off.
    pub fn read(state: &Path) -> Pending {
        let text = std::fs::read_to_string(path(state)).unwrap_or_default();
        let mut pending = Pending::default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        for Line { standing, event, .. } in lines {
            pending.standings.extend(standing.map(|one| (one.host, (one.epoch, one.standing))));
            pending.events.extend(event);
        }
        pending
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.standings.is_empty() && self.events.is_empty()
    }

    /// Puts it in place of what waited before; an empty one takes the file away.
    ///
    /// # Errors
    /// When it cannot be written; what was there before is there still.
    pub fn write(&self, state: &Path) -> std::io::Result<()> {
        if self.is_empty() {
            return match std::fs::remove_file(path(state)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = state.join("pending.new");
        let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        let line = |kind: &str, standing, event| Line { v: 1, kind: kind.to_owned(), standing, event };
        let standings = self.standings.iter().map(|(host, (epoch, standing))| {
            let decided = Decided { epoch: *epoch, host: host.clone(), standing: standing.clone() };
            line("standing", Some(decided), None)
        });
        let events = self.events.iter().take(MAX_EVENTS).map(|event| line("event", None, Some(event.clone())));
        for line in standings.chain(events) {
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            file.write_all(&text)?;
        }
        file.sync_all()?;
        std::fs::rename(new, path(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_read_as_it_was_written_and_a_cut_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Pending::read(dir.path()).is_empty());
        let event = |message: &str| Event {
            at: jiff::Timestamp::UNIX_EPOCH,
            host: Some("h\n1".to_owned()),
            what: "ladder".to_owned(),
            severity: 2,
            message: message.to_owned(),
        };
        let pending = Pending {
            standings: BTreeMap::from([("h\n1".to_owned(), (7, Standing::unknown()))]),
            events: vec![event("one"), event("two")],
        };
        pending.write(dir.path()).unwrap();
        assert_eq!(Pending::read(dir.path()), pending);
        let text = std::fs::read_to_string(path(dir.path())).unwrap();
        std::fs::write(path(dir.path()), &text[..text.len() - 9]).unwrap();
        assert_eq!(Pending::read(dir.path()).events.len(), 1);
        Pending::default().write(dir.path()).unwrap();
        Pending::default().write(dir.path()).unwrap();
        assert!(!path(dir.path()).exists());
    }
}
