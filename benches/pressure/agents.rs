//! What runs: agents with their memory over time.

pub use factory::inventory::agents::Class;

use super::dice::Dice;

/// Bytes.
pub const GIB: f64 = (1_u64 << 30) as f64;
/// Seconds.
pub const HOUR: f64 = 3600.0;
/// The default `time_limit` of an agent.
const TIME_LIMIT: f64 = 4.0 * HOUR;
/// How fast a process can take memory and give it back, in bytes a second.
const GROW: f64 = 50.0 * (1 << 20) as f64;
/// From TERM until the memory of an agent is free again, in seconds.
const ENDING: f64 = 10.0;

/// One piece of work: it keeps its number when it has to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Who does it.
    pub class: Class,
    /// Which one; task 7 is the same under every law.
    pub number: u64,
    /// How often it was begun before.
    pub attempt: u64,
}

/// A while in which more memory and more processors are used: a run of the tests.
struct Spike {
    from: f64,
    to: f64,
    memory: f64,
}

/// From then on it does no more work, and grows.
struct Leak {
    from: f64,
    rate: f64,
}

/// A task being worked on.
pub struct Agent {
    /// The task.
    pub task: Task,
    /// When it began.
    pub since: f64,
    /// Resident memory of its whole tree.
    pub rss: f64,
    /// When it was told to end for want of memory.
    pub stopping: Option<f64>,
    /// The work that there is, in seconds of an agent that waits for nothing.
    pub work: f64,
    /// How much of it is done.
    done: f64,
    peak: f64,
    spikes: Vec<Spike>,
    leak: Option<Leak>,
    leaked: f64,
}

/// Why an agent is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The task is done.
    Finished,
    /// It was stopped for want of memory.
    Stopped,
    /// It came to its time limit.
    Late,
}

impl Agent {
    /// Begins a task.
    pub fn begin(seed: u64, task: Task, now: f64) -> Agent {
        let mut dice = Dice::of(seed, &[1, task.class as u64, task.number]);
        let mut luck = Dice::of(seed, &[2, task.class as u64, task.number, task.attempt]);
        let (work, peak, tests) = match task.class {
            Class::Dev => (dice.between(45.0, 90.0) * 60.0, dice.between(1.6, 3.2) * GIB, true),
            _ => (dice.between(4.0, 12.0) * 60.0, dice.between(0.5, 1.0) * GIB, false),
        };
        let mut spikes = Vec::new();
        let mut from = work * 0.3;
        while tests && from < work {
            from += dice.wait(work / 8.0);
            let to = from + dice.between(60.0, 180.0);
            spikes.push(Spike { from, to, memory: dice.between(0.3, 1.0) * GIB });
            from = to;
        }
        // Few leak, most of them slowly: 50 to 600 MiB a minute, as many between 50 and 100 as between 300 and 600.
        let leaks = tests && luck.chance(0.04);
        let leak = leaks.then(|| Leak {
            from: work * luck.between(0.2, 0.9),
            rate: 50.0 * f64::from(1 << 20) / 60.0 * 12_f64.powf(luck.unit()),
        });
        let rss = 0.1 * GIB;
        Agent { task, since: now, rss, stopping: None, work, done: 0.0, peak, spikes, leak, leaked: 0.0 }
    }

    fn spike(&self) -> Option<&Spike> {
        self.spikes.iter().find(|spike| (spike.from..spike.to).contains(&self.done))
    }

    /// Whether it only grows: it has to go in any case.
    pub fn leaks(&self) -> bool {
        self.leaking().is_some()
    }

    fn leaking(&self) -> Option<&Leak> {
        self.leak.as_ref().filter(|leak| self.done >= leak.from)
    }

    /// The processors that it would use.
    pub fn cores(&self) -> f64 {
        match self.task.class {
            Class::Dev if self.spike().is_some() => 3.0,
            Class::Dev => 1.2,
            _ => 0.6,
        }
    }

    /// What it would have in memory now, if it came to it at once.
    fn wanted(&self) -> f64 {
        let part = match (self.task.class, self.done / self.work) {
            (Class::Dev, done) if done < 0.15 => 0.2,
            (Class::Dev, done) if done < 0.40 => 0.5,
            (Class::Dev, done) if done < 0.70 => 0.8,
            (_, done) if done < 0.1 => 0.5,
            _ => 1.0,
        };
        self.peak * part + self.spike().map_or(0.0, |spike| spike.memory) + self.leaked
    }

    /// Lives for `dt` seconds at `speed` (1 = it waits for nothing).
    pub fn advance(&mut self, now: f64, dt: f64, speed: f64) -> Option<End> {
        if self.stopping.is_some_and(|told| now - told >= ENDING) {
            return Some(End::Stopped);
        }
        if now - self.since >= TIME_LIMIT {
            return Some(End::Late);
        }
        match self.leaking().map(|leak| leak.rate) {
            Some(rate) => self.leaked += rate * dt * speed,
            None => self.done += dt * speed,
        }
        let most = GROW * dt;
        self.rss += (self.wanted() - self.rss).clamp(-most, most * speed);
        (self.done >= self.work).then_some(End::Finished)
    }
}
