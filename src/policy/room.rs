//! Whether one more run of an agent fits on a host: memory, slots and processors, as a whole sample shows them. Pure.
//!
//! Every run has a reservation, `needs` of its agent. What a run does not use of its memory yet is promised to it, so that
//! runs which grow later find what was counted on when they began. What is not known is never room.

mod idle;
mod reservations;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use idle::{Unfit, unfit};
pub use reservations::{Reservations, Reserved};

use crate::inventory::agents::Class;
use crate::inventory::hosts::Host;
use crate::inventory::policy::Policy;
use crate::inventory::units::{Bytes, Span};
use crate::remote::sample::Sample;

/// Sums of cores that people write with a decimal or two are no more exact than this.
const HAIR: f64 = 1e-9;

/// A run that lives on a host, or is about to begin there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    /// What was promised to it.
    pub reserved: Reserved,
    /// What its tree uses of that by now, in bytes; 0 where nobody knows.
    pub rss: u64,
}

impl Live {
    /// A run that has not begun: all of its reservation is still to come.
    pub fn placed(reserved: Reserved) -> Live {
        Live { reserved, rss: 0 }
    }

    /// What it may still take, in bytes.
    fn promised(&self) -> u64 {
        self.reserved.memory.saturating_sub(self.rss)
    }
}

/// What a host allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `factory_slots`: runs at once; none is as many as fit.
    pub slots: Option<u32>,
    /// `factory_reserve`: memory that stays free, in bytes. A part of the whole stays free in any case.
    pub reserve: u64,
    /// The largest reservation of a review that may run there, in bytes; 0 where none may.
    pub review: u64,
}

impl Limits {
    /// Those of a host; `may` says of a repo, by its name, whether its agents may run there.
    pub fn of(host: &Host, reservations: &Reservations, may: impl Fn(&str) -> bool) -> Limits {
        Limits {
            slots: host.slots,
            reserve: host.reserve.map_or(0, |reserve| reserve.0),
            review: reservations.review(may),
        }
    }
}

/// Why there is no room. Prints as one line with the numbers; [`NoRoom::help`] says what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum NoRoom {
    /// The host did not show what is needed to tell.
    Unknown {
        /// The host.
        host: String,
        /// What is not known, for people.
        what: String,
    },
    /// The sample is too old.
    Stale {
        /// The host.
        host: String,
        /// How old it is.
        age: Span,
        /// How old it may be.
        limit: Span,
    },
    /// All slots are taken.
    Slots {
        /// The host.
        host: String,
        /// Runs that live there.
        runs: usize,
        /// `factory_slots`.
        slots: u32,
    },
    /// Too little memory.
    Memory(Memory),
    /// Too few processors.
    Cpu {
        /// The host.
        host: String,
        /// Runs that live there, at least one.
        runs: usize,
        /// What is promised to them, in cores.
        promised: f64,
        /// What the new one needs, in cores.
        needed: f64,
        /// How many the host has.
        cores: u64,
        /// How many may be promised for each.
        factor: f64,
    },
}

/// Memory that does not suffice, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The host.
    pub host: String,
    /// What is available: MemAvailable, or all there is of an idle host.
    pub available: u64,
    /// What the runs there may still take.
    pub promised: u64,
    /// How many these are.
    pub runs: usize,
    /// What the new one needs.
    pub needed: u64,
    /// What is kept for reviews.
    pub review: u64,
    /// What stays free in any case.
    pub reserve: u64,
    /// Whether it would fit if nothing ran there.
    pub fits_idle: bool,
}

impl Memory {
    /// What is lacking, in bytes; 0 is enough.
    pub fn short(&self) -> u64 {
        // Four numbers of 64 bits: no sum of theirs is too large for 128.
        let wanted: u128 = [self.promised, self.needed, self.review, self.reserve].map(u128::from).into_iter().sum();
        u64::try_from(wanted.saturating_sub(self.available.into())).unwrap_or(u64::MAX)
    }

    /// The parts of the sum behind what is available.
    fn parts(&self) -> String {
        let mut parts = Vec::new();
        if self.runs > 0 {
            parts.push(format!("{} promised to {}", Bytes(self.promised), count(self.runs)));
        }
        parts.push(format!("{} needed", Bytes(self.needed)));
        if self.review > 0 {
            parts.push(format!("{} kept for reviews", Bytes(self.review)));
        }
        parts.push(format!("{} kept free: {} short", Bytes(self.reserve), Bytes(self.short())));
        parts.join(", ")
    }
}

