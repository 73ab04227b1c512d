//! The step, as DESIGN has it: normative, in the same order and with the same names.

use super::{Action, Change, Look, Mode, Rung, Seen, Stepped};
use crate::inventory::policy::Policy;
use crate::policy::severity::Level;

/// Takes one look at a host into its rung: at most one change, at most one agent to stop.
///
/// A sample that is missing or not whole changes no rung and earns no time.
pub fn step(rung: &mut Rung, policy: &Policy, look: &Look) -> Stepped {
    let Some(seen) = &look.seen else { return miss(rung, policy, look.at) };
    if rung.unreachable {
        (rung.unreachable, rung.back) = (false, true);
    }
    (rung.misses, rung.missed) = (0, None);
    let dt = observe(rung, policy, seen);
    let want = Want::of(rung, policy, seen);
    // Whoever wants review held wants dev held too: it stands above. A host without a history that comes back is held
    // already, by the want of one, which asks nothing of its files.
    rung.asked |= want.dev > Mode::Run || want.review > Mode::Run || rung.back && rung.dev == Mode::Run;
    let change =
        if due(rung, policy.pace.0.as_secs_f64(), rung.stepped) { change(rung, policy, seen, &want, dt) } else { None };
    if change.is_some() {
        rung.stepped = Some(rung.t);
    }
    rung.back &= rung.dev == Mode::Run;
    rung.asked &= rung.dev > Mode::Run || rung.back;
    if seen.inc >= Level::Hard {
        rung.calm = 0.0;
    }
    if seen.inc >= Level::Soft || seen.cmp >= Level::Soft {
        rung.good = 0.0;
    }
    Stepped { change, action: stop(rung, policy, seen, &want), lost: false }
}

/// How much of a pace is enough: looks come as often as paces last, and each takes its own time to arrive. Were all of it
/// asked for, a look that is a moment early would wait for the next one, and a pace be twice as long.
pub const ENOUGH: f64 = 0.95;

/// Whether `pace` seconds have been observed since `last`.
pub(super) fn due(rung: &Rung, pace: f64, last: Option<f64>) -> bool {
    last.is_none_or(|last| rung.t - last >= pace * ENOUGH)
}

/// No sample from a host that others would have reached.
fn miss(rung: &mut Rung, policy: &Policy, at: f64) -> Stepped {
    rung.unseen();
    // A clock that stands before the last miss is that of another boot, or another machine, which has not counted yet.
    let pace = policy.miss_pace.0.as_secs_f64() * ENOUGH;
    if rung.missed.is_none_or(|last| at < last || at - last >= pace) {
        rung.misses = rung.misses.saturating_add(1);
        rung.missed = Some(at);
    }
    let lost = rung.misses >= policy.misses && !rung.unreachable;
    rung.unreachable |= lost;
    Stepped { lost, ..Stepped::default() }
}

/// Time, counters and beginnings after a whole sample; gives the time that it proves something about.
fn observe(rung: &mut Rung, policy: &Policy, seen: &Seen) -> f64 {
    let gap = policy.gap.0.as_secs_f64();
    let since = rung.up.as_ref().filter(|up| up.boot_id == seen.up.boot_id).map(|up| seen.up.uptime - up.uptime);
    let dt = match since.filter(|dt| (0.0..=gap).contains(dt)) {
        Some(dt) => dt,
        None => {
            (rung.good, rung.calm) = (0.0, 0.0);
            (rung.soft_n, rung.hard_n) = (0, 0);
            (rung.soft_since, rung.crit_since) = (None, None);
            0.0
        }
    };
    rung.up = Some(seen.up.clone());
    rung.t += dt;
    let soft = seen.inc >= Level::Soft || seen.cmp >= Level::Soft;
    rung.soft_n = if soft { rung.soft_n.saturating_add(1) } else { 0 };
    rung.hard_n = if seen.inc >= Level::Hard { rung.hard_n.saturating_add(1) } else { 0 };
    rung.soft_since = (seen.inc >= Level::Soft).then(|| rung.soft_since.unwrap_or(rung.t));
    let alone = seen.dev == 0 && seen.review == 0;
    rung.crit_since = (seen.inc == Level::Crit && alone).then(|| rung.crit_since.unwrap_or(rung.t));
    let window = policy.dwell.window.0.as_secs_f64();
    let t = rung.t;
    rung.entries.retain(|entry| t - entry <= window);
    dt
}

/// Where the signals want the rungs.
struct Want {
    dev: Mode,
    review: Mode,
    survive: bool,
}

impl Want {
    fn of(rung: &Rung, policy: &Policy, seen: &Seen) -> Want {
        let lasted = |since: Option<f64>, long: f64| since.is_some_and(|since| rung.t - since >= long);
        let dev = match seen.inc {
            Level::Crit => Mode::Stop,
            _ if rung.hard_n >= policy.hard_samples => Mode::Stop,
            Level::Hard => Mode::Hold,
            _ if rung.soft_n >= policy.soft_samples => Mode::Hold,
            _ => Mode::Run,
        };
        let review = match seen.inc {
            Level::Crit if seen.dev == 0 => Mode::Stop,
            Level::Hard | Level::Crit => Mode::Hold,
            _ if seen.slow || lasted(rung.soft_since, policy.soft_since.0.as_secs_f64()) => Mode::Hold,
            _ => Mode::Run,
        };
        Want { dev, review, survive: lasted(rung.crit_since, policy.survive.0.as_secs_f64()) }
    }
}

