//! What there is to do in one repo: which issues may be begun, which pulls want a review, a fix or a merge, and why the
//! others do not. Pure: the forge layer fills in what was seen, and nothing here asks again.
//!
//! What was not told is *unknown*, and unknown is never ready.

pub mod closes;
pub mod depends;
pub mod issue;
pub mod order;
mod pipeline;
mod prose;
pub mod pull;
mod statuses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::inventory::repos::{Ci, Labels};

pub use depends::{Fact, Graph, Ref};
pub use pipeline::{Event, Pipeline, State, Step};
pub use statuses::is_reported;

/// How long a head commit is given to get a pipeline of its pull before another one may speak for it: 15 minutes.
pub const GRACE: SignedDuration = SignedDuration::from_mins(15);

/// What tells of a repo whether a commit is green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CiKind {
    /// Nothing: every pull is, but for status checks that the protection asks for and that are there.
    #[default]
    None,
    /// Pipelines, which know their event, and the exit codes of their steps.
    Pipelines,
    /// The statuses of the commit.
    Statuses,
}

impl CiKind {
    /// That of a repo's CI. Runs of Forgejo's Actions are no pipelines: each file of workflows has a run of its own for one
    /// push, and lists of tasks hold nothing that still waits. Its statuses are set for all jobs at once.
    pub fn of(ci: &Ci) -> CiKind {
        match ci {
            Ci::None => CiKind::None,
            Ci::Woodpecker { .. } => CiKind::Pipelines,
            Ci::Actions { .. } | Ci::Statuses => CiKind::Statuses,
        }
    }
}

/// One repo, as the inventory and its protection have it.
#[derive(Clone, Debug)]
pub struct Repo<'a> {
    /// Its name in the inventory.
    pub name: &'a str,
    /// OWNER/NAME on the forge.
    pub slug: &'a str,
    /// The branch that pulls go to; `None` when it is not known: then the base of a pull is not looked at.
    pub branch: Option<&'a str>,
    /// The labels that say what state an issue is in.
    pub labels: &'a Labels,
    /// The accounts that agents work with.
    pub ours: &'a [&'a str],
    /// The account that reviews; `None` when there is none of our own: then anybody's review is one.
    pub reviewer: Option<&'a str>,
    /// How many approvals the protection asks for. One is always asked for.
    pub approvals: u32,
    /// The status checks that the protection asks for; `*` matches any text.
    pub checks: &'a [&'a str],
    /// What tells whether a commit is green.
    pub ci: CiKind,
    /// How long a head commit is given to get a pipeline, or a status, of its pull; [`GRACE`] where nothing else is said.
    pub grace: SignedDuration,
}

/// What was seen of a repo at one look.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its open issues; others do no harm.
    pub issues: &'a [Issue],
    /// Its open pulls; others do no harm.
    pub pulls: Vec<&'a Pull>,
    /// What is known of what issues depend on. Open issues and pulls of the repo itself need not be here.
    pub facts: BTreeMap<&'a Ref, Fact>,
    /// The tasks that have a claim, or a run that lives, is unknown or is quarantined.
    pub taken: &'a BTreeSet<&'a str>,
    /// What has a claim is not known: the ledger could not be read. Then nothing may be begun.
    pub blind: bool,
    /// As of when every run that there may be is known with its task: all hosts answered, and no agent of the repo runs of
    /// which nobody knows what it is about. Otherwise nothing is orphaned, nor is what was begun after that.
    pub runs_as_of: Option<Timestamp>,
    /// By issue, the pull that we merged for it since it was last labelled or assigned.
    pub merged: BTreeMap<u64, u64>,
}

impl Seen<'_> {
    /// Whether somebody works on this task of the repo, or may. Most repos have none that is worked on, and then nobody
    /// needs its name.
    fn is_taken(&self, task: impl FnOnce() -> String) -> bool {
        !self.taken.is_empty() && self.taken.contains(task().as_str())
    }
}

/// An issue, as far as it matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// What its text says that it depends on: [`depends::depends`].
    pub depends: Vec<Ref>,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// The logins that it is assigned to.
    pub assignees: Vec<String>,
    /// It is open.
    pub open: bool,
    /// It is a pull: forges list both.
    pub pull: bool,
    /// Since when it is as it is; its age in the queue counts from here.
    pub since: Timestamp,
}

