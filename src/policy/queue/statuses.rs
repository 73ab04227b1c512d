//! What the statuses of a commit say: those that the protection asks for, or all that there are.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::pipeline::{Infra, Red, Says, Wait, early};
use super::{Pull, Repo, Status, StatusState};

/// Why nothing is known when the forge did not tell them.
pub(super) const SILENT: &str = "the forge does not tell the status checks";

/// What began the work that a status tells of, as far as its context says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Began {
    Pull,
    Push,
    /// A pull too, but what runs is what the base has: it judges no code of the pull.
    Base,
    Other,
}

/// As Forgejo's Actions write it, `WORKFLOW / JOB (pull_request)`, and as Woodpecker and Drone do, `ci/woodpecker/pr/NAME`
/// and `continuous-integration/drone/pr`. Whoever else has a word like that in a name means something else by it.
fn began(context: &str) -> Began {
    if context.ends_with("(pull_request_target)") {
        Began::Base
    } else if ["(pull_request)", "/drone/pr"].iter().any(|end| context.ends_with(end)) || context.contains("/pr/") {
        Began::Pull
    } else if ["(push)", "/drone/push"].iter().any(|end| context.ends_with(end)) || context.contains("/push/") {
        Began::Push
    } else {
        Began::Other
    }
}

/// What the statuses of a pull's head commit say, where nothing else does: those that the protection asks for, else every
/// one that there is. Of the same work for the pull and for a push that of the pull counts; a push speaks only when nothing
/// else has for a while. What runs for the base stands for no other, and counts only where it is named.
pub(super) fn says(repo: &Repo<'_>, pull: &Pull, now: Timestamp) -> Says {
    let Some(statuses) = &pull.statuses else { return Says::Unknown(SILENT) };
    let all: Vec<(&str, Vec<&Status>)> = match repo.checks {
        [] => vec![("*", judging("*", statuses))],
        wanted => wanted.iter().map(|check| (*check, judging(check, statuses))).collect(),
    };
    let is = |status: &&&Status, event: Began| began(&status.context) == event;
    let (mut told, mut instead) = (Vec::new(), false);
    for (check, mut found) in all {
        let own = found.iter().any(|status| is(&status, Began::Pull));
        if own {
            found.retain(|status| !is(&status, Began::Push));
        }
        // Who asks for that of a push, or for the base, by its name gets that.
        let unasked = |event: Began| began(check) != event && found.iter().any(|status| is(&status, event));
        instead |= unasked(Began::Push) || (!own && unasked(Began::Base));
        told.push((check, found));
    }
    let nothing = told.iter().all(|(_, found)| found.is_empty());
    if (nothing || instead)
        && let Some(early) = early(repo, pull, now)
    {
        return early;
    }
    match repo.checks {
        [] if nothing => Says::Waiting(Wait::Nothing),
        // Each stands for itself.
        [] => verdict(told.iter().flat_map(|(_, found)| found).map(|status| (status.context.as_str(), vec![*status]))),
        _ if statuses.is_empty() => Says::Waiting(Wait::Nothing),
        _ => verdict(told.into_iter()),
    }
}

/// The same where nothing else speaks for a pull; none where nothing of what is asked for is there.
pub(super) fn instead(wanted: &[&str], statuses: &[Status]) -> Option<Says> {
    let all: Vec<(&str, Vec<&Status>)> = wanted.iter().map(|check| (*check, judging(check, statuses))).collect();
    all.iter().any(|(_, found)| !found.is_empty()).then(|| verdict(all.into_iter()))
}

/// What the status checks say that the protection asks for, as the forge reads them. Each must be there at least once, and
/// the latest of each context that it matches must be green.
pub(super) fn checks(wanted: &[&str], statuses: &[Status]) -> Says {
    verdict(wanted.iter().map(|check| (*check, reported(check, statuses))))
}

/// What is wanted, each with the statuses that are there for it: one that is bad is enough, and all must be good.
fn verdict<'a>(wanted: impl Iterator<Item = (&'a str, Vec<&'a Status>)>) -> Says {
    let wanted: Vec<(&str, Vec<&Status>)> = wanted.collect();
    let of = |state: StatusState| {
        let all = wanted.iter().flat_map(|(_, found)| found).filter(|status| status.state == state);
        all.map(|status| status.context.clone()).min()
    };
    let open = |found: &[&Status]| found.is_empty() || found.iter().any(|one| one.state == StatusState::Pending);
    let missing: Vec<String> =
        wanted.iter().filter(|(_, found)| open(found)).map(|(check, _)| (*check).to_owned()).collect();
    if let Some(context) = of(StatusState::Failure) {
        Says::Red(Red::Check(context))
    } else if let Some(context) = of(StatusState::Error) {
        Says::Infrastructure(Infra::Check(context))
    } else if let Some(context) = of(StatusState::Killed) {
        Says::Waiting(Wait::Ended(context))
    } else if missing.is_empty() {
        Says::Green(None)
    } else {
        Says::Waiting(Wait::Checks(missing))
    }
}

/// Whether a status is there that `check` matches.
pub fn is_reported(check: &str, statuses: &[Status]) -> bool {
    statuses.iter().any(|status| matches(check, &status.context))
}

/// The latest status of each context that `check` matches.
fn reported<'a>(check: &str, statuses: &'a [Status]) -> Vec<&'a Status> {
    let mut latest: BTreeMap<&str, &Status> = BTreeMap::new();
    for status in statuses.iter().filter(|status| matches(check, &status.context)) {
        let known = latest.entry(&status.context).or_insert(status);
        if status.id > known.id {
            *known = status;
        }
    }
    latest.into_values().collect()
}

/// The same without what runs for the base, unless `check` names it or its workflow: a mere `*` means what judges the pull.
fn judging<'a>(check: &str, statuses: &'a [Status]) -> Vec<&'a Status> {
    let workflow = check.split('*').next().is_some_and(|begin| begin.contains(" / "));
    let mut found = reported(check, statuses);
    if !workflow && began(check) != Began::Base {
        found.retain(|status| began(&status.context) != Began::Base);
    }
    found
}

/// Whether `text` is what `glob` says; `*` is any text, slashes too.
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}