/// The one change that is due, if any.
fn change(rung: &mut Rung, policy: &Policy, seen: &Seen, want: &Want, dt: f64) -> Option<Change> {
    let calm = policy.calm.0.as_secs_f64();
    if rung.back && rung.dev == Mode::Run {
        return Some(enter(rung));
    }
    if want.dev > rung.dev {
        return Some(match rung.dev {
            Mode::Run => enter(rung),
            from => {
                rung.dev = from.up();
                Change::Dev(from, rung.dev)
            }
        });
    }
    if want.review > rung.review && rung.dev > rung.review {
        let from = rung.review;
        rung.review = from.up();
        return Some(Change::Review(from, rung.review));
    }
    if want.survive && rung.review == Mode::Stop && !rung.survive {
        rung.survive = true;
        return Some(Change::Survive(true));
    }
    let well = seen.inc == Level::Ok && seen.cmp == Level::Ok;
    if seen.inc < Level::Hard {
        rung.calm += dt;
    }
    if well {
        rung.good += dt;
    }
    if rung.survive {
        if want.survive || rung.calm < calm {
            return None;
        }
        (rung.survive, rung.calm) = (false, 0.0);
        return Some(Change::Survive(false));
    }
    if rung.review == Mode::Stop && want.review < Mode::Stop && rung.calm >= calm {
        (rung.review, rung.calm) = (Mode::Hold, 0.0);
        return Some(Change::Review(Mode::Stop, Mode::Hold));
    }
    if rung.dev == Mode::Stop && want.dev < Mode::Stop && rung.review < Mode::Stop && rung.calm >= calm {
        (rung.dev, rung.calm) = (Mode::Hold, 0.0);
        return Some(Change::Dev(Mode::Stop, Mode::Hold));
    }
    let dwell = rung.dwell(policy);
    if rung.review == Mode::Hold && want.review == Mode::Run && well && rung.good >= dwell {
        (rung.review, rung.good) = (Mode::Run, 0.0);
        return Some(Change::Review(Mode::Hold, Mode::Run));
    }
    if rung.dev == Mode::Hold && want.dev == Mode::Run && well && rung.review == Mode::Run && rung.good >= dwell {
        (rung.dev, rung.good) = (Mode::Run, 0.0);
        return Some(Change::Dev(Mode::Hold, Mode::Run));
    }
    None
}

/// From RUN to HOLD: an entry, which makes the next way back longer.
fn enter(rung: &mut Rung) -> Change {
    rung.dev = Mode::Hold;
    rung.good = 0.0;
    rung.entries.push(rung.t);
    Change::Dev(Mode::Run, Mode::Hold)
}

impl Rung {
    /// No sample: nothing moves, and what had been earned is gone.
    pub fn unseen(&mut self) {
        self.up = None;
        (self.good, self.calm) = (0.0, 0.0);
        (self.soft_n, self.hard_n) = (0, 0);
    }

    /// How long it must be good before a hold ends: doubled by each entry of the window but the first.
    pub fn dwell(&self, policy: &Policy) -> f64 {
        let window = policy.dwell.window.0.as_secs_f64();
        let entries = self.entries.iter().filter(|entry| self.t - **entry <= window).count();
        let doubled = 2_f64.powi(i32::try_from(entries.saturating_sub(1)).unwrap_or(i32::MAX).min(60));
        (policy.dwell.base.0.as_secs_f64() * doubled).min(policy.dwell.max.0.as_secs_f64())
    }
}

/// Whether a fresh look just before a stop still asks for it. It counts as no sample: only that it is bad now matters.
pub fn wants_stop(rung: &Rung, policy: &Policy, action: Action, seen: &Seen) -> bool {
    let want = Want::of(rung, policy, seen);
    match action {
        Action::StopDev => seen.inc >= Level::Hard && rung.dev == Mode::Stop && want.dev == Mode::Stop && seen.dev > 0,
        Action::StopReview => rung.review == Mode::Stop && want.review == Mode::Stop && seen.review > 0,
    }
}

/// The one agent that must stop now, if any: a dev one as long as there is one.
fn stop(rung: &mut Rung, policy: &Policy, seen: &Seen, want: &Want) -> Option<Action> {
    if !due(rung, policy.stop_pace.0.as_secs_f64(), rung.stopped) {
        return None;
    }
    let action = if rung.dev == Mode::Stop && want.dev == Mode::Stop && seen.dev > 0 {
        Action::StopDev
    } else if rung.review == Mode::Stop && want.review == Mode::Stop && seen.review > 0 {
        Action::StopReview
    } else {
        return None;
    };
    rung.stopped = Some(rung.t);
    Some(action)
}
