//! What people and halt files are told of a rung, and what becomes of a line of the ladder's that nobody knows of.

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use super::{Host, Moment, TRACES, height, moment};
use crate::inventory::agents::Class;

const CLASSES: [Class; 3] = [Class::Dev, Class::Review, Class::Supervisor];

/// A host of which the standing is kept too; its clock may be set back by an hour.
struct Stands {
    host: Host,
    standing: Standing,
    behind: bool,
}

impl Stands {
    fn new(known: bool, agents: (u32, u32)) -> Stands {
        let standing = if known { Standing::default() } else { Standing::unknown() };
        Stands { host: Host::new(standing.rung(), agents.0, agents.1), standing, behind: false }
    }

    fn now(&self) -> Timestamp {
        let hour = if self.behind { 3600 } else { 0 };
        Timestamp::from_second(1_700_000_000 - hour).unwrap() + SignedDuration::from_secs_f64(self.host.at)
    }

    fn step(&mut self, moment: &Moment) -> Stepped {
        self.host.pass(moment);
        let look = self.host.look(moment.levels);
        let stepped = self.standing.look(&Policy::default(), &look, self.now(), "memory is short");
        self.host.rung = self.standing.rung();
        self.host.obey(&stepped);
        stepped
    }

    /// What is held is what is shown, and nothing is at its mode for longer than it is held.
    fn check(&self) -> Result<(), TestCaseError> {
        let standing = &self.standing;
        for class in CLASSES {
            let (held, shown) = (standing.held.get(&class), standing.shown(class));
            prop_assert_eq!(held.is_some(), shown > Mode::Run, "{}: {:?}", class, standing);
            prop_assert!(held.is_none_or(|held| held.since <= held.at), "{held:?}");
        }
        // What is shown is a ladder too, and no rung but the one that binds only us goes unshown.
        prop_assert!(standing.shown(Class::Dev) >= standing.shown(Class::Review), "{standing:?}");
        let rung = standing.rung();
        let waits = !rung.asked && (rung.dev, rung.review, rung.survive) == (Mode::Hold, Mode::Run, false);
        let shown = (standing.shown(Class::Dev), standing.shown(Class::Review));
        prop_assert!(waits || shown == (rung.dev, rung.review), "{standing:?}");
        Ok(())
    }
}

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(CLASSES.to_vec())
}

const FINE: Moment = Moment { dt: 60.0, levels: Some((0, 0, false)), boot: false };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(TRACES))]

    #[test]
    fn a_class_is_held_exactly_as_long_as_it_is_shown(
        trace in vec((moment(), prop::bool::weighted(0.05)), 1..200), known in any::<bool>(), agents in (0_u32..3, 0_u32..3),
        found in prop::option::of((0_usize..200, class())),
    ) {
        let mut host = Stands::new(known, agents);
        for (index, (moment, set)) in trace.iter().enumerate() {
            host.behind ^= *set;
            if let Some((_, class)) = found.filter(|(at, _)| *at == index) {
                // It was written by a clock that is ahead of ours.
                host.standing.adopt(class, host.now() + SignedDuration::from_secs(60), "memory was short");
                host.check()?;
            }
            let before = host.standing.held.clone();
            let stepped = host.step(moment);
            host.check()?;
            // What began does not begin anew while it lasts.
            for (class, held) in &host.standing.held {
                prop_assert!(before.get(class).is_none_or(|before| before.since == held.since));
                // What is told for it is of when it was raised.
                let moved = stepped.change.map(|change| change.parts().0) == Some(*class);
                prop_assert!(moved || before.get(class).is_none_or(|before| before == held));
            }
        }
    }

    #[test]
    fn a_line_that_nobody_knows_is_taken_up_once_and_only_good_time_from_then_on_ends_it(
        trace in vec(moment(), 0..60), known in any::<bool>(), class in class(), dt in 20.0..200.0_f64,
        after in vec(moment(), 0..40),
    ) {
        let mut host = Stands::new(known, (1, 1));
        for moment in &trace {
            host.step(moment);
        }
        let (before, shown) = (host.standing.clone(), host.standing.shown(class));
        let new = host.standing.adopt(class, host.now(), "memory was short");
        prop_assert_eq!(new, class != Class::Supervisor && shown == Mode::Run);
        if !new {
            prop_assert_eq!(&host.standing, &before);
            return Ok(());
        }
        host.check()?;
        let (old, now) = (before.rung(), host.standing.rung());
        prop_assert!(now.dev >= old.dev && now.review >= old.review && now.dev >= now.review, "{old:?} {now:?}");
        prop_assert!(now.dev <= old.dev.max(Mode::Hold) && now.review <= old.review.max(Mode::Hold), "{now:?}");
        prop_assert_eq!(now.survive, old.survive);
        // A file of reviews says nothing that a file of dev would not say too, not the other way round.
        prop_assert!(class == Class::Review || now.review == old.review);
        prop_assert!(host.standing.shown(class) >= Mode::Hold);
        let again = host.standing.clone();
        prop_assert!(!host.standing.adopt(class, host.now(), "another reason"));
        prop_assert_eq!(&host.standing, &again);

        // Whoever wrote it saw what we did not: the time before this sample was not good, however long it is.
        host.host.rung = host.standing.rung();
        let first = Moment { dt, ..FINE };
        let mut good = -dt;
        for moment in std::iter::once(&first).chain(&after).chain(&vec![FINE; 60]) {
            let rung = host.standing.rung();
            let continues = rung.up.is_some() && !moment.boot && moment.dt <= 200.0;
            let change = host.step(moment).change;
            good = match moment.levels {
                Some((0, 0, _)) if good < 0.0 => 0.0,
                Some((0, 0, _)) if continues => good + moment.dt,
                _ => 0.0,
            };
            if let Some(Change::Dev(Mode::Hold, Mode::Run) | Change::Review(Mode::Hold, Mode::Run)) = change {
                prop_assert!(good >= host.host.rung.dwell(&Policy::default()), "after {good} s");
                good = 0.0;
            }
        }
        prop_assert_eq!(height(&host.standing.rung()), 0, "it ends at last");
    }
}

#[test]
fn what_one_sample_asks_of_a_host_without_history_is_shown() {
    let mut host = Stands::new(false, (0, 0));
    host.step(&FINE);
    assert_eq!(host.standing.shown(Class::Dev), Mode::Run);
    // Reviews are held for a slow disk at once: then dev, which waited only, is held for it too.
    host.step(&Moment { levels: Some((0, 2, true)), ..FINE });
    assert_eq!((host.standing.shown(Class::Dev), host.standing.shown(Class::Review)), (Mode::Hold, Mode::Hold));
    host.check().unwrap();
}

#[test]
fn a_line_that_another_controller_wrote_is_not_lifted_for_the_time_before_we_came() {
    // All well at the last sample that was recorded; then somebody held the host, and died. We come 150 s later.
    let mut host = Stands::new(true, (0, 0));
    host.step(&FINE);
    host.host.at += 90.0;
    host.host.uptime += 90.0;
    assert!(host.standing.adopt(Class::Dev, host.now(), "memory was short"));
    let changes: Vec<_> = (0..3).map(|_| host.step(&FINE).change).collect();
    assert_eq!(changes, [None, None, Some(Change::Dev(Mode::Hold, Mode::Run))]);
}
