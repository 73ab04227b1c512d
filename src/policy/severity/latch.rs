//! Latches: the memory of one host's severities from sample to sample.

use serde::{Deserialize, Serialize};

use super::rate::Rates;
use super::{ByKey, Level, Severity, Signal, key, parts, shown};
use crate::inventory::policy::{CpuPressure, Policy};
use crate::inventory::units::Span;
use crate::remote::sample::{Disk, Sample};

/// One signal of one subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latch {
    /// The level it is at.
    pub level: Level,
    /// The host's uptime when it was first found unknown; none while it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<f64>,
}

/// What is kept of one host between two samples; as JSON it goes to the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latches {
    /// The boot that the counters belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    /// The uptime of the last whole sample.
    #[serde(default)]
    uptime_s: f64,
    /// By signal, and path where it has one.
    #[serde(default)]
    latches: ByKey,
    /// Counters.
    #[serde(default)]
    rates: Rates,
}

impl Latches {
    /// The latch of a signal and, for `disk` and `inodes`, a path; none if this host never showed it.
    pub fn get(&self, signal: Signal, subject: Option<&str>) -> Option<&Latch> {
        self.latches.get(&key(signal, subject))
    }

    /// Whether nothing is latched: every signal is known and fine.
    pub fn at_rest(&self) -> bool {
        self.latches.values().all(|latch| latch.level == Level::Ok && latch.unknown_since.is_none())
    }

    /// The same with nothing latched: the counters stay, so that differences can go on.
    #[must_use]
    pub fn rested(mut self) -> Latches {
        self.latches.values_mut().for_each(|latch| *latch = Latch::default());
        self
    }

    /// The same, with counters that go on from those of `before`, an earlier sample: what has happened since that one has
    /// happened still. From another boot they mean nothing.
    #[must_use]
    pub fn counting_from(mut self, before: &Latches) -> Latches {
        if self.boot_id == before.boot_id && self.uptime_s >= before.uptime_s {
            self.rates.clone_from(&before.rates);
        }
        self
    }

    /// What is latched, when there is nothing to measure.
    pub(super) fn as_they_are(&self) -> Vec<Severity> {
        let severity = |(key, latch): (&String, &Latch)| {
            let (signal, subject) = parts(key)?;
            let text = format!("{} not measured, {} before", name(signal, subject), latch.level);
            let subject = subject.map(Into::into);
            Some(Severity { signal, subject, level: latch.level, value: None, threshold: None, text })
        };
        sorted(self.latches.iter().filter_map(severity).collect())
    }

    /// Begins a whole sample. After a reboot, and after uptime went back, no difference means anything, and what was
    /// unknown has been unknown at least since that boot.
    pub(super) fn begin(&mut self, sample: &Sample) {
        let uptime = sample.uptime_s.unwrap_or_default();
        if self.boot_id != sample.boot_id || uptime < self.uptime_s {
            self.rates = Rates::default();
            for latch in self.latches.values_mut() {
                latch.unknown_since = latch.unknown_since.map(|_| 0.0);
            }
        }
        self.boot_id.clone_from(&sample.boot_id);
        self.uptime_s = uptime;
    }
}

/// The latches while one sample is taken in, and the severities so far.
pub(super) struct Book<'a> {
    latches: &'a mut Latches,
    unknown: Span,
    uptime: f64,
    done: Vec<Severity>,
}

