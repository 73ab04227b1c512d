//! `factory cron show`: what of a crontab is about agents or about us, and what there was before.

use super::super::context::Context;
use super::super::global::Form;
use super::here;
use crate::error::Result;
use crate::exit::Exit;
use crate::policy::hold::Model;
use crate::render::crontabs::Shown;
use crate::tick::coming::crontabs;
use crate::tick::hand::{Place, Stopped};

/// Shows what of a crontab is about agents or about factory, and its backups
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory cron show              this machine: is the entry there that wakes factory?
  factory cron show beefy-2      what is held there, what starts agents, which backups there are
  factory cron show all -o json | jq '.hosts[].lines[]'

WHAT is `ours` for the entry that wakes factory, `starts` for a line that starts an agent, `held` for one that a hold has
disabled, `taken over` for one that `factory takeover` has.")]
pub(in crate::cli) struct Args {
    /// Which hosts: a pattern; without it this machine
    #[arg(value_name = "PATTERN")]
    host: Option<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let places: Vec<Place> = match &args.host {
        Some(pattern) => super::super::host::places(&inventory.hosts.select(pattern)?),
        None => vec![here(&context.own_name(&inventory)?, &inventory)],
    };
    let marks = Model::of(&inventory.settings, &inventory.repos).crons();
    let fleet = context.fleet(&inventory.settings).await?;
    let timeout = context.bounds(&inventory.settings).command;
    let (mut shown, mut exits) = (Vec::new(), Vec::new());
    for place in places {
        match crontabs(&fleet, &place, None, timeout).await {
            Ok(seen) => shown.push(Shown::new(&place.name, seen, &marks)),
            Err(stopped) => {
                context.ui.warn(&format!("{}: {stopped}", place.name));
                exits.push(Stopped::exit(&stopped));
            }
        }
    }
    fleet.close().await;
    match context.ui.form {
        Form::Text => shown.iter().for_each(|one| context.ui.print(&one.text(context.ui.out))),
        _ => {
            let hosts: Vec<_> = shown.iter().map(Shown::json).collect();
            context.ui.object("cron-show", &serde_json::json!({ "hosts": hosts }));
        }
    }
    shown.iter().flat_map(Shown::warnings).for_each(|warning| context.ui.warn(&warning));
    Ok(Exit::worst(exits))
}