/// For people.
impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoRoom::Unknown { host, what } => write!(f, "nobody can tell whether there is room on {host}: {what}"),
            NoRoom::Stale { host, age, limit } => {
                write!(
                    f,
                    "nobody can tell whether there is room on {host}: the look at it is {age} old, {limit} at most"
                )
            }
            NoRoom::Slots { host, slots: 0, .. } => write!(f, "no slot on {host}: its `factory_slots` is 0"),
            NoRoom::Slots { host, runs, slots } => {
                write!(f, "no slot free on {host}: {}, `factory_slots` is {slots}", count(*runs))
            }
            NoRoom::Memory(memory) => {
                let Memory { host, available, .. } = memory;
                write!(f, "not enough memory on {host}: {} available, {}", Bytes(*available), memory.parts())
            }
            NoRoom::Cpu { host, runs, promised, needed, cores, factor } => {
                let (promised, needed, most) = (cut(*promised), cut(*needed), cut(factor * *cores as f64));
                write!(
                    f,
                    "not enough processors on {host}: {promised} promised to {}, {needed} needed, ",
                    count(*runs)
                )?;
                write!(f, "{most} at most, {factor} for each of {cores} {}", if *cores == 1 { "core" } else { "cores" })
            }
        }
    }
}

impl NoRoom {
    /// What a person may do about it, who wants a run of `agent`.
    pub fn help(&self, agent: &str) -> String {
        match self {
            NoRoom::Unknown { host, .. } => {
                format!(
                    "`factory probe -l {host}` shows what it says, `factory inventory check -l {host}` what it lacks"
                )
            }
            NoRoom::Stale { .. } => "try it again".to_owned(),
            NoRoom::Slots { slots: 0, .. } => "name another host, or raise `factory_slots` in hosts.yml".to_owned(),
            NoRoom::Slots { host, .. } => {
                format!("wait for a run to end or stop one (`factory ps -l {host}`), or raise `factory_slots`")
            }
            NoRoom::Memory(Memory { fits_idle: false, review, .. }) => {
                let too = if *review > 0 { " or of the agents that review" } else { "" };
                format!(
                    "it would not fit if nothing ran there: lower `needs.memory` of agent `{agent}`{too}, or name a \
                     larger host"
                )
            }
            // Others than ours have what is missing: there is no run to wait for.
            NoRoom::Memory(Memory { host, runs: 0, .. }) => format!(
                "what else runs on {host} has it: wait, name another host, or lower `needs.memory` of agent `{agent}`"
            ),
            NoRoom::Memory(Memory { host, .. }) => format!(
                "wait for a run to end or stop one (`factory ps -l {host}`), or lower `needs.memory` of agent `{agent}`"
            ),
            NoRoom::Cpu { host, .. } => format!(
                "wait for a run to end or stop one (`factory ps -l {host}`), or lower `needs.cpu` of agent `{agent}`"
            ),
        }
    }
}

/// The runs that a sample shows, each with its reservation: those of any fleet that are not over, or left something that
/// lives, and the processes that match an agent.
///
/// # Errors
/// The sample is not whole, or does not say what matches.
pub fn running(sample: &Sample, reservations: &Reservations) -> Result<Vec<Live>, NoRoom> {
    let unknown = |what: String| NoRoom::Unknown { host: sample.host.clone(), what };
    let runs = sample.runs.as_deref().filter(|_| sample.is_whole());
    let runs = runs.ok_or_else(|| {
        unknown(sample.missing.clone().unwrap_or_else(|| format!("no {} in its answer", sample.lacks().join(", no "))))
    })?;
    let own = runs.iter().filter(|run| !run.over()).map(|run| Live {
        reserved: reservations.of_run(run.repo.as_deref(), run.agent.as_deref()),
        rss: run.rss.unwrap_or_default(),
    });
    let mut live: Vec<Live> = own.collect();
    for agent in reservations.matched() {
        if !sample.running.as_ref().is_some_and(|running| running.contains_key(agent)) {
            return Err(unknown(format!("it does not say how many processes match agent `{agent}`")));
        }
    }
    for (agent, count) in sample.running.iter().flatten() {
        let reserved = reservations.of_run(None, Some(agent));
        let seen = sample.matched.iter().flatten().filter(|one| one.agent == *agent);
        let seen: Vec<Live> = seen.map(|one| Live { reserved, rss: one.rss }).collect();
        // Of very many only the first are told one by one.
        let more = usize::try_from(*count).unwrap_or(usize::MAX).saturating_sub(seen.len()).min(MANY);
        live.extend(seen);
        live.extend(std::iter::repeat_n(Live::placed(reserved), more));
    }
    Ok(live)
}

