//! The end of a tick's looks at the repos: what is known now is judged, merged and written down.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::backlog::{Backlog, Known, Runs, judge};
use super::merge::Merging;
use super::{Outcome, Wake};
use crate::inventory::settings::Forges;
use crate::journal::{HostRecord, Journal, RepoRecord};
use crate::ledger::Ledger;

/// What writing all down may take at the end of a tick, and a merge at least.
const SPARE: Duration = Duration::from_secs(5);

/// What is known of the repos; nothing where it cannot be read: then they are asked anew.
pub(super) fn records(state: &Path) -> Vec<RepoRecord> {
    let read = || Journal::open_to_read(state)?.map_or(Ok(Vec::new()), |journal| journal.repos());
    read().unwrap_or_default()
}

/// Waits for the looks to be over, and does and records what follows from them.
pub(super) async fn finish(wake: &Wake<'_>, backlog: Backlog, outcome: &mut Outcome, began: Instant) {
    let repos = &wake.repos.repos;
    if repos.is_empty() {
        return;
    }
    let mut looked = backlog.all().await;
    let mut events: Vec<_> = looked.values_mut().flat_map(|looked| std::mem::take(&mut looked.events)).collect();
    let opened = if wake.check { Ledger::open_to_read(wake.state) } else { Ledger::open(wake.state).map(Some) };
    let read = match opened {
        Ok(Some(ledger)) => ledger.read().await.map(|read| (Some(Arc::new(ledger)), read)),
        Ok(None) => Ok((None, None)),
        Err(error) => Err(error),
    };
    let blind = read.is_err();
    let (ledger, read) = read.unwrap_or_default();
    let document = read.map(|(_, document)| document);
    let hosts: Vec<&HostRecord> = outcome.hosts.iter().map(|decided| &decided.record).collect();
    let runs = Runs { blind, ..Runs::of(document.as_ref(), &hosts, &wake.names, repos, wake.jobs.roster()) };
    let (now, elapsed) = (Timestamp::now(), began.elapsed());
    let known = repos.iter().filter_map(|repo| Some(Known { repo, book: &looked.get(&repo.name)?.book }));
    let known: Vec<Known<'_>> = known.collect();
    outcome.work = judge(&known, &runs, &wake.repos.wake, now);
    drop(known);
    // Without the ledger nobody knows who leads, and nothing is written to a forge.
    if let Some(document) = &document {
        let ledger = ledger.clone().filter(|_| !wake.check);
        let Forges { settled: retry, look, .. } = wake.repos.numbers;
        // The next tick must find the lock free: hosts in trouble wait for it.
        let left = wake.watch.map_or(look.0, |_| wake.repos.wake.watch.0.saturating_sub(elapsed + SPARE));
        let bound = left.clamp(SPARE, look.0.max(SPARE));
        let merging = Merging { ledger, document, me: &wake.by, retry, bound, now };
        events.extend(merging.merge(repos, &mut looked, &outcome.work).await);
    }
    if !wake.check {
        let records = looked.iter().filter(|(_, looked)| looked.asked);
        let records: Vec<RepoRecord> = records.map(|(repo, looked)| looked.book.record(repo)).collect();
        let kept = Journal::open(wake.state).and_then(|(mut journal, _)| journal.keep_repos(&records, &events, None));
        outcome.unrecorded = outcome.unrecorded.take().or(kept.err());
    }
    outcome.events.extend(events);
}
