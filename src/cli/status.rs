//! `factory status`: how everything was at the last tick, from local state alone, so also when every host is down.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::context::Context;
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::agents::Class;
use crate::inventory::policy::Policy;
use crate::inventory::repos::{Merge, Repo};
use crate::journal::{HostRecord, Journal, RepoRecord, TickRecord};
use crate::ledger::{Document, HostEntry, Ledger};
use crate::policy::hold::{Model, Pick, Scope, Showing, ladder_class};
use crate::policy::ladder::Mode;
use crate::policy::severity::Level;
use crate::remote::crontab::key::Key;
use crate::remote::sample::Found;
use crate::render::status::{self, HoldStatus, HostStatus, LadderStatus, Modes, RepoStatus, Status};
use crate::tick::backlog::Book;
use crate::tick::lock;

/// How often `--watch` looks again.
const PERIOD: Duration = Duration::from_secs(2);

/// Shows how everything was at the last tick, and why, from local state alone
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory status
  factory status --watch
  factory status -o json | jq '.hosts[] | select(.level > 0)'

DEV and REVIEW are what agents of that class may do: RUN, HOLD (none starts), STOP (what runs is
stopped too, one at a time); the stricter of what pressure and what people want. `-`: no history
yet, or a host where nothing is changed. `?`: out of reach, or the ledger cannot be read. Below
the table stands, for each host that pressure holds, since when, by which value of which signal,
and what must be so for how long before the next step back.")]
pub(super) struct Args {
    /// Show it again every two seconds until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let (state, hosts) = context.state_and_hosts()?;
    let (policy, model, repos) = context.numbers();
    loop {
        let status = read(&state, hosts.as_deref(), &policy, &model, &repos).await?;
        if args.watch {
            context.ui.clear();
        }
        match context.ui.form {
            Form::Text => context.ui.print(&status::text(&status, Timestamp::now(), context.ui.out)),
            Form::Json | Form::Jsonl => context.ui.object("status", &status),
        }
        if !args.watch {
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn read(
    state: &Path,
    hosts: Option<&[String]>,
    policy: &Policy,
    model: &Model,
    repos: &[Repo],
) -> Result<Status> {
    let nothing = || {
        Error::failed(format!("nothing has run yet: there is no journal in {}", state.display()))
            .help("`factory run` looks at every host and records what it sees")
    };
    let journal = Journal::open_to_read(state)?.ok_or_else(nothing)?;
    let tick: TickRecord = journal.last_tick()?.ok_or_else(nothing)?;
    // A ledger that cannot be read must not hide how the hosts are.
    let (document, ledger) = match ledger(state).await {
        Ok(document) => (document, None),
        Err(error) => (None, Some(error.with_causes())),
    };
    let entry = |host: &str| document.as_ref()?.hosts.get(host);
    let wanted = |record: &HostRecord| hosts.is_none_or(|hosts| hosts.contains(&record.host));
    let records = journal.hosts()?;
    let repos = repo_status(repos, &journal.repos()?, &records, model);
    let hosts = records.into_iter().filter(wanted).map(|record| HostStatus {
        severities: record.severities,
        ladder: entry(&record.host).and_then(|entry| explain(entry, policy)),
        modes: Modes::default(),
        host: record.host,
        level: record.level,
        since: record.since,
        at: record.at,
        seen: record.seen,
        verdict: record.verdict,
    });
    let hosts: Vec<HostStatus> = hosts.collect();
    let running = lock::holder(state).map(|holder| holder.pid);
    let holds = document.as_ref().map(|document| held(document, &hosts)).unwrap_or_default();
    let quarantined = those(document.as_ref(), &hosts, |entry| entry.quarantined.is_some());
    let left = those(document.as_ref(), &hosts, |entry| entry.left.is_some());
    let barred = |host: &HostStatus| Some((host.host.clone(), entry(&host.host)?.barred.clone()?));
    let barred: BTreeMap<String, String> = hosts.iter().filter_map(barred).collect();
    let held = |document: &Document| {
        document
            .ci
            .iter()
            .filter(|(_, one)| one.state.level() > Level::Ok)
            .map(|(repo, one)| (repo.clone(), one.clone()))
            .collect()
    };
    let ci = document.as_ref().map(held).unwrap_or_default();
    let lease = document.map(|document| document.lease);
    let mut status = Status { tick, running, hosts, holds, quarantined, left, barred, ci, repos, lease, ledger };
    let of = |host: &HostStatus| {
        if status.changes(&host.host) { modes(host, &status.holds, model) } else { Modes::default() }
    };
    let modes: Vec<Modes> = status.hosts.iter().map(of).collect();
    status.hosts.iter_mut().zip(modes).for_each(|(host, modes)| host.modes = modes);
    Ok(status)
}

/// How each repo is, as far as there is something to say.
fn repo_status(
    repos: &[Repo],
    records: &[RepoRecord],
    hosts: &[HostRecord],
    model: &Model,
) -> BTreeMap<String, RepoStatus> {
    let dev: Vec<&str> = model.of_class(Class::Dev).collect();
    let one = |repo: &Repo| {
        let book = Book::read(repo, records.iter().find(|record| record.repo == repo.name));
        let held = |found: &Found| {
            let ours = dev.contains(&found.agent.as_str()) && (found.repo == "*" || found.repo == repo.name);
            ours && found.how == "cron" && found.held && !found.path.as_deref().is_some_and(|key| Key::of(key).taken)
        };
        let on = hosts.iter().filter(|record| record.sample.found.iter().flatten().any(held));
        let unmerged = match repo.merge {
            Merge::Agents => on.map(|record| record.host.clone()).collect(),
            Merge::Factory => Vec::new(),
        };
        RepoStatus { seen: book.seen, silent: book.silent, ci_silent: book.ci_silent, unmerged }
    };
    let all = repos.iter().map(|repo| (repo.name.clone(), one(repo)));
    all.filter(|(_, status)| !status.is_well()).collect()
}

fn explain(entry: &HostEntry, policy: &Policy) -> Option<LadderStatus> {
    let standing = entry.ladder.as_ref()?;
    let rung = standing.rung();
    let taken = entry.shown.iter().filter(|(_, showing)| showing.given_up()).filter_map(|(key, _)| key.split_once(' '));
    Some(LadderStatus {
        dev: rung.dev,
        review: rung.review,
        survive: rung.survive,
        unreachable: rung.unreachable,
        waiting: rung.dev > Mode::Run && !rung.asked,
        held: standing.held.clone(),
        next: rung.next_release(policy),
        stopping: standing.told.keys().cloned().collect(),
        given_up: taken.filter(|(id, _)| ladder_class(id).is_some()).map(|(_, file)| file.to_owned()).collect(),
    })
}

/// The stricter of what pressure and what people want of each class. Of a host out of reach nobody knows.
fn modes(host: &HostStatus, holds: &[HoldStatus], model: &Model) -> Modes {
    let Some(ladder) = host.ladder.as_ref().filter(|ladder| !ladder.unreachable) else { return Modes::default() };
    let here: Vec<&Scope> =
        holds.iter().map(|one| &one.hold.scope).filter(|scope| scope.hosts.has(&host.host)).collect();
    let by_people = |class| {
        let whole = |agent: &str| here.iter().any(|scope| scope.repo == Pick::All && scope.holds_agent(agent, false));
        let mut agents = model.of_class(class).peekable();
        (agents.peek().is_some() && agents.all(whole)).then_some(Mode::Hold)
    };
    let dev = (!ladder.waiting).then_some(ladder.dev);
    Modes { dev: dev.max(by_people(Class::Dev)), review: Some(ladder.review).max(by_people(Class::Review)) }
}

async fn ledger(state: &Path) -> Result<Option<Document>> {
    match Ledger::open_to_read(state)? {
        Some(ledger) => Ok(ledger.read().await?.map(|(_, document)| document)),
        None => Ok(None),
    }
}

/// The hosts of which the ledger says this.
fn those(document: Option<&Document>, hosts: &[HostStatus], is: fn(&HostEntry) -> bool) -> Vec<String> {
    let names = hosts.iter().map(|host| &host.host);
    let of = |name: &&String| document.and_then(|document| document.hosts.get(*name)).is_some_and(is);
    names.filter(of).cloned().collect()
}

/// The holds that are not over and are about one of `hosts`, with where they do not show.
fn held(document: &Document, hosts: &[HostStatus]) -> Vec<HoldStatus> {
    let times = |host: &str, id: &str| {
        let shown = document.hosts.get(host).map(|entry| &entry.shown);
        let of = |(key, _): &(&String, &Showing)| key.split_once(' ').is_some_and(|(of, _)| of == id);
        shown.into_iter().flatten().filter(of).map(|(_, showing)| showing.gone).max()
    };
    let active = document.holds.iter().filter(|hold| hold.ended.is_none());
    let status = active.map(|hold| {
        let here: Vec<&str> =
            hosts.iter().map(|host| host.host.as_str()).filter(|host| hold.scope.hosts.has(host)).collect();
        let which = |wanted: fn(Option<u32>) -> bool| {
            let some = here.iter().filter(|host| wanted(times(host, &hold.id)));
            some.map(|host| (*host).to_owned()).collect::<Vec<_>>()
        };
        let (pending, given_up) = (which(|times| times.is_none()), which(|times| times > Some(1)));
        (here.is_empty(), HoldStatus { hold: hold.clone(), pending, given_up })
    });
    status.filter(|(nowhere, _)| !nowhere).map(|(_, status)| status).collect()
}
