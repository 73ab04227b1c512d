//! `factory leave`: a host is given back as it was.

use std::collections::BTreeMap;

use super::context::Context;
use super::host::{confirm, leader};
use super::visitor::person;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::ledger::Document;
use crate::remote::crontab::Edit;
use crate::remote::guard::Op;
use crate::remote::sample::Sample;
use crate::render::crontabs::{Todo, done, todo};
use crate::render::holds::host_events;
use crate::tick::coming::{leave_edits, leave_files, preview};
use crate::tick::hand::Stopped;
use crate::tick::left;
use crate::tick::words::words;

/// Gives hosts back: restores crontab lines and active files, removes our halts and our block, lists what still runs
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory leave -l beefy-2 --check     what would change there
  factory leave -l beefy-2             shows it, asks, and does it
  factory leave -l all

What people put into halt files themselves stays. What runs goes on: it is listed. A host that was left is still looked at
by `factory run`, and nothing is changed or launched there any more, until `factory takeover HOST` takes it up again.

Ends with 0 when every host is left, with 4 when one was not reached (it is not left), with 1 when one refused.")]
pub(super) struct Args {}

pub(super) async fn run(_: &Args, context: &Context) -> Result<Exit> {
    if context.global.limit.is_none() {
        return Err(Error::usage("which hosts?").help("name them: `-l PATTERN`, or `-l all`"));
    }
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let names: Vec<String> = context.hosts(&inventory)?.iter().map(|host| host.name.clone()).collect();
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    let document = match order.document().await? {
        Some(document) => document,
        None => Document::new(&me, 1)?,
    };
    let samples = order.look_at(&names, &|step| context.ui.progress(step)).await;
    let mut tables: BTreeMap<_, _> = order.crontabs(order.places_of(&names)).await.into_iter().collect();
    let (mut plan, mut ops) = (Vec::new(), BTreeMap::new());
    for sample in &samples {
        let mut one = Todo::of(&sample.host);
        one.still = still(sample);
        match (&sample.found, tables.remove(&sample.host)) {
            (Some(_), Some(Ok(seen))) => {
                let edits = leave_edits(&seen, &inventory.settings.fleet);
                match preview(&seen, &edits) {
                    Ok(diff) => one.diff = diff,
                    Err(why) => {
                        one.stopped = Some(Stopped::Crontab(why));
                        plan.push(one);
                        continue;
                    }
                }
                let files = leave_files(sample, &document);
                one.more.extend(files.iter().map(words));
                if edits.iter().any(|edit| matches!(edit, Edit::Block { .. })) {
                    one.more.push("nothing wakes factory from its crontab any more".to_owned());
                }
                if left(&document, &sample.host).is_none() {
                    one.more.push("nothing is changed or launched there from then on".to_owned());
                }
                if !one.is_nothing() {
                    ops.insert(sample.host.clone(), edits.into_iter().map(Op::Cron).chain(files).collect());
                }
            }
            (_, Some(Err(stopped))) => one.stopped = Some(stopped),
            _ => {
                let why = sample.missing.clone().unwrap_or_else(|| "it does not tell what is held".to_owned());
                one.stopped = Some(Stopped::Silent(why));
            }
        }
        plan.push(one);
    }
    todo(&plan, "it was left already, and nothing of ours is there", &context.ui);
    let mut acted = Vec::new();
    if !ops.is_empty() && !context.global.check {
        let list = ops.keys().cloned().collect::<Vec<_>>().join(", ");
        confirm(&format!("Leave {list}?"), context)?;
        acted = order.leave(ops, &person()).await?;
        context.remember(&inventory, &host_events(&acted));
    }
    fleet.close().await;
    done("leave", "left", &plan, &acted, context.global.check, &context.ui);
    let stopped = plan.iter().filter_map(|one| one.stopped.as_ref());
    let stopped = stopped.chain(acted.iter().filter_map(|(_, acted)| acted.stopped.as_ref()));
    Ok(Exit::worst(stopped.map(Stopped::exit)))
}

/// What of the agents still runs, or may.
fn still(sample: &Sample) -> Vec<String> {
    let runs = sample
        .runs
        .iter()
        .flatten()
        .filter(|run| ["RUNNING", "UNKNOWN"].contains(&run.state.as_str()) || run.state.ends_with(" LEFTOVER"));
    let of = |run: &crate::remote::sample::Run| {
        let agent = run.agent.as_ref().map(|agent| format!(" of agent {agent}")).unwrap_or_default();
        let repo = run.repo.as_ref().filter(|repo| *repo != "*").map(|repo| format!(" at {repo}")).unwrap_or_default();
        format!("run {}{agent}{repo}: {}", run.token, run.state)
    };
    let mut still: Vec<String> = runs.map(of).collect();
    if sample.runs.is_none() && sample.missing.is_none() {
        still.push("its runs are not known".to_owned());
    }
    let matched = sample.running.iter().flatten().filter(|(_, count)| **count > 0);
    still.extend(matched.map(|(agent, count)| format!("{count} of agent {agent}, by its `match`")));
    still
}
