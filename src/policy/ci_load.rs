//! Whether the CI of a repo has more to do than it can: a pure step from look to look.
//!
//! New work makes new pipelines, so dev agents of the repo are held first, then reviews, which make fixes. Nothing is ever
//! stopped for it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::severity::Level;
use crate::inventory::agents::Class;
use crate::inventory::policy::{CiLoad, Policy};
use crate::inventory::units::Span;

/// What the CI of a repo has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Pipelines that wait to be run.
    pub pending: u32,
    /// For how long the oldest of these has been waiting, in seconds.
    pub oldest: Option<f64>,
    /// The median of how long pipelines of the repo take, in seconds.
    pub median: Option<f64>,
    /// Pipelines that can run at once; 0 is not known.
    pub workers: u32,
}

impl Load {
    /// Pending pipelines per worker.
    fn per_worker(&self) -> Option<f64> {
        match (self.pending, self.workers) {
            (0, _) => Some(0.0),
            (_, 0) => None,
            (pending, workers) => Some(f64::from(pending) / f64::from(workers)),
        }
    }

    /// How old the oldest is, in medians; where nothing is pending, nothing is old.
    fn age(&self) -> Option<f64> {
        if self.pending == 0 {
            return Some(0.0);
        }
        let oldest = self.oldest.filter(|oldest| oldest.is_finite() && *oldest >= 0.0)?;
        let median = self.median.filter(|median| median.is_finite() && *median > 0.0)?;
        Some(oldest / median)
    }
}

/// What is kept of one repo between two looks. As JSON it goes to the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiState {
    /// The level that the number of pending pipelines is latched at.
    #[serde(default)]
    pub pending: Level,
    /// The level that the age of the oldest one is latched at.
    #[serde(default)]
    pub oldest: Level,
    /// Since when more are pending than the soft bound, by the clock of [`step`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_since: Option<f64>,
    /// Since when more are pending than the hard bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_since: Option<f64>,
}

impl CiState {
    /// The level of the repo: ok, soft or hard.
    pub fn level(&self) -> Level {
        self.pending.max(self.oldest)
    }
}

/// Where the CI of a repo stands, as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiStanding {
    /// What is latched.
    pub state: CiState,
    /// Since when it has not been ok; none while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl CiStanding {
    /// Takes one look into it; gives what it is now, if that is another level than before.
    pub fn look(&mut self, policy: &Policy, load: Option<&Load>, now: f64, at: Timestamp) -> Option<Judged> {
        let before = self.state.level();
        let judged = step(&mut self.state, policy, load, now);
        match judged.level {
            Level::Ok => (self.since, self.why) = (None, String::new()),
            level if level > before => {
                self.since = self.since.or(Some(at));
                self.why.clone_from(&judged.text);
            }
            _ => {}
        }
        (judged.level != before).then_some(judged)
    }
}

/// How the CI of a repo is after a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Ok, soft or hard.
    pub level: Level,
    /// Why, for people: `9 pipelines pending on 2 workers for 12m, above 4`.
    pub text: String,
}

/// Takes one look at the CI of a repo into its state; none is a CI that did not answer. `now` is in seconds of a clock that
/// does not go back; if it does all the same, as after a reboot, what lasts begins to last anew.
///
/// Two signals, each with a latch; the level is the worse of the two. With the numbers of `policy.ci`:
///
/// - *pending*, pending pipelines per worker: soft once it has been above `pending` for `pending_for` without a break, hard
///   once above `hard x pending` for as long.
/// - *oldest*, the age of the oldest pending pipeline in median durations: soft above `oldest`, hard above `hard x oldest`.
///
/// A signal stays at its level, or rises, until it is at or below `leave`: then it is ok at once, from soft and from hard.
/// A signal that a look does not tell (no answer, no workers, no median) keeps its level and its beginnings. With nothing
/// pending both are at 0, whatever else is not known.
pub fn step(state: &mut CiState, policy: &Policy, load: Option<&Load>, now: f64) -> Judged {
    let ci = &policy.ci;
    let Some(load) = load else {
        let level = state.level();
        let before = if level == Level::Ok { String::new() } else { format!(", {level} before") };
        return Judged { level, text: format!("load of CI not known{before}") };
    };
    for since in [&mut state.soft_since, &mut state.hard_since].into_iter().flatten() {
        *since = since.min(now);
    }
    if let Some(value) = load.per_worker() {
        let lasts = |since: &mut Option<f64>, bound: f64| {
            *since = (value > bound).then(|| since.unwrap_or(now));
            since.is_some_and(|since| now - since >= ci.pending_for.0.as_secs_f64())
        };
        let entered =
            entered(lasts(&mut state.soft_since, ci.pending), lasts(&mut state.hard_since, ci.pending * ci.hard));
        state.pending = latched(state.pending, entered, value > ci.leave);
    }
    if let Some(value) = load.age() {
        state.oldest = latched(state.oldest, entered(value > ci.oldest, value > ci.oldest * ci.hard), value > ci.leave);
    }
    Judged { level: state.level(), text: text(state, ci, load, now) }
}