impl<'a> Book<'a> {
    pub(super) fn new(latches: &'a mut Latches, policy: &Policy, uptime: f64) -> Book<'a> {
        Book { latches, unknown: policy.unknown, uptime, done: Vec::new() }
    }

    pub(super) fn rates(&mut self) -> &mut Rates {
        &mut self.latches.rates
    }

    /// Whether this host has ever shown the signal.
    pub(super) fn has_shown(&self, signal: Signal) -> bool {
        self.latches.latches.contains_key(signal.name())
    }

    /// Drops a signal that does not apply to this host now: it is 0 and has no latch.
    pub(super) fn forget(&mut self, signal: Signal, path: Option<&str>) {
        self.latches.latches.remove(&key(signal, path));
    }

    /// Drops the latches of paths that are not watched any more.
    pub(super) fn keep_paths(&mut self, disks: &[Disk]) {
        let watched = |key: &str| match key.split_once(' ') {
            Some((_, path)) => disks.iter().any(|disk| disk.path == path),
            None => true,
        };
        self.latches.latches.retain(|key, _| watched(key));
        self.latches.rates.keep_paths(disks);
    }

    /// A signal of which less is worse. `steps` are `(enter, leave)` for soft, hard, crit.
    pub(super) fn falling(
        &mut self,
        signal: Signal,
        path: Option<&str>,
        value: Option<f64>,
        steps: &[(f64, f64)],
    ) -> Level {
        self.step(signal, path, value, steps, ["below", "not yet above", "not below"], |value, bound| value < bound)
    }

    /// A signal of which more is worse.
    pub(super) fn rising(
        &mut self,
        signal: Signal,
        path: Option<&str>,
        value: Option<f64>,
        steps: &[(f64, f64)],
    ) -> Level {
        self.step(signal, path, value, steps, ["above", "not yet below", "not above"], |value, bound| value > bound)
    }

    /// A signal that is a difference: with nothing to compare with it stays as it was, and is not unknown if it was
    /// `counted`.
    pub(super) fn rate(&mut self, signal: Signal, value: Option<f64>, counted: bool, steps: &[(f64, f64)]) {
        if value.is_some() || !counted {
            self.rising(signal, None, value, steps);
            return;
        }
        let latch = self.latches.latches.entry(key(signal, None)).or_default();
        latch.unknown_since = None;
        let level = latch.level;
        let text = match level {
            Level::Ok => format!("{} not measured yet", name(signal, None)),
            _ => format!("{} not measured, {level} before", name(signal, None)),
        };
        self.done.push(Severity { signal, subject: None, level, value: None, threshold: None, text });
    }

    /// `psi_cpu`: soft when both are above, over when either is below.
    pub(super) fn cpu(&mut self, waiting: Option<f64>, per_core: Option<f64>, policy: &CpuPressure) {
        let (enter, leave) = (policy.enter, policy.leave);
        let above = |value: Option<f64>, bound: f64| value.map(|value| value > bound);
        let below = |value: Option<f64>, bound: f64| value.map(|value| value < bound);
        let enters = both(above(waiting, enter.waiting.0), above(per_core, enter.load));
        let leaves = either(below(waiting, leave.waiting.0), below(per_core, leave.load));
        let old = self.level(Signal::PsiCpu, None);
        // With half of it known the answer may still be certain.
        let level = match (enters, leaves, old) {
            (Some(true), _, _) => Some(Level::Soft),
            (Some(false), _, Level::Ok) | (Some(false), Some(true), _) => Some(Level::Ok),
            (Some(false), Some(false), _) => Some(Level::Soft),
            _ => None,
        };
        let (Some(level), Some(value)) = (level, waiting) else {
            if waiting.is_some() {
                // The host has the signal, though this sample cannot tell what it comes to.
                self.latches.latches.entry(key(Signal::PsiCpu, None)).or_default();
            }
            self.unknown(Signal::PsiCpu, None);
            return;
        };
        let load = per_core.map(|load| format!(", load per core {}", shown(Signal::Load, load))).unwrap_or_default();
        let (bound, load_bound, word) = match (level, enters) {
            (Level::Ok, _) => (enter.waiting.0, enter.load, "not above"),
            (_, Some(true)) => (enter.waiting.0, enter.load, "above"),
            _ => (leave.waiting.0, leave.load, "not yet below"),
        };
        let joint = if word == "above" { "and" } else { "or" };
        let number = shown(Signal::PsiCpu, value);
        let name = Signal::PsiCpu.words().0;
        let text = format!("{name} {number}{load}, {word} {bound}% {joint} {load_bound}");
        self.put(Signal::PsiCpu, None, Some(value), level, Some(bound), text);
    }

    /// Severity L if beyond enter L, or already at L and not beyond leave L; the worst such L.
    fn step(
        &mut self,
        signal: Signal,
        path: Option<&str>,
        value: Option<f64>,
        steps: &[(f64, f64)],
        words: [&str; 3],
        worse: impl Fn(f64, f64) -> bool,
    ) -> Level {
        let Some(value) = value else { return self.unknown(signal, path) };
        let old = self.level(signal, path);
        let [enters, stays, well] = words;
        let first = steps.first().map(|(enter, _)| *enter).unwrap_or_default();
        let mut at = (Level::Ok, first, well);
        for (level, (enter, leave)) in Level::ALL.into_iter().skip(1).zip(steps) {
            let better = !worse(value, *leave) && value != *leave;
            if worse(value, *enter) {
                at = (level, *enter, enters);
            } else if old >= level && !better {
                at = (level, *leave, stays);
            }
        }
        let (level, threshold, word) = at;
        let (_, after) = signal.words();
        let (number, bound) = (shown(signal, value), shown(signal, threshold));
        let text = format!("{} {number}{after}, {word} {bound}", name(signal, path));
        self.put(signal, path, Some(value), level, Some(threshold), text);
        level
    }

    /// The level that a signal is latched at.
    fn level(&self, signal: Signal, path: Option<&str>) -> Level {
        self.latches.get(signal, path).map(|latch| latch.level).unwrap_or_default()
    }

    /// A signal that this sample does not have keeps its latch. What the host never showed is not missing, but a
    /// watched path is: it was asked for.
    fn unknown(&mut self, signal: Signal, path: Option<&str>) -> Level {
        let key = key(signal, path);
        let expected = signal == Signal::Disk && path.is_some();
        if !expected && !self.latches.latches.contains_key(&key) {
            return Level::Ok;
        }
        let uptime = self.uptime;
        let latch = self.latches.latches.entry(key).or_default();
        let since = *latch.unknown_since.get_or_insert(uptime);
        let for_s = (uptime - since).max(0.0);
        let too_long = for_s >= self.unknown.0.as_secs_f64();
        let level = if too_long { latch.level.max(Level::Soft) } else { latch.level };
        let for_text = Span(std::time::Duration::from_secs(for_s as u64));
        let text = format!("{} unknown for {for_text}", name(signal, path));
        let subject = path.map(Into::into);
        self.done.push(Severity { signal, subject, level, value: None, threshold: None, text });
        level
    }

    /// Records a level. A signal without a value is unknown and keeps its latch.
    pub(super) fn put(
        &mut self,
        signal: Signal,
        path: Option<&str>,
        value: Option<f64>,
        level: Level,
        threshold: Option<f64>,
        text: String,
    ) {
        if value.is_none() {
            self.unknown(signal, path);
            return;
        }
        // What counts for one sample only is not latched, but known.
        let kept = if signal == Signal::Oom { Level::Ok } else { level };
        self.latches.latches.insert(key(signal, path), Latch { level: kept, unknown_since: None });
        self.done.push(Severity { signal, subject: path.map(Into::into), level, value, threshold, text });
    }

    /// The severities, also of signals that were not looked at because the whole group is missing.
    pub(super) fn finish(mut self) -> Vec<Severity> {
        let told = |done: &[Severity], signal: Signal, path: Option<&str>| {
            done.iter().any(|severity| severity.signal == signal && severity.subject.as_deref() == path)
        };
        let keys: Vec<String> = self.latches.latches.keys().cloned().collect();
        for (signal, subject) in keys.iter().filter_map(|key| parts(key)) {
            if !told(&self.done, signal, subject) {
                self.unknown(signal, subject);
            }
        }
        sorted(self.done)
    }
}

/// In the order of the table, then by path.
fn sorted(mut severities: Vec<Severity>) -> Vec<Severity> {
    severities.sort_by(|a, b| (a.signal, &a.subject).cmp(&(b.signal, &b.subject)));
    severities
}

/// What a signal is about, for people: `disk /var`.
fn name(signal: Signal, subject: Option<&str>) -> String {
    let (before, _) = signal.words();
    subject.map_or_else(|| before.to_owned(), |subject| format!("{before} {subject}"))
}

/// True or false as far as it is certain with unknown parts.
fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    both(a.map(|a| !a), b.map(|b| !b)).map(|neither| !neither)
}
