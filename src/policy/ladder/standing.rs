//! A host's place on the ladder as the ledger keeps it: the rung, what is latched, and since when and why.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::step::due;
use super::{Change, Look, Mode, Rung, Stepped, step};
use crate::inventory::agents::Class;
use crate::inventory::policy::Policy;
use crate::policy::severity::Latches;
use crate::remote::sample::PROCESS;

/// Where a host stands. The default is a host at rest: RUN, nothing latched, nothing counted. A host of which the ledger
/// has no standing at all has no history: [`Standing::unknown`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Its rung; none at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rung: Option<Rung>,
    /// What is latched; none at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latches: Option<Latches>,
    /// By class, since when it is held, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Class, Held>,
    /// By token, when an agent was told to stop for pressure, in observed time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, f64>,
    /// By token, whom the host refused to stop when it was asked last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, Refused>,
}

/// An agent that its host refuses to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Since when, in observed time.
    pub since: f64,
    /// How often it was asked in vain.
    pub times: u32,
}

/// Why a class is not at RUN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Since when it has not been at RUN.
    pub since: Timestamp,
    /// Since when it has been at its mode.
    pub at: Timestamp,
    /// What was wrong when it was last raised, for people.
    pub why: String,
}

impl Standing {
    /// A host without a history.
    pub fn unknown() -> Standing {
        Standing { rung: Some(Rung::unknown()), ..Standing::default() }
    }

    /// Its rung.
    pub fn rung(&self) -> Rung {
        self.rung.clone().unwrap_or_else(Rung::running)
    }

    /// What halt files and crontabs show for a class: a mode that a signal, or a host that came back, asked for.
    pub fn shown(&self, class: Class) -> Mode {
        match (&self.rung, class) {
            (None, _) => Mode::Run,
            (Some(rung), Class::Dev) => rung.shown(),
            (Some(rung), Class::Review) if rung.asked => rung.review,
            (Some(rung), Class::Supervisor) if rung.survive => Mode::Hold,
            _ => Mode::Run,
        }
    }

    /// Takes one look into it. `at` and `why` are for people: when, and what the sample says.
    pub fn look(&mut self, policy: &Policy, look: &Look, at: Timestamp, why: &str) -> Stepped {
        let mut rung = self.rung();
        let stepped = step(&mut rung, policy, look);
        if let Some(change) = &stepped.change {
            let (class, from, to) = change.parts();
            self.note(class, from, to, at, why);
        }
        // What had been held before anybody asked for it is held for a reason from now on.
        if rung.asked && rung.dev > Mode::Run && !self.held.contains_key(&Class::Dev) {
            self.note(Class::Dev, Mode::Run, rung.dev, at, why);
        }
        self.rung = Some(rung);
        stepped
    }

    /// There was no sample, and nobody knows whether that was the host's fault: it is no miss, but proves nothing either.
    pub fn unseen(&mut self) {
        if let Some(rung) = &mut self.rung {
            rung.unseen();
        }
    }

    fn note(&mut self, class: Class, from: Mode, to: Mode, at: Timestamp, why: &str) {
        match self.held.get_mut(&class) {
            _ if to == Mode::Run => drop(self.held.remove(&class)),
            Some(held) => {
                // Clocks differ, and are set back.
                held.at = at.max(held.since);
                if to > from {
                    why.clone_into(&mut held.why);
                }
            }
            None => drop(self.held.insert(class, Held { since: at, at, why: why.to_owned() })),
        }
    }

    /// A host shows a line of the ladder's of which nothing is known here: whoever wrote it had a reason, and did not live
    /// to record it. Gives whether that is new. A host is never taken to be in survival from a file.
    pub fn adopt(&mut self, class: Class, since: Timestamp, why: &str) -> bool {
        if class == Class::Supervisor || self.shown(class) > Mode::Run {
            return false;
        }
        let mut rung = self.rung();
        if rung.dev == Mode::Run {
            rung.entries.push(rung.t);
        }
        rung.dev = rung.dev.max(Mode::Hold);
        // Whoever wrote it saw what we did not: the time since our last sample is no good time.
        (rung.asked, rung.good, rung.calm, rung.up) = (true, 0.0, 0.0, None);
        (rung.stepped, rung.stopped) = (None, None);
        if class == Class::Review {
            rung.review = rung.review.max(Mode::Hold);
        }
        for class in [Class::Dev, class] {
            self.held.entry(class).or_insert_with(|| Held { since, at: since, why: why.to_owned() });
        }
        self.rung = Some(rung);
        true
    }

