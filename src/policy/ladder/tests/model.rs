//! The step against a second one, written down from DESIGN by itself with plain numbers: over any trace, with restarts
//! anywhere in it, both do the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::{Moment, TRACES, level, moment};

/// The table's defaults, in seconds.
const GAP: f64 = 200.0;
const WINDOW: f64 = 1800.0;

/// The state of DESIGN's step, with its names.
#[derive(Default)]
struct Model {
    d: u8,
    r: u8,
    m: bool,
    t: f64,
    up: Option<(u32, f64)>,
    good: f64,
    calm: f64,
    soft_n: u32,
    hard_n: u32,
    soft_since: Option<f64>,
    crit_since: Option<f64>,
    /// Every entry there ever was.
    entries: Vec<f64>,
    last_step: Option<f64>,
    last_stop: Option<f64>,
    misses: u32,
    last_miss: Option<f64>,
    unreachable: bool,
    back: bool,
}

/// What a whole sample showed: boot, uptime, `inc`, `cmp`, whether `psi_io` or `steal` is hard, `nd`, `nr`.
type Shown = (u32, f64, u8, u8, bool, u32, u32);

impl Model {
    fn w(&self) -> f64 {
        let k = self.entries.iter().filter(|entry| self.t - **entry <= WINDOW).count();
        (0..k.saturating_sub(1)).fold(120.0_f64, |w, _| (w * 2.0).min(900.0))
    }

    /// Gives the agent that must stop, `d` or `r`, and whether the host is lost with this look.
    fn look(&mut self, at: f64, shown: Option<Shown>) -> (Option<char>, bool) {
        let Some((boot, uptime, inc, cmp, slow, nd, nr)) = shown else {
            self.up = None;
            (self.good, self.calm, self.hard_n, self.soft_n) = (0.0, 0.0, 0, 0);
            if self.last_miss.is_none_or(|last| at < last || at - last >= 60.0 * ENOUGH) {
                (self.misses, self.last_miss) = (self.misses + 1, Some(at));
            }
            let lost = self.misses == 3 && !self.unreachable;
            self.unreachable |= lost;
            return (None, lost);
        };
        self.back |= std::mem::take(&mut self.unreachable);
        (self.misses, self.last_miss) = (0, None);
        let dt = match self.up {
            Some((before, last)) if before == boot && uptime >= last && uptime - last <= GAP => uptime - last,
            _ => {
                (self.good, self.calm, self.hard_n, self.soft_n) = (0.0, 0.0, 0, 0);
                (self.soft_since, self.crit_since) = (None, None);
                0.0
            }
        };
        self.up = Some((boot, uptime));
        self.t += dt;
        let t = self.t;
        let begun = |since: Option<f64>, on: bool| if on { since.or(Some(t)) } else { None };
        let lasted = |since: Option<f64>| since.is_some_and(|since| t - since >= 120.0);
        self.soft_n = if inc >= 1 || cmp >= 1 { self.soft_n + 1 } else { 0 };
        self.hard_n = if inc >= 2 { self.hard_n + 1 } else { 0 };
        self.soft_since = begun(self.soft_since, inc >= 1);
        self.crit_since = begun(self.crit_since, inc == 3 && nd == 0 && nr == 0);
        let want_d = match () {
            () if inc == 3 || self.hard_n >= 2 => 2,
            () if inc >= 2 || self.soft_n >= 2 => 1,
            () => 0,
        };
        let want_r = match () {
            () if inc == 3 && nd == 0 => 2,
            () if inc >= 2 || slow || lasted(self.soft_since) => 1,
            () => 0,
        };
        let want_m = lasted(self.crit_since);
        if self.last_step.is_none_or(|last| t - last >= 20.0 * ENOUGH)
            && self.change(inc, cmp, dt, (want_d, want_r, want_m))
        {
            self.last_step = Some(t);
        }
        // It comes back held, whoever holds it.
        self.back &= self.d == 0;
        if inc >= 2 {
            self.calm = 0.0;
        }
        if inc >= 1 || cmp >= 1 {
            self.good = 0.0;
        }
        let stop = match () {
            () if self.last_stop.is_some_and(|last| t - last < 60.0 * ENOUGH) => None,
            () if self.d == 2 && want_d == 2 && nd > 0 => Some('d'),
            () if self.r == 2 && want_r == 2 && nr > 0 => Some('r'),
            () => None,
        };
        if stop.is_some() {
            self.last_stop = Some(t);
        }
        (stop, false)
    }

