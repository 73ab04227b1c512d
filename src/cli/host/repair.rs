//! `factory host repair`: a new epoch where the old one is lost or damaged.

use super::super::context::Context;
use super::{leader, places};
use crate::error::Result;
use crate::exit::Exit;
use crate::render::holds;

/// Gives a host a new epoch where the old one is lost or damaged: 1 + the highest that is known
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  factory host repair beefy-2

A host whose epoch cannot be read refuses every change, since it could not tell a deposed supervisor from the one that
leads. A host that lacks nothing is left as it is.")]
pub(super) struct Args {
    /// Which hosts: a pattern
    #[arg(value_name = "PATTERN")]
    host: String,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let hosts = inventory.hosts.select(&args.host)?;
    if context.global.check {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        context.ui.note(&format!("would repair {}, where it is needed (--check)", names.join(", ")));
        return Ok(Exit::Ok);
    }
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    let repaired = order.repair(places(&hosts)).await?;
    fleet.close().await;
    context.remember(&inventory, &holds::host_events(&repaired.hosts));
    let what = format!("epoch {}", repaired.epoch);
    holds::show_hosts("repair", &what, "whole", &repaired.hosts, &context.ui);
    let stopped = repaired.hosts.iter().filter_map(|(_, acted)| acted.stopped.as_ref());
    Ok(Exit::worst(stopped.map(|stopped| stopped.exit())))
}
