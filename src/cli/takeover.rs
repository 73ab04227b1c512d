//! `factory takeover`: a host whose crontab starts what is ours to start.

use std::collections::BTreeMap;

use super::context::Context;
use super::host::{confirm, leader};
use crate::error::Result;
use crate::exit::Exit;
use crate::policy::takeover::still_started;
use crate::remote::crontab::key::Key;
use crate::render::crontabs::{Todo, done, todo};
use crate::render::holds::host_events;
use crate::tick::coming::{preview, release_edit, takeover_edit};
use crate::tick::hand::Stopped;
use crate::tick::left;

/// Disables the crontab lines that start what factory is to start there, reversibly
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory takeover beefy-2 --check     what would change, line by line
  factory takeover beefy-2             shows it, asks, and does it
  factory takeover beefy-2 --release   puts the lines back as they were

An agent with `start: factory` is not launched on a host whose crontab still starts it. Its lines are those that contain
the text of its `halt: {cron: TEXT}` or of its `match`; each gets `#factory:takeover:AGENT# ` in front, and nothing else in
the crontab changes. What runs goes on. A host that was left with `factory leave` is taken up again, and its holds come
back with the next `factory run`.

Ends with 0 when no crontab starts such an agent any more, with 4 when a host was not reached, with 1 when one refused,
or does not show afterwards what its crontab starts.")]
pub(super) struct Args {
    /// Which hosts: a pattern
    #[arg(value_name = "PATTERN")]
    host: String,
    /// Puts back the lines that an earlier takeover has disabled
    #[arg(long)]
    release: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let hosts = inventory.hosts.select(&args.host)?;
    let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    if order.model.taken().is_empty() && !args.release {
        context.ui.note(
            "no agent with `start: factory` has a `match` or a `halt: {cron: TEXT}`: no crontab line is known for its own",
        );
    }
    let document = order.document().await?;
    let (mut plan, mut edits) = (Vec::new(), BTreeMap::new());
    for (name, looked) in order.crontabs(order.places_of(&names)).await {
        let mut one = Todo::of(&name);
        match looked {
            Ok(seen) => {
                let edit = match args.release {
                    true => release_edit(&seen, &name, document.as_ref(), &order.model),
                    false => takeover_edit(&seen, &order.model),
                };
                match preview(&seen, std::slice::from_ref(&edit)) {
                    Ok(diff) => {
                        let was = document.as_ref().and_then(|document| left(document, &name));
                        one.more.extend(
                            was.filter(|_| !args.release).map(|_| "it was left, and is taken up again".to_owned()),
                        );
                        if diff.is_some() || !one.more.is_empty() {
                            edits.insert(name, diff.is_some().then_some(edit));
                        }
                        one.diff = diff;
                    }
                    Err(why) => one.stopped = Some(Stopped::Crontab(why)),
                }
            }
            Err(stopped) => one.stopped = Some(stopped),
        }
        plan.push(one);
    }
    let nothing = if args.release { "nothing there was taken over" } else { "its crontab starts nothing of ours" };
    todo(&plan, nothing, &context.ui);
    let mut acted = Vec::new();
    if !edits.is_empty() && !context.global.check {
        let list = edits.keys().cloned().collect::<Vec<_>>().join(", ");
        let question = match args.release {
            true => format!("Put these lines back on {list}? Cron starts them again from then on."),
            false => format!("Take over {list}? Cron starts these lines no more, factory starts their agents."),
        };
        confirm(&question, context)?;
        acted = match args.release {
            true => {
                order
                    .edit(
                        edits
                            .into_iter()
                            .filter_map(|(name, edit)| Some((name, crate::remote::guard::Op::Cron(edit?))))
                            .collect(),
                    )
                    .await?
            }
            false => order.take_over(edits).await?,
        };
        context.remember(&inventory, &host_events(&acted));
    }
    let mut exits: Vec<Exit> = plan.iter().filter_map(|one| one.stopped.as_ref()).map(Stopped::exit).collect();
    exits.extend(acted.iter().filter_map(|(_, acted)| acted.stopped.as_ref()).map(Stopped::exit));
    if !args.release && !acted.is_empty() {
        // Whatever was said: what counts is what stands there now.
        let fine = acted.iter().filter(|(_, acted)| acted.stopped.is_none()).map(|(name, _)| name.clone());
        let places = order.places_of(&fine.collect::<Vec<_>>());
        let agents: Vec<&str> = order.model.taken().iter().map(|mark| Key::of(&mark.key).agent).collect();
        for (name, looked) in order.crontabs(places).await {
            let seen = match looked.map(|seen| (seen.refused.clone(), seen)) {
                Ok((None, seen)) => seen,
                Ok((Some(why), _)) => {
                    context.ui.warn(&format!("{name}: whether its crontab still starts them is not known: {why}"));
                    exits.push(Exit::Failed);
                    continue;
                }
                Err(stopped) => {
                    context.ui.warn(&format!("{name}: whether its crontab still starts them is not known: {stopped}"));
                    exits.push(stopped.exit());
                    continue;
                }
            };
            let lines = agents.iter().flat_map(|agent| still_started(&seen.tables, order.model.taken(), agent));
            let mut lines: Vec<String> = lines.collect();
            lines.dedup();
            for line in lines {
                context.ui.warn(&format!("{name}: its crontab still has: {line}"));
                exits.push(Exit::Failed);
            }
        }
    }
    fleet.close().await;
    let (kind, word) = if args.release { ("release", "put back") } else { ("takeover", "taken over") };
    done(kind, word, &plan, &acted, context.global.check, &context.ui);
    Ok(Exit::worst(exits))
}
