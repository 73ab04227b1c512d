//! `factory status`: how everything was at the last tick, from local state alone, so also when every host is down.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::journal::{HostRecord, Journal, TickRecord};
use crate::policy::severity::Severities;
use crate::render::status::{self, HostStatus, Status};
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
        let status = read(&state, hosts.as_deref())?;
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

fn read(state: &Path, hosts: Option<&[String]>) -> Result<Status> {
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
    Ok(Status { tick, running: lock::holder(state).map(|holder| holder.pid), hosts: hosts.collect() })
}
