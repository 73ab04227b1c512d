//! The pressure ladder in a tick: each look at a host moves its rung by one step at most, and a rung that asks for it has one
//! agent stopped, after a fresh look.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::decide::Decided;
use super::hand::{Hand, Lead, Place, Stopped};
use super::holds::Action as Done;
use super::observe::Target;
use crate::inventory::agents::Class;
use crate::inventory::policy::Policy;
use crate::inventory::units::{Bytes, Span};
use crate::journal::Event;
use crate::policy::ci_load::{CiStanding, Load};
use crate::policy::hold::{CI, Showing, key, ladder_class};
use crate::policy::ladder::{Action, Change, Look, Mode, Seen, Standing, Stepped, Up, wants_stop};
use crate::policy::roster::Roster;
use crate::policy::severity::{Latches, Level, Severities, update, verdict};
use crate::policy::victim::{Running, count, is_counted, postponed, running, victim};
use crate::remote::guard::{Op, Stop, Word};
use crate::remote::halt::{HaltLine, Kind};
use crate::remote::sample::{PROCESS, Sample};

/// The numbers and the agents by which the ladder decides.
#[derive(Clone)]
pub struct Ladder {
    policy: Policy,
    roster: Roster,
    kill_after: Duration,
}

/// What one look did to a host's standing.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands now.
    pub standing: Standing,
    /// The agent that must stop, if one must.
    pub stop: Option<Action>,
    /// It may do more than before: that needs a ledger that says so.
    pub loosens: bool,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// The change, for people.
    pub change: Option<String>,
}

impl Ladder {
    /// A ladder by these numbers; a run that was told to stop is killed after `kill_after`.
    pub fn new(policy: &Policy, roster: Roster, kill_after: Duration) -> Ladder {
        Ladder { policy: *policy, roster, kill_after }
    }

    /// What is latched on a host: the ledger knows, and at rest nothing is. The journal, which may be older, has the
    /// counters.
    pub fn latches(&self, known: Option<&Standing>, journal: Latches) -> Latches {
        match known {
            Some(Standing { latches: Some(latches), .. }) => latches.clone(),
            Some(_) => journal.rested(),
            None => journal,
        }
    }

    /// Takes a whole sample into a host's standing. `shown` is what the host is known to show of holds: a line of the
    /// ladder's beside these was written by who did not live to record it. Without `firm`, a ledger that can be written,
    /// nothing is loosened.
    pub fn look(
        &self,
        known: Option<&Standing>,
        decided: &Decided,
        shown: &BTreeMap<String, Showing>,
        at: f64,
        firm: bool,
    ) -> Step {
        let sample = &decided.record.sample;
        let mut standing = known.cloned().unwrap_or_else(Standing::unknown);
        let mut events = Vec::new();
        self.adopt(&mut standing, sample, shown, &mut events);
        let alive = running(sample, &self.roster);
        let tokens: BTreeSet<&str> = alive.iter().map(|one| one.token.as_str()).collect();
        // What was found before and could not be looked for now is not gone.
        let unknown = |token: &str| sample.matched.is_none() && token.starts_with(PROCESS);
        standing.forget(|token| tokens.contains(token) || unknown(token));
        let gap = || Some(sample.uptime_s? - standing.rung().up?.uptime);
        if !firm && gap().is_none_or(|gap| !(0.0..=self.policy.gap.0.as_secs_f64()).contains(&gap)) {
            standing.unpaced();
        }
        let before = standing.clone();
        let away = before.rung().unreachable;
        let why = match away {
            true => format!("it was out of reach; {}", decided.record.verdict),
            false => decided.record.verdict.clone(),
        };
        let seen = decided.record.severities.as_ref().and_then(|severities| self.seen(sample, severities, &standing));
        let mut stepped = standing.look(&self.policy, &Look { at, seen }, sample.at, &why);
        if stepped.change.is_some_and(|change| !change.tightens()) && !firm {
            standing = before.clone();
            stepped = Stepped::default();
        }
        // The time until it does not count any more begins when its end is put off no longer.
        for one in alive.iter().filter(|one| postponed(one)) {
            if standing.told.contains_key(&one.token) {
                standing.told(one.token.clone());
            }
        }
        let loosens = stepped.change.is_some_and(|change| !change.tightens());
        let mut change = stepped.change.map(|change| describe(&change, &decided.record.verdict));
        // Held before only by the want of a history, and for a reason from now on.
        if before.shown(Class::Dev) == Mode::Run && standing.shown(Class::Dev) > Mode::Run && change.is_none() {
            change = Some(format!("move dev from RUN to HOLD: {}", decided.record.verdict));
            events.push(event(&sample.host, sample.at, "ladder", 1, format!("dev agents are held: {why}")));
        }
        if let Some(change) = &stepped.change {
            events.push(self.event(sample, change, &before, &why));
        }
        standing.settle(&self.policy, &decided.record.latches);
        Step { standing, stop: stepped.action, loosens, events, change }
    }

