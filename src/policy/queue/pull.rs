//! What an open pull wants next: a review, a fix, a merge, or only time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::pipeline::{self, Infra, Red, Wait};
use super::statuses::{self, checks};
use super::{Pull, Repo, Review, Says, Seen, review_task, same, task};

/// Why nothing is done about a pull while nobody knows what has a claim.
const BLIND: &str = "whether a run works on it is not known: the ledger cannot be read";

/// What is to become of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A review of its head commit.
    NeedsReview,
    /// A change of its code.
    NeedsFixes(Fix),
    /// It may be merged.
    Mergeable,
    /// CI failed by what it runs on. Nobody restarts it by machine: that made storms.
    Infrastructure(Infra),
    /// Nothing now.
    Waiting(Why),
    /// Nobody can tell: the decision before stands.
    Unknown(String),
}

/// What is to be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fix {
    /// What these reviewers want changed.
    Changes(Vec<String>),
    /// What CI found.
    Ci(Red),
}

/// For what a pull waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is closed.
    Closed,
    /// It goes to this branch, which is not the repo's.
    Base(String),
    /// It is a draft, or its title says that it is not done.
    Draft,
    /// A run works on it, or may: its task.
    Taken(String),
    /// For CI.
    Ci(Wait),
    /// It was made by the account that reviews, which cannot approve it.
    OwnPull(String),
    /// For approvals of its head commit: how many there are, and how many it needs.
    Approvals(u32, u32),
    /// These wanted changes of an earlier commit and have not looked again.
    Rejected(Vec<String>),
    /// It conflicts with its base.
    Conflict,
    /// CI is done and green, but these status checks that the protection asks for are not: a callback may be lost.
    Badge(Vec<String>),
    /// The forge does not say yet whether it can be merged.
    MergeNotKnown,
}

/// One line, for people.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::NeedsReview => f.write_str("needs a review"),
            Verdict::NeedsFixes(Fix::Changes(by)) => write!(f, "needs fixes: {} asked for changes", by.join(", ")),
            Verdict::NeedsFixes(Fix::Ci(red)) => write!(f, "needs fixes: {red}"),
            Verdict::Mergeable => f.write_str("may be merged"),
            Verdict::Infrastructure(infra) => write!(f, "CI failed, not by the code: {infra}"),
            Verdict::Waiting(why) => write!(f, "waits: {why}"),
            Verdict::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// For people.
impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Closed => f.write_str("it is closed"),
            Why::Base(base) => write!(f, "it goes to {base}"),
            Why::Draft => f.write_str("it is a draft"),
            Why::Taken(task) => write!(f, "a run works on {task}, or may"),
            Why::Ci(wait) => wait.fmt(f),
            Why::OwnPull(who) => {
                write!(f, "it was made by {who}, who reviews: a forge lets nobody approve their own pulls")
            }
            Why::Approvals(has, needs) => write!(f, "{has} of {needs} approvals of its head commit"),
            Why::Rejected(by) => write!(f, "{} asked for changes of an earlier commit", by.join(", ")),
            Why::Conflict => f.write_str("it conflicts with its base"),
            Why::Badge(checks) => {
                write!(f, "CI is green, but the forge does not show it: {}; a callback may be lost", checks.join(", "))
            }
            Why::MergeNotKnown => f.write_str("the forge does not say whether it can be merged"),
        }
    }
}

/// The tasks of work on a pull, the first of which names it: those of the issues that it closes, else its own number's,
/// which forges give to no issue.
pub fn tasks(repo: &Repo<'_>, pull: &Pull) -> Vec<String> {
    let mut tasks: Vec<String> = pull.closes.iter().map(|number| task(repo.name, *number)).collect();
    if tasks.is_empty() {
        tasks.push(task(repo.name, pull.number));
    }
    tasks
}

