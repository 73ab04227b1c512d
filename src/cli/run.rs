//! `factory run`: one tick.

use std::path::Path;

use super::context::{Context, make_private, targets};
use super::global::Form;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::settings;
use crate::journal::Event;
use crate::policy::hold::Model;
use crate::render::{holds, hosts, last_words};
use crate::tick::deadline::Deadline;
use crate::tick::{self, Outcome, Waits, Wake};

/// One tick: looks at every host, judges what it sees, puts holds right and records it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory run                 once, by hand or by cron\n  factory run --check         look and judge, change nothing and say what would be done\n  factory run -l builders -o json | jq '.hosts[] | {host, verdict}'\n\nEnds with 0 when the tick was completed and recorded, whatever it saw."
)]
pub(super) struct Args {}

pub(super) async fn run(_: &Args, context: &Context) -> Result<Exit> {
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
        model: Model::of(&inventory.settings, &inventory.repos),
        names: inventory.hosts.iter().map(|host| host.name.clone()).collect(),
        state: &state,
        stuck: inventory.settings.wake.stuck.0,
        by,
        inventory: absolute(&inventory.location.dir),
        bounds: context.bounds(&inventory.settings),
        check: context.global.check,
    };
    let outcome = tick::run(wake, &|step| context.ui.progress(step)).await?;
    fleet.close().await;
    show(&outcome, context);
    match outcome.unled.or(outcome.unrecorded) {
        Some(error) => Err(error),
        None => Ok(Exit::Ok),
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
            ui.print(&hosts::verdicts(&outcome.hosts, &outcome.holds, ui.out));
            ui.print_some(&holds::actions(&outcome.actions, context.global.check));
            let written = match (context.global.check, &outcome.unrecorded) {
                (true, _) => "nothing recorded (--check)",
                (false, None) => "recorded",
                (false, Some(_)) => "NOT recorded",
            };
            ui.note(&format!("{} in {:.1}s, {written}", hosts::summary(&outcome.hosts), outcome.tick.seconds));
        }
        Form::Json => ui.object("run", &hosts::run_json(outcome)),
        Form::Jsonl => outcome.hosts.iter().for_each(|decided| ui.object("host", &hosts::host_json(decided))),
    }
    // What is about a host stands in its line, but for what somebody did to its holds or to itself.
    let tampered = |event: &Event| matches!(event.what.as_str(), "hold" | "quarantine") && event.severity > 0;
    let untold = |event: &&Event| event.host.is_none() || tampered(event);
    for event in outcome.events.iter().filter(untold) {
        ui.warn(&event.message);
    }
}
