//! The laws of the ladder over random traces, and the cases that went wrong elsewhere.

mod model;
mod standing;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::inventory::policy::Policy;

/// One moment of a trace.
#[derive(Clone, Debug)]
struct Moment {
    /// Seconds since the one before.
    dt: f64,
    /// None: no sample.
    levels: Option<(u8, u8, bool)>,
    /// The host was booted anew.
    boot: bool,
}

fn level(number: u8) -> Level {
    Level::ALL[usize::from(number.min(3))]
}

/// Made from one number, which is much faster than from six and shrinks as well: 0 is a good sample after 20 s.
fn moment() -> impl Strategy<Value = Moment> {
    (0_u32..10 * 4 * 3 * 2 * 3 * 399 * 50).prop_map(|mut number| {
        let mut pick = |of: u32| {
            let digit = number % of;
            number /= of;
            digit
        };
        let (miss, inc, cmp, slow) = (pick(10) == 9, pick(4) as u8, pick(3) as u8, pick(2) == 1);
        let dt = match (pick(3), pick(399)) {
            (0, _) => 20.0,
            (1, _) => 60.0,
            (_, more) => f64::from(more + 1),
        };
        Moment { dt, levels: (!miss).then_some((inc, cmp, slow)), boot: pick(50) == 49 }
    })
}

/// A host whose agents obey: each stop takes one away at once.
struct Host {
    rung: Rung,
    policy: Policy,
    at: f64,
    uptime: f64,
    boots: u32,
    dev: u32,
    review: u32,
}

impl Host {
    fn new(rung: Rung, dev: u32, review: u32) -> Host {
        Host { rung, policy: Policy::default(), at: 0.0, uptime: 1000.0, boots: 0, dev, review }
    }

    fn look(&self, levels: Option<(u8, u8, bool)>) -> Look {
        let up = Up { boot_id: format!("b{}", self.boots), uptime: self.uptime };
        let seen = levels.map(|(inc, cmp, slow)| Seen {
            up,
            inc: level(inc),
            cmp: level(cmp),
            slow: slow && cmp >= 2,
            dev: self.dev,
            review: self.review,
        });
        Look { at: self.at, seen }
    }

    fn step(&mut self, moment: &Moment) -> Stepped {
        self.pass(moment);
        let look = self.look(moment.levels);
        let stepped = step(&mut self.rung, &self.policy, &look);
        self.obey(&stepped);
        stepped
    }

    fn pass(&mut self, moment: &Moment) {
        self.at += moment.dt;
        self.uptime += moment.dt;
        if moment.boot {
            self.boots += 1;
            self.uptime = 5.0;
        }
    }

    fn obey(&mut self, stepped: &Stepped) {
        match stepped.action {
            Some(Action::StopDev) => self.dev -= 1,
            Some(Action::StopReview) => self.review -= 1,
            None => {}
        }
    }

    /// The same levels for so long, a sample each `every` seconds.
    fn hold(&mut self, levels: (u8, u8), seconds: f64, every: f64) -> Vec<Stepped> {
        let moment = Moment { dt: every, levels: Some((levels.0, levels.1, false)), boot: false };
        (0..(seconds / every).round() as usize).map(|_| self.step(&moment)).collect()
    }

    fn modes(&self) -> (Mode, Mode, bool) {
        (self.rung.dev, self.rung.review, self.rung.survive)
    }
}

/// How high a host stands, so that two can be compared.
fn height(rung: &Rung) -> u32 {
    rung.dev as u32 + rung.review as u32 + u32::from(rung.survive)
}

