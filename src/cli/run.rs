//! `factory run`: one tick.

use std::path::Path;

use super::context::{Context, make_private, targets};
use super::global::Form;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::settings;
use crate::journal::Event;
use crate::policy::hold::Model;
use crate::render::table::plain;
use crate::render::{holds, hosts, last_words};
use crate::tick::backlog::Due;
use crate::tick::capacity::Capacity;
use crate::tick::deadline::Deadline;
use crate::tick::jobs::Jobs;
use crate::tick::logs::Logs;
use crate::tick::{self, Outcome, Waits, Wake, Watch};

/// One tick: looks at every host, judges it, holds and stops what is too much for it, records it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory run                 once, by hand
  factory run --if-due        from cron: silent while another tick is running
  factory run --check         look and judge, change nothing and say what would be done
  factory run -l builders -o json | jq '.hosts[] | {host, verdict, ladder}'

Each look moves a host one step at most: where it is short, dev agents are held, then review
agents, then they are stopped, one a minute and after a fresh look; where it is well again they
are let go, step by step. A host that does not answer is neither. Holds of people are kept up,
also on hosts that were down, and launches that were cut off are finished. By hand it is one look
at each host; with --if-due hosts at level hard or crit are looked at again every
`wake.watch_urgent` (20 s), for most of the minute until cron's next. `factory status` tells what
is held, why, and what ends it.

Ends with 0 when the tick was completed and recorded, whatever it saw.")]
pub(super) struct Args {
    /// For cron: as now, each call is due, and goes on looking at hosts in trouble. One that finds another tick running
    /// ends at once with 0 and says nothing
    #[arg(long)]
    if_due: bool,
}

/// Above so many bytes the log of a tick that cron starts begins anew; the one before is kept.
const MAX_LOG: u64 = 1 << 20;

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    if args.if_due {
        turn_over();
    }
    // Until the inventory says which, the default: a disk that is gone holds up whoever reads it.
    let reading = Deadline::start(settings::Wake::default().deadline.0, last_words)?;
    let inventory = context.inventory()?;
    drop(reading);
    // Also after the tick: whoever reads what it tells may hang.
    Deadline::start(inventory.settings.wake.deadline.0, last_words)?.until_exit();
    let by = context.leads(&inventory)?;
    let state = context.state_dir(&inventory.settings.fleet)?;
    if !context.global.check {
        make_private(&state)?;
    }
    let fleet = context.fleet(&inventory.settings).await?;
    let ssh = &inventory.settings.ssh;
    let wake = Wake {
        fleet: &fleet,
        waits: Waits { first: ssh.refused.0, max: ssh.refused_max.0 },
        targets: targets(&inventory, &context.hosts(&inventory)?),
        policy: &inventory.settings.policy,
        guard: &inventory.settings.guard,
        jobs: Jobs::of(&inventory, context.access(&inventory)),
        capacity: Capacity::of(&inventory),
        model: Model::of(&inventory.settings, &inventory.repos),
        names: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
        state: &state,
        stuck: inventory.settings.wake.stuck.0,
        by,
        inventory: absolute(&inventory.location.dir),
        bounds: context.bounds(&inventory.settings),
        logs: Logs::of(&inventory, context.access(&inventory).commands),
        repos: context.repos(&inventory),
        due: if args.if_due { Due::Rested } else { Due::All },
        // By hand one look is enough: whoever waits for it wants to read it.
        watch: args.if_due.then(|| Watch {
            every: inventory.settings.wake.watch_urgent.0,
            until: inventory.settings.wake.watch.0.mul_f64(0.75),
        }),
        check: context.global.check,
    };
    let outcome = tick::run(wake, &|step| context.ui.progress(step)).await;
    fleet.close().await;
    let outcome = match outcome {
        Err(error) if args.if_due && error.exit() == Exit::Locked => return Ok(Exit::Ok),
        outcome => outcome?,
    };
    show(&outcome, context);
    match outcome.unled.or(outcome.unrecorded) {
        Some(error) => Err(error),
        None => Ok(Exit::Ok),
    }
}

/// Where stderr is the log that `factory cron install` names, and it has grown too large, the next tick gets a new one.
fn turn_over() {
    let Ok(log) = std::fs::read_link("/proc/self/fd/2") else { return };
    let named = log.file_name().is_some_and(|name| name == super::cron::LOG);
    if named && std::fs::metadata(&log).is_ok_and(|meta| meta.is_file() && meta.len() > MAX_LOG) {
        // If it cannot be, it goes on growing: no reason not to look at the hosts.
        let _ = std::fs::rename(&log, log.with_extension("log.old"));
    }
}

/// The inventory's directory as the record has it, whatever it was called.
fn absolute(dir: &Path) -> String {
    dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf()).display().to_string()
}

fn show(outcome: &Outcome, context: &Context) {
    let ui = &context.ui;
    match ui.form {
        Form::Text => {
            ui.print(&format!("{}\n", hosts::table(&outcome.hosts, ui.out)));
            ui.print(&hosts::verdicts(&outcome.hosts, &outcome.holds, &outcome.standings, ui.out));
            ui.print_some(&holds::actions(&outcome.actions, context.global.check));
            let written = match (context.global.check, &outcome.unrecorded) {
                (true, _) => "nothing recorded (--check)",
                (false, None) => "recorded",
                (false, Some(_)) => "NOT recorded",
            };
            ui.note(&format!("{} in {:.1}s, {written}", hosts::summary(&outcome.hosts), outcome.tick.seconds));
        }
        Form::Json => ui.object("run", &hosts::run_json(outcome)),
        Form::Jsonl => {
            outcome.hosts.iter().for_each(|decided| ui.object("host", &hosts::host_json(decided, &outcome.standings)))
        }
    }
    // What is about a host stands in its line, but for what somebody did to its holds or to itself.
    let tampered = |event: &Event| matches!(event.what.as_str(), "hold" | "quarantine") && event.severity > 0;
    let untold = |event: &&Event| event.host.is_none() || tampered(event);
    for event in outcome.events.iter().filter(untold) {
        let message = plain(&event.message);
        if event.severity == 0 { ui.note(&message) } else { ui.warn(&message) }
    }
}
