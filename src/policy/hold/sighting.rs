//! What a host shows of holds, as a probe saw it.

use std::collections::BTreeMap;

use crate::remote::halt::HaltFile;
use crate::remote::sample::Found;

/// What a host shows of holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// Halt files with their lines, none for an empty file.
    pub files: BTreeMap<HaltFile, Vec<String>>,
    /// `active_file`s.
    pub active: BTreeMap<String, Active>,
    /// Crontab lines, by the key under which they are held; those of a key that is not here are unknown.
    pub lines: BTreeMap<String, Lines>,
}

/// What there is of crontab lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Some of them start the agent.
    pub live: bool,
    /// Some of them are held by us.
    pub held: bool,
}

/// What is there of an `active_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// The file: the agent may run.
    Shown,
    /// It was renamed away by us.
    Hidden,
    /// Neither: somebody took it away.
    Gone,
}

impl Sighting {
    /// What a sample's `found` says.
    pub fn of(found: &[Found]) -> Sighting {
        let mut sighting = Sighting::default();
        for one in found {
            match (one.how.as_str(), &one.path) {
                ("file", _) => sighting.files.entry(one.file()).or_default().extend(one.line.clone()),
                ("active_file", Some(path)) => {
                    let state = match (one.held, &one.by) {
                        (false, _) => Active::Shown,
                        (true, Some(_)) => Active::Hidden,
                        (true, None) => Active::Gone,
                    };
                    sighting.active.insert(path.clone(), state);
                }
                ("cron", Some(key)) => {
                    let lines = Lines { live: one.live.is_some_and(|live| live > 0), held: one.by.is_some() };
                    sighting.lines.insert(key.clone(), lines);
                }
                _ => {}
            }
        }
        sighting
    }
}