/// More runs than these are as bad as so many: no host has room beside them.
const MANY: usize = 4096;

/// Whether a run that needs `wanted` fits on the host that `sample` shows, besides the runs that live there (those of
/// [`running`], and what was placed there since). The sample was taken `age` ago, by a clock that goes on while a machine
/// sleeps.
///
/// There is room if the sample is whole and at most `policy.sample_age` old, fewer runs than `slots` live, and
/// `MemAvailable - (what the runs were promised and do not use yet) - needs.memory - K >= max(reserve, policy.reserve of
/// the whole)`, where K is kept when a dev agent is launched: memory for `policy.review_slots` reviews, less those that
/// run. On a host where something runs, all `needs.cpu` together must be at most `policy.cpu` for each core.
///
/// # Errors
/// There is none, and why.
pub fn room(
    sample: &Sample,
    age: Duration,
    live: &[Live],
    wanted: Reserved,
    limits: Limits,
    policy: &Policy,
) -> Result<(), NoRoom> {
    let host = || sample.host.clone();
    let unknown = |what: &str| NoRoom::Unknown { host: host(), what: format!("no {what} in its answer") };
    if let Some(why) = &sample.missing {
        return Err(NoRoom::Unknown { host: host(), what: why.clone() });
    }
    if let [first, ..] = sample.lacks().as_slice() {
        return Err(unknown(first));
    }
    if age > policy.sample_age.0 {
        // Whole seconds are enough for people.
        let age = Span(Duration::from_secs(age.as_secs()));
        return Err(NoRoom::Stale { host: host(), age, limit: policy.sample_age });
    }
    if let Some(slots) = limits.slots.filter(|slots| live.len() >= *slots as usize) {
        return Err(NoRoom::Slots { host: host(), runs: live.len(), slots });
    }
    let mem = sample.mem.unwrap_or_default();
    let available = mem.available.ok_or_else(|| unknown("MemAvailable"))?;
    let total = mem.total.ok_or_else(|| unknown("MemTotal"))?;
    let found = memory(host(), available, total, live, wanted, limits, policy);
    if found.short() > 0 {
        return Err(NoRoom::Memory(found));
    }
    if live.is_empty() {
        // One run alone may want more than there is: it is slow, and nobody else is slowed.
        return Ok(());
    }
    let cores = sample.cores.ok_or_else(|| unknown("number of processors"))?;
    let promised: f64 = live.iter().map(|one| one.reserved.cpu).sum();
    if promised + wanted.cpu <= policy.cpu * cores as f64 + HAIR {
        return Ok(());
    }
    Err(NoRoom::Cpu { host: host(), runs: live.len(), promised, needed: wanted.cpu, cores, factor: policy.cpu })
}

/// The sum of memory, whether it suffices or not.
fn memory(
    host: String,
    available: u64,
    total: u64,
    live: &[Live],
    wanted: Reserved,
    limits: Limits,
    policy: &Policy,
) -> Memory {
    let kept = |reviews: usize| match wanted.class {
        Class::Dev => {
            let slots = u64::from(policy.review_slots).saturating_sub(reviews as u64);
            slots.saturating_mul(limits.review)
        }
        Class::Review | Class::Supervisor => 0,
    };
    let part = (policy.reserve.0 / 100.0 * total as f64).ceil() as u64;
    let mut found = Memory {
        host,
        available: total,
        promised: 0,
        runs: 0,
        needed: wanted.memory,
        review: kept(0),
        reserve: limits.reserve.max(part),
        fits_idle: true,
    };
    found.fits_idle = found.short() == 0;
    Memory {
        available,
        promised: live.iter().map(Live::promised).fold(0, u64::saturating_add),
        runs: live.len(),
        review: kept(live.iter().filter(|one| one.reserved.class == Class::Review).count()),
        ..found
    }
}

/// Runs by their number.
fn count(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// Cores, without what adding left behind.
fn cut(cores: f64) -> f64 {
    (cores * 100.0).round() / 100.0
}
