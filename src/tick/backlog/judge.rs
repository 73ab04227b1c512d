//! What there is to do in all repos, by what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::book::{Book, forge_url};
use crate::inventory::agents::Class;
use crate::inventory::repos::Repo;
use crate::inventory::settings::Wake;
use crate::journal::HostRecord;
use crate::ledger::Document;
use crate::policy::queue::order::{Class as Kind, Item};
use crate::policy::queue::{self, CiKind, Fact, Graph, Judged, Ref, Seen, issue, pull};
use crate::policy::roster::Roster;
use crate::remote::sample::Sample;
use crate::tick::UNKNOWN;

/// A repo with what is known of it.
pub struct Known<'a> {
    /// The repo.
    pub repo: &'a Repo,
    /// Its book.
    pub book: &'a Book,
}

/// What is known of runs.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// The tasks that have a claim, or a run that lives or may.
    pub taken: BTreeSet<String>,
    /// The ledger could not be read, so what has a claim is not known.
    pub blind: bool,
    /// By repo, as of when each run that there may be is known with its task; none where one may not be.
    pub known: BTreeMap<String, Timestamp>,
}

impl Runs {
    /// By the ledger and by what the hosts showed last; a host that is not among `hosts` was never looked at.
    pub fn of(
        document: Option<&Document>,
        hosts: &[&HostRecord],
        names: &BTreeSet<String>,
        repos: &[Repo],
        roster: &Roster,
    ) -> Runs {
        let samples: BTreeMap<&str, Option<&Sample>> = hosts
            .iter()
            .filter(|record| names.contains(&record.host))
            .map(|record| (record.host.as_str(), (record.level != UNKNOWN).then_some(&record.sample)))
            .collect();
        // Without a list of them nobody knows what cron started.
        let looked_for = roster.all().any(|agent| agent.match_text.is_some());
        let all = document.is_some()
            && names.iter().all(|name| {
                let sample = samples.get(name.as_str()).copied().flatten();
                sample.is_some_and(|sample| sample.runs.is_some() && (sample.matched.is_some() || !looked_for))
            });
        let living = |sample: &&Sample| -> Vec<Option<String>> {
            let runs = sample.runs.iter().flatten().filter(|run| !run.over());
            runs.map(|run| run.task.clone()).collect()
        };
        let tasks: Vec<Option<String>> = samples.values().flatten().flat_map(living).collect();
        let claims = document.iter().flat_map(|document| document.claims.keys().cloned());
        // An agent that cron started says nowhere what it works on.
        let matched = samples.values().flatten().flat_map(|sample| sample.matched.iter().flatten());
        let unnamed: BTreeSet<&str> = matched.map(|matched| matched.agent.as_str()).collect();
        let as_of = samples.values().flatten().map(|sample| sample.at).min().filter(|_| all);
        let known = |repo: &Repo| {
            let dev = |agent: &&&str| roster.class(agent, &repo.name) == Class::Dev;
            let whole = tasks.iter().all(Option::is_some) && unnamed.iter().filter(dev).count() == 0;
            Some((repo.name.clone(), as_of.filter(|_| whole)?))
        };
        Runs {
            known: repos.iter().filter_map(known).collect(),
            blind: false,
            taken: claims.chain(tasks.iter().flatten().cloned()).collect(),
        }
    }
}

/// What there is to do in a repo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Each open issue and pull.
    pub judged: Judged,
    /// What may be begun, in no order.
    pub items: Vec<Item>,
}

/// Judges every repo; one whose forge never told anything has nothing to judge.
pub fn judge(all: &[Known<'_>], runs: &Runs, wake: &Wake, now: Timestamp) -> BTreeMap<String, Work> {
    // Who waits for whom, over all repos of a forge, and what is known of them.
    let mut forges: BTreeMap<&str, (Graph<'_>, BTreeMap<String, &Book>)> = BTreeMap::new();
    for Known { repo, book } in all {
        let (graph, books) = forges.entry(forge_url(repo)).or_default();
        for issue in &book.issues {
            graph.add(&repo.slug, issue.number, &issue.depends);
        }
        books.insert(repo.slug.to_lowercase(), *book);
    }
    let (mut taken, none): (BTreeMap<&str, BTreeSet<&str>>, _) = (BTreeMap::new(), BTreeSet::new());
    for task in &runs.taken {
        let repo = task.split(['#', '!']).next().unwrap_or_default();
        taken.entry(repo).or_default().insert(task);
    }
    let one = |Known { repo, book }: &Known<'_>| {
        let (graph, books) = forges.get(forge_url(repo))?;
        let settled = book.settled.as_ref().filter(|_| book.seen.is_some())?;
        let facts = book.facts.iter().map(|(one, known)| (one, if open(books, one) { Fact::Open } else { known.fact }));
        let seen = Seen {
            issues: &book.issues,
            pulls: book.pulls.iter().map(|known| &known.pull).collect(),
            facts: facts.collect(),
            taken: taken.get(repo.name.as_str()).unwrap_or(&none),
            blind: runs.blind,
            runs_as_of: runs.known.get(&repo.name).copied(),
            merged: book.merged.iter().map(|(number, (pull, _))| (*number, *pull)).collect(),
        };
        let ours: Vec<&str> = settled.account.iter().map(String::as_str).collect();
        let checks = settled.checks(repo);
        let about = queue::Repo {
            name: &repo.name,
            slug: &repo.slug,
            branch: Some(&settled.branch),
            labels: &repo.labels,
            ours: &ours,
            reviewer: settled.reviewer.as_deref(),
            approvals: settled.approvals(repo),
            checks: &checks,
            ci: CiKind::of(&repo.ci),
            grace: SignedDuration::try_from(wake.pipeline_missing.0).unwrap_or(queue::GRACE),
        };
        let judged = queue::judge(&about, &seen, graph, now);
        let items = items(&about, &seen, &judged);
        Some((repo.name.clone(), Work { judged, items }))
    };
    all.iter().filter_map(one).collect()
}

/// Whether something was seen open, in `books` by path on the forge.
fn open(books: &BTreeMap<String, &Book>, one: &Ref) -> bool {
    let Ref::Here(slug, number) = one else { return false };
    let pulls = |book: &Book| book.pulls.iter().any(|known| known.pull.number == *number);
    books.get(slug).is_some_and(|book| book.issues.iter().any(|issue| issue.number == *number) || pulls(book))
}

/// What may be begun.
fn items(repo: &queue::Repo<'_>, seen: &Seen<'_>, judged: &Judged) -> Vec<Item> {
    let item = |number, class, task, since| Item { repo: repo.name.to_owned(), number, class, task, since };
    let new = seen.issues.iter().filter_map(|issue| match judged.issues.get(&issue.number)? {
        issue::Verdict::Ready | issue::Verdict::Orphaned => {
            Some(item(issue.number, Kind::New, queue::task(repo.name, issue.number), issue.since))
        }
        issue::Verdict::Not(_) => None,
    });
    let pulls = seen.pulls.iter().filter_map(|pull| match judged.pulls.get(&pull.number)? {
        pull::Verdict::NeedsReview => {
            let task = queue::review_task(repo.name, pull.number, &pull.head);
            Some(item(pull.number, Kind::Review, task, pull.head_at))
        }
        pull::Verdict::NeedsFixes(_) => {
            let task = pull::tasks(repo, pull).into_iter().next()?;
            Some(item(pull.number, Kind::Fixes, task, pull.head_at))
        }
        _ => None,
    });
    new.chain(pulls).collect()
}