    /// No sample came from a host that others would have reached: nothing moves but the count of misses.
    pub fn miss(&self, known: Option<&Standing>, decided: &Decided, at: f64) -> Step {
        let sample = &decided.record.sample;
        let mut standing = known.cloned().unwrap_or_else(Standing::unknown);
        let stepped = standing.look(&self.policy, &Look { at, seen: None }, sample.at, "");
        let mut events = Vec::new();
        if stepped.lost {
            let message = format!(
                "{} is unreachable after {} misses: what runs there is unknown, not dead; it is held once it is back",
                sample.host, self.policy.misses
            );
            events.push(event(&sample.host, sample.at, "unreachable", 3, message));
        }
        standing.settle(&self.policy, &decided.record.latches);
        Step { standing, stop: None, loosens: false, events, change: None }
    }

    /// No sample came, and no other host answered either: nothing moves, and the time until the next one earns nothing. None
    /// where there is nothing to forget.
    pub fn unseen(&self, known: Option<&Standing>) -> Option<Standing> {
        let mut standing = known?.clone();
        standing.unseen();
        (Some(&standing) != known).then_some(standing)
    }

    fn seen(&self, sample: &Sample, severities: &Severities, standing: &Standing) -> Option<Seen> {
        let up = Up { boot_id: sample.boot_id.clone()?, uptime: sample.uptime_s? };
        let kill = (self.kill_after, self.policy.kill_grace.0);
        let count = |class| count(sample, &self.roster, class, standing, kill);
        Some(Seen::of(severities, up, count(Class::Dev), count(Class::Review)))
    }

    /// Takes up the lines of the ladder's that the host shows and nobody here knows of.
    fn adopt(
        &self,
        standing: &mut Standing,
        sample: &Sample,
        shown: &BTreeMap<String, Showing>,
        events: &mut Vec<Event>,
    ) {
        let lines =
            sample.found.iter().flatten().filter_map(|found| Some((found, HaltLine::parse(found.line.as_ref()?)?)));
        for (found, line) in lines.filter(|(_, line)| line.kind == Kind::Auto) {
            let class = ladder_class(&line.id).unwrap_or_else(|| self.roster.class(&found.agent, &found.repo));
            if line.id == CI || shown.contains_key(&key(&line.id, &found.file())) {
                continue;
            }
            let why = line.reason.as_deref().unwrap_or("it was held before");
            if standing.adopt(class, line.since, why) {
                let message =
                    format!("{class} agents were held here before ({why}), and go on being held until it is well");
                events.push(event(&sample.host, sample.at, "ladder", 1, message));
            }
        }
    }

