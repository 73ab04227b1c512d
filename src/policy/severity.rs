//! How bad each signal of a host is: the table of thresholds with a latch for each signal and subject.
//!
//! A severity rises when its `enter` is passed and falls only when its `leave` is passed: between the two it stays.
//! What is unknown stays as it was, and counts as soft when it has been unknown for ten minutes.

mod latch;
mod rate;
mod signal;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use latch::{Latch, Latches};
pub use signal::{Kind, Level, Signal};
pub use verdict::verdict;

use crate::inventory::policy::{Policy, Room};
use crate::inventory::units::{Bytes, Percent};
use crate::remote::sample::{Disk, Mem, Sample};
use latch::Book;

/// How bad one signal is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Severity {
    /// Which signal.
    pub signal: Signal,
    /// The path for `disk` and `inodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How bad.
    pub level: Level,
    /// What was measured: bytes for `mem` and `disk`, a count for `oom`, load per core for `load`, else percent.
    /// None = unknown in this sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it is compared with, in the same unit: the `enter` that was passed, the `leave` that was not passed yet,
    /// or at level 0 the soft `enter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Both for people: `memory 1.1GiB free, below 2GiB`.
    pub text: String,
}

/// The severities of one host after one sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Severities {
    /// Whether the sample was whole. If not, nothing moved: the levels are those of before.
    pub whole: bool,
    /// Why the sample was not whole, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Each signal that this host has, in the order of the table; a signal it never showed is not there.
    pub signals: Vec<Severity>,
    /// The worst of what cannot be squeezed: memory, swap, process ids, and a disk that is being filled.
    pub inc: Level,
    /// The worst disk: space or inodes.
    pub dsk: Level,
    /// The worst of what only gets slower: processors and disks' speed.
    pub cmp: Level,
    /// Main memory in this sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<Mem>,
    /// Load over 1 minute in this sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load1: Option<f64>,
}

impl Severities {
    /// The worst of all signals.
    pub fn worst(&self) -> Level {
        self.signals.iter().map(|severity| severity.level).max().unwrap_or_default()
    }

    /// The level of one signal, the worst of its subjects; none for a signal that this host never showed.
    pub fn level(&self, signal: Signal) -> Option<Level> {
        self.signals.iter().filter(|severity| severity.signal == signal).map(|severity| severity.level).max()
    }
}

/// Takes one sample of a host into its latches and says how bad each signal is.
///
/// A sample that is not whole changes nothing.
pub fn update(latches: &mut Latches, policy: &Policy, sample: &Sample) -> Severities {
    if !sample.is_whole() {
        let why = sample.missing.clone().unwrap_or_else(|| format!("no {}", sample.lacks().join(", no ")));
        return Severities { missing: Some(why), ..combine(latches.as_they_are(), false) };
    }
    latches.begin(sample);
    let mut book = Book::new(latches, policy, sample.uptime_s.unwrap_or_default());
    memory(&mut book, policy, sample);
    let filling = disks(&mut book, policy, sample);
    pids(&mut book, policy, sample);
    compressible(&mut book, policy, sample);
    let load1 = sample.load.map(|[one, _, _]| one);
    Severities { whole: true, mem: sample.mem, load1, ..combine(book.finish(), filling) }
}

/// The combined severities. A full disk holds; it stops agents only while they are filling it.
fn combine(signals: Vec<Severity>, filling: bool) -> Severities {
    let worst = |kind| {
        let levels = signals.iter().filter(|severity| severity.signal.kind() == kind).map(|severity| severity.level);
        levels.max().unwrap_or_default()
    };
    let (inc, dsk, cmp) = (worst(Kind::Incompressible), worst(Kind::Disk), worst(Kind::Compressible));
    let from_disk = if dsk == Level::Crit && filling { Level::Crit } else { dsk.min(Level::Soft) };
    Severities { inc: inc.max(from_disk), dsk, cmp, signals, ..Severities::default() }
}

/// `mem`, `psi_mem`, `oom`, `swap`, in this order: each looks at those before.
fn memory(book: &mut Book<'_>, policy: &Policy, sample: &Sample) {
    let mem = sample.mem.and_then(|mem| Some((mem.available? as f64, mem.total? as f64)));
    let steps = mem.map(|(_, total)| rooms(total, &policy.mem.steps())).unwrap_or_default();
    let mem_level = book.falling(Signal::Mem, None, mem.map(|(free, _)| free), &steps);

    let full = sample.psi.and_then(|psi| psi.memory_full_avg10);
    let psi_level = book.rising(Signal::PsiMem, None, full, &percents(&policy.psi_mem.steps()));

    let kills = book.rates().oom_kills(sample);
    let level = match kills {
        Some(1..) if mem_level >= Level::Soft || psi_level >= Level::Soft => Level::Crit,
        Some(1..) => Level::Soft,
        _ => Level::Ok,
    };
    let text = match kills.unwrap_or_default() {
        1 => "1 process killed for want of memory".to_owned(),
        n => format!("{n} processes killed for want of memory"),
    };
    let known = sample.vm.is_some_and(|vm| vm.oom_kill.is_some());
    book.put(Signal::Oom, None, known.then_some(kills.unwrap_or_default() as f64), level, Some(0.0), text);

    match sample.swap.map(|swap| (swap.total, swap.free)) {
        // Never looked at while there is memory enough, and forgotten then.
        _ if mem_level < Level::Soft => book.forget(Signal::Swap, None),
        Some((Some(0), _)) => book.forget(Signal::Swap, None),
        swap => {
            let share = swap.and_then(|(total, free)| Some(share(free?, total?)));
            book.falling(Signal::Swap, None, share, &percents(&policy.swap.steps()));
        }
    }
}

