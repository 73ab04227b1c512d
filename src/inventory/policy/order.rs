//! Whether the numbers of a policy stand in an order in which they make sense.

use super::{Policy, Room};
use crate::inventory::units::Percent;

/// Problems found so far, each with its path below `policy`.
type Problems = Vec<(String, String)>;

const NAMES: [&str; 3] = ["soft", "hard", "crit"];

impl Policy {
    /// What is wrong with the numbers: `(path, message)`, the path below `policy:` as in `mem.enter.hard`; empty when
    /// nothing is.
    pub fn check(&self) -> Vec<(String, String)> {
        let mut bad = Problems::new();
        falling_room(&mut bad, "mem", &self.mem.steps());
        falling_room(&mut bad, "disk", &self.disk.steps());
        let falling = [("swap", self.swap.steps()), ("inodes", self.inodes.steps()), ("pids", self.pids.steps())];
        for (path, steps) in falling {
            order(&mut bad, path, "", &numbers(&steps), Direction::Falling);
        }
        let rising =
            [("psi_mem", self.psi_mem.steps()), ("psi_io", self.psi_io.steps()), ("steal", self.steal.steps())];
        for (path, steps) in rising {
            order(&mut bad, path, "", &numbers(&steps), Direction::Rising);
        }
        order(&mut bad, "load", "", &self.load.steps(), Direction::Rising);
        let cpu = &self.psi_cpu;
        let bounds = [("waiting", cpu.enter.waiting.0, cpu.leave.waiting.0), ("load", cpu.enter.load, cpu.leave.load)];
        for (part, enter, leave) in bounds {
            if enter.is_nan() || leave.is_nan() || enter < leave {
                bad.push((format!("psi_cpu.leave.{part}"), flips("above")));
            }
        }
        self.times(&mut bad);
        bad
    }

    fn times(&self, bad: &mut Problems) {
        if self.dwell.base > self.dwell.max {
            let message = format!("{} is longer than `dwell.max`, {}", self.dwell.base, self.dwell.max);
            bad.push(("dwell.base".into(), message));
        }
        for (path, span) in [("gap", self.gap), ("sample_age", self.sample_age), ("dwell.window", self.dwell.window)] {
            if span.0.is_zero() {
                bad.push((path.into(), "0 would make every sample useless: write a time above it".into()));
            }
        }
        let counts =
            [("soft_samples", self.soft_samples), ("hard_samples", self.hard_samples), ("misses", self.misses)];
        for (path, count) in counts {
            if count == 0 {
                bad.push((path.into(), "0 samples would act on nothing at all: write 1 or more".into()));
            }
        }
        let ci = &self.ci;
        if ci.hard.is_nan() || ci.hard < 1.0 {
            bad.push(("ci.hard".into(), format!("{} is below 1: hard would come before soft", ci.hard)));
        }
        if !(ci.leave <= ci.pending && ci.leave <= ci.oldest) {
            let message = format!("{} is above `ci.pending` or `ci.oldest`: it would never hold", ci.leave);
            bad.push(("ci.leave".into(), message));
        }
        for (path, factor) in [("cpu", self.cpu), ("ci.pending", ci.pending), ("ci.oldest", ci.oldest)] {
            if !(factor.is_finite() && factor > 0.0) {
                bad.push((path.into(), format!("{factor} is not a number above 0")));
            }
        }
    }
}

/// Which way is worse.
#[derive(Clone, Copy)]
enum Direction {
    /// Less is worse, as for free memory.
    Falling,
    /// More is worse, as for waiting.
    Rising,
}

fn falling_room(bad: &mut Problems, path: &str, steps: &[(Room, Room)]) {
    let percents: Vec<(f64, f64)> = steps.iter().map(|(enter, leave)| (enter.percent.0, leave.percent.0)).collect();
    let bytes: Vec<(f64, f64)> =
        steps.iter().map(|(enter, leave)| (enter.bytes.0 as f64, leave.bytes.0 as f64)).collect();
    order(bad, path, ".percent", &percents, Direction::Falling);
    order(bad, path, ".bytes", &bytes, Direction::Falling);
}

