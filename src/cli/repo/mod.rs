//! `factory repo`: repos on their forges, compared with the inventory.

mod check;
mod sync;

use std::sync::Arc;
use std::time::Instant;

use clap::Subcommand;

use super::context::Context;
use super::scope::known;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::forge::Limits;
use crate::forge::examine::{Examined, Examiner};
use crate::inventory::Inventory;
use crate::inventory::hosts::glob::Glob;
use crate::inventory::repos::Repo;
use crate::policy::repo::Level;
use crate::render::repos::answered;
use crate::tick::Progress;

/// Compares repos with the inventory: labels, protection, access, CI
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Check(check::Args),
    Sync(sync::Args),
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Check(args) => check::run(&args, context).await,
        Verb::Sync(args) => sync::run(&args, context).await,
    }
}

/// Which repos.
#[derive(clap::Args, Debug)]
struct Which {
    /// Repos by name; `lib-*` and the like match many [default: all]
    #[arg(value_name = "REPO")]
    names: Vec<String>,
}

impl Which {
    /// The repos, and those of them that have errors in repos.yml.
    ///
    /// # Errors
    /// Exit 3 for a name or a pattern that no repo has.
    fn select(&self, inventory: &Inventory) -> Result<(Vec<Repo>, Vec<String>)> {
        let repos = &inventory.repos;
        let names = || repos.repos.iter().map(|repo| repo.name.as_str()).chain(repos.broken.iter().map(String::as_str));
        let mut patterns = Vec::new();
        for name in self.names.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()) {
            let pattern = Glob::new(name);
            if !names().any(|own| pattern.matches(own)) {
                known("repo", name, names())?;
            }
            patterns.push(pattern);
        }
        if patterns.is_empty() && !self.names.is_empty() {
            return Err(Error::usage("an empty name is no repo's"));
        }
        let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));
        let good = repos.repos.iter().filter(|repo| wanted(&repo.name)).cloned().collect();
        Ok((good, repos.broken.iter().filter(|name| wanted(name)).cloned().collect()))
    }
}

/// One look at the repos of an inventory.
pub(super) fn examiner(inventory: &Inventory, context: &Context) -> Arc<Examiner> {
    Arc::new(Examiner::new(Limits::of(&inventory.settings.forges), context.access(inventory)))
}

/// Looks at `repos` side by side, and tells of each as soon as it is done.
pub(super) async fn examine(examiner: &Arc<Examiner>, repos: &[Repo], context: &Context) -> Vec<Examined> {
    if repos.is_empty() {
        return Vec::new();
    }
    let begun = Instant::now();
    context.ui.progress(&Progress::Begun { hosts: repos.len() });
    repos.iter().for_each(|repo| context.ui.progress(&Progress::Asked { host: repo.name.clone() }));
    let tell = |one: &Examined| context.ui.progress(&answered(one, begun.elapsed().as_secs_f64()));
    let all = examiner.all(repos, &tell).await;
    context.ui.progress(&Progress::Ended);
    all
}

/// What these repos come to.
pub(super) fn exits(all: &[Examined]) -> Vec<Exit> {
    let differences = all.iter().flat_map(|one| &one.differences);
    let exit = differences.filter_map(|own| match own.level {
        Level::Error => Some(Exit::Failed),
        Level::Unknown => Some(Exit::Unreachable),
        Level::Hint => None,
    });
    exit.collect()
}

/// Tells of repos that have errors in repos.yml; the errors themselves were told before.
fn tell_broken(broken: &[String], context: &Context) {
    for name in broken {
        context
            .ui
            .warn(&format!("{name} has errors in repos.yml and is left out: `factory inventory check --offline`"));
    }
}
