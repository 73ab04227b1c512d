//! The rule by itself over random hosts, and what it says.

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::error::Diagnostics;
use crate::inventory::Inventory;
use crate::inventory::locate::{Found, Location};
use crate::remote::sample::{Matched, Mem, Run};

const GIB: u64 = 1 << 30;

fn sample(total: u64, available: u64) -> Sample {
    let mut sample = Sample::unknown("beefy-2", Timestamp::UNIX_EPOCH);
    (sample.boot_id, sample.uptime_s) = (Some("b".to_owned()), Some(1000.0));
    (sample.cores, sample.runs) = (Some(8), Some(Vec::new()));
    sample.mem = Some(Mem { total: Some(total), available: Some(available) });
    sample
}

/// A host with much memory and so many cores.
fn cores(cores: Option<u64>) -> Sample {
    let mut sample = sample(64 * GIB, 60 * GIB);
    sample.cores = cores;
    sample
}

fn reserved(class: Class, memory: u64, cpu: f64) -> Reserved {
    Reserved { class, memory, cpu }
}

fn dev(memory: u64) -> Reserved {
    reserved(Class::Dev, memory, 1.5)
}

/// The answer with the policy's defaults, of a sample that is fresh.
fn ask(sample: &Sample, live: &[Live], wanted: Reserved, limits: Limits) -> Result<(), NoRoom> {
    room(sample, Duration::ZERO, live, wanted, limits, &Policy::default())
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Dev), Just(Class::Review), Just(Class::Supervisor)]
}

fn a_reserved() -> impl Strategy<Value = Reserved> {
    (class(), 0..6 * GIB, 0_u32..30)
        .prop_map(|(class, memory, tenths)| reserved(class, memory, f64::from(tenths) / 10.0))
}

fn a_live() -> impl Strategy<Value = Live> {
    (a_reserved(), 0..6 * GIB).prop_map(|(reserved, rss)| Live { reserved, rss })
}

fn some_limits() -> impl Strategy<Value = Limits> {
    (proptest::option::of(0_u32..8), 0..4 * GIB, 0..2 * GIB).prop_map(|(slots, reserve, review)| Limits {
        slots,
        reserve,
        review,
    })
}

prop_compose! {
    /// A host, what lives there, what is wanted, what it allows.
    fn a_case()(
        total in GIB..64 * GIB, free in 0.0..1.0_f64, cores in 1_u64..16, live in vec(a_live(), 0..6),
        wanted in a_reserved(), limits in some_limits(),
    ) -> (Sample, Vec<Live>, Reserved, Limits) {
        let mut sample = sample(total, (total as f64 * free) as u64);
        sample.cores = Some(cores);
        (sample, live, wanted, limits)
    }
}

