//! Coming and going: a host whose crontab starts what is ours to start is taken over, and one that is given up gets back
//! what we took away. What is to be done is worked out from a look at the host, shown, and then done by the hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::unbounded_channel;

use super::hand::{Acted, Place, Stopped};
use super::lead::{boot_clock, lead};
use super::manual::Order;
use super::seen::left;
use crate::error::{Error, Result};
use crate::ledger::{Change, Document, HostEntry, Ledger, Left};
use crate::policy::hold::{Model, Sighting, Wanted, ids, key};
use crate::remote::crontab::key::Key;
use crate::remote::crontab::read::{self, Crontabs};
use crate::remote::crontab::{self, Edit, Mark, What, shown};
use crate::remote::guard::{Drop, Op, Table};
use crate::remote::halt::{HaltLine, Kind};
use crate::remote::sample::Sample;
use crate::ssh::exec::{Command, Ended};
use crate::ssh::{Fleet, each};

/// The most bytes of an answer that shows crontabs.
const MAX_TABLES: usize = 16 << 20;

/// A host's crontabs, or why they were not shown.
pub type Looked = std::result::Result<Crontabs, Stopped>;

/// The crontabs of a host, by one exec that changes nothing there; with the bytes of one backup.
pub async fn crontabs(fleet: &Fleet, place: &Place, backup: Option<&str>, timeout: std::time::Duration) -> Looked {
    let script = read::script(&place.home, backup).map_err(Stopped::Ledger)?;
    let command = Command { script: &script, stdin: Vec::new(), timeout, max_output: MAX_TABLES };
    let output = fleet.run(&place.reach, command).await.map_err(Stopped::NotBegun)?;
    let found = read::parse(&output.stdout).filter(|_| output.ended == Ended::Exited(0));
    found.ok_or_else(|| {
        let last = output.last_error_line().map(|line| format!(": {line}")).unwrap_or_default();
        Stopped::Silent(format!("its crontabs are not known: the look at them {}{last}", output.ended))
    })
}