/// `disk` and `inodes` of each path. Returns whether one of those that are crit has less room than at the last sample.
fn disks(book: &mut Book<'_>, policy: &Policy, sample: &Sample) -> bool {
    let Some(disks) = &sample.disks else { return false };
    book.keep_paths(disks);
    let mut filling = false;
    for disk in disks {
        let levels = [space(book, policy, disk), inodes(book, policy, disk)];
        let fell = book.rates().fell(disk);
        filling |= levels.iter().zip(fell).any(|(level, fell)| *level == Level::Crit && fell);
    }
    filling
}

fn space(book: &mut Book<'_>, policy: &Policy, disk: &Disk) -> Level {
    let known = disk.free.zip(disk.total).filter(|(_, total)| *total > 0);
    let steps = known.map(|(_, total)| rooms(total as f64, &policy.disk.steps())).unwrap_or_default();
    book.falling(Signal::Disk, Some(&disk.path), known.map(|(free, _)| free as f64), &steps)
}

fn inodes(book: &mut Book<'_>, policy: &Policy, disk: &Disk) -> Level {
    match disk.inodes_free.zip(disk.inodes_total) {
        // No such limit on this file system.
        Some((_, 0)) => {
            book.forget(Signal::Inodes, Some(&disk.path));
            Level::Ok
        }
        known => {
            let share = known.map(|(free, total)| share(free, total));
            book.falling(Signal::Inodes, Some(&disk.path), share, &percents(&policy.inodes.steps()))
        }
    }
}

fn pids(book: &mut Book<'_>, policy: &Policy, sample: &Sample) {
    let known = sample.pids.and_then(|pids| Some((pids.max.filter(|max| *max > 0)?, pids.used?)));
    let free = known.map(|(max, used)| share(max.saturating_sub(used), max));
    book.falling(Signal::Pids, None, free, &percents(&policy.pids.steps()));
}

/// `psi_cpu`, `psi_io`, `steal`, `load`.
fn compressible(book: &mut Book<'_>, policy: &Policy, sample: &Sample) {
    let per_core = sample.load.zip(sample.cores.filter(|cores| *cores > 0)).map(|([one, _, _], n)| one / n as f64);
    let waiting = sample.psi.and_then(|psi| psi.cpu_some_avg60);
    book.cpu(waiting, per_core, &policy.psi_cpu);
    let full = sample.psi.and_then(|psi| psi.io_full_avg60);
    book.rising(Signal::PsiIo, None, full, &percents(&policy.psi_io.steps()));
    let stolen = book.rates().steal(sample);
    let counted = sample.cpu_ticks.is_some_and(|ticks| ticks.steal.is_some() && ticks.total.is_some());
    book.rate(Signal::Steal, stolen, counted, &percents(&policy.steal.steps()));
    if book.has_shown(Signal::PsiCpu) {
        book.forget(Signal::Load, None);
    } else {
        book.rising(Signal::Load, None, per_core, &policy.load.steps());
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// The smaller of the two amounts of each bound, in bytes: below the smaller is below both, above it above either.
fn rooms(total: f64, steps: &[(Room, Room)]) -> Vec<(f64, f64)> {
    let smaller = |room: &Room| (room.percent.0 / 100.0 * total).min(room.bytes.0 as f64);
    steps.iter().map(|(enter, leave)| (smaller(enter), smaller(leave))).collect()
}

fn percents(steps: &[(Percent, Percent)]) -> Vec<(f64, f64)> {
    steps.iter().map(|(enter, leave)| (enter.0, leave.0)).collect()
}

/// A measured value as people read it.
fn shown(signal: Signal, value: f64) -> String {
    match signal {
        Signal::Mem | Signal::Disk => Bytes(value.max(0.0).round() as u64).to_string(),
        Signal::Oom => format!("{value:.0}"),
        Signal::Load => format!("{}", (value * 100.0).round() / 100.0),
        _ => format!("{}%", (value * 10.0).round() / 10.0),
    }
}

/// The key of a latch: the signal's short name, with the path behind a space for a disk.
fn key(signal: Signal, subject: Option<&str>) -> String {
    match subject {
        Some(subject) => format!("{} {subject}", signal.name()),
        None => signal.name().to_owned(),
    }
}

/// The signal and path of a [`key`]; none for one that this version does not know.
fn parts(key: &str) -> Option<(Signal, Option<&str>)> {
    let (name, subject) = key.split_once(' ').map_or((key, None), |(name, subject)| (name, Some(subject)));
    Signal::ALL.into_iter().find(|signal| signal.name() == name).map(|signal| (signal, subject))
}

/// Latches by [`key`].
type ByKey = BTreeMap<String, Latch>;