    fn event(&self, sample: &Sample, change: &Change, before: &Standing, why: &str) -> Event {
        let (class, from, to) = change.parts();
        let long = before.held.get(&class).map(|held| Span(held_for(held.since, sample.at)));
        let long = long.map(|long| format!(", after {long}")).unwrap_or_default();
        let calm = self.policy.calm;
        let (severity, message) = match (class, from, to) {
            (Class::Supervisor, _, Mode::Hold) => {
                (3, format!("survival: nothing starts any more, not even supervisors: {why}"))
            }
            (Class::Supervisor, ..) => (1, format!("survival ends{long}: better than hard for {calm}")),
            (_, _, Mode::Stop) => (2, format!("{class} agents are stopped, one at a time: {why}")),
            (_, Mode::Stop, _) => {
                (1, format!("{class} agents are not stopped any more, only held: better than hard for {calm}"))
            }
            (_, Mode::Run, _) => (1, format!("{class} agents are held: {why}")),
            (_, _, Mode::Run) if !before.rung().asked => {
                (0, format!("{class} agents may be launched here, which has been well for long enough: {why}"))
            }
            (_, _, Mode::Run) => (0, format!("{class} agents may start again{long}: {why}")),
            (_, Mode::Hold, Mode::Hold) => (1, format!("{class} agents are held: {why}")),
        };
        event(&sample.host, sample.at, "ladder", severity, message)
    }

    /// Takes what the CI of each repo has to do into where it stands; gives what is worth telling.
    pub fn ci(
        &self,
        standings: &mut BTreeMap<String, CiStanding>,
        loads: &BTreeMap<String, Option<Load>>,
        now: f64,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let at = Timestamp::now();
        for (repo, load) in loads {
            let known = standings.get(repo).cloned();
            let mut standing = known.clone().unwrap_or_default();
            if let Some(judged) = standing.look(&self.policy, load.as_ref(), now, at) {
                let held = match judged.level {
                    Level::Ok => "agents may start again",
                    Level::Soft => "dev agents are held",
                    Level::Hard | Level::Crit => "dev and review agents are held",
                };
                let message = format!("{held} for {repo}: CI: {}", judged.text);
                events.push(Event { at, host: None, what: "ci".to_owned(), severity: judged.level.number(), message });
            }
            // Of one that says nothing and never did there is nothing to keep.
            if known.is_some() || standing != CiStanding::default() {
                standings.insert(repo.clone(), standing);
            }
        }
        standings.retain(|repo, standing| loads.contains_key(repo) && *standing != CiStanding::default());
        events
    }

    /// What a step would stop, by the sample that it rests on: for `--check`.
    pub fn would_stop(&self, decided: &Decided, step: &Step) -> Option<String> {
        let class = class_of(step.stop?);
        victim(&decided.record.sample, &self.roster, class, &step.standing).map(|one| format!("stop {}", name(&one)))
    }

