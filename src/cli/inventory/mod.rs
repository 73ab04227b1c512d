//! `factory inventory`: the files, and whether what they say is so.

mod check;
mod list;
mod schema;
mod trust;

pub(super) use self::trust::may_run_commands;
use super::context::Context;
use crate::error::Result;
use crate::exit::Exit;

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