fn numbers(steps: &[(Percent, Percent)]) -> Vec<(f64, f64)> {
    steps.iter().map(|(enter, leave)| (enter.0, leave.0)).collect()
}

fn flips(side: &str) -> String {
    format!("it is left {side} where it is entered, so it would flip with every sample")
}

/// Each step must be left on the better side of where it is entered, and a worse step entered and left on the worse
/// side of the one before: else the severity flips or a worse sample would lower it.
fn order(bad: &mut Problems, path: &str, part: &str, steps: &[(f64, f64)], direction: Direction) {
    let (past_enter, past_milder) = match direction {
        Direction::Falling => ("below", "above"),
        Direction::Rising => ("above", "below"),
    };
    // Not-a-number compares as false: it is told here too.
    let at_least_as_bad = |a: f64, b: f64| match direction {
        Direction::Falling => a <= b,
        Direction::Rising => a >= b,
    };
    for (name, (enter, leave)) in NAMES.iter().zip(steps) {
        if !at_least_as_bad(*enter, *leave) {
            bad.push((format!("{path}.leave.{name}{part}"), flips(past_enter)));
        }
    }
    for (pair, names) in steps.windows(2).zip(NAMES.windows(2)) {
        let ([milder, graver], [mild, grave]) = (pair, names) else { continue };
        for (side, milder, graver) in [("enter", milder.0, graver.0), ("leave", milder.1, graver.1)] {
            if !at_least_as_bad(graver, milder) {
                let message =
                    format!("it lies {past_milder} `{path}.{side}.{mild}{part}`, so {grave} would come before {mild}");
                bad.push((format!("{path}.{side}.{grave}{part}"), message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::units::{Bytes, Span};

    fn paths(policy: &Policy) -> Vec<String> {
        policy.check().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(Policy::default().check(), []);
    }

    #[test]
    fn each_wrong_order_is_named() {
        let wrong = |change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            paths(&policy)
        };
        assert_eq!(
            wrong(|p| p.mem.enter.hard.bytes = Bytes(5 << 30)),
            ["mem.leave.hard.bytes", "mem.enter.hard.bytes"]
        );
        assert_eq!(
            wrong(|p| p.mem.leave.soft.percent = Percent(10.0)),
            ["mem.leave.soft.percent", "mem.leave.hard.percent"]
        );
        assert_eq!(wrong(|p| p.psi_mem.enter.crit = Percent(10.0)), ["psi_mem.leave.crit", "psi_mem.enter.crit"]);
        assert_eq!(wrong(|p| p.swap.leave.crit = Percent(30.0)), ["swap.leave.crit"]);
        assert_eq!(wrong(|p| p.load.leave.soft = 3.0), ["load.leave.soft", "load.leave.hard"]);
        assert_eq!(wrong(|p| p.load.enter.soft = f64::NAN), ["load.leave.soft", "load.enter.hard"]);
        assert_eq!(wrong(|p| p.psi_cpu.leave.load = 2.5), ["psi_cpu.leave.load"]);
        assert_eq!(wrong(|p| p.dwell.base = Span(std::time::Duration::from_secs(901))), ["dwell.base"]);
        assert_eq!(wrong(|p| p.gap = Span::default()), ["gap"]);
        assert_eq!(wrong(|p| p.hard_samples = 0), ["hard_samples"]);
        assert_eq!(wrong(|p| p.ci.leave = 2.5), ["ci.leave"]);
        assert_eq!(wrong(|p| p.cpu = 0.0), ["cpu"]);
    }

    #[test]
    fn a_message_says_what_would_happen() {
        let mut policy = Policy::default();
        policy.inodes.enter.hard = Percent(17.0);
        insta::assert_debug_snapshot!(policy.check());
    }
}
