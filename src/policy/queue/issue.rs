//! Whether an issue may be begun, and why not.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;

use super::depends::{Fact, Graph, Ref};
use super::{Issue, Repo, Seen, same, task};

/// What is to become of an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may be begun.
    Ready,
    /// Somebody of ours began it, and nobody works on it any more: it may be begun again.
    Orphaned,
    /// Not now.
    Not(Reason),
}

/// Why an issue may not be begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is closed.
    Closed,
    /// It is a pull.
    IsPull,
    /// Its task has a claim, or a run that lives or may live.
    Taken,
    /// An open pull closes it.
    Pull(u64),
    /// This pull was merged for it, and the forge has not closed it.
    Merged(u64),
    /// It has the label for what is being worked on, and this one works on it; nobody when nobody is named.
    Active(String, Vec<String>),
    /// It looks orphaned, and not every run is known.
    RunsUnknown,
    /// It may be begun for all that is known, but what has a claim is not.
    ClaimsUnknown,
    /// It has this label, for what waits or lacks something.
    Label(String),
    /// It lacks this label, for what may be begun.
    NotLabelled(String),
    /// It is assigned to a person.
    Assigned(String),
    /// It depends on itself.
    Itself,
    /// It waits for itself over others: the circle in order, its beginning again at its end.
    Circle(Vec<String>),
    /// It depends on these, which are not done: each as it is written, and how it is.
    Depends(Vec<(String, Fact)>),
}

/// One line, for people.
impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Closed => f.write_str("it is closed"),
            Reason::IsPull => f.write_str("it is a pull"),
            Reason::Taken => f.write_str("a run works on it, or may"),
            Reason::Pull(number) => write!(f, "pull #{number} is open for it"),
            Reason::Merged(number) => {
                write!(f, "pull #{number} was merged for it: close it, or label it anew if more is to be done")
            }
            Reason::Active(label, who) if who.is_empty() => {
                write!(f, "it is labelled {label} and assigned to nobody: who began it is not known")
            }
            Reason::Active(label, who) => write!(f, "it is labelled {label} and assigned to {}", who.join(", ")),
            Reason::RunsUnknown => f.write_str("nobody seems to work on it, but not every run is known"),
            Reason::ClaimsUnknown => f.write_str("whether a run works on it is not known: the ledger cannot be read"),
            Reason::Label(label) => write!(f, "it is labelled {label}"),
            Reason::NotLabelled(label) => write!(f, "it is not labelled {label}"),
            Reason::Assigned(who) => write!(f, "it is assigned to {who}"),
            Reason::Itself => f.write_str("it depends on itself"),
            Reason::Circle(path) => write!(f, "it waits for itself: {}", path.join(" -> ")),
            Reason::Depends(all) => {
                let told: Vec<String> = all.iter().map(|(what, fact)| lacking(what, *fact)).collect();
                write!(f, "it depends on {}", told.join(", and on "))
            }
        }
    }
}

fn lacking(what: &str, fact: Fact) -> String {
    match fact {
        Fact::Open => format!("{what}, which is open"),
        Fact::Closed => format!("{what}, which is done"),
        Fact::Unmerged(pull) => format!("{what}, which is closed, but pull #{pull} was not merged"),
        Fact::Absent => format!("{what}, which does not exist"),
        Fact::Unknown => format!("{what}, of which nothing is known"),
    }
}

/// How far the clocks of a forge and of hosts may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// By issue, the lowest number of an open pull that closes it.
pub type Closing = BTreeMap<u64, u64>;

/// Judges one issue. Of several reasons against it the one that a person would name first: somebody works on it, its
/// labels, whom it is assigned to, what it depends on.
///
/// With both the label for what is ready and the one for what is being worked on, somebody was between two calls: it is
/// being worked on.
pub fn judge(repo: &Repo<'_>, seen: &Seen<'_>, graph: &Graph<'_>, closing: &Closing, issue: &Issue) -> Verdict {
    let no = Verdict::Not;
    if issue.pull {
        return no(Reason::IsPull);
    }
    if !issue.open {
        return no(Reason::Closed);
    }
    if seen.is_taken(|| task(repo.name, issue.number)) {
        return no(Reason::Taken);
    }
    if let Some(number) = closing.get(&issue.number) {
        return no(Reason::Pull(*number));
    }
    if let Some(number) = seen.merged.get(&issue.number) {
        return no(Reason::Merged(*number));
    }
    let has = |label: &str| issue.labels.iter().any(|own| own == label);
    let labels = repo.labels;
    if let Some(label) = [&labels.blocked, &labels.unclear].into_iter().find(|label| has(label)) {
        return no(Reason::Label(label.clone()));
    }
    let ours = |login: &&String| repo.ours.iter().any(|our| same(our, login));
    let person = issue.assignees.iter().filter(|login| !ours(login)).min();
    let active = has(&labels.active);
    match person {
        // Somebody of ours works on it, whoever else is named.
        _ if active && (person.is_some() || issue.assignees.is_empty()) => {
            let mut who = issue.assignees.clone();
            who.sort();
            return no(Reason::Active(labels.active.clone(), who));
        }
        _ if active && seen.runs_as_of.is_none_or(|as_of| as_of.duration_since(issue.since) < SKEW) => {
            return no(Reason::RunsUnknown);
        }
        _ if !active && !has(&labels.ready) => return no(Reason::NotLabelled(labels.ready.clone())),
        Some(person) => return no(Reason::Assigned(person.clone())),
        None => {}
    }
    match waits(repo, seen, graph, closing, issue) {
        Some(reason) => no(reason),
        None if seen.blind => no(Reason::ClaimsUnknown),
        None if active => Verdict::Orphaned,
        None => Verdict::Ready,
    }
}

/// What the issue waits for.
fn waits(repo: &Repo<'_>, seen: &Seen<'_>, graph: &Graph<'_>, closing: &Closing, issue: &Issue) -> Option<Reason> {
    let own = Ref::new(repo.slug, issue.number);
    let on = &issue.depends;
    if on.contains(&own) {
        return Some(Reason::Itself);
    }
    if let Some(path) = graph.circle(&own) {
        return Some(Reason::Circle(path.iter().map(|one| one.shown(repo.slug)).collect()));
    }
    let facts = on.iter().map(|one| (one.shown(repo.slug), fact(repo, seen, closing, one)));
    let lacking: Vec<(String, Fact)> = facts.filter(|(_, fact)| *fact != Fact::Closed).collect();
    (!lacking.is_empty()).then_some(Reason::Depends(lacking))
}

/// How something is that an issue depends on. What was seen open is open, whatever was known of it before; a closed issue
/// with a pull that is still open is not done.
fn fact(repo: &Repo<'_>, seen: &Seen<'_>, closing: &Closing, one: &Ref) -> Fact {
    let number = match one {
        Ref::Here(slug, number) if slug.eq_ignore_ascii_case(repo.slug) => Some(*number),
        _ => None,
    };
    if let Some(number) = number {
        let issue = seen.issues.iter().any(|issue| issue.open && issue.number == number);
        if issue || seen.pulls.iter().any(|pull| pull.open && pull.number == number) {
            return Fact::Open;
        }
    }
    let known = seen.facts.get(one).copied().unwrap_or(Fact::Unknown);
    match (known, number.and_then(|number| closing.get(&number))) {
        (Fact::Closed, Some(pull)) => Fact::Unmerged(*pull),
        (known, _) => known,
    }
}
