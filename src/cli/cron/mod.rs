//! `factory cron`: the controller's own entry, and what stands in the crontabs of hosts.

mod bare;
mod install;
mod restore;
mod show;

use clap::Subcommand;

pub(super) use self::install::LOG;

use super::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::hosts::Connection;
use crate::ssh::Reach;
use crate::tick::hand::Place;

/// The entry that wakes factory, and the crontabs of hosts with their backups
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Install(install::Args),
    Show(show::Args),
    Restore(restore::Args),
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Install(args) => install::run(&args, context).await,
        Verb::Show(args) => show::run(&args, context).await,
        Verb::Restore(args) => restore::run(&args, context).await,
    }
}

/// This very machine, under the name that it has in the inventory if it has one.
fn here(name: &str, inventory: &Inventory) -> Place {
    let host = inventory.hosts.get(name).filter(|host| host.connection == Connection::Local);
    let home = host.map_or_else(|| "~/.factory".to_owned(), |host| host.home.clone());
    Place { name: name.to_owned(), reach: Reach::Local, home }
}
