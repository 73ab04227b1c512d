//! The work that waits, and what else the machine is used for: the same under every law.

use super::agents::{Class, GIB, HOUR, Task};
use super::dice::Dice;

/// Seconds.
pub const DAY: f64 = 24.0 * HOUR;

/// Whether people are at work: 8 to 22 o'clock.
fn is_day(now: f64) -> bool {
    (8.0 * HOUR..22.0 * HOUR).contains(&now.rem_euclid(DAY))
}

/// Times at which something comes by itself, `day` or `night` seconds apart in the mean.
fn arrivals(dice: &mut Dice, until: f64, day: f64, night: f64) -> Vec<f64> {
    let (mut times, mut now) = (Vec::new(), 0.0);
    while now < until {
        now += dice.wait(if is_day(now) { day } else { night });
        times.push(now);
    }
    times
}

/// Tasks of one class that wait.
pub struct Queue {
    class: Class,
    /// By day there is always one more.
    endless: bool,
    arrivals: Vec<f64>,
    taken: usize,
    next: u64,
    /// Those that must begin again.
    again: Vec<Task>,
}

impl Queue {
    /// Issues: as many as can be done by day, one in 40 minutes by night.
    pub fn issues(seed: u64, until: f64) -> Queue {
        let mut times = arrivals(&mut Dice::of(seed, &[3]), until, 40.0 * 60.0, 40.0 * 60.0);
        times.retain(|time| !is_day(*time));
        Queue::of(Class::Dev, true, times)
    }

    /// Pull requests: one in 15 minutes by day, one in an hour by night.
    pub fn pulls(seed: u64, until: f64) -> Queue {
        Queue::of(Class::Review, false, arrivals(&mut Dice::of(seed, &[4]), until, 15.0 * 60.0, HOUR))
    }

    fn of(class: Class, endless: bool, arrivals: Vec<f64>) -> Queue {
        Queue { class, endless, arrivals, taken: 0, next: 0, again: Vec::new() }
    }

    fn has_come(&self, now: f64) -> bool {
        self.arrivals.get(self.taken).is_some_and(|time| *time <= now)
    }

    /// Whether one waits.
    pub fn waits(&self, now: f64) -> bool {
        !self.again.is_empty() || self.has_come(now) || (self.endless && is_day(now))
    }

    /// Takes the next one; those that must begin again come first.
    pub fn take(&mut self, now: f64) -> Option<Task> {
        if let Some(task) = self.again.pop() {
            return Some(task);
        }
        if !self.waits(now) {
            return None;
        }
        self.taken += usize::from(self.has_come(now));
        let task = Task { class: self.class, number: self.next, attempt: 0 };
        self.next += 1;
        Some(task)
    }

    /// Gives one back that was not done.
    pub fn give_back(&mut self, task: Task) {
        self.again.push(Task { attempt: task.attempt + 1, ..task });
    }
}

/// What a person builds by hand.
struct Build {
    from: f64,
    to: f64,
    memory: f64,
}

/// Memory and processors that no agent uses.
pub struct Background {
    seed: u64,
    builds: Vec<Build>,
    /// How big the machine is, as a part of one with 16 GiB.
    scale: f64,
}

impl Background {
    /// By day a build about every two hours, of 5 to 25 minutes and up to a quarter of the machine.
    pub fn new(seed: u64, until: f64, total: f64) -> Background {
        let scale = total / (16.0 * GIB);
        let times = arrivals(&mut Dice::of(seed, &[5]), until, 2.0 * HOUR, 12.0 * HOUR);
        // Each of its own row: the first day is the same in a week and alone.
        let build = |(number, from): (u64, f64)| {
            let mut dice = Dice::of(seed, &[8, number]);
            let to = from + dice.between(5.0, 25.0) * 60.0;
            Build { from, to, memory: dice.between(1.0, 4.0) * GIB * scale }
        };
        Background { seed, builds: (0..).zip(times).map(build).collect(), scale }
    }

    /// `(bytes, processors)` in use now.
    pub fn at(&self, now: f64) -> (f64, f64) {
        // The system, its services and a CI agent: 1.2 GiB and up to 0.6 more on 16 GiB, another value each ten minutes.
        let slot = (now / 600.0).floor();
        let level = |slot: f64| Dice::of(self.seed, &[6, slot as u64]).unit();
        let way = now / 600.0 - slot;
        let wavering = level(slot) * (1.0 - way) + level(slot + 1.0) * way;
        let idle = (0.9 + 0.3 * self.scale + 0.6 * self.scale * wavering) * GIB;
        let live = self.builds.iter().filter(|build| (build.from..build.to).contains(&now));
        live.fold((idle, 0.3), |(memory, cores), build| {
            let grown = ((now - build.from) / 90.0).min(1.0);
            (memory + build.memory * grown, cores + 4.0 * self.scale)
        })
    }
}
