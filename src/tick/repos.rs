//! The end of a tick's looks at the repos: what is known now is judged, merged and written down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::backlog::{Backlog, Known, Looked, Runs, judge};
use super::merge::Merging;
use super::{Outcome, Wake};
use crate::inventory::repos::Repo;
use crate::inventory::settings;
use crate::inventory::units::Span;
use crate::journal::{HostRecord, Journal, RepoRecord};
use crate::ledger::{Document, Ledger};

/// What writing all down may take at the end of a tick, and a merge at least.
const SPARE: Duration = Duration::from_secs(5);

/// What is known of the repos; nothing where it cannot be read: then they are asked anew.
pub(super) fn records(state: &Path) -> Vec<RepoRecord> {
    let read = || Journal::open_to_read(state)?.map_or(Ok(Vec::new()), |journal| journal.repos());
    read().unwrap_or_default()
}

/// What a repo's merge needs of its tick.
struct Ready {
    /// None for `--check`.
    ledger: Option<Arc<Ledger>>,
    document: Document,
    me: String,
    runs: Runs,
    wake: settings::Wake,
    retry: Span,
    look: Span,
    watch: Option<Span>,
    began: Instant,
}

/// Waits for the looks to be over, and does and records what follows from them. What may be merged in a repo is merged right
/// after its own look, whatever becomes of the others.
pub(super) async fn finish(wake: &Wake<'_>, backlog: Backlog, outcome: &mut Outcome, began: Instant) {
    let repos = &wake.repos.repos;
    if repos.is_empty() {
        return;
    }
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
    // Without the ledger nobody knows who leads, and nothing is written to a forge.
    let ready = document.map(|document| Ready {
        ledger: ledger.filter(|_| !wake.check),
        document,
        me: wake.by.clone(),
        runs: runs.clone(),
        wake: wake.repos.wake.clone(),
        retry: wake.repos.numbers.settled,
        look: wake.repos.numbers.look,
        watch: wake.watch.map(|_| wake.repos.wake.watch),
        began,
    });
    let (backlog, ready) = (Arc::new(backlog), Arc::new(ready));
    let mut tasks = JoinSet::new();
    for repo in repos.iter().cloned() {
        let (backlog, ready) = (Arc::clone(&backlog), Arc::clone(&ready));
        tasks.spawn(async move {
            let mut looked = backlog.looked(&repo.name).await?;
            if let Some(ready) = &*ready {
                ready.merge(&repo, &mut looked).await;
            }
            Some((repo.name, looked))
        });
    }
    let mut looked = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        looked.extend(done.ok().flatten());
    }
    let events: Vec<_> = looked.values_mut().flat_map(|looked| std::mem::take(&mut looked.events)).collect();
    let known = repos.iter().filter_map(|repo| Some(Known { repo, book: &looked.get(&repo.name)?.book }));
    outcome.work = judge(&known.collect::<Vec<_>>(), &runs, &wake.repos.wake, Timestamp::now());
    if !wake.check {
        let records = looked.iter().filter(|(_, looked)| looked.asked);
        let records: Vec<RepoRecord> = records.map(|(repo, looked)| looked.book.record(repo)).collect();
        let kept = Journal::open(wake.state).and_then(|(mut journal, _)| journal.keep_repos(&records, &events, None));
        outcome.unrecorded = outcome.unrecorded.take().or(kept.err());
    }
    outcome.events.extend(events);
}

impl Ready {
    /// Merges what may be merged in a repo. What is known of other repos says nothing of its pulls.
    async fn merge(&self, repo: &Repo, looked: &mut Looked) {
        let Ready { ledger, document, me, retry, .. } = self;
        let now = Timestamp::now();
        let work = judge(&[Known { repo, book: &looked.book }], &self.runs, &self.wake, now);
        let Some(work) = work.get(&repo.name) else { return };
        // The next tick must find the lock free: hosts in trouble wait for it.
        let left = self.watch.map_or(self.look.0, |watch| watch.0.saturating_sub(self.began.elapsed() + SPARE));
        let bound = left.clamp(SPARE, self.look.0.max(SPARE));
        let merging = Merging { ledger: ledger.as_deref(), document, me, retry: *retry, bound, now };
        let event = merging.merge(repo, looked, &work.judged).await;
        looked.events.extend(event);
    }
}
