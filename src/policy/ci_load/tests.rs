//! The laws of the step over random traces, and what it says.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn load() -> impl Strategy<Value = Load> {
    let seconds = || option::weighted(0.9, 0.0..8000.0_f64);
    (0_u32..40, seconds(), seconds(), 0_u32..5).prop_map(|(pending, oldest, median, workers)| Load {
        pending,
        oldest,
        median,
        workers,
    })
}

/// A look after so many seconds; none = no answer.
fn look() -> impl Strategy<Value = (f64, Option<Load>)> {
    (prop_oneof![Just(60.0), Just(120.0), 1.0..900.0_f64], option::weighted(0.9, load()))
}

/// The same with more to do.
fn worse(load: Load, pending: u32, oldest: f64) -> Load {
    Load { pending: load.pending + pending, oldest: load.oldest.map(|old| old + oldest), ..load }
}

const POLICY: fn() -> Policy = Policy::default;

/// The level after these looks, in a row of 60 s.
fn after(state: &mut CiState, loads: &[Load]) -> Level {
    let mut level = state.level();
    for (index, load) in loads.iter().enumerate() {
        level = step(state, &POLICY(), Some(load), 60.0 * index as f64).level;
    }
    level
}

fn calm(pending: u32) -> Load {
    Load { pending, oldest: Some(10.0), median: Some(600.0), workers: 2 }
}

fn old(oldest: f64) -> Load {
    Load { pending: 1, oldest: Some(oldest), median: Some(600.0), workers: 2 }
}

proptest! {
    #[test]
    fn an_unknown_load_changes_nothing(trace in vec(look(), 0..40), dt in 0.0..9000.0_f64) {
        let (mut state, mut now) = (CiState::default(), 0.0);
        for (dt, load) in &trace {
            now += dt;
            let before = state.clone();
            let judged = step(&mut state, &POLICY(), load.as_ref(), now);
            prop_assert_eq!(judged.level, state.level());
            prop_assert!(judged.level <= Level::Hard && !judged.text.is_empty());
            if load.is_none() {
                prop_assert_eq!(&state, &before);
            }
        }
        let before = state.clone();
        let judged = step(&mut state, &POLICY(), None, now + dt);
        prop_assert_eq!((&state, judged.level), (&before, before.level()));
        // Nor does one that tells nothing of either signal.
        let nothing = Load { pending: 3, oldest: None, median: Some(60.0), workers: 0 };
        let judged = step(&mut state, &POLICY(), Some(&nothing), now + dt);
        prop_assert_eq!((&state, judged.level), (&before, before.level()));
    }

    #[test]
    fn a_worse_load_never_lowers_the_level(
        trace in vec((look(), 0_u32..9, 0.0..4000.0_f64), 1..60),
    ) {
        let (mut mild, mut grave, mut now) = (CiState::default(), CiState::default(), 0.0);
        for ((dt, load), pending, oldest) in trace {
            now += dt;
            let more = load.map(|load| worse(load, pending, oldest));
            let low = step(&mut mild, &POLICY(), load.as_ref(), now).level;
            let high = step(&mut grave, &POLICY(), more.as_ref(), now).level;
            prop_assert!(high >= low, "{low} of {mild:?}, {high} of {grave:?}");
        }
    }

    #[test]
    fn between_enter_and_leave_nothing_moves(
        begins in 0_usize..3, trace in vec((3_u32..=4, 601.0..=1800.0_f64), 1..60),
    ) {
        let mut state = CiState::default();
        let first = [vec![calm(0)], vec![calm(5); 11], vec![calm(9); 11]][begins].clone();
        let level = after(&mut state, &first);
        prop_assert_eq!(level, Level::ALL[begins]);
        let mut now = 660.0;
        for (pending, oldest) in trace {
            now += 60.0;
            let load = Load { pending, oldest: Some(oldest), median: Some(600.0), workers: 2 };
            prop_assert_eq!(step(&mut state, &POLICY(), Some(&load), now).level, level);
        }
    }

    #[test]
    fn too_many_pending_hold_only_when_they_last(trace in vec((1.0..400.0_f64, 0_u32..12), 1..80)) {
        let (mut state, mut now, mut since) = (CiState::default(), 0.0, None::<f64>);
        let mut hard = None::<f64>;
        for (dt, pending) in trace {
            now += dt;
            since = (pending > 4).then(|| since.unwrap_or(now));
            hard = (pending > 8).then(|| hard.unwrap_or(now));
            let before = state.level();
            let level = step(&mut state, &POLICY(), Some(&calm(pending)), now).level;
            let lasts = |since: Option<f64>| since.is_some_and(|since| now - since >= 600.0);
            let want = if lasts(hard) { Level::Hard } else if lasts(since) { Level::Soft } else { Level::Ok };
            prop_assert!(level >= want);
            prop_assert!(level <= want.max(before), "{level} of {before} after {pending}");
            if pending <= 2 {
                prop_assert_eq!(level, Level::Ok);
            }
        }
    }

    #[test]
    fn back_at_once_the_level_is_left(trace in vec(look(), 0..60), oldest in 0.0..=600.0_f64, pending in 0_u32..=2) {
        let (mut state, mut now) = (CiState::default(), 0.0);
        for (dt, load) in &trace {
            now += dt;
            step(&mut state, &POLICY(), load.as_ref(), now);
        }
        let load = Load { pending, oldest: Some(oldest), median: Some(600.0), workers: 2 };
        let judged = step(&mut state, &POLICY(), Some(&load), now + 60.0);
        prop_assert_eq!((judged.level, &state), (Level::Ok, &CiState::default()));
    }

    #[test]
    fn going_on_from_what_was_saved_is_going_on(trace in vec(look(), 1..40), cut in 0_usize..40) {
        let (mut whole, mut saved, mut now) = (CiState::default(), CiState::default(), 0.0);
        for (index, (dt, load)) in trace.iter().enumerate() {
            if index == cut {
                saved = serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap();
            }
            now += dt;
            let all = [&mut whole, &mut saved].map(|state| step(state, &POLICY(), load.as_ref(), now));
            prop_assert_eq!(&all[0], &all[1]);
        }
    }
}

