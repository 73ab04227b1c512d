//! The laws that are compared. Each sees one sample a minute, says who may start, and may have one agent stopped.

use factory::inventory::policy::Policy;
use factory::policy::ladder::{Action, Look, Mode, Rung, Seen, Up, step};
use factory::policy::severity::{Latches, Level, update};
use factory::remote::sample::Sample;

use super::agents::{Class, GIB};
use super::host::Machine;

/// One of them, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The product's: the ladder, and memory reserved for what runs.
    Law,
    /// The ladder alone: whatever is at RUN starts while a slot is free.
    Ladder,
    /// Nothing starts below 2 GiB available; nothing is ever stopped.
    Skip,
    /// Nothing starts below 15 % available, without hysteresis; below 5 % the biggest agent is stopped.
    Threshold,
    /// As many slots as reservations fit into an idle machine; nothing is looked at.
    Slots,
    /// Starts while a slot is free.
    Nothing,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [Kind::Law, Kind::Ladder, Kind::Skip, Kind::Threshold, Kind::Slots, Kind::Nothing];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Law => "this law",
            Kind::Ladder => "its ladder without reservations",
            Kind::Skip => "skip below 2 GiB",
            Kind::Threshold => "one threshold, with stops",
            Kind::Slots => "fewer slots, nothing else",
            Kind::Nothing => "nothing",
        }
    }
}

/// A law on a machine.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The law.
    pub kind: Kind,
    /// The machine.
    pub machine: Machine,
    /// `needs.memory` of dev agents, in bytes.
    pub needs: f64,
}

impl Setting {
    /// With what a dev agent needs by default.
    pub fn new(kind: Kind, machine: Machine) -> Setting {
        Setting { kind, machine, needs: 3.0 * GIB }
    }

    /// Agents at once. 2 GiB stay for the system.
    pub fn slots(&self) -> usize {
        match self.kind {
            Kind::Slots => ((self.machine.total - 2.0 * GIB) / self.needs) as usize,
            _ => self.machine.slots,
        }
    }

    /// `needs.memory` of a class, in bytes.
    pub fn reservation(&self, class: Class) -> f64 {
        match class {
            Class::Dev => self.needs,
            _ => GIB,
        }
    }
}

/// Who has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The agent of a class with the most memory over its reservation.
    Of(Class),
    /// The one with the most memory.
    Biggest,
}

/// What a law says after one look.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Dev agents.
    pub dev: Mode,
    /// Review agents.
    pub review: Mode,
    /// How many modes have just changed.
    pub flips: u64,
    /// Who is to be stopped.
    pub stop: Option<Victim>,
    /// When it looks again, in seconds from now, at the latest.
    pub pause: f64,
}

/// A law and what it remembers.
pub struct Law {
    setting: Setting,
    policy: Policy,
    latches: Latches,
    rung: Rung,
    open: bool,
}

impl Law {
    /// One that begins: the ladder as on a host without a history.
    pub fn new(setting: Setting) -> Law {
        Law { setting, policy: Policy::default(), latches: Latches::default(), rung: Rung::unknown(), open: true }
    }

    /// Looks at one sample, whole or not, `at` seconds after the beginning.
    pub fn look(&mut self, sample: &Sample, at: f64) -> Word {
        let known = sample.mem.and_then(|mem| Some((mem.available? as f64, mem.total? as f64)));
        let (open, stop) = match (self.setting.kind, known) {
            (Kind::Law | Kind::Ladder, _) => return self.climb(sample, at),
            (Kind::Skip, Some((available, _))) => (available >= 2.0 * GIB, None),
            (Kind::Threshold, Some((available, total))) => {
                (available >= 0.15 * total, (available < 0.05 * total).then_some(Victim::Biggest))
            }
            (Kind::Skip | Kind::Threshold, None) => (self.open, None),
            (Kind::Slots | Kind::Nothing, _) => (true, None),
        };
        let flips = u64::from(open != self.open);
        self.open = open;
        let mode = if open { Mode::Run } else { Mode::Hold };
        Word { dev: mode, review: mode, flips, stop, pause: 60.0 }
    }

    /// What a tick does with a sample.
    fn climb(&mut self, sample: &Sample, at: f64) -> Word {
        let severities = update(&mut self.latches, &self.policy, sample);
        let seen = sample.boot_id.clone().zip(sample.uptime_s).filter(|_| severities.whole);
        let (dev, review) = (running(sample, Class::Dev), running(sample, Class::Review));
        let seen = seen.map(|(boot_id, uptime)| Seen::of(&severities, Up { boot_id, uptime }, dev, review));
        let stepped = step(&mut self.rung, &self.policy, &Look { at, seen });
        Word {
            dev: self.rung.dev,
            review: self.rung.review,
            flips: u64::from(stepped.change.is_some()),
            stop: stepped.action.map(|action| match action {
                Action::StopDev => Victim::Of(Class::Dev),
                Action::StopReview => Victim::Of(Class::Review),
            }),
            pause: if severities.worst() >= Level::Hard { 20.0 } else { 60.0 },
        }
    }

    /// Whether an agent of this class may start as far as room is concerned; a free slot is another matter.
    pub fn has_room(&self, sample: &Sample, class: Class) -> bool {
        if !sample.is_whole() {
            return false;
        }
        self.setting.kind != Kind::Law || fits(&self.setting, &self.policy, sample, class)
    }
}

/// Agents of a class that run.
fn running(sample: &Sample, class: Class) -> u32 {
    let count = runs(sample).filter(|(of, _)| *of == class).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The class and the memory of each run.
fn runs(sample: &Sample) -> impl Iterator<Item = (Class, f64)> {
    let class = |agent: &str| if agent == "dev" { Class::Dev } else { Class::Review };
    let known = move |run: &factory::remote::sample::Run| Some((class(run.agent.as_deref()?), run.rss? as f64));
    sample.runs.iter().flatten().filter_map(known)
}

/// `MemAvailable - sum(max(0, R_i - rss_i)) - R - K >= 5 % of the total`, and processors promised twice at most.
fn fits(setting: &Setting, policy: &Policy, sample: &Sample, class: Class) -> bool {
    let Some((available, total)) = sample.mem.and_then(|mem| Some((mem.available? as f64, mem.total? as f64))) else {
        return false;
    };
    let promised: f64 = runs(sample).map(|(of, rss)| (setting.reservation(of) - rss).max(0.0)).sum();
    let reviews = policy.review_slots.saturating_sub(running(sample, Class::Review));
    let kept = if class == Class::Dev { f64::from(reviews) * setting.reservation(Class::Review) } else { 0.0 };
    let cpu = |class| if class == Class::Dev { 1.5 } else { 0.5 };
    let wanted: f64 = runs(sample).map(|(of, _)| cpu(of)).sum::<f64>() + cpu(class);
    let cores = sample.cores.unwrap_or_default() as f64;
    let left = available - promised - setting.reservation(class) - kept;
    left >= policy.reserve.0 / 100.0 * total && (wanted <= policy.cpu * cores || running(sample, Class::Dev) == 0)
}