    /// The first of the changes that is due.
    fn change(&mut self, inc: u8, cmp: u8, dt: f64, (want_d, want_r, want_m): (u8, u8, bool)) -> bool {
        if (self.back || want_d > 0) && self.d == 0 {
            (self.d, self.good) = (1, 0.0);
            self.entries.push(self.t);
            return true;
        }
        if want_d > self.d {
            self.d += 1;
            return true;
        }
        if want_r > self.r && self.d > self.r {
            self.r += 1;
            return true;
        }
        if want_m && self.r == 2 && !self.m {
            self.m = true;
            return true;
        }
        let well = inc == 0 && cmp == 0;
        self.calm += if inc < 2 { dt } else { 0.0 };
        self.good += if well { dt } else { 0.0 };
        let calm = self.calm >= 60.0;
        let good = well && self.good >= self.w();
        if self.m && !want_m && calm {
            (self.m, self.calm) = (false, 0.0);
        } else if self.r == 2 && want_r < 2 && !self.m && calm {
            (self.r, self.calm) = (1, 0.0);
        } else if self.d == 2 && want_d < 2 && self.r < 2 && calm {
            (self.d, self.calm) = (1, 0.0);
        } else if self.r == 1 && want_r == 0 && good {
            (self.r, self.good) = (0, 0.0);
        } else if self.d == 1 && want_d == 0 && self.r == 0 && good {
            (self.d, self.good) = (0, 0.0);
        } else {
            return false;
        }
        true
    }
}

/// What else happens between two looks.
#[derive(Clone, Debug)]
struct Turn {
    moment: Moment,
    /// The controller ends, and another one goes on from what was saved.
    restart: bool,
    /// Dev and review agents that run: what was told to stop may go on, what was not may end.
    agents: (u32, u32),
}

fn turn() -> impl Strategy<Value = Turn> {
    (moment(), 0_u32..5 * 8 * 4 * 4).prop_map(|(moment, number)| {
        let alone = number / 5 % 8 < 4;
        let agents = if alone { (0, 0) } else { (number / 40 % 4, number / 160) };
        Turn { moment, restart: number % 5 == 4, agents }
    })
}

/// Turns in which the same weather lasts for a while: what comes of time only comes then.
fn lasting() -> impl Strategy<Value = Vec<Turn>> {
    let spell = (turn(), 1_usize..25).prop_map(|(turn, times)| {
        let calm = Turn { moment: Moment { boot: false, ..turn.moment.clone() }, ..turn.clone() };
        [vec![turn], vec![calm; times - 1]].concat()
    });
    vec(spell, 1..25).prop_map(|spells| spells.concat())
}

fn agrees(trace: &[Turn], known: bool) -> Result<(), TestCaseError> {
    let policy = Policy::default();
    let mut rung = if known { Rung::running() } else { Rung::unknown() };
    let mut model = Model { d: u8::from(!known), ..Model::default() };
    let (mut at, mut uptime, mut boots) = (0.0, 1000.0, 0);
    for Turn { moment, restart, agents: (dev, review) } in trace {
        at += moment.dt;
        uptime += moment.dt;
        if moment.boot {
            boots += 1;
            uptime = 5.0;
        }
        if *restart {
            rung = serde_json::from_str(&serde_json::to_string(&rung).unwrap()).unwrap();
        }
        let shown = moment.levels.map(|(inc, cmp, slow)| (boots, uptime, inc, cmp, slow && cmp >= 2, *dev, *review));
        let seen = shown.map(|(boot, uptime, inc, cmp, slow, dev, review)| {
            let up = Up { boot_id: boot.to_string(), uptime };
            Seen { up, inc: level(inc), cmp: level(cmp), slow, dev, review }
        });
        let stepped = step(&mut rung, &policy, &Look { at, seen });
        let stop = match stepped.action {
            Some(Action::StopDev) => Some('d'),
            Some(Action::StopReview) => Some('r'),
            None => None,
        };
        prop_assert_eq!((stop, stepped.lost), model.look(at, shown));
        let is = (rung.dev as u8, rung.review as u8, rung.survive, rung.dwell(&policy));
        prop_assert_eq!(is, (model.d, model.r, model.m, model.w()), "{:?}", rung);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(TRACES))]

    #[test]
    fn the_step_is_the_one_that_the_design_has_written_down(trace in vec(turn(), 1..200), known in any::<bool>()) {
        agrees(&trace, known)?;
    }

    #[test]
    fn it_is_so_in_long_spells_of_the_same_weather_too(trace in lasting(), known in any::<bool>()) {
        agrees(&trace, known)?;
    }
}