#[test]
fn the_oldest_holds_at_once_and_nothing_pending_frees() {
    let mut state = CiState::default();
    for (oldest, level) in [
        (1800.0, Level::Ok),
        (1801.0, Level::Soft),
        (3600.0, Level::Soft),
        (3601.0, Level::Hard),
        (601.0, Level::Hard),
        (600.0, Level::Ok),
    ] {
        assert_eq!(after(&mut state, &[old(oldest)]), level, "{oldest}");
    }
    after(&mut state, &[old(9000.0)]);
    // Whatever else is not known by then.
    assert_eq!(after(&mut state, &[Load::default()]), Level::Ok);
}

#[test]
fn a_clock_that_goes_back_makes_it_last_anew() {
    let mut state = CiState::default();
    let at = |state: &mut CiState, now| step(state, &POLICY(), Some(&calm(5)), now).level;
    assert_eq!(
        [1_000_000.0, 5.0, 604.0, 605.0].map(|now| at(&mut state, now)),
        [Level::Ok, Level::Ok, Level::Ok, Level::Soft]
    );
}

#[test]
fn soft_holds_dev_and_hard_review_too() {
    let held = |level| [Class::Dev, Class::Review, Class::Supervisor].map(|class| holds(level, class));
    assert_eq!(held(Level::Ok), [false, false, false]);
    assert_eq!(held(Level::Soft), [true, false, false]);
    assert_eq!(held(Level::Hard), [true, true, false]);
}

#[test]
fn what_is_kept_is_small_and_nothing_else_is_read() {
    assert_eq!(serde_json::to_string(&CiState::default()).unwrap(), r#"{"pending":0,"oldest":0}"#);
    assert_eq!(serde_json::from_str::<CiState>("{}").unwrap(), CiState::default());
    assert!(serde_json::from_str::<CiState>(r#"{"level":1}"#).is_err());
}

#[test]
fn each_level_says_what_it_comes_from() {
    let mut told = String::new();
    let mut tell = |loads: &[Option<Load>]| {
        let mut state = CiState::default();
        let all = loads.iter().enumerate();
        let all: Vec<Judged> =
            all.map(|(index, load)| step(&mut state, &POLICY(), load.as_ref(), 300.0 * index as f64)).collect();
        let last = all.last().unwrap();
        told.push_str(&format!("{}: {}\n", last.level, last.text));
    };
    let some = |load: Load, times: usize| vec![Some(load); times];
    let no_median = |load: Load| Load { median: None, ..load };
    tell(&[None]);
    tell(&[Some(Load::default())]);
    tell(&some(Load { pending: 0, ..calm(0) }, 1));
    tell(&some(calm(3), 1));
    tell(&some(no_median(calm(1)), 1));
    tell(&some(calm(5), 2));
    tell(&some(calm(5), 4));
    tell(&[some(calm(9), 4), some(calm(3), 1)].concat());
    tell(&some(calm(9), 4));
    tell(&[some(calm(9), 4), vec![None]].concat());
    tell(&[some(calm(9), 4), some(Load { workers: 0, ..calm(9) }, 1)].concat());
    tell(&some(old(1900.0), 1));
    tell(&some(old(4000.0), 1));
    tell(&[some(old(4000.0), 1), some(old(1900.0), 1)].concat());
    tell(&[some(old(4000.0), 1), some(old(700.0), 1)].concat());
    tell(&[some(old(4000.0), 1), some(no_median(old(700.0)), 1)].concat());
    tell(&some(Load { pending: 9, ..old(4000.0) }, 4));
    insta::assert_snapshot!(told);
}
