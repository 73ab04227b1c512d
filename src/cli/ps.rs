//! `factory ps`: what runs on the hosts.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::context::{Context, targets};
use super::global::Form;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::remote::sample::Sample;
use crate::render::ps;
use crate::tick::observe::Answer;
use crate::tick::secrets::Secrets;
use crate::tick::{self, Progress, UNKNOWN};

/// How far back a run may have been given its token that ended in the last day.
const DAYS: i64 = 3;

/// Shows what runs on the hosts: runs of factory's, and agents that something else started
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Show also what has been over for more than a day
    #[arg(long)]
    all: bool,
}

const HELP: &str = "\
Examples:
  factory ps                             what runs everywhere, and what ended in the last 24 h
  factory ps -l beefy-2 --all            every run that this host still knows
  factory ps -o jsonl | jq -r 'select(.rss > 3e9) | .token'
  factory stop TOKEN                     TOKEN as it stands in the table, `pid:...` too
  factory logs TOKEN                     what a run has printed

States:
  running           it lives
    stopping (X)    X has told it to stop; it is killed when its time is up
    critical        it asks not to be stopped now
  created           its launch has not begun it: `factory run` begins or cancels it
  done N            it ended with exit code N; 128 and more: by signal N - 128 (137: killed, 143: told to end)
  cancelled         it was called off before it began, and never begins
  crashed           its wrapper died without an exit code: killed by hand, or for want of memory
  rebooted          the host went down under it
  ..., leftover     it is over, and something that it started still lives: `factory stop TOKEN` ends that
  unknown           the host cannot tell, for want of a tool or a right: `factory inventory check` says which

A TOKEN `pid:PID:START` is an agent that factory did not start: a process whose command line holds the agent's
`match`, without a terminal, and outside of every run. LAST is its command line then, behind a `$`; else it is the
last line that the run printed. Secrets of the inventory are shown as `*` in both. RSS and CPU are those of its whole tree: its session, what it started, and what that
started. AGE is the time since it began. What is not known is a `-`.

Ends with 4 when it is not known of a host what runs there.";

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let selected = context.hosts(&inventory)?;
    let mut samples: Vec<Sample> = Vec::new();
    let tell = |answer: Answer| {
        let Answer { sample, seconds, .. } = answer;
        let (level, verdict) = match &sample.missing {
            None => (0, "ok".to_owned()),
            Some(why) => (UNKNOWN, format!("unknown: {why}")),
        };
        context.ui.progress(&Progress::Answered { host: sample.host.clone(), level, seconds, verdict });
        samples.push(sample);
        false
    };
    let fleet = context.fleet(&inventory.settings).await?;
    let mut targets = targets(&inventory, &selected);
    for target in &mut targets {
        target.request.last = true;
        target.request.since = Some(if args.all { "0".to_owned() } else { days_ago(DAYS) });
    }
    tick::probe(targets, &fleet, context.bounds(&inventory.settings), tell, &|step| context.ui.progress(step)).await;
    fleet.close().await;
    let order: HashMap<&str, usize> = selected.iter().enumerate().map(|(at, host)| (host.name.as_str(), at)).collect();
    samples.sort_by_key(|sample| order.get(sample.host.as_str()));
    hide_secrets(&mut samples, &inventory, context).await;

    let shown = ps::shown(&samples, args.all, !inventory.matches().is_empty());
    let (runs, unknown) = ps::json(&shown);
    match context.ui.form {
        Form::Text => {
            context.ui.print_some(&ps::table(&shown, context.ui.out));
            ps::notes(&shown, selected.len()).iter().for_each(|note| context.ui.note(note));
        }
        Form::Json => context.ui.object("ps", &json!({ "runs": runs, "unknown": unknown })),
        Form::Jsonl => {
            runs.iter().for_each(|run| context.ui.object("run", run));
            unknown.iter().for_each(|host| context.ui.object("unknown", host));
        }
    }
    Ok(if shown.unknown.is_empty() { Exit::Ok } else { Exit::Unreachable })
}

/// Hides the inventory's secrets in what runs have said, and in the command lines of what factory did not start; they are
/// read only where there is something of that. Nothing is shown of what could hold one that cannot be read.
async fn hide_secrets(samples: &mut [Sample], inventory: &Inventory, context: &Context) {
    let said = |sample: &Sample| {
        sample.runs.iter().flatten().any(|run| run.last.is_some()) || sample.matched.iter().flatten().next().is_some()
    };
    if !samples.iter().any(said) {
        return;
    }
    let (mask, problems) = Secrets::of(inventory, context.access(inventory).commands).mask().await;
    for unread in problems {
        context.ui.warn(&match unread.repos {
            Some(repos) => {
                format!("LAST is not shown of repo {repos}: a secret in it could not be hidden: {}", unread.why)
            }
            None => format!("a secret could not be hidden in LAST: {}", unread.why),
        });
    }
    for run in samples.iter_mut().flat_map(|sample| sample.runs.iter_mut().flatten()) {
        let said = run.said.take().filter(|_| mask.covers(run.repo.as_deref()));
        run.last = said.map(|said| said.shown(&mask));
    }
    for one in samples.iter_mut().flat_map(|sample| sample.matched.iter_mut().flatten()) {
        // Nobody knows for which repo it works.
        one.command = if mask.covers(None) { one.shown(&mask) } else { String::new() };
    }
}

/// The UTC day so many days ago, as tokens begin with it.
fn days_ago(days: i64) -> String {
    let then = Timestamp::now() - SignedDuration::from_hours(24 * days);
    then.strftime("%Y%m%d").to_string()
}