/// A pull, as far as it matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// The issues that it closes, by its text and all else: [`closes::closes`].
    pub closes: BTreeSet<u64>,
    /// The login of who made it.
    pub author: String,
    /// The branch that it goes to.
    pub base: String,
    /// The branch that it comes from.
    pub branch: String,
    /// The commit at its head, in full.
    pub head: String,
    /// When that commit came there; its age in the queue counts from here.
    pub head_at: Timestamp,
    /// It is open.
    pub open: bool,
    /// The forge calls it a draft.
    pub draft: bool,
    /// Whether the forge can merge it without a conflict; `None` while it does not say.
    pub mergeable: Option<bool>,
    /// Its reviews; `None` when the forge did not tell.
    pub reviews: Option<Vec<Review>>,
    /// The statuses of its head commit; `None` when the forge did not tell.
    pub statuses: Option<Vec<Status>>,
    /// The pipelines of its head commit, others do no harm; `None` when CI did not tell.
    pub pipelines: Option<Vec<Pipeline>>,
    /// Why the forge did not tell its reviews or statuses, for people.
    #[serde(default)]
    pub untold: Option<String>,
}

/// A formal review of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Its number: a later one is higher.
    pub id: u64,
    /// The login of who wrote it.
    pub author: String,
    /// What it says.
    pub says: Says,
    /// The commit that was reviewed, in full.
    pub commit: String,
    /// Somebody took it back.
    pub dismissed: bool,
    /// The forge says that the pull has changed since.
    pub stale: bool,
    /// It counts for the protection.
    pub official: bool,
}

/// What a review says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Says {
    /// Yes.
    Approved,
    /// No.
    ChangesRequested,
    /// Neither.
    Comment,
    /// Nothing yet: it is being written, or was only asked for.
    Nothing,
}

/// A status of a commit: a badge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its number: a later one of the same context is higher.
    pub id: u64,
    /// Whose it is: `ci/woodpecker/pr/test`.
    pub context: String,
    /// What it says.
    pub state: StatusState,
}

/// What a status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusState {
    /// Not yet.
    Pending,
    /// Green; a warning too, which blocks nothing.
    Success,
    /// Red, by what was judged.
    Failure,
    /// Red, by who was to judge.
    Error,
    /// It was called off before it was done.
    Killed,
}

/// The task of an issue and of every pull that closes it: `REPO#N`.
pub fn task(repo: &str, number: u64) -> String {
    format!("{repo}#{number}")
}

/// The task of a review: `REPO!N@SHA`.
pub fn review_task(repo: &str, pull: u64, head: &str) -> String {
    format!("{repo}!{pull}@{head}")
}

/// What there is to do in one repo, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// By number, every open issue that is no pull.
    pub issues: BTreeMap<u64, issue::Verdict>,
    /// By number, every open pull.
    pub pulls: BTreeMap<u64, pull::Verdict>,
}

/// Judges every open issue and pull of a repo, each once. `graph` knows who depends on whom, over as many repos as may
/// make a circle.
pub fn judge(repo: &Repo<'_>, seen: &Seen<'_>, graph: &Graph<'_>, now: Timestamp) -> Judged {
    // The same number twice, as when a page moved between two calls: the later look says more.
    let issues: BTreeMap<u64, &Issue> = newest(seen.issues.iter().filter(|issue| issue.open && !issue.pull));
    let mut pulls: BTreeMap<u64, &Pull> = BTreeMap::new();
    for pull in seen.pulls.iter().copied().filter(|pull| pull.open) {
        let known = pulls.entry(pull.number).or_insert(pull);
        if (pull.head_at, &pull.head) > (known.head_at, &known.head) {
            *known = pull;
        }
    }
    let mut closing = issue::Closing::new();
    for pull in seen.pulls.iter().filter(|pull| pull.open) {
        for number in &pull.closes {
            let first = closing.entry(*number).or_insert(pull.number);
            *first = pull.number.min(*first);
        }
    }
    let judge = |one| issue::judge(repo, seen, graph, &closing, one);
    let issues = issues.into_iter().map(|(number, one)| (number, judge(one))).collect();
    let pulls = pulls.into_iter().map(|(number, one)| (number, pull::judge(repo, seen, one, now))).collect();
    Judged { issues, pulls }
}

/// By number; of two the one that changed last.
fn newest<'a>(issues: impl Iterator<Item = &'a Issue>) -> BTreeMap<u64, &'a Issue> {
    let mut all: BTreeMap<u64, &Issue> = BTreeMap::new();
    for issue in issues {
        let known = all.entry(issue.number).or_insert(issue);
        if issue.since > known.since {
            *known = issue;
        }
    }
    all
}

/// Whether two logins are the same account: forges do not tell upper from lower case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