/// Judges one pull. Only what was said of its head commit counts: reviews, pipelines and approvals of others are past.
pub fn judge(repo: &Repo<'_>, seen: &Seen<'_>, pull: &Pull, now: Timestamp) -> Verdict {
    let waits = Verdict::Waiting;
    if !pull.open {
        return waits(Why::Closed);
    }
    if repo.branch.is_some_and(|branch| branch != pull.base) {
        return waits(Why::Base(pull.base.clone()));
    }
    if pull.draft || unfinished(&pull.title) {
        return waits(Why::Draft);
    }
    let Some(reviews) = &pull.reviews else {
        return Verdict::Unknown(untold(pull, "the forge does not tell its reviews"));
    };
    let opinions = opinions(repo, pull, reviews);
    let here = |review: &&&Review| review.commit == pull.head;
    let by = |says: Says| opinions.iter().filter(move |review| review.says == says);
    let names = |all: Vec<&&Review>| all.iter().map(|review| review.author.clone()).collect::<Vec<_>>();
    let fixes = |fix: Fix| match tasks(repo, pull).into_iter().find(|task| seen.is_taken(|| task.clone())) {
        Some(task) => waits(Why::Taken(task)),
        None if seen.blind => Verdict::Unknown(BLIND.to_owned()),
        None => Verdict::NeedsFixes(fix),
    };
    let against: Vec<&&Review> = by(Says::ChangesRequested).filter(here).collect();
    if !against.is_empty() {
        return fixes(Fix::Changes(names(against)));
    }
    match pipeline::says(repo, pull, now) {
        pipeline::Says::Green(_) => {}
        pipeline::Says::Red(red) => return fixes(Fix::Ci(red)),
        pipeline::Says::Infrastructure(infra) => return Verdict::Infrastructure(infra),
        pipeline::Says::Waiting(wait) => return waits(Why::Ci(wait)),
        pipeline::Says::Unknown(why) if why == statuses::SILENT => return Verdict::Unknown(untold(pull, why)),
        pipeline::Says::Unknown(why) => return Verdict::Unknown(why.to_owned()),
    }
    let (has, needs) =
        (u32::try_from(by(Says::Approved).filter(here).count()).unwrap_or(u32::MAX), repo.approvals.max(1));
    if has < needs {
        return unapproved(repo, seen, pull, reviews, (has, needs));
    }
    let earlier: Vec<&&Review> = by(Says::ChangesRequested).collect();
    if !earlier.is_empty() {
        return waits(Why::Rejected(names(earlier)));
    }
    match pull.mergeable {
        Some(false) => return waits(Why::Conflict),
        None => return waits(Why::MergeNotKnown),
        Some(true) => {}
    }
    // The forge asks its own badges, and answers 405 whatever CI says.
    match pull.statuses.as_ref().map(|statuses| checks(repo.checks, statuses)) {
        None if repo.checks.is_empty() => Verdict::Mergeable,
        None => Verdict::Unknown(untold(pull, statuses::SILENT)),
        Some(pipeline::Says::Green(_)) => Verdict::Mergeable,
        Some(pipeline::Says::Red(Red::Check(context)) | pipeline::Says::Infrastructure(Infra::Check(context))) => {
            waits(Why::Badge(vec![context]))
        }
        Some(pipeline::Says::Waiting(Wait::Checks(missing))) => waits(Why::Badge(missing)),
        Some(pipeline::Says::Waiting(Wait::Ended(context))) => waits(Why::Badge(vec![context])),
        Some(_) => waits(Why::MergeNotKnown),
    }
}

/// What is not told, with the cause where it is known.
fn untold(pull: &Pull, what: &str) -> String {
    pull.untold.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"))
}

/// A green pull without its approvals.
fn unapproved(repo: &Repo<'_>, seen: &Seen<'_>, pull: &Pull, reviews: &[Review], approvals: (u32, u32)) -> Verdict {
    if let Some(reviewer) = repo.reviewer.filter(|reviewer| same(reviewer, &pull.author)) {
        return Verdict::Waiting(Why::OwnPull(reviewer.to_owned()));
    }
    let own = |review: &Review| match repo.reviewer {
        Some(reviewer) => same(reviewer, &review.author),
        None => !same(&pull.author, &review.author),
    };
    // A mere comment is a review too: another one would say the same.
    let said = |review: &&Review| holds(review) && review.commit == pull.head && review.says != Says::Nothing;
    if reviews.iter().filter(said).any(own) {
        return Verdict::Waiting(Why::Approvals(approvals.0, approvals.1));
    }
    let review = || review_task(repo.name, pull.number, &pull.head);
    if seen.is_taken(review) {
        return Verdict::Waiting(Why::Taken(review()));
    }
    if seen.blind {
        return Verdict::Unknown(BLIND.to_owned());
    }
    Verdict::NeedsReview
}

/// Nobody took it back and the pull is still what it was.
fn holds(review: &Review) -> bool {
    !review.dismissed && !review.stale
}

/// The last word of each whose review counts, by name: of the protection's reviewers and of our own account. A comment
/// takes no word back.
fn opinions<'a>(repo: &Repo<'_>, pull: &Pull, reviews: &'a [Review]) -> Vec<&'a Review> {
    let counts = |review: &Review| review.official || repo.reviewer.is_some_and(|own| same(own, &review.author));
    let word = |review: &Review| !review.dismissed && matches!(review.says, Says::Approved | Says::ChangesRequested);
    let mut last: BTreeMap<String, &Review> = BTreeMap::new();
    for review in reviews.iter().filter(|one| word(one) && counts(one) && !same(&one.author, &pull.author)) {
        let known = last.entry(review.author.to_lowercase()).or_insert(review);
        if review.id > known.id {
            *known = review;
        }
    }
    // A stale approval is none; who wanted changes before the pull changed has not said yet that they are good.
    let valid = |review: &&Review| match review.says {
        Says::ChangesRequested => !review.stale || review.commit != pull.head,
        _ => holds(review),
    };
    last.into_values().filter(valid).collect()
}

/// Whether a title says that the pull is not done: as forges read it, `WIP:` and `[WIP]`, and `Draft:`.
pub fn unfinished(title: &str) -> bool {
    let title = title.trim_start();
    let begins = |mark: &str| title.get(..mark.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(mark));
    ["wip:", "[wip]", "draft:", "[draft]", "(draft)"].into_iter().any(begins)
}