    /// Stops one agent on a host, if a fresh look says that it is still needed.
    pub async fn relieve(&self, hand: &Hand, lead: &Lead, host: &Relief<'_>) -> Relieved {
        let Relief { place, target, standing, latches, action } = host;
        let class = class_of(*action);
        let mut relieved = Relieved::default();
        let sample = match hand.look(target).await {
            Ok(sample) => sample,
            Err(why) => {
                relieved.not_begun = true;
                return relieved.tell(
                    &place.name,
                    2,
                    format!("no agent is stopped: the look just before failed: {why}"),
                );
            }
        };
        let severities = update(&mut (*latches).clone(), &self.policy, &sample);
        let seen = self.seen(&sample, &severities, standing).filter(|_| severities.whole);
        let why = verdict(&severities);
        let wanted = seen.is_some_and(|seen| wants_stop(&standing.rung(), &self.policy, *action, &seen));
        if !wanted {
            relieved.not_begun = true;
            return relieved.tell(&place.name, 0, format!("no {class} agent is stopped: a fresh look says {why}"));
        }
        let Some(one) = victim(&sample, &self.roster, class, standing) else {
            let why = match is_counted(&sample, &self.roster, class) {
                true => "each was told to stop already, or asks not to be stopped now",
                false => "the host does not say which run",
            };
            return relieved.tell(&place.name, 2, format!("no {class} agent can be stopped: {why}"));
        };
        let Some(what) = one.what.clone() else { return relieved };
        let stop = Stop {
            what,
            by: format!("pressure: {why}"),
            drain: Duration::ZERO,
            kill_after: self.kill_after,
            critical: true,
        };
        let asked = hand.order(lead, place, &Op::Stop(stop)).await;
        let what = format!("stop {}", name(&one));
        match asked {
            Ok(_) => {
                relieved =
                    relieved.tell(&place.name, 2, format!("{}: {why}; it does not count as an attempt", told(&one)));
                relieved.told = Some(one.token);
                relieved.actions.push(Done { host: place.name.clone(), what, failed: None });
            }
            Err(stopped) => {
                let advice = stopped.advice(&place.name).map(|advice| format!("; {advice}")).unwrap_or_default();
                let failed = Some(format!("{stopped}{advice}"));
                // Another answer would be about the host, not about this agent.
                let refused = matches!(&stopped, Stopped::Refused(answer) if answer.word == Word::Failed);
                relieved.not_begun = match &stopped {
                    Stopped::NotBegun(_) => true,
                    Stopped::Refused(answer) => matches!(answer.word, Word::Busy | Word::Stuck),
                    _ => false,
                };
                relieved.refused = refused.then_some(one.token);
                relieved = relieved.tell(&place.name, 2, format!("cannot {what}: {stopped}{advice}"));
                relieved.actions.push(Done { host: place.name.clone(), what, failed });
            }
        }
        relieved
    }
}

/// A host where an agent is to stop.
pub struct Relief<'a> {
    /// The host.
    pub place: &'a Place,
    /// How it is looked at.
    pub target: &'a Target,
    /// Where it stands.
    pub standing: &'a Standing,
    /// What a look just before is judged by: what is latched there, and counters of the sample before the one that asked
    /// for the stop.
    pub latches: &'a Latches,
    /// What must stop.
    pub action: Action,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Relieved {
    /// The agent that was told to stop.
    pub told: Option<String>,
    /// The agent that the host refused to stop.
    pub refused: Option<String>,
    /// Nobody was told to stop, and the next look may ask for it again.
    pub not_begun: bool,
    /// What was done.
    pub actions: Vec<Done>,
    /// What is worth telling.
    pub events: Vec<Event>,
}

impl Relieved {
    fn tell(mut self, host: &str, severity: u8, message: String) -> Relieved {
        self.events.push(event(host, Timestamp::now(), "stop", severity, message));
        self
    }
}

fn class_of(action: Action) -> Class {
    match action {
        Action::StopDev => Class::Dev,
        Action::StopReview => Class::Review,
    }
}

/// A change, as an order: `move dev from RUN to HOLD: hard: memory 1.1GiB free, below 1.2GiB`.
fn describe(change: &Change, verdict: &str) -> String {
    match change {
        Change::Survive(true) => format!("survive: start nothing at all: {verdict}"),
        Change::Survive(false) => format!("end survival: {verdict}"),
        _ => {
            let (class, from, to) = change.parts();
            format!("move {class} from {from} to {to}: {verdict}")
        }
    }
}

/// An agent, for people: `20260312-0a1b (dev for harb, 3.9GiB)`.
fn name(one: &Running) -> String {
    let repo = if one.repo == "*" { String::new() } else { format!(" for {}", one.repo) };
    let rss = one.rss.map(|rss| format!(", {}", Bytes(rss))).unwrap_or_default();
    format!("{} ({}{repo}{rss})", one.token, one.agent)
}

fn told(one: &Running) -> String {
    let over = u64::try_from(one.over()).ok().filter(|over| *over > 0);
    let over = over.map(|over| format!(", {} above what is kept for it", Bytes(over))).unwrap_or_default();
    format!("told to stop: {}{over}", name(one))
}

fn held_for(since: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0))
}

fn event(host: &str, at: Timestamp, what: &str, severity: u8, message: String) -> Event {
    Event { at, host: Some(host.to_owned()), what: what.to_owned(), severity, message }
}
