//! What hosts need not keep any more of runs that are over: removed once it has been fetched, and once a day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::debug;

use super::claims::event;
use super::hand::{Hand, Place, Stopped};
use crate::error::Result;
use crate::journal::{Event, HostRecord, Journal};
use crate::ledger::Ledger;
use crate::remote::guard::{Op, Word};
use crate::remote::sample::Sample;

/// The runs of a host that are over, and how far each of their logs has been fetched.
pub struct Host {
    /// The host.
    pub place: Place,
    fetched: Vec<(String, u64, u64)>,
}

/// The host of `sample`, if it is time to clean up there: a log of a run that is over is whole now (`whole` names the
/// hosts), or this is the first look of a UTC day.
///
/// # Errors
/// When the journal cannot be read.
pub fn due(
    place: &Place,
    sample: &Sample,
    previous: Option<&HostRecord>,
    whole: &BTreeSet<String>,
    journal: &Journal,
) -> Result<Option<Host>> {
    let over: BTreeSet<&str> =
        sample.runs.iter().flatten().filter(|run| run.over()).map(|run| run.token.as_str()).collect();
    let day = |at: Timestamp| at.strftime("%Y%m%d").to_string();
    let first = previous.is_some_and(|previous| day(previous.at) != day(sample.at));
    if over.is_empty() || !(first || whole.contains(&sample.host)) {
        return Ok(None);
    }
    let mut fetched = journal.fetched(&sample.host)?;
    fetched.retain(|(token, ..)| over.contains(token.as_str()));
    Ok(Some(Host { place: place.clone(), fetched }))
}

/// Cleans up on these hosts at once; what could not be done is tried again another day.
pub async fn clean(hosts: Vec<Host>, hand: &Hand, ledger: &std::sync::Arc<Ledger>) -> Vec<Event> {
    let mut tasks = JoinSet::new();
    for Host { place, fetched } in hosts {
        let (hand, ledger) = (hand.clone(), std::sync::Arc::clone(ledger));
        tasks.spawn(async move {
            let done = hand.ask(&ledger, &place, &Op::Gc { fetched }).await;
            hand.release(&place);
            (place.name, done)
        });
    }
    let mut events = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((host, Err(Stopped::Refused(answer)))) if answer.word == Word::Failed => {
                let what = format!("what runs left behind could not be removed on {host}: {}", answer.detail);
                events.insert(host.clone(), event(&host, 1, what));
            }
            Ok((host, Err(stopped))) => debug!(host, %stopped, "not cleaned up"),
            Ok((host, Ok(_))) => debug!(host, "cleaned up"),
            Err(error) => debug!(%error, "not cleaned up"),
        }
    }
    events.into_values().collect()
}