/// Each law is tried on so many traces.
const TRACES: u32 = 2000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(TRACES))]

    #[test]
    fn the_order_of_the_ladder_is_kept_and_each_look_moves_one_rung(
        trace in vec(moment(), 1..300), dev in 0_u32..5, review in 0_u32..5, known in any::<bool>(),
    ) {
        let mut host = Host::new(if known { Rung::running() } else { Rung::unknown() }, dev, review);
        let (mut last_step, mut last_stop) = (None::<f64>, None::<f64>);
        for moment in &trace {
            let before = host.rung.clone();
            let stepped = host.step(moment);
            let now = &host.rung;
            prop_assert!(now.dev >= now.review, "review above dev: {now:?}");
            prop_assert!(!now.survive || now.review == Mode::Stop, "{now:?}");
            prop_assert!(height(&before).abs_diff(height(now)) <= 1, "{before:?} to {now:?}");
            prop_assert_eq!(stepped.change.is_some(), height(&before) != height(now));
            if stepped.change.is_some() {
                prop_assert!(last_step.is_none_or(|last| now.t - last >= 20.0 * ENOUGH), "two steps at once");
                last_step = Some(now.t);
            }
            if stepped.action.is_some() {
                prop_assert!(last_stop.is_none_or(|last| now.t - last >= 60.0 * ENOUGH), "two stops at once");
                last_stop = Some(now.t);
            }
            // No review is stopped while a dev agent lives.
            prop_assert!(stepped.action != Some(Action::StopReview) || host.dev == 0);
            // Nothing is stopped by what only gets slower, nor below STOP.
            if let (Some(_), Some((inc, ..))) = (stepped.action, moment.levels) {
                prop_assert!(inc >= 2 && now.dev == Mode::Stop);
            }
        }
    }

    #[test]
    fn a_missing_sample_changes_nothing_and_earns_nothing(
        trace in vec(moment(), 1..100), misses in vec(1.0..500.0_f64, 1..10), known in any::<bool>(),
    ) {
        let mut host = Host::new(if known { Rung::running() } else { Rung::unknown() }, 2, 2);
        for moment in &trace {
            host.step(moment);
        }
        let before = (host.modes(), host.rung.t, host.rung.asked);
        for dt in misses {
            let stepped = host.step(&Moment { dt, levels: None, boot: false });
            prop_assert_eq!((stepped.change, stepped.action), (None, None));
            prop_assert_eq!((host.modes(), host.rung.t, host.rung.asked), before);
            prop_assert_eq!((host.rung.good, host.rung.calm), (0.0, 0.0));
        }
        // Whatever the time away was: the first sample after it proves nothing about it.
        host.step(&Moment { dt: 60.0, levels: Some((0, 0, false)), boot: false });
        prop_assert_eq!(host.rung.t, before.1);
        prop_assert_eq!((host.rung.good, host.rung.calm), (0.0, 0.0));
    }

    #[test]
    fn release_needs_contiguous_good_time(trace in vec(moment(), 1..300)) {
        let mut host = Host::new(Rung::running(), 2, 2);
        // Good time since the last sample that was not, since the last miss and since the last release.
        let (mut good, mut calm) = (0.0, 0.0);
        for moment in &trace {
            let before = host.rung.clone();
            let stepped = host.step(moment);
            match moment.levels {
                Some((inc, cmp, _)) if !moment.boot && moment.dt <= 200.0 && before.up.is_some() => {
                    calm = if inc < 2 { calm + moment.dt } else { 0.0 };
                    good = if inc == 0 && cmp == 0 { good + moment.dt } else { 0.0 };
                }
                _ => (good, calm) = (0.0, 0.0),
            }
            match stepped.change {
                Some(Change::Dev(Mode::Hold, Mode::Run) | Change::Review(Mode::Hold, Mode::Run)) => {
                    // By the entries of this sample's time: an old one may have run out since the last.
                    prop_assert!(good >= host.rung.dwell(&host.policy), "{good} s of good time");
                    good = 0.0;
                }
                Some(Change::Dev(Mode::Stop, _) | Change::Review(Mode::Stop, _) | Change::Survive(false)) => {
                    prop_assert!(calm >= 60.0, "{calm} s of calm");
                    calm = 0.0;
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_worse_sample_never_leaves_a_lower_rung(
        trace in vec(moment(), 0..200), better in (0_u8..=3, 0_u8..=2, any::<bool>()),
        worse in (0_u8..=3, 0_u8..=2, any::<bool>()), dt in prop_oneof![Just(20.0), Just(60.0)],
    ) {
        let mut host = Host::new(Rung::running(), 2, 2);
        for moment in &trace {
            host.step(moment);
        }
        let worse = (better.0.max(worse.0), better.1.max(worse.1), better.2 || worse.2);
        let after = |levels| {
            let mut host = Host { rung: host.rung.clone(), policy: host.policy, ..host };
            host.step(&Moment { dt, levels: Some(levels), boot: false });
            host.rung
        };
        let (low, high) = (after(better), after(worse));
        // One rung a step: which of the two goes up may differ, how many are up may not be less.
        prop_assert!(height(&high) >= height(&low) && high.dev >= low.dev, "{low:?} {high:?}");
    }

    #[test]
    fn going_on_from_what_was_saved_is_going_on(trace in vec(moment(), 1..100), cut in 0_usize..100) {
        let mut whole = Host::new(Rung::unknown(), 3, 2);
        let mut saved = Host::new(Rung::unknown(), 3, 2);
        for (index, moment) in trace.iter().enumerate() {
            if index == cut {
                saved.rung = serde_json::from_str(&serde_json::to_string(&saved.rung).unwrap()).unwrap();
            }
            prop_assert_eq!(whole.step(moment), saved.step(moment));
            prop_assert_eq!(&whole.rung, &saved.rung);
        }
    }

    #[test]
    fn from_anywhere_all_agents_are_gone_320_seconds_after_the_first_sample_under_crit(
        trace in vec(moment(), 0..100), known in any::<bool>(),
    ) {
        let mut host = Host::new(if known { Rung::running() } else { Rung::unknown() }, 0, 0);
        for moment in &trace {
            host.step(moment);
        }
        (host.dev, host.review) = (4, 2);
        host.hold((3, 0), 20.0, 20.0);
        // What was done just before that sample makes the next wait for its pace: the paces are what the 320 s are made of.
        let since = |last: Option<f64>| last.map_or(f64::INFINITY, |last| host.rung.t - last);
        let wait = if host.rung.up.is_some() && host.dev == 4 { (60.0 - since(host.rung.stopped)).max(0.0) } else { 0.0 };
        let wait = (wait / 20.0).ceil() * 20.0 + if since(host.rung.stepped) < 20.0 * ENOUGH { 20.0 } else { 0.0 };
        let mut seconds = 0.0;
        while host.dev + host.review > 0 {
            host.hold((3, 0), 20.0, 20.0);
            seconds += 20.0;
            prop_assert!(seconds <= 320.0 + wait, "{} and {} after {seconds} s", host.dev, host.review);
        }
    }

    #[test]
    fn from_anywhere_a_host_that_is_well_is_at_run_within_180_seconds_and_two_dwells(
        trace in vec(moment(), 0..200), agents in (0_u32..3, 0_u32..3), crit in 0_usize..60,
    ) {
        let mut host = Host::new(Rung::unknown(), agents.0, agents.1);
        for moment in &trace {
            host.step(moment);
        }
        host.hold((3, 0), 20.0 * crit as f64, 20.0);
        // The first sample after silence earns nothing, and may hold a host that was away.
        host.hold((0, 0), 60.0, 60.0);
        let most = 180.0 + 2.0 * host.rung.dwell(&host.policy);
        let mut seconds = 0.0;
        while host.modes() != (Mode::Run, Mode::Run, false) {
            host.hold((0, 0), 60.0, 60.0);
            seconds += 60.0;
            prop_assert!(seconds <= most, "{:?} after {seconds} s", host.modes());
        }
    }

    #[test]
    fn no_weather_at_all_makes_more_than_seven_cycles_an_hour(
        trace in vec((moment(), 0_u8..4), 200..400), every in prop_oneof![Just(None), Just(Some(20.0)), Just(Some(5.0))],
    ) {
        let mut host = Host::new(Rung::running(), 0, 0);
        let mut cycles = Vec::new();
        for (moment, kind) in &trace {
            // Mostly it is well just until the hold ends; silence and boots come into it too.
            let levels = match (kind, host.rung.dev) {
                (0, _) => moment.levels,
                (1.., Mode::Run) => Some((2, 0, false)),
                (1.., _) => Some((0, 0, false)),
            };
            let boot = moment.boot && *kind == 0;
            let stepped = host.step(&Moment { dt: every.unwrap_or(moment.dt), levels, boot });
            if matches!(stepped.change, Some(Change::Dev(Mode::Run, Mode::Hold))) {
                cycles.push(host.at);
            }
        }
        for (first, begin) in cycles.iter().enumerate() {
            let within = cycles[first + 1..].iter().take_while(|at| **at - begin <= 3600.0).count();
            prop_assert!(within <= 7, "{within} cycles in an hour: {cycles:?}");
        }
    }

    #[test]
    fn an_adversary_gets_at_most_seven_cycles_an_hour(
        levels in vec((0_u8..=2, 0_u8..=1), 60..61), every in prop_oneof![Just(20.0), Just(60.0)],
    ) {
        // Good exactly until the hold ends, bad until it begins: the worst that samples can do.
        let mut host = Host::new(Rung::running(), 0, 0);
        let mut cycles = Vec::new();
        for (index, (inc, cmp)) in levels.iter().cycle().take((3.0 * 3600.0 / every) as usize).enumerate() {
            let bad = host.rung.dev == Mode::Run;
            let levels = if bad { ((*inc).max(1), *cmp, false) } else { (0, 0, false) };
            let stepped = host.step(&Moment { dt: every, levels: Some(levels), boot: false });
            if matches!(stepped.change, Some(Change::Dev(Mode::Run, Mode::Hold))) {
                cycles.push(index as f64 * every);
            }
        }
        for (first, begin) in cycles.iter().enumerate() {
            // From one beginning to the next is a cycle.
            let within = cycles[first + 1..].iter().take_while(|at| **at - begin <= 3600.0).count();
            prop_assert!(within <= 7, "{within} cycles in an hour: {cycles:?}");
        }
    }
}

#[test]
fn under_crit_four_dev_and_two_review_agents_are_gone_within_320_seconds() {
    let mut host = Host::new(Rung::running(), 4, 2);
    host.hold((3, 0), 20.0, 20.0);
    // Since the first sample that showed it.
    let mut seconds = 0.0;
    while host.dev + host.review > 0 {
        host.hold((3, 0), 20.0, 20.0);
        seconds += 20.0;
        assert!(seconds <= 320.0, "{} dev and {} review agents after {seconds} s", host.dev, host.review);
    }
    assert_eq!(host.modes().1, Mode::Stop);
}

proptest! {
    #[test]
    fn looks_that_come_a_little_early_or_late_are_the_same_looks(late in vec(-0.4..0.4_f64, 40..41)) {
        let mut host = Host::new(Rung::running(), 4, 2);
        let mut before = 0.0;
        let mut looks = late.iter().enumerate().map(|(index, late)| {
            let at = 20.0 * index as f64 + late;
            Moment { dt: at - std::mem::replace(&mut before, at), levels: Some((3, 0, false)), boot: false }
        });
        host.step(&looks.next().unwrap());
        let all = looks.take_while(|moment| {
            host.step(moment);
            host.dev + host.review > 0
        });
        prop_assert!(all.count() < 16, "{} dev and {} review agents", host.dev, host.review);
    }
}

#[test]
fn a_clock_that_begins_anew_counts_misses_all_the_same() {
    let mut host = Host::new(Rung::running(), 0, 0);
    host.hold((0, 0), 120.0, 60.0);
    let miss = Moment { dt: 60.0, levels: None, boot: false };
    host.at = 30.0 * 86_400.0;
    assert!(!host.step(&miss).lost);
    // The controller is booted anew, or another machine goes on.
    host.at = 5.0;
    assert!(!host.step(&miss).lost);
    assert!(host.step(&miss).lost);
}

#[test]
fn a_host_without_a_history_that_is_reached_late_shows_no_hold() {
    let mut host = Host::new(Rung::unknown(), 0, 0);
    let miss = Moment { dt: 60.0, levels: None, boot: false };
    assert!((0..3).any(|_| host.step(&miss).lost));
    let came = host.hold((0, 0), 60.0, 60.0);
    assert_eq!((came[0].change, host.modes().0, host.rung.shown()), (None, Mode::Hold, Mode::Run));
    host.hold((0, 0), 240.0, 60.0);
    assert_eq!(host.modes().0, Mode::Run);
}

#[test]
fn from_survive_back_to_run_within_180_seconds_and_two_dwells() {
    let mut host = Host::new(Rung::running(), 1, 1);
    host.hold((3, 0), 900.0, 20.0);
    assert_eq!(host.modes(), (Mode::Stop, Mode::Stop, true));
    let dwell = host.rung.dwell(&host.policy);
    let mut order = Vec::new();
    let mut seconds = 0.0;
    while host.modes() != (Mode::Run, Mode::Run, false) {
        order.extend(host.hold((0, 0), 60.0, 60.0).into_iter().filter_map(|stepped| stepped.change));
        seconds += 60.0;
        assert!(seconds <= 180.0 + 2.0 * dwell, "{:?} after {seconds} s", host.modes());
    }
    assert_eq!(
        order,
        [
            Change::Survive(false),
            Change::Review(Mode::Stop, Mode::Hold),
            Change::Dev(Mode::Stop, Mode::Hold),
            Change::Review(Mode::Hold, Mode::Run),
            Change::Dev(Mode::Hold, Mode::Run),
        ]
    );
}

#[test]
fn the_ladder_goes_up_dev_first_then_review() {
    let mut host = Host::new(Rung::running(), 1, 1);
    assert!(host.hold((1, 0), 20.0, 20.0)[0].change.is_none(), "one soft sample is none");
    assert_eq!(host.hold((1, 0), 20.0, 20.0)[0].change, Some(Change::Dev(Mode::Run, Mode::Hold)));
    // A soft shortage that lasts holds review too, and stops nobody.
    let changes: Vec<_> = host.hold((1, 0), 600.0, 20.0);
    let told: Vec<_> = changes.iter().filter_map(|stepped| stepped.change).collect();
    assert_eq!(told, [Change::Review(Mode::Run, Mode::Hold)]);
    assert!(changes.iter().all(|stepped| stepped.action.is_none()));
    assert_eq!((host.dev, host.review), (1, 1));
}

#[test]
fn a_slow_host_holds_and_never_stops() {
    let mut host = Host::new(Rung::running(), 4, 2);
    let slow = Moment { dt: 20.0, levels: Some((0, 2, true)), boot: false };
    for _ in 0..200 {
        assert_eq!(host.step(&slow).action, None);
    }
    assert_eq!((host.modes(), host.dev, host.review), ((Mode::Hold, Mode::Hold, false), 4, 2));
    // A build on all processors is no reason to hold reviews.
    let mut host = Host::new(Rung::running(), 4, 2);
    host.hold((0, 1), 3600.0, 20.0);
    assert_eq!(host.modes(), (Mode::Hold, Mode::Run, false));
}

#[test]
fn a_sample_that_is_itself_soft_releases_nothing() {
    let mut host = Host::new(Rung::running(), 0, 0);
    host.hold((1, 0), 40.0, 20.0);
    host.hold((0, 0), 100.0, 20.0);
    host.hold((1, 0), 20.0, 20.0);
    assert_eq!(host.rung.good, 0.0);
    assert_eq!(host.hold((0, 0), 100.0, 20.0).iter().filter(|stepped| stepped.change.is_some()).count(), 0);
    assert_eq!(host.hold((0, 0), 20.0, 20.0)[0].change, Some(Change::Dev(Mode::Hold, Mode::Run)));
}

#[test]
fn a_host_that_was_away_comes_back_held_and_one_without_history_holds_only_our_launches() {
    let mut host = Host::new(Rung::running(), 1, 0);
    host.hold((0, 0), 120.0, 60.0);
    let miss = Moment { dt: 60.0, levels: None, boot: false };
    let lost: Vec<bool> = (0..5).map(|_| host.step(&miss).lost).collect();
    assert_eq!(lost, [false, false, true, false, false]);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run, false), "silence moves nothing");
    let back = host.hold((0, 0), 60.0, 60.0);
    assert_eq!(back[0].change, Some(Change::Dev(Mode::Run, Mode::Hold)));
    assert_eq!(host.rung.shown(), Mode::Hold);
    host.hold((0, 0), 240.0, 60.0);
    assert_eq!((host.modes().0, host.rung.shown()), (Mode::Run, Mode::Run));

    // Misses that come faster than once a minute do not count.
    let fast = Moment { dt: 10.0, levels: None, boot: false };
    assert!((0..6).all(|_| !host.step(&fast).lost));

    let mut new = Host::new(Rung::unknown(), 1, 0);
    let first = new.hold((0, 0), 60.0, 60.0);
    assert_eq!((first[0].change, new.modes().0, new.rung.shown()), (None, Mode::Hold, Mode::Run));
    new.hold((0, 0), 180.0, 60.0);
    assert_eq!(new.modes().0, Mode::Run);
    // A signal asks for what was there already: now files show it.
    let mut new = Host::new(Rung::unknown(), 1, 0);
    new.hold((1, 0), 120.0, 60.0);
    assert_eq!((new.modes().0, new.rung.shown()), (Mode::Hold, Mode::Hold));
}

#[test]
fn each_relapse_doubles_the_way_back() {
    let mut host = Host::new(Rung::running(), 0, 0);
    let mut dwells = Vec::new();
    for _ in 0..6 {
        host.hold((1, 0), 40.0, 20.0);
        dwells.push(host.rung.dwell(&host.policy));
        while host.rung.dev != Mode::Run {
            host.hold((0, 0), 20.0, 20.0);
        }
    }
    assert_eq!(dwells[..4], [120.0, 240.0, 480.0, 900.0]);
    host.hold((0, 0), 3600.0, 60.0);
    host.hold((1, 0), 40.0, 20.0);
    assert_eq!(host.rung.dwell(&host.policy), 120.0);
}

#[test]
fn a_reboot_begins_anew_where_it_stood() {
    let mut host = Host::new(Rung::running(), 0, 0);
    host.hold((2, 0), 100.0, 20.0);
    let at = host.modes();
    host.step(&Moment { dt: 30.0, levels: Some((0, 0, false)), boot: true });
    assert_eq!((host.modes(), host.rung.good, host.rung.soft_n), (at, 0.0, 0));
}
