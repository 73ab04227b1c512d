//! `factory host`: the ways out of what a host refuses.

mod adopt;
mod repair;

use clap::Subcommand;

use super::context::Context;
use super::visitor::{Role, role};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::hosts::Host;
use crate::tick::hand::Place;

/// Leads a host out of what it refuses
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Adopt(adopt::Args),
    Repair(repair::Args),
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Adopt(args) => adopt::run(&args, context).await,
        Verb::Repair(args) => repair::run(&args, context).await,
    }
}

/// The name under which this machine leads; these verbs change hosts in its name.
///
/// # Errors
/// Exit 5 on a machine that does not lead.
pub(super) fn leader(context: &Context, inventory: &Inventory) -> Result<String> {
    match role(context, inventory)? {
        Role::Leads(me) => Ok(me),
        Role::Visits(candidates) => {
            Err(Error::new(Exit::Locked, format!("only who leads can do that: one of {}", candidates.join(", ")))
                .help("run it there; if this machine is one of them, say so with `--as NAME`"))
        }
    }
}

pub(super) fn places(hosts: &[&Host]) -> Vec<Place> {
    let place =
        |host: &&Host| Place { name: host.name.clone(), reach: super::context::reach(host), home: host.home.clone() };
    hosts.iter().map(place).collect()
}

/// Asks before something that cannot be taken back, unless `--yes`.
///
/// # Errors
/// Exit 2 when there is nobody to ask, exit 1 when the answer is no.
pub(super) fn confirm(question: &str, context: &Context) -> Result<()> {
    if context.global.yes {
        return Ok(());
    }
    if !context.ui.can_ask() {
        return Err(
            Error::usage(format!("nobody is there to be asked: {question}")).help("give --yes if that is right")
        );
    }
    match context.ui.ask(question) {
        true => Ok(()),
        false => Err(Error::failed("nothing was changed")),
    }
}
