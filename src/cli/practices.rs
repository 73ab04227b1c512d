//! `factory practices`: what a repo's agents are told.

use clap::Subcommand;

use super::context::Context;
use super::scope::known;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::render::practices::show;
use crate::tick::practices::practices;

/// Shows what a repo's agents are told
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Show(Show),
}

/// Shows the practices of a repo: the shared ones, with what the repo says instead
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory practices show harb                  what its agents are told, as Markdown
  factory practices show harb --origin         with the file and line that each section came from
  factory practices show harb -o json | jq '.files[].sections[] | .from, .heading'

`practices/*.md` of the inventory are for every repo. The directory that `practices:` of a repo
names overrides them by file name and by `## heading`; a heading with nothing below it takes the
shared section away.")]
struct Show {
    /// The repo's name in the inventory
    #[arg(value_name = "REPO")]
    repo: String,
    /// Say of each section which file and line it came from, and what it overrides
    #[arg(long)]
    origin: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let Verb::Show(args) = &args.verb;
    let inventory = context.inventory()?;
    let repos = &inventory.repos;
    let Some(repo) = repos.get(&args.repo) else {
        if repos.broken.contains(&args.repo) {
            return Err(Error::inventory(format!("the repo `{}` has errors in repos.yml", args.repo))
                .help("`factory inventory check --offline` tells"));
        }
        let names = repos.repos.iter().map(|repo| repo.name.as_str());
        return known("repo", &args.repo, names).map(|()| Exit::Ok);
    };
    show(&context.ui, &repo.name, &practices(&inventory.location.dir, Some(repo))?, args.origin);
    Ok(Exit::Ok)
}