    /// Where nothing can be written, each tick begins with the same old standing, and observed time would never pass the
    /// last step and the last stop. What tightens must not wait for that: the paces are over.
    pub fn unpaced(&mut self) {
        if let Some(rung) = &mut self.rung {
            (rung.stepped, rung.stopped) = (None, None);
        }
    }

    /// Notes that an agent was told to stop; of one that asks for time meanwhile, that it is told anew.
    pub fn told(&mut self, token: String) {
        let t = self.rung().t;
        self.refused.remove(&token);
        self.told.insert(token, t);
    }

    /// Nobody was told to stop, though it was asked for: the pace of stops goes on from where it stood `before`.
    pub fn not_stopped(&mut self, before: Option<&Standing>) {
        if let Some(rung) = &mut self.rung {
            rung.stopped = before.and_then(|before| before.rung.as_ref()?.stopped);
        }
    }

    /// Notes that a host refused to stop an agent.
    pub fn refused(&mut self, token: String) {
        let refused = Refused { since: self.rung().t, times: 0 };
        let known = self.refused.entry(token).or_insert(refused);
        known.times = known.times.saturating_add(1);
    }

    /// Forgets of whom `lives` says that they are gone.
    pub fn forget(&mut self, lives: impl Fn(&str) -> bool) {
        self.told.retain(|token, _| lives(token));
        self.refused.retain(|token, _| lives(token));
    }

    /// Whether an agent that was told to stop has outlived KILL for so long that it does not count any more. The same goes
    /// for a process that we did not start and that its host has refused to stop for as long.
    pub fn outlived(&self, token: &str, kill_after: Duration, grace: Duration) -> bool {
        let t = self.rung.as_ref().map_or(0.0, |rung| rung.t);
        let refused = self.refused.get(token).filter(|_| token.starts_with(PROCESS)).map(|refused| refused.since);
        let since = self.told.get(token).copied().or(refused);
        since.is_some_and(|since| t - since >= (kill_after + grace).as_secs_f64())
    }

    /// What goes to the ledger, given what is latched now: a host at rest needs nothing remembered there, so that a quiet
    /// fleet writes nothing. From rest the next step is what it would have been.
    pub fn settle(&mut self, policy: &Policy, latches: &Latches) {
        let free = self.told.is_empty() && self.refused.is_empty();
        let rest = free && latches.at_rest() && self.rung.as_ref().is_none_or(|rung| rung.at_rest(policy));
        if rest {
            *self = Standing::default();
        } else {
            self.latches = Some(latches.clone());
        }
    }
}

impl Rung {
    /// Whether nothing of it matters for what comes: RUN, no sample that counts against it, every pace over.
    fn at_rest(&self, policy: &Policy) -> bool {
        let over = |last: Option<f64>, pace: Duration| due(self, pace.as_secs_f64(), last);
        let free =
            self.dev == Mode::Run && self.review == Mode::Run && !self.survive && !self.back && !self.unreachable;
        let quiet = self.soft_n == 0 && self.hard_n == 0 && self.soft_since.is_none() && self.crit_since.is_none();
        free && quiet
            && self.misses == 0
            && self.entries.is_empty()
            && over(self.stepped, policy.pace.0)
            && over(self.stopped, policy.stop_pace.0)
    }
}

impl Change {
    /// The class that it is about, and its modes. Survival holds the supervisors.
    pub fn parts(&self) -> (Class, Mode, Mode) {
        match *self {
            Change::Dev(from, to) => (Class::Dev, from, to),
            Change::Review(from, to) => (Class::Review, from, to),
            Change::Survive(true) => (Class::Supervisor, Mode::Run, Mode::Hold),
            Change::Survive(false) => (Class::Supervisor, Mode::Hold, Mode::Run),
        }
    }

    /// Whether less may be done from now on.
    pub fn tightens(&self) -> bool {
        let (_, from, to) = self.parts();
        to > from
    }
}