proptest! {
    #[test]
    fn there_is_room_exactly_where_the_design_says_so((sample, live, wanted, limits) in a_case()) {
        let mem = sample.mem.unwrap();
        let (available, total) = (mem.available.unwrap() as f64, mem.total.unwrap() as f64);
        let promised: f64 = live.iter().map(|one| (one.reserved.memory as f64 - one.rss as f64).max(0.0)).sum();
        let reviews = live.iter().filter(|one| one.reserved.class == Class::Review).count() as f64;
        let k = if wanted.class == Class::Dev { (1.0 - reviews).max(0.0) * limits.review as f64 } else { 0.0 };
        let left = available - promised - wanted.memory as f64 - k - (limits.reserve as f64).max(0.05 * total);
        // Half a byte is nobody's business.
        prop_assume!(left.abs() > 2.0);
        let cpu: f64 = live.iter().map(|one| one.reserved.cpu).sum();
        let cores = 2.0 * sample.cores.unwrap() as f64;
        let fits = left > 0.0
            && limits.slots.is_none_or(|slots| live.len() < slots as usize)
            && (live.is_empty() || cpu + wanted.cpu <= cores + 1e-6);
        prop_assert_eq!(ask(&sample, &live, wanted, limits).is_ok(), fits);
    }

    #[test]
    fn more_of_anything_that_is_taken_makes_no_room((sample, live, wanted, limits) in a_case(), more in a_live()) {
        if ask(&sample, &live, wanted, limits).is_ok() {
            return Ok(());
        }
        // But a review that runs needs none kept for it.
        let more = Live { reserved: Reserved { class: Class::Dev, ..more.reserved }, ..more };
        let grown: Vec<Live> = live.iter().copied().chain([more]).collect();
        let tighter = [
            ask(&sample, &grown, wanted, limits),
            ask(&sample, &live, Reserved { memory: wanted.memory + 1, ..wanted }, limits),
            ask(&sample, &live, wanted, Limits { reserve: limits.reserve + GIB, ..limits }),
            ask(&sample, &live, wanted, Limits { review: limits.review + GIB, ..limits }),
        ];
        prop_assert!(tighter.iter().all(Result::is_err), "{tighter:?}");
    }

    #[test]
    fn what_was_let_in_may_grow_to_all_that_it_was_promised(
        (sample, mut live, _, limits) in a_case(), queue in vec(a_reserved(), 1..12),
    ) {
        let mem = sample.mem.unwrap();
        let floor = limits.reserve.max(mem.total.unwrap() / 20);
        // Placed one after the other, each seen by the next.
        for wanted in queue {
            if ask(&sample, &live, wanted, limits).is_err() {
                continue;
            }
            live.push(Live::placed(wanted));
            let grown: u64 = live.iter().map(|one| one.reserved.memory.saturating_sub(one.rss)).sum();
            prop_assert!(mem.available.unwrap() >= grown + floor, "{} of {grown}", mem.available.unwrap());
            // Beside a dev agent there is memory for the review of what it makes.
            let reviews = live.iter().filter(|one| one.reserved.class == Class::Review).count();
            if wanted.class == Class::Dev && reviews == 0 {
                let review = reserved(Class::Review, limits.review, 0.0);
                let found = ask(&sample, &live, review, Limits { slots: None, ..limits });
                prop_assert!(!matches!(found, Err(NoRoom::Memory(_))), "{found:?}");
            }
        }
    }

    #[test]
    fn what_is_unknown_is_never_room((sample, live, wanted, limits) in a_case(), what in 0..6) {
        let mut sample = sample;
        let mem = sample.mem.unwrap();
        match what {
            0 => sample.mem = None,
            1 => sample.mem = Some(Mem { total: None, ..mem }),
            2 => sample.mem = Some(Mem { available: None, ..mem }),
            3 => sample.runs = None,
            4 => sample.missing = Some("connect timed out after 10 s".to_owned()),
            _ => sample.boot_id = None,
        }
        let found = ask(&sample, &live, wanted, limits);
        prop_assert!(matches!(found, Err(NoRoom::Unknown { .. } | NoRoom::Slots { .. })), "{found:?}");
        let (_, reservations) = read("", "repos: {}\n", "all: {hosts: {h: }}\n");
        prop_assert_eq!(running(&sample, &reservations).is_err(), !matches!(what, 1));
    }

    #[test]
    fn an_old_sample_is_no_sample(seconds in 91_u64..100_000) {
        let sample = sample(64 * GIB, 60 * GIB);
        let at = |seconds| {
            let age = Duration::from_secs(seconds);
            room(&sample, age, &[], dev(GIB), Limits::default(), &Policy::default())
        };
        prop_assert_eq!(at(90), Ok(()));
        let stale = matches!(at(seconds), Err(NoRoom::Stale { .. }));
        prop_assert!(stale);
    }
}

