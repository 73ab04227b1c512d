//! `factory stop`: the end of runs, by hand.

use std::collections::BTreeSet;

use super::context::Context;
use super::visitor::{self, Role};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::render::runs;
use crate::tick::jobs::Jobs;
use crate::tick::stop::{Ended, Manner, Manners, Named};

/// Stops runs with everything that they started
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  factory stop 20260312-4f3a9c1e07b2            told to end (TERM), killed after 30s if it does not
  factory stop 20260312-4f3a9c1e07b2 --now      killed at once
  factory stop 20260312-4f3a9c1e07b2 --drain    may go on for its agent's `drain` (2h), then as above
  factory stop pid:4711:8899123 --host vps-1    an agent that factory did not start

`factory ps` shows the tokens. The whole session and tree of a run is stopped, also what called itself another session
or ignores TERM. While its file `critical` is fresh, TERM waits: five minutes (`policy: {critical}`) at most after the
agent last touched it, unless `--now`. A run that has not begun is cancelled. A process with a terminal is somebody's: it is never touched.

Waits until nothing of the run lives, but for `--drain` and `--no-wait`. Ends with 0 when it is gone or, without
waiting, was told; with 1 when something of it still lives; with 4 when its host was not reached.")]
pub(super) struct Args {
    /// Runs, as `factory ps` names them
    #[arg(required = true, value_name = "TOKEN")]
    pub tokens: Vec<String>,
    /// Kill it at once
    #[arg(long, conflicts_with = "drain")]
    pub now: bool,
    /// Let it go on for its agent's `drain` first
    #[arg(long)]
    pub drain: bool,
    /// Do not wait until it is gone
    #[arg(long)]
    pub no_wait: bool,
    /// Only look on these hosts: a pattern
    #[arg(long, value_name = "PATTERN")]
    pub host: Option<String>,
    /// Who asks, when that is not the one who runs this
    #[arg(long, value_name = "NAME", hide = true)]
    pub by: Option<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let named: Vec<Named> = args.tokens.iter().map(|text| Named::parse(text)).collect::<Result<_>>()?;
    let by = args.by.clone().unwrap_or_else(visitor::person);
    let hosts: BTreeSet<String> = match &args.host {
        Some(pattern) => inventory.hosts.select(pattern)?,
        None => context.hosts(&inventory)?,
    }
    .iter()
    .map(|host| host.name.clone())
    .collect();
    match visitor::role(context, &inventory)? {
        Role::Leads(me) => here(args, &named, &hosts, &by, &me, context, &inventory).await,
        Role::Visits(candidates) => {
            let mut words = vec!["stop".to_owned(), "--by".to_owned(), by];
            words.extend(args.host.iter().flat_map(|host| ["--host".to_owned(), host.clone()]));
            let flags = [(args.now, "--now"), (args.drain, "--drain"), (args.no_wait, "--no-wait")];
            words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| (*flag).to_owned()));
            words.extend(args.tokens.iter().cloned());
            visitor::forward(&words, &candidates, context, &inventory).await?.once(|| {
                Error::new(Exit::Unreachable, "no candidate answers, so nothing was stopped")
                    .help("try again when one is back, or end it on its host by hand")
            })
        }
    }
}

async fn here(
    args: &Args,
    named: &[Named],
    hosts: &BTreeSet<String>,
    by: &str,
    me: &str,
    context: &Context,
    inventory: &Inventory,
) -> Result<Exit> {
    let manner = match (args.now, args.drain) {
        (true, _) => Manner::Now,
        (_, true) => Manner::Drain,
        _ => Manner::Term,
    };
    if context.global.check {
        let names: Vec<String> = named.iter().map(Named::to_string).collect();
        context.ui.note(&format!("would stop {} (--check)", names.join(", ")));
        return Ok(Exit::Ok);
    }
    let kill_after = inventory.settings.guard.kill_after.0;
    let manners = Manners { manner, kill_after, wait: !args.no_wait, by: by.to_owned() };
    let jobs = Jobs::of(inventory, context.access(inventory));
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(inventory, &fleet, me)?;
    let mut told = Vec::new();
    let mut exits = Vec::new();
    for one in named {
        match order.stop(one, hosts, &manners, &jobs, &|step| context.ui.progress(step)).await {
            Ok((host, ended)) => {
                exits.push(exit(&ended));
                told.push((host, one.to_string(), ended));
            }
            Err(error) => {
                context.ui.error(&error);
                exits.push(error.exit());
            }
        }
    }
    fleet.close().await;
    context.remember(inventory, &runs::stopped_events(&told, by));
    runs::show_stopped("stop", &told, &context.ui);
    Ok(Exit::worst(exits))
}

/// What the verb ends with for one run.
pub(super) fn exit(ended: &Ended) -> Exit {
    match ended {
        Ended::Gone(_) | Ended::Before(_) | Ended::Told(..) => Exit::Ok,
        Ended::Lives => Exit::Failed,
        Ended::Not(stopped) => stopped.exit(),
    }
}