/// Whether a repo whose CI is at `level` holds the agents of a class: soft holds dev, hard review too, and nothing ever a
/// supervisor.
pub fn holds(level: Level, class: Class) -> bool {
    match class {
        Class::Dev => level >= Level::Soft,
        Class::Review => level >= Level::Hard,
        Class::Supervisor => false,
    }
}

/// The worst level that is entered.
fn entered(soft: bool, hard: bool) -> Level {
    match (soft, hard) {
        (_, true) => Level::Hard,
        (true, false) => Level::Soft,
        (false, false) => Level::Ok,
    }
}

fn latched(old: Level, entered: Level, stays: bool) -> Level {
    if stays { entered.max(old) } else { entered }
}

/// The signals at the worst level, or both while that is ok.
fn text(state: &CiState, ci: &CiLoad, load: &Load, now: f64) -> String {
    let level = state.level();
    let parts = [(state.pending, pending(state, ci, load, now)), (state.oldest, oldest(state, ci, load))];
    let parts: Vec<String> = parts.into_iter().filter(|(own, _)| *own == level).filter_map(|(_, part)| part).collect();
    if parts.is_empty() { "load of CI not known".to_owned() } else { parts.join("; ") }
}

fn pending(state: &CiState, ci: &CiLoad, load: &Load, now: f64) -> Option<String> {
    let workers = f64::from(load.workers);
    let s = |count: u32| if count == 1 { "" } else { "s" };
    let what = format!("{} pipeline{} pending", load.pending, s(load.pending));
    let Some(value) = load.per_worker() else {
        return (state.pending > Level::Ok).then(|| format!("{what}, workers not known, {} before", state.pending));
    };
    let on = match load.workers {
        0 => String::new(),
        workers => format!(" on {workers} worker{}", s(workers)),
    };
    // The bound that counts for the level that it is at, or may soon be at.
    let above = |since: Option<f64>, bound: f64| Some((length(now - since?), number(bound * workers)));
    let next = match state.pending {
        Level::Ok | Level::Soft => above(state.soft_since, ci.pending),
        _ => above(state.hard_since, ci.pending * ci.hard),
    };
    Some(match (state.pending, next) {
        (Level::Ok, None) if load.workers == 0 => what,
        (Level::Ok, None) => format!("{what}{on}, not above {}", number(ci.pending * workers)),
        (Level::Ok, Some((time, bound))) => {
            format!("{what}{on} for {time}, above {bound}: soft after {}", ci.pending_for)
        }
        (_, Some((time, bound))) => format!("{what}{on} for {time}, above {bound}"),
        (_, None) if value > ci.leave => format!("{what}{on}, not yet down to {}", number(ci.leave * workers)),
        (_, None) => format!("{what}{on}"),
    })
}

fn oldest(state: &CiState, ci: &CiLoad, load: &Load) -> Option<String> {
    let level = state.oldest;
    let Some((value, (oldest, median))) = load.age().zip(load.oldest.zip(load.median)) else {
        let latched = level > Level::Ok;
        return latched.then(|| format!("age of the oldest pending pipeline not known, {level} before"));
    };
    if load.pending == 0 {
        return None;
    }
    let bound = |factor: f64| {
        let times = number(factor);
        let of =
            if times == 1.0 { "the median".to_owned() } else { format!("{times} x the median of {}", length(median)) };
        format!("{}, {of}", length(factor * median))
    };
    let what = format!("oldest pending for {}", length(oldest));
    Some(match level {
        Level::Ok => format!("{what}, not above {}", bound(ci.oldest)),
        _ if value > ci.oldest * ci.hard => format!("{what}, above {}", bound(ci.oldest * ci.hard)),
        Level::Soft if value > ci.oldest => format!("{what}, above {}", bound(ci.oldest)),
        _ => format!("{what}, not yet down to {}", bound(ci.leave)),
    })
}

/// Whole seconds in words.
fn length(seconds: f64) -> String {
    Span(Duration::try_from_secs_f64(seconds.max(0.0).round()).unwrap_or(Duration::MAX)).to_string()
}

/// A number without what multiplying left behind.
fn number(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
