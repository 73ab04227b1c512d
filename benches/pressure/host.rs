//! The simulated machine: memory, swap, stalls and the kernel's killer, and the samples that a probe would bring.

use factory::inventory::agents::Class;
use factory::remote::sample::{Mem, Psi, Run, Sample, Swap, Vm};
use jiff::Timestamp;

use super::agents::{Agent, GIB};

/// When the week begins.
const MIDNIGHT: i64 = 1_773_014_400;
/// How long it had been up then.
const UP: f64 = 3600.0;
/// How fast memory goes to swap and comes back, in bytes a second.
const SWAP_OUT: f64 = 40.0 * (1 << 20) as f64;
const SWAP_IN: f64 = 10.0 * (1 << 20) as f64;

/// What kind of machine it is.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Main memory in bytes.
    pub total: f64,
    /// Swap space in bytes.
    pub swap: f64,
    /// Processors.
    pub cores: f64,
    /// `factory_slots`: agents at once.
    pub slots: usize,
}

impl Machine {
    /// 16 GiB, 8 processors, no swap, room for six agents by count.
    pub const LARGE: Machine = Machine { total: 16.0 * GIB, swap: 0.0, cores: 8.0, slots: 6 };
    /// 8 GiB, 4 processors, 2 GiB of swap, room for three agents by count.
    pub const SMALL: Machine = Machine { total: 8.0 * GIB, swap: 2.0 * GIB, cores: 4.0, slots: 3 };
}

/// A machine over time.
pub struct Host {
    machine: Machine,
    /// What a probe of MemAvailable would read, in bytes; below 0 when it is not enough.
    pub available: f64,
    swapped: f64,
    stall: f64,
    memory_full_avg10: f64,
    io_full_avg60: f64,
    cpu_some_avg60: f64,
    load1: f64,
    /// Processes killed since boot.
    pub kills: u64,
}

/// Moves an average of the last `over` seconds on by `dt`.
fn average(old: f64, new: f64, dt: f64, over: f64) -> f64 {
    old + (new - old) * (1.0 - (-dt / over).exp())
}

impl Host {
    /// One at rest.
    pub fn new(machine: Machine) -> Host {
        Host {
            machine,
            available: machine.total,
            swapped: 0.0,
            stall: 0.0,
            memory_full_avg10: 0.0,
            io_full_avg60: 0.0,
            cpu_some_avg60: 0.0,
            load1: 0.0,
            kills: 0,
        }
    }

    /// What is left when so many bytes are asked for and so many of them are in swap. The kernel keeps 1.5 % to itself.
    fn left(&self, asked: f64) -> f64 {
        self.machine.total * 0.985 - (asked - self.swapped)
    }

    /// Whether these bytes do not fit, so that the kernel has to kill. Swap that is not full yet takes what it can first.
    pub fn is_short(&mut self, asked: f64) -> bool {
        let short = -self.left(asked);
        if short > 0.0 {
            self.swapped += short.min(self.machine.swap - self.swapped);
        }
        self.available = self.left(asked).max(0.0);
        // What rounding leaves is no want.
        self.left(asked) < -1.0
    }

    /// Lets `dt` seconds pass with so many bytes and processors asked for. Gives the speed of whatever runs: 1 when it
    /// waits for nothing.
    pub fn advance(&mut self, dt: f64, asked: f64, cores: f64) -> f64 {
        self.swapped = self.swapped.min(asked);
        let Machine { total, swap, .. } = self.machine;
        let left = self.left(asked);
        // The kernel makes room before there is none, and fetches back late.
        let moved = if left < 0.08 * total {
            (0.08 * total - left).min(SWAP_OUT * dt).min(swap - self.swapped)
        } else if left > 0.15 * total {
            -SWAP_IN.min(left - 0.15 * total).min(self.swapped / dt) * dt
        } else {
            0.0
        };
        self.swapped += moved;
        self.available = self.left(asked).max(0.0);
        // Files in use count as available. Once less than they need is left, they are read again and again.
        let files = 0.05 * total;
        let lack = (1.0 - self.available / files).clamp(0.0, 1.0);
        let swapping = moved.abs() / (SWAP_OUT * dt);
        self.stall = (0.9 * lack * lack + 0.3 * swapping).min(0.95);
        let over = (cores / self.machine.cores - 1.0).max(0.0);
        self.memory_full_avg10 = average(self.memory_full_avg10, self.stall * 100.0, dt, 10.0);
        self.io_full_avg60 = average(self.io_full_avg60, self.stall * 60.0, dt, 60.0);
        let waiting = if over > 0.0 { (50.0 + 100.0 * over).min(100.0) } else { 3.0 };
        self.cpu_some_avg60 = average(self.cpu_some_avg60, waiting, dt, 60.0);
        self.load1 = average(self.load1, cores, dt, 60.0);
        (self.machine.cores / cores).min(1.0) * (1.0 - self.stall)
    }

    /// What a probe would bring now.
    pub fn sample(&self, now: f64, agents: &[Agent]) -> Sample {
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let run = |agent: &Agent| Run {
            token: format!("{:?}-{}-{}", agent.task.class, agent.task.number, agent.task.attempt),
            state: "RUNNING".into(),
            agent: Some(if agent.task.class == Class::Dev { "dev" } else { "review" }.into()),
            rss: Some(agent.rss as u64),
            oom_kills: Some(0),
            ..Run::default()
        };
        let load = tenth(self.load1);
        let mut sample = Sample::unknown("simulated", at(now));
        sample.boot_id = Some("simulated".into());
        sample.uptime_s = Some(UP + now);
        sample.cores = Some(self.machine.cores as u64);
        sample.load = Some([load, load, load]);
        sample.mem = Some(Mem { total: Some(self.machine.total as u64), available: Some(self.available as u64) });
        sample.swap = Some(Swap {
            total: Some(self.machine.swap as u64),
            free: Some((self.machine.swap - self.swapped).max(0.0) as u64),
        });
        sample.psi = Some(Psi {
            cpu_some_avg60: Some(tenth(self.cpu_some_avg60)),
            memory_some_avg10: Some(tenth(self.memory_full_avg10)),
            memory_full_avg10: Some(tenth(self.memory_full_avg10)),
            io_full_avg60: Some(tenth(self.io_full_avg60)),
        });
        sample.vm = Some(Vm { oom_kill: Some(self.kills), ..Vm::default() });
        sample.runs = Some(agents.iter().map(run).collect());
        sample
    }
}

/// The time of the calendar at so many seconds.
pub fn at(now: f64) -> Timestamp {
    Timestamp::from_second(MIDNIGHT + now as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}
