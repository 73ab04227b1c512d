//! `factory inventory`: the files, and whether what they say is so.

mod check;
mod list;
mod schema;
mod trust;

use super::context::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::hosts::Host;
use crate::ssh::config::Wanted;

/// Shows, checks and explains the inventory
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    Check(check::Args),
    List(list::List),
    Graph(list::Graph),
    Schema(schema::Args),
    Trust(trust::Args),
    Allow(trust::Allow),
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Check(args) => check::run(&args, context).await,
        Verb::List(_) => list::list(context),
        Verb::Graph(_) => list::graph(context),
        Verb::Schema(args) => schema::run(&args, context),
        Verb::Trust(args) => trust::run(&args, context).await,
        Verb::Allow(args) => trust::allow(&args, context),
    }
}

/// What the inventory says about reaching `host`, for `ssh -G`.
///
/// # Errors
/// Exit 3 for `ansible_ssh_common_args` or `ansible_ssh_extra_args` that no shell could split into words.
fn wanted(host: &Host) -> Result<Wanted> {
    let mut args = Vec::new();
    for text in [&host.ssh_common_args, &host.ssh_extra_args].into_iter().flatten() {
        args.extend(shlex::split(text).ok_or_else(|| {
            Error::inventory(format!("{}: the ssh arguments `{text}` have an open quote", host.name))
        })?);
    }
    Ok(Wanted {
        name: host.name.clone(),
        host: Some(host.address.clone()),
        port: host.port,
        user: host.user.clone(),
        identity: host.key_file.clone().map(Into::into),
        args,
    })
}
