//! `factory queue`: what there is to do, and why the rest is not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::context::Context;
use super::scope::known;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::journal::{Event, HostRecord, Journal, RepoRecord};
use crate::ledger::{Document, Ledger};
use crate::policy::roster::Roster;
use crate::render::queue::{RepoQueue, show};
use crate::tick::backlog::{Due, Known, Looked, Runs, Work, judge};
use crate::tick::merge;

/// Shows what there is to do in every repo, and why the rest is not to be done now
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory queue                     every repo: its forge and its CI are asked now
  factory queue --repo harb
  factory queue --ready             only what may be begun
  factory queue -o json | jq '.waiting[] | select(.repo == \"harb\") | {number, why}'

In the order in which it is to be done: reviews, then fixes, then new work; each two hours of waiting
lift something by one class. `#12` is an issue, `!41` a pull. What a run works on, or may, is not
there: runs are known from the ledger and from the last look at the hosts. Nothing may be begun while
the ledger cannot be read.

A forge that does not answer takes nothing away: what it said last is shown, with its age. What nobody
would do now, since a token is refused or a person holds the repo, is shown as not now.

Ends with 0; with 4 when a forge or a CI did not answer, with 1 when one refuses the repo's token,
with 3 when a repo has errors in repos.yml.")]
pub(super) struct Args {
    /// Only these repos
    #[arg(long, value_name = "REPO")]
    repo: Vec<String>,
    /// Only what may be begun or merged
    #[arg(long)]
    ready: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let broken = wanted(args, &inventory)?;
    let mut repos = context.repos(&inventory);
    repos.repos.retain(|repo| args.repo.is_empty() || args.repo.contains(&repo.name));
    if repos.repos.is_empty() && broken.is_empty() {
        context.ui.note("there are no repos: add some to repos.yml");
        return Ok(Exit::Ok);
    }
    let state = context.state_dir(&inventory.settings.fleet)?;
    let journal = Journal::open_to_read(&state)?;
    let (records, hosts) = match &journal {
        Some(journal) => (journal.repos()?, journal.hosts()?),
        None => (Vec::new(), Vec::new()),
    };
    let looked = repos.look(&records, Due::All, Timestamp::now()).all().await;
    let now = Timestamp::now();
    let (runs, document) = runs(&inventory, &hosts.iter().collect::<Vec<_>>(), context).await;
    let held = |repo: &str| match &document {
        _ if runs.blind => Some("the ledger cannot be read"),
        Some(document) if merge::held(document, repo) => Some("a person holds the repo"),
        _ => None,
    };
    let known = repos.repos.iter().filter_map(|repo| Some(Known { repo, book: &looked.get(&repo.name)?.book }));
    let work = judge(&known.collect::<Vec<_>>(), &runs, &repos.wake, now);
    if journal.is_some() && !context.global.check {
        // What was learned need not be asked again; a journal that cannot be written changes nothing of it.
        let kept: Vec<RepoRecord> = looked.iter().map(|(repo, looked)| looked.book.record(repo)).collect();
        let events: Vec<Event> = looked.values().flat_map(|looked| looked.events.clone()).collect();
        let _ = Journal::open(&state).and_then(|(mut journal, _)| journal.keep_repos(&kept, &events, Some(&records)));
    }
    let queues: Vec<RepoQueue<'_>> = repos
        .repos
        .iter()
        .map(|repo| RepoQueue {
            repo,
            book: looked.get(&repo.name).map(|looked| &looked.book),
            work: work.get(&repo.name),
            held: held(&repo.name),
        })
        .collect();
    show(&context.ui, &queues, &broken, args.ready, now);
    Ok(exit(&looked, &work, &broken))
}

/// The broken repos among those that are wanted.
fn wanted(args: &Args, inventory: &Inventory) -> Result<Vec<String>> {
    let repos = &inventory.repos;
    let names = || repos.repos.iter().map(|repo| repo.name.as_str());
    for name in args.repo.iter().filter(|name| !repos.broken.contains(name)) {
        known("repo", name, names())?;
    }
    let broken = repos.broken.iter().filter(|name| args.repo.is_empty() || args.repo.contains(name));
    Ok(broken.cloned().collect())
}

/// What is known of runs, and the ledger's document.
async fn runs(inventory: &Inventory, hosts: &[&HostRecord], context: &Context) -> (Runs, Option<Document>) {
    let read = async || -> Result<_> {
        let state = context.state_dir(&inventory.settings.fleet)?;
        match Ledger::open_to_read(&state)? {
            Some(ledger) => Ok(ledger.read().await?.map(|(_, document)| document)),
            None => Ok(None),
        }
    };
    let document = read().await;
    if let Err(error) = &document {
        context.ui.warn(&format!("what is worked on is not known: {}", error.with_causes()));
    }
    let (blind, document) = (document.is_err(), document.ok().flatten());
    let names: BTreeSet<String> = inventory.hosts.iter().map(|host| host.name.clone()).collect();
    let roster = Roster::of(&inventory.settings, &inventory.repos);
    let runs = Runs::of(document.as_ref(), hosts, &names, &inventory.repos.repos, &roster);
    (Runs { blind, ..runs }, document)
}

fn exit(looked: &BTreeMap<String, Looked>, work: &BTreeMap<String, Work>, broken: &[String]) -> Exit {
    // What had no turn yet comes with the next look.
    let untold = |looked: &Looked| looked.book.untold.clone().filter(|untold| !untold.busy);
    let silent = looked.values().flat_map(|looked| {
        [looked.book.silent.clone(), looked.book.ci_silent.clone(), untold(looked)].into_iter().flatten()
    });
    let exits = silent.map(|silent| if silent.disabled { Exit::Failed } else { Exit::Unreachable });
    let untold = looked.keys().filter(|repo| !work.contains_key(*repo)).map(|_| Exit::Unreachable);
    let broken = broken.iter().map(|_| Exit::Inventory);
    Exit::worst(exits.chain(untold).chain(broken).chain([Exit::Ok]))
}