#[test]
fn numbers_that_no_machine_has_are_no_room_and_no_panic() {
    let live = [Live::placed(dev(u64::MAX)), Live::placed(dev(u64::MAX))];
    let limits = Limits { slots: None, reserve: u64::MAX, review: u64::MAX };
    let policy = Policy { review_slots: u32::MAX, ..Policy::default() };
    let found = room(&sample(u64::MAX, u64::MAX), Duration::ZERO, &live, dev(u64::MAX), limits, &policy);
    assert!(matches!(found, Err(NoRoom::Memory(_))), "{found:?}");
}

#[test]
fn each_refusal_says_what_is_missing_and_what_to_do() {
    let live = |count: usize| vec![Live { reserved: dev(2 * GIB), rss: GIB }; count];
    let limits = Limits { slots: Some(3), reserve: 0, review: GIB };
    let full = sample(8 * GIB, 5 * GIB + GIB / 10);
    let mut told = String::new();
    let policy = Policy::default();
    let mut no_memory = sample(1, 1);
    no_memory.mem = None;
    let gone = Sample::missing("beefy-3", Timestamp::UNIX_EPOCH, "connect timed out after 10 s");
    for refused in [
        ask(&full, &live(2), dev(3 * GIB), limits),
        ask(&full, &[], dev(3 * GIB + GIB / 2), Limits { reserve: GIB, ..limits }),
        ask(&full, &[], dev(7 * GIB), limits),
        ask(&full, &live(3), dev(GIB), limits),
        ask(&full, &[], dev(GIB), Limits { slots: Some(0), ..limits }),
        ask(&cores(Some(2)), &live(2), dev(GIB), limits),
        ask(&cores(None), &live(1), dev(GIB), limits),
        ask(&no_memory, &[], dev(GIB), limits),
        ask(&gone, &[], dev(GIB), limits),
        room(&full, Duration::from_millis(125_400), &[], dev(GIB), limits, &policy),
    ] {
        let refused = refused.unwrap_err();
        told.push_str(&format!("{refused}\n  help: {}\n", refused.help("dev")));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn one_run_alone_may_want_more_processors_than_there_are() {
    let small = cores(Some(1));
    let wanted = reserved(Class::Dev, GIB, 16.0);
    assert_eq!(ask(&small, &[], wanted, Limits::default()), Ok(()));
    let beside = [Live::placed(reserved(Class::Review, GIB, 0.1))];
    assert!(matches!(ask(&small, &beside, wanted, Limits::default()), Err(NoRoom::Cpu { .. })));
}

/// An inventory of these files.
fn read(factory: &str, repos: &str, hosts: &str) -> (Inventory, Reservations) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("hosts.yml", hosts);
    write("factory.yml", factory);
    write("repos.yml", repos);
    let mut problems = Diagnostics::default();
    let location = Location { dir: dir.path().into(), hosts_yml: dir.path().join("hosts.yml"), found: Found::Named };
    let inventory = Inventory::load(location, &mut problems);
    let told: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
    let inventory = inventory.unwrap_or_else(|| panic!("{told:?}"));
    let reservations = Reservations::new(&inventory.settings, &inventory.repos);
    (inventory, reservations)
}

const FACTORY: &str = "
agents:
  dev: {command: [dev], needs: {memory: 4GiB}}
  review: {command: [review]}
  old: {class: dev, start: cron, match: old.sh, needs: {memory: 2GiB, cpu: 1}}
";
const REPOS: &str = "
repos:
  harb: {slug: a/harb, hosts: big, agents: {dev: {needs: {memory: 6GiB}}, review: {needs: {memory: 2GiB}}}}
  yard: {slug: a/yard, hosts: small}
";
const HOSTS: &str = "all: {hosts: {big: {factory_slots: 3, factory_reserve: 2GiB}, small: }}\n";

#[test]
fn a_run_has_the_reservation_of_its_agent_at_its_repo() {
    let (inventory, reservations) = read(FACTORY, REPOS, HOSTS);
    let of = |repo, agent| reservations.of_run(repo, agent).memory / GIB;
    assert_eq!(of(Some("harb"), Some("dev")), 6);
    assert_eq!(of(Some("yard"), Some("dev")), 4);
    // What the inventory does not have any more, and what is not known at all.
    assert_eq!((of(Some("gone"), Some("dev")), of(Some("harb"), Some("gone")), of(None, None)), (4, 6, 6));
    let limits = |name: &str| {
        let host = inventory.hosts.get(name).unwrap();
        Limits::of(host, &reservations, |repo| inventory.admits(inventory.repos.get(repo).unwrap(), name))
    };
    assert_eq!(limits("big"), Limits { slots: Some(3), reserve: 2 * GIB, review: 2 * GIB });
    assert_eq!(limits("small"), Limits { slots: None, reserve: 0, review: GIB });
    // Where no review can run, nothing is kept for one.
    let (_, none) = read("agents: {dev: {command: [dev]}}\n", REPOS, HOSTS);
    assert_eq!(none.review(|_| true), 0);
}

#[test]
fn all_that_lives_is_counted_and_what_is_over_is_not() {
    let (_, reservations) = read(FACTORY, REPOS, HOSTS);
    let run = |state: &str, rss| Run {
        state: state.to_owned(),
        repo: Some("harb".to_owned()),
        agent: Some("dev".to_owned()),
        rss,
        ..Run::default()
    };
    let old = Matched {
        agent: "old".to_owned(),
        pid: 7,
        start: 7,
        started: None,
        sid: 7,
        uid: 0,
        procs: 1,
        rss: GIB,
        cpu_ms: 0,
        command: "sh old.sh".to_owned(),
    };
    let mut seen = sample(64 * GIB, 60 * GIB);
    seen.runs = Some(vec![
        run("RUNNING", Some(5 * GIB)),
        run("UNKNOWN", None),
        run("CREATED", None),
        run("CRASHED LEFTOVER", Some(GIB)),
        run("DONE 0", None),
        run("CANCELLED", None),
        run("REBOOTED", None),
    ]);
    // Three match, and one of them was told.
    seen.running = Some([("old".to_owned(), 3)].into());
    seen.matched = Some(vec![old]);
    let live = running(&seen, &reservations).unwrap();
    let promised: Vec<u64> = live.iter().map(|one| one.promised() / GIB).collect();
    assert_eq!(promised, [1, 6, 6, 5, 1, 2, 2]);
    seen.running = None;
    let told = running(&seen, &reservations).unwrap_err().to_string();
    assert!(told.contains("how many processes match agent `old`"), "{told}");
}

#[test]
fn an_agent_that_fits_nowhere_is_told_with_the_numbers() {
    let factory = FACTORY.replace("4GiB", "14GiB");
    let (inventory, _) = read(&factory, REPOS, HOSTS);
    let totals = |of: &[(&str, u64)]| of.iter().map(|(name, gib)| ((*name).to_owned(), gib * GIB)).collect();
    let told = |of: &[(&str, u64)]| -> Vec<String> {
        unfit(&inventory, &totals(of)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&[("big", 64), ("small", 64)]), Vec::<String>::new());
    insta::assert_snapshot!(told(&[("big", 8), ("small", 15)]).join("\n"), @r"
    agent `dev` of repo `harb` fits on none of its hosts, even if nothing else ran there; on big: 8GiB in all, 6GiB needed, 2GiB kept for reviews, 2GiB kept free: 2GiB short
    agent `dev` of repo `yard` fits on none of its hosts, even if nothing else ran there; on small: 15GiB in all, 14GiB needed, 1GiB kept for reviews, 768MiB kept free: 768MiB short
    ");
    // Of a host that did not say what it has, nothing is known.
    assert_eq!(told(&[("big", 64)]), Vec::<String>::new());
    // Enough for it, and not for the review and what stays free.
    assert_eq!(told(&[("big", 10), ("small", 15)]).len(), 1);
}