/// What edits, one after the other, would change on a host, for people: `diff -u` of each table under its name. None when
/// nothing.
///
/// # Errors
/// Why a table is not edited.
pub fn preview(seen: &Crontabs, edits: &[Edit]) -> std::result::Result<Option<String>, String> {
    if let Some(why) = &seen.refused {
        return Err(why.clone());
    }
    let own = (Table::User, Vec::new());
    let absent = (!seen.tables.iter().any(|(table, _)| *table == Table::User)).then_some(&own);
    let mut text = String::new();
    for (table, before) in absent.into_iter().chain(&seen.tables) {
        let mut after = before.clone();
        for edit in edits.iter().filter(|edit| *table == Table::User || edit.everywhere()) {
            after = crontab::edit(&after, edit).map_err(|why| format!("{}: {why}", table.word()))?;
        }
        let diff = crontab::diff(before, &after);
        if !diff.is_empty() {
            text.push_str(&format!("crontab {}\n{diff}", table.word()));
        }
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The edit that disables the crontab lines of a host which start what is ours to start.
pub fn takeover_edit(seen: &Crontabs, model: &Model) -> Edit {
    let taken = model.taken();
    let agents: BTreeSet<&str> = taken.iter().map(|mark| Key::of(&mark.key).agent).collect();
    // Lines that a hold has disabled meanwhile are taken over too, else the end of the hold would start them again.
    let lines: Vec<_> = seen.tables.iter().flat_map(|(_, table)| shown(table, &[])).collect();
    let text = |line: &str, key: &str| {
        let own = |mark: &&Mark| Key::of(&mark.key).agent == Key::of(key).agent;
        taken.iter().filter(own).any(|mark| line.contains(&mark.text))
    };
    let mut keys: BTreeSet<String> = taken.iter().map(|mark| mark.key.clone()).collect();
    for line in &lines {
        let What::Held(key) = &line.what else { continue };
        let all = || lines.iter().filter(|other| other.what == line.what).all(|other| text(&other.text, key));
        if agents.contains(Key::of(key).agent) && !Key::of(key).taken && all() {
            keys.insert(key.clone());
        }
    }
    Edit::Hold { wanted: taken.to_vec(), ours: keys.into_iter().collect() }
}

/// The edit that puts those lines back, but for those that are to be held.
pub fn release_edit(seen: &Crontabs, host: &str, document: Option<&Document>, model: &Model) -> Edit {
    let lines = seen.tables.iter().flat_map(|(_, table)| shown(table, &[]));
    let keys: BTreeSet<String> = lines
        .filter_map(|line| match line.what {
            What::Held(key) => Some(key).filter(|key| Key::of(key).taken),
            What::Live(_) | What::Block(_) => None,
        })
        .collect();
    let holds = document.map(|document| document.holds.as_slice()).unwrap_or_default();
    let wanted = Wanted::on(host, holds, model).lines.into_iter().collect();
    Edit::Hold { wanted, ours: keys.into_iter().collect() }
}

/// The edits that take out of the crontabs of a host what is ours: every line that is held is released, and the block of
/// this fleet goes; that of another is another supervisor's.
pub fn leave_edits(seen: &Crontabs, fleet: &str) -> Vec<Edit> {
    let lines: Vec<What> = seen.tables.iter().flat_map(|(_, table)| shown(table, &[])).map(|line| line.what).collect();
    let keys: BTreeSet<String> = lines
        .iter()
        .filter_map(|what| match what {
            What::Held(key) => Some(key.clone()),
            What::Live(_) | What::Block(_) => None,
        })
        .collect();
    let release = (!keys.is_empty()).then(|| Edit::Hold { wanted: Vec::new(), ours: keys.into_iter().collect() });
    // One that is not whole is for a person to mend.
    let block = !matches!(crontab::block(seen.user(), fleet), Ok(None));
    let remove = block.then(|| Edit::Block { fleet: fleet.to_owned(), lines: Vec::new() });
    release.into_iter().chain(remove).collect()
}

/// What there is of ours on a host beside its crontabs, and how it goes.
pub fn leave_files(sample: &Sample, document: &Document) -> Option<Op> {
    let nothing = BTreeMap::new();
    let shows = document.hosts.get(&sample.host).map_or(&nothing, |entry| &entry.shown);
    let sighting = Sighting::of(sample.found.as_deref().unwrap_or_default());
    let mut drop = Vec::new();
    for (file, lines) in &sighting.files {
        // What a person put there stays.
        let ours = |id: &str| {
            document.holds.iter().any(|hold| hold.id == id && (hold.found.is_none() || hold.ended.is_some()))
        };
        for line in lines.iter().filter_map(|text| HaltLine::parse(text)) {
            if line.kind == Kind::Auto || ours(&line.id) {
                drop.push((file.clone(), Drop::Line(line.kind, line.id)));
            }
        }
        // All that a full disk took of ours.
        let bare = |id: &str| shows.get(&key(id, file)).is_some_and(|showing| showing.bare);
        if lines.is_empty() && (ids().any(bare) || document.holds.iter().any(|hold| ours(&hold.id) && bare(&hold.id))) {
            drop.push((file.clone(), Drop::Foreign));
        }
    }
    let hidden = sighting.active.iter().filter(|(_, state)| **state == crate::policy::hold::Active::Hidden);
    let show: Vec<_> = hidden.map(|(path, _)| (path.clone(), Vec::new())).collect();
    (!drop.is_empty() || !show.is_empty()).then_some(Op::Resume { drop, show })
}

impl Order<'_> {
    /// The places of these hosts, in the order of the inventory.
    pub fn places_of(&self, names: &[String]) -> Vec<Place> {
        self.targets.iter().filter(|target| names.contains(&target.name)).map(super::place).collect()
    }

    /// What stands in the crontabs of these hosts, in their order; changes nothing.
    pub async fn crontabs(&self, places: Vec<Place>) -> Vec<(String, Looked)> {
        let order: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        let (send, mut receive) = unbounded_channel();
        let (fleet, timeout) = (self.fleet.clone(), self.bounds.command);
        let tasks = each(places, self.bounds.forks, move |place: Place| {
            let (fleet, send) = (fleet.clone(), send.clone());
            async move {
                let looked = crontabs(&fleet, &place, None, timeout).await;
                let _ = send.send((place.name, looked));
            }
        });
        let mut found = BTreeMap::new();
        while let Some((name, looked)) = receive.recv().await {
            found.insert(name, looked);
        }
        drop(tasks);
        order.into_iter().filter_map(|name| found.remove(&name).map(|looked| (name, looked))).collect()
    }

    /// The document as it is, for who only shows what would be done.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn document(&self) -> Result<Option<Document>> {
        match Ledger::open_to_read(&self.state)? {
            Some(ledger) => Ok(ledger.read().await?.map(|(_, document)| document)),
            None => Ok(None),
        }
    }

    /// Takes these hosts up and edits their crontabs; where there is nothing to edit, the host is told whom it obeys.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn take_over(&self, edits: BTreeMap<String, Option<Edit>>) -> Result<Vec<(String, Acted)>> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        let names: Vec<String> = edits.keys().cloned().collect();
        let document = mark(&ledger, &names, None).await?;
        let ops = move |_: &Document, host: &str| match edits.get(host) {
            Some(Some(edit)) => vec![Op::Cron(edit.clone())],
            _ => vec![Op::Seal],
        };
        Ok(self.act(&ledger, &document, self.places_of(&names), ops).await)
    }

    /// Does these edits of crontabs, one a host.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn edit(&self, ops: BTreeMap<String, Op>) -> Result<Vec<(String, Acted)>> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let document = lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?.document;
        let names: Vec<String> = ops.keys().cloned().collect();
        let ops = move |_: &Document, host: &str| ops.get(host).cloned().into_iter().collect();
        Ok(self.act(&ledger, &document, self.places_of(&names), ops).await)
    }

    /// Edits the crontab of this very machine, whether it is a host of the inventory or not.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn edit_here(&self, place: &Place, edit: Edit) -> Result<Acted> {
        let ledger = Ledger::open(&self.state)?;
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        Ok(self.hand.act(&ledger, place, move |_| vec![Op::Cron(edit.clone())]).await)
    }

    /// Gives these hosts up: notes it first, so that no tick changes them any more, then does `ops`. A host where that
    /// fails is not given up.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn leave(&self, ops: BTreeMap<String, Vec<Op>>, by: &str) -> Result<Vec<(String, Acted)>> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        let names: Vec<String> = ops.keys().cloned().collect();
        let left = Left { at: Timestamp::now(), by: by.to_owned() };
        let before = self.document().await?;
        let document = mark(&ledger, &names, Some(&left)).await?;
        let ops = move |_: &Document, host: &str| ops.get(host).cloned().unwrap_or_default();
        let acted = self.act(&ledger, &document, self.places_of(&names), ops).await;
        let ours = |name: &String| before.as_ref().is_none_or(|before| self::left(before, name).is_none());
        let failed = acted.iter().filter(|(name, acted)| acted.stopped.is_some() && ours(name));
        let failed: Vec<String> = failed.map(|(name, _)| name.clone()).collect();
        if !failed.is_empty() {
            mark(&ledger, &failed, None).await?;
        }
        Ok(acted)
    }
}

/// Notes in the ledger that hosts are left, or are not any more. What they showed is forgotten: it is not there now, and
/// nobody took it away.
async fn mark(ledger: &Ledger, names: &[String], as_left: Option<&Left>) -> Result<Document> {
    let (document, ()) = ledger
        .change(|old| {
            let old = old.ok_or_else(gone)?;
            let mut document = old.clone();
            for name in names {
                if as_left.is_none() && left(old, name).is_none() {
                    continue;
                }
                let entry: &mut HostEntry = document.hosts.entry(name.clone()).or_default();
                entry.left = as_left.cloned();
                entry.shown.clear();
            }
            Ok(if document == *old { Change::Nothing(()) } else { Change::To(document, ()) })
        })
        .await?;
    document.ok_or_else(gone)
}

fn gone() -> Error {
    Error::failed("the ledger is empty").help("`factory run` makes it anew; look first who removed it")
}
