//! `factory status`: how everything was at the last tick, from local state alone, so also when every host is down.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::journal::{HostRecord, Journal, TickRecord};
use crate::ledger::{Document, Ledger};
use crate::policy::severity::Severities;
use crate::render::status::{self, HoldStatus, HostStatus, Status};
use crate::tick::lock;

/// How often `--watch` looks again.
const PERIOD: Duration = Duration::from_secs(2);

/// Shows how everything was at the last tick, and why, from local state alone
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory status\n  factory status --watch\n  factory status -o json | jq '.hosts[] | select(.level > 0)'"
)]
pub(super) struct Args {
    /// Show it again every two seconds until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let (state, hosts) = context.state_and_hosts()?;
    loop {
        let status = read(&state, hosts.as_deref()).await?;
        if args.watch {
            context.ui.clear();
        }
        match context.ui.form {
            Form::Text => context.ui.print(&status::text(&status, Timestamp::now(), context.ui.out)),
            Form::Json | Form::Jsonl => context.ui.object("status", &status),
        }
        if !args.watch {
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn read(state: &Path, hosts: Option<&[String]>) -> Result<Status> {
    let nothing = || {
        Error::failed(format!("nothing has run yet: there is no journal in {}", state.display()))
            .help("`factory run` looks at every host and records what it sees")
    };
    let journal = Journal::open_to_read(state)?.ok_or_else(nothing)?;
    let tick: TickRecord = journal.last_tick()?.ok_or_else(nothing)?;
    let wanted = |record: &HostRecord| hosts.is_none_or(|hosts| hosts.contains(&record.host));
    let hosts = journal.hosts()?.into_iter().filter(wanted).map(|record| HostStatus {
        severities: serde_json::from_str::<Option<Severities>>(&record.severities).ok().flatten(),
        host: record.host,
        level: record.level,
        since: record.since,
        at: record.at,
        seen: record.seen,
        verdict: record.verdict,
    });
    let hosts: Vec<HostStatus> = hosts.collect();
    let running = lock::holder(state).map(|holder| holder.pid);
    // A ledger that cannot be read must not hide how the hosts are.
    let (document, ledger) = match ledger(state).await {
        Ok(document) => (document, None),
        Err(error) => (None, Some(error.with_causes())),
    };
    let holds = document.as_ref().map(|document| held(document, &hosts)).unwrap_or_default();
    let quarantined = document.as_ref().map(|document| quarantined(document, &hosts)).unwrap_or_default();
    let lease = document.map(|document| document.lease);
    Ok(Status { tick, running, hosts, holds, quarantined, lease, ledger })
}

async fn ledger(state: &Path) -> Result<Option<Document>> {
    match Ledger::open_to_read(state)? {
        Some(ledger) => Ok(ledger.read().await?.map(|(_, document)| document)),
        None => Ok(None),
    }
}

fn quarantined(document: &Document, hosts: &[HostStatus]) -> Vec<String> {
    let names = hosts.iter().map(|host| &host.host);
    let other = |name: &&String| document.hosts.get(*name).is_some_and(|entry| entry.quarantined.is_some());
    names.filter(other).cloned().collect()
}

/// The holds that are not over and are about one of `hosts`, with where they do not show.
fn held(document: &Document, hosts: &[HostStatus]) -> Vec<HoldStatus> {
    let times = |host: &str, id: &str| {
        let shown = document.hosts.get(host).map(|entry| &entry.shown);
        let of = |(key, _): &(&String, &u32)| key.split_once(' ').is_some_and(|(of, _)| of == id);
        shown.into_iter().flatten().filter(of).map(|(_, times)| *times).max()
    };
    let active = document.holds.iter().filter(|hold| hold.ended.is_none());
    let status = active.map(|hold| {
        let here: Vec<&str> =
            hosts.iter().map(|host| host.host.as_str()).filter(|host| hold.scope.hosts.has(host)).collect();
        let which = |wanted: fn(Option<u32>) -> bool| {
            let some = here.iter().filter(|host| wanted(times(host, &hold.id)));
            some.map(|host| (*host).to_owned()).collect::<Vec<_>>()
        };
        let (pending, given_up) = (which(|times| times.is_none()), which(|times| times > Some(1)));
        (here.is_empty(), HoldStatus { hold: hold.clone(), pending, given_up })
    });
    status.filter(|(nowhere, _)| !nowhere).map(|(_, status)| status).collect()
}
