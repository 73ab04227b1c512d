//! `factory host adopt`: a host of another fleet becomes ours, or a lost ledger takes up the hosts' fleet again.

use super::super::context::Context;
use super::{confirm, leader, places};
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::hosts::Host;
use crate::render::{holds, hosts::fences};
use crate::tick::adopt::Adopted;

/// Makes hosts of another fleet ours, or takes up again the fleet of hosts whose ledger was lost
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory host adopt beefy-2       it was another fleet's and is ours from now on
  factory host adopt --all         this machine lost its state: take fleet and epoch from the hosts

The supervisor that a host obeyed before is refused there from then on: make sure that it is gone. What it has put
there, halt files too, stays and is found by the next `factory run`.")]
pub(super) struct Args {
    /// Which hosts: a pattern
    #[arg(value_name = "PATTERN", required_unless_present = "all")]
    host: Option<String>,
    /// With an empty ledger: take the fleet and the epoch that all hosts agree on
    #[arg(long, conflicts_with = "host")]
    all: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let hosts: Vec<&Host> = match &args.host {
        Some(pattern) => inventory.hosts.select(pattern)?,
        None => inventory.hosts.iter().collect(),
    };
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    let samples = order.look_at(&names, &|step| context.ui.progress(step)).await;
    context.ui.note(&fences(&samples, context.ui.err));
    let question = match args.all {
        true => "Take up the fleet that these hosts obey, above the highest of their epochs?".to_owned(),
        false => format!("Make {} ours? Whoever leads there now is refused from then on.", names.join(", ")),
    };
    if context.global.check {
        context.ui.note("nothing changed (--check)");
        return Ok(Exit::Ok);
    }
    confirm(&question, context)?;
    let Adopted { fleet: id, epoch, hosts } = match args.all {
        true => order.take_up(&samples, places(&hosts)).await?,
        false => order.adopt(&samples, places(&hosts)).await?,
    };
    fleet.close().await;
    let what = format!("fleet {id}, epoch {epoch}");
    context.remember(&inventory, &holds::host_events(&hosts));
    holds::show_hosts("adopt", &what, "ours", &hosts, &context.ui);
    Ok(Exit::worst(hosts.iter().filter_map(|(_, acted)| acted.stopped.as_ref()).map(|stopped| stopped.exit())))
}
