//! The table row by row, then what must hold for all samples.

use proptest::prelude::*;

use super::*;
use crate::remote::sample::{CpuTicks, Psi, Run, Swap, Vm};

const GIB: u64 = 1 << 30;
const BOOT: &str = "150b159b-e3ec-42fc-8efe-31f0e02cbac2";

/// A host that is well: 64 GiB, so that the amounts in bytes decide, at this uptime.
fn well(uptime: u64) -> Sample {
    let mut sample = Sample::unknown("box", "2026-03-12T13:18:47Z".parse().unwrap());
    sample.boot_id = Some(BOOT.into());
    sample.uptime_s = Some(uptime as f64);
    sample.cores = Some(4);
    sample.load = Some([0.5, 0.5, 0.5]);
    sample.mem = Some(Mem { total: Some(64 * GIB), available: Some(60 * GIB) });
    sample.swap = Some(Swap { total: Some(1000), free: Some(1000) });
    sample.psi = Some(Psi {
        cpu_some_avg60: Some(0.0),
        memory_some_avg10: Some(0.0),
        memory_full_avg10: Some(0.0),
        io_full_avg60: Some(0.0),
    });
    sample.vm = Some(Vm { oom_kill: Some(0), pswpin: Some(0), pgmajfault: Some(0) });
    sample.cpu_ticks = Some(CpuTicks { total: Some(uptime * 1000), steal: Some(0) });
    sample.disks = Some(vec![disk("/", 1000 * GIB, 1000)]);
    sample.pids = Some(crate::remote::sample::Pids { max: Some(1000), used: Some(100) });
    sample.runs = Some(vec![]);
    sample
}

/// A disk of 1000 GiB and 1000 inodes.
fn disk(path: &str, free: u64, inodes_free: u64) -> Disk {
    Disk {
        path: path.into(),
        total: Some(1000 * GIB),
        free: Some(free),
        inodes_total: Some(1000),
        inodes_free: Some(inodes_free),
    }
}

/// The levels of one signal while a value goes through these numbers, 60 s apart.
fn walk<T: Copy>(signal: Signal, values: &[T], set: impl Fn(&mut Sample, T)) -> Vec<u8> {
    let mut latches = Latches::default();
    let policy = Policy::default();
    let step = |(i, value): (usize, &T)| {
        let mut sample = well(60 * (i as u64 + 1));
        set(&mut sample, *value);
        let severities = update(&mut latches, &policy, &sample);
        severities.level(signal).unwrap_or_default().number()
    };
    values.iter().enumerate().map(step).collect()
}

/// Walks down over each `enter` and up over each `leave`, just on it and just past it.
fn steps_down(signal: Signal, enter: [u64; 3], leave: [u64; 3], set: impl Fn(&mut Sample, u64)) {
    let [soft, hard, crit] = enter;
    let down = [soft, soft - 1, hard, hard - 1, crit, crit - 1];
    assert_eq!(walk(signal, &down, &set), [0, 1, 1, 2, 2, 3], "{signal:?} on its way down");
    let [soft, hard, crit] = leave;
    let up = [0, crit, crit + 1, hard, hard + 1, soft, soft + 1];
    assert_eq!(walk(signal, &up, &set), [3, 3, 2, 2, 1, 1, 0], "{signal:?} on its way up");
}

/// The same for a signal of which more is worse, in hundredths.
fn steps_up(signal: Signal, enter: &[u64], leave: &[u64], set: impl Fn(&mut Sample, f64)) {
    let set = |sample: &mut Sample, hundredths: u64| set(sample, hundredths as f64 / 100.0);
    let worse: Vec<u64> = enter.iter().flat_map(|bound| [bound * 100, bound * 100 + 1]).collect();
    let levels: Vec<u8> = (0..enter.len() as u8).flat_map(|level| [level, level + 1]).collect();
    assert_eq!(walk(signal, &worse, set), levels, "{signal:?} on its way up");
    let mut better = vec![100_000];
    better.extend(leave.iter().rev().flat_map(|bound| [bound * 100, bound * 100 - 1]));
    let mut levels = vec![enter.len() as u8];
    levels.extend((0..enter.len() as u8).rev().flat_map(|level| [level + 1, level]));
    assert_eq!(walk(signal, &better, set), levels, "{signal:?} on its way down");
}

#[test]
fn memory_of_a_large_host_goes_by_bytes() {
    let set = |sample: &mut Sample, free| sample.mem = Some(Mem { total: Some(64 * GIB), available: Some(free) });
    steps_down(Signal::Mem, [4 * GIB, 2 * GIB, GIB], [6 * GIB, 4 * GIB, 2 * GIB], set);
}

#[test]
fn memory_of_a_small_host_goes_by_percent() {
    let set = |sample: &mut Sample, free| sample.mem = Some(Mem { total: Some(10_000), available: Some(free) });
    steps_down(Signal::Mem, [1500, 800, 400], [2500, 1500, 800], set);
}

#[test]
fn waiting_for_memory() {
    steps_up(Signal::PsiMem, &[5, 20, 40], &[1, 5, 20], |sample, value| {
        sample.psi.as_mut().unwrap().memory_full_avg10 = Some(value);
    });
}

#[test]
fn swap_is_looked_at_while_memory_is_short() {
    let set = |available| {
        move |sample: &mut Sample, free| {
            sample.mem.as_mut().unwrap().available = Some(available);
            sample.swap = Some(Swap { total: Some(1000), free: Some(free) });
        }
    };
    steps_down(Signal::Swap, [250, 100, 50], [400, 250, 100], set(3 * GIB));
    assert_eq!(walk(Signal::Swap, &[0, 0], set(60 * GIB)), [0, 0]);
    // Memory that recovers takes the latch with it, though swap stays between enter and leave.
    let both = |sample: &mut Sample, (free, available)| set(available)(sample, free);
    assert_eq!(
        walk(Signal::Swap, &[(200, 3 * GIB), (300, 3 * GIB), (300, 7 * GIB), (300, 3 * GIB)], both),
        [1, 1, 0, 0]
    );
    // Memory that turns soft in this very sample counts.
    assert_eq!(walk(Signal::Swap, &[(0, 5 * GIB), (0, 4 * GIB - 1)], both), [0, 3]);
    assert_eq!(
        walk(Signal::Swap, &[0], |sample, _| {
            sample.mem.as_mut().unwrap().available = Some(0);
            sample.swap = Some(Swap { total: Some(0), free: Some(0) });
        }),
        [0],
        "a host without swap"
    );
}

#[test]
fn disks_go_by_percent_and_bytes() {
    // A large disk: below 15 % is not enough, it must be below 10 GiB too; above 15 GiB is enough to leave.
    let large = |sample: &mut Sample, free| sample.disks = Some(vec![disk("/", free, 1000)]);
    steps_down(Signal::Disk, [10 * GIB, 5 * GIB, 2 * GIB], [15 * GIB, 10 * GIB, 5 * GIB], large);
    assert_eq!(walk(Signal::Disk, &[140 * GIB], large), [0]);
    // A small one: far below 10 GiB always, so percent decide.
    let small = |sample: &mut Sample, free| {
        sample.disks = Some(vec![Disk { total: Some(1000), free: Some(free), ..disk("/", 0, 1000) }]);
    };
    steps_down(Signal::Disk, [150, 100, 50], [200, 150, 100], small);
}

#[test]
fn inodes_and_process_ids() {
    let inodes = |sample: &mut Sample, free| sample.disks = Some(vec![disk("/", 1000 * GIB, free)]);
    steps_down(Signal::Inodes, [150, 100, 50], [200, 150, 100], inodes);
    let unlimited = |sample: &mut Sample, free| {
        inodes(sample, free);
        sample.disks.as_mut().unwrap()[0].inodes_total = Some(0);
    };
    assert_eq!(walk(Signal::Inodes, &[0, 0], unlimited), [0, 0]);
    let pids = |sample: &mut Sample, free| sample.pids.as_mut().unwrap().used = Some(1000 - free);
    steps_down(Signal::Pids, [150, 50, 20], [250, 150, 50], pids);
}

#[test]
fn processor_pressure_needs_load_too() {
    let set = |sample: &mut Sample, (waiting, load): (f64, f64)| {
        sample.psi.as_mut().unwrap().cpu_some_avg60 = Some(waiting);
        sample.load = Some([load, 0.0, 0.0]);
    };
    let walk = |values: &[(f64, f64)]| walk(Signal::PsiCpu, values, set);
    assert_eq!(walk(&[(90.0, 9.0), (90.01, 8.0), (90.01, 8.01)]), [0, 0, 1]);
    assert_eq!(walk(&[(99.0, 9.0), (70.0, 6.0), (69.99, 9.0)]), [1, 1, 0]);
    assert_eq!(walk(&[(99.0, 9.0), (70.0, 6.0), (99.0, 5.99)]), [1, 1, 0]);
}

#[test]
fn waiting_for_disks_and_stolen_time() {
    let io = |sample: &mut Sample, value| sample.psi.as_mut().unwrap().io_full_avg60 = Some(value);
    steps_up(Signal::PsiIo, &[30, 60], &[10, 30], io);
    // Of 60,000 ticks between two samples, so many stolen.
    let mut latches = Latches::default();
    let mut stolen = 0;
    let mut levels = Vec::new();
    for (i, ticks) in [0, 12_000, 12_001, 24_000, 24_001, 12_000, 11_999, 6_000, 5_999].into_iter().enumerate() {
        stolen += ticks;
        let mut sample = well(60 * (i as u64 + 1));
        sample.cpu_ticks.as_mut().unwrap().steal = Some(stolen);
        levels.push(update(&mut latches, &Policy::default(), &sample).level(Signal::Steal).unwrap().number());
    }
    assert_eq!(levels, [0, 0, 1, 1, 2, 2, 1, 1, 0]);
}

#[test]
fn load_counts_only_on_a_host_without_psi() {
    let load = |sample: &mut Sample, per_core: f64| {
        sample.psi = None;
        sample.load = Some([per_core * 4.0, 0.0, 0.0]);
    };
    steps_up(Signal::Load, &[2, 4], &[1, 2], load);
    let with_psi = |sample: &mut Sample, per_core: f64| sample.load = Some([per_core * 4.0, 0.0, 0.0]);
    assert_eq!(walk(Signal::Load, &[9.0], with_psi), [0]);
    // A host that has PSI and does not tell it once is not one without.
    let once = |sample: &mut Sample, psi: bool| {
        sample.load = Some([99.0, 0.0, 0.0]);
        sample.psi = sample.psi.filter(|_| psi);
    };
    assert_eq!(walk(Signal::Load, &[true, false], once), [0, 0]);
}

/// Kills in our own runs, by token, as far as they are told.
type Own = &'static [(&'static str, Option<u64>)];

#[test]
fn a_kill_for_memory_counts_for_one_sample_and_only_if_it_is_not_our_own() {
    let kills = |sample: &mut Sample, kills| sample.vm.as_mut().unwrap().oom_kill = Some(kills);
    assert_eq!(walk(Signal::Oom, &[5, 5, 6, 6], kills), [0, 0, 1, 0], "what was before the first sample is not new");
    let short = |sample: &mut Sample, n| {
        kills(sample, n);
        sample.mem.as_mut().unwrap().available = Some(3 * GIB);
    };
    assert_eq!(walk(Signal::Oom, &[0, 1, 1], short), [0, 3, 0]);
    let waiting = |sample: &mut Sample, n| {
        kills(sample, n);
        sample.psi.as_mut().unwrap().memory_full_avg10 = Some(6.0);
    };
    assert_eq!(walk(Signal::Oom, &[0, 1], waiting), [0, 3]);
    let own = |sample: &mut Sample, (all, ours)| {
        kills(sample, all);
        let state = "RUNNING".to_owned();
        let run = Run { token: "t".into(), state, oom_kills: Some(ours), ..Run::default() };
        sample.runs = Some(vec![run]);
    };
    assert_eq!(walk(Signal::Oom, &[(0, 0), (2, 2), (4, 3)], own), [0, 0, 1]);
    // A run whose count is not told once goes on from the count before, and all of one that began since is new: of four
    // kills three were inside.
    let told = |sample: &mut Sample, (all, ours): (u64, Own)| {
        kills(sample, all);
        let run = |(token, kills): &(&str, Option<u64>)| Run {
            token: (*token).into(),
            state: "RUNNING".to_owned(),
            oom_kills: *kills,
            ..Run::default()
        };
        sample.runs = Some(ours.iter().map(run).collect());
    };
    let course: [(u64, Own); 4] = [
        (5, &[("a", Some(4))]),
        (5, &[("a", None)]),
        (9, &[("a", Some(5)), ("b", Some(2))]),
        (9, &[("a", Some(5)), ("b", Some(2))]),
    ];
    assert_eq!(walk(Signal::Oom, &course, told), [0, 0, 1, 0]);
    // A missing count is made up for by the next one.
    let missing = |sample: &mut Sample, n: Option<u64>| sample.vm.as_mut().unwrap().oom_kill = n;
    assert_eq!(walk(Signal::Oom, &[Some(0), None, Some(1)], missing), [0, 0, 1]);
}

#[test]
fn a_full_disk_holds_and_stops_agents_only_while_it_fills() {
    let mut latches = Latches::default();
    let policy = Policy::default();
    let mut at = |i: u64, free: u64| {
        let mut sample = well(60 * i);
        sample.disks = Some(vec![disk("/", free, 1000)]);
        let severities = update(&mut latches, &policy, &sample);
        (severities.dsk.number(), severities.inc.number())
    };
    assert_eq!(at(1, GIB), (3, 1), "nothing to compare with yet");
    assert_eq!(at(2, GIB), (3, 1));
    assert_eq!(at(3, GIB - 1), (3, 3));
    assert_eq!(at(4, GIB), (3, 1));
    assert_eq!(at(5, 6 * GIB), (2, 1));
    assert_eq!(at(6, 5 * GIB), (2, 1), "it fills, but is not crit");
}

#[test]
fn after_a_reboot_no_difference_means_anything() {
    let mut latches = Latches::default();
    let policy = Policy::default();
    let mut first = well(5000);
    first.disks = Some(vec![disk("/", GIB, 1000)]);
    first.vm.as_mut().unwrap().oom_kill = Some(1);
    update(&mut latches, &policy, &first);
    for (boot, uptime) in [("00000000-0000-4000-8000-000000000000", 6000), (BOOT, 10)] {
        let mut latches = latches.clone();
        let mut sample = well(uptime);
        sample.boot_id = Some(boot.into());
        sample.vm.as_mut().unwrap().oom_kill = Some(9);
        sample.cpu_ticks = Some(CpuTicks { total: Some(9_000_000), steal: Some(4_000_000) });
        sample.disks = Some(vec![disk("/", GIB - 1, 1000)]);
        let severities = update(&mut latches, &policy, &sample);
        assert_eq!(severities.level(Signal::Oom), Some(Level::Ok));
        assert_eq!(severities.level(Signal::Steal), Some(Level::Ok));
        assert_eq!((severities.dsk, severities.inc), (Level::Crit, Level::Soft));
    }
}

#[test]
fn a_signal_that_is_missing_keeps_its_latch_and_is_soft_after_ten_minutes() {
    let psi = |sample: &mut Sample, full: Option<f64>| {
        sample.psi = full.map(|full| Psi { memory_full_avg10: Some(full), ..sample.psi.unwrap() });
    };
    let minutes = |first: f64, n: usize| [vec![Some(first)], vec![None; n]].concat();
    assert_eq!(walk(Signal::PsiMem, &minutes(41.0, 12), psi), [3; 13]);
    // Unknown from the second minute: ten minutes later is the twelfth.
    let levels = walk(Signal::PsiMem, &minutes(0.0, 12), psi);
    assert_eq!(levels, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert_eq!(walk(Signal::PsiMem, &[minutes(0.0, 12), vec![Some(0.0), None]].concat(), psi)[12..], [1, 0, 0]);
    assert_eq!(walk(Signal::PsiMem, &[None; 13], psi), [0; 13], "never shown is not missing");
}

#[test]
fn a_watched_path_is_expected_from_the_start_and_goes_with_its_latch() {
    let mut latches = Latches::default();
    let policy = Policy::default();
    let at = |latches: &mut Latches, i: u64, disks: Option<Vec<Disk>>| {
        let mut sample = well(60 * i);
        sample.disks = disks;
        update(latches, &policy, &sample)
    };
    let dead = Disk { path: "/dead".into(), ..Disk::default() };
    let both = vec![disk("/", GIB, 1000), dead];
    for i in 1..=10 {
        assert_eq!(
            at(&mut latches, i, Some(both.clone()))
                .signals
                .iter()
                .filter(|s| s.subject.as_deref() == Some("/dead"))
                .map(|s| s.level)
                .max(),
            Some(Level::Ok)
        );
    }
    let severities = at(&mut latches, 11, Some(both));
    let dead = severities.signals.iter().find(|s| s.subject.as_deref() == Some("/dead")).unwrap();
    assert_eq!((dead.level, dead.text.as_str()), (Level::Soft, "disk /dead unknown for 10m"));
    // All of them missing: nothing is forgotten.
    assert_eq!(at(&mut latches, 12, None).dsk, Level::Crit);
    let severities = at(&mut latches, 13, Some(vec![disk("/new", 1000 * GIB, 1000)]));
    assert_eq!(severities.dsk, Level::Ok);
    assert!(latches.get(Signal::Disk, Some("/")).is_none());
}

#[test]
fn a_sample_that_is_not_whole_moves_nothing() {
    let policy = Policy::default();
    let mut latches = Latches::default();
    let mut bad = well(60);
    bad.mem.as_mut().unwrap().available = Some(3 * GIB);
    update(&mut latches, &policy, &bad);
    let before = latches.clone();
    let gone = Sample::missing("box", bad.at, "connect timed out after 10 s");
    let severities = update(&mut latches, &policy, &gone);
    assert!(!severities.whole);
    assert_eq!((severities.level(Signal::Mem), severities.inc), (Some(Level::Soft), Level::Soft));
    assert_eq!(verdict(&severities), "unknown: connect timed out after 10 s");
    for lose in [
        (|sample: &mut Sample| sample.mem = None) as fn(&mut Sample),
        |sample| sample.boot_id = None,
        |sample| sample.uptime_s = None,
        |sample| sample.runs = None,
    ] {
        let mut sample = well(120);
        lose(&mut sample);
        let severities = update(&mut latches, &policy, &sample);
        assert!(!severities.whole && verdict(&severities).starts_with("unknown: no "), "{}", verdict(&severities));
    }
    assert_eq!(latches, before);
}

#[test]
fn the_verdict_is_what_a_tired_person_wants_to_know() {
    let policy = Policy::default();
    let mut latches = Latches::default();
    let mut sample = well(60);
    let mut told = Vec::new();
    told.push(verdict(&update(&mut latches, &policy, &sample)));
    sample.mem.as_mut().unwrap().available = Some(11 * GIB / 10);
    sample.disks = Some(vec![disk("/", 9 * GIB, 30), disk("/srv/my data", 1000 * GIB, 1000)]);
    sample.psi.as_mut().unwrap().cpu_some_avg60 = Some(95.0);
    sample.psi.as_mut().unwrap().memory_full_avg10 = Some(6.5);
    sample.load = Some([12.0, 9.0, 9.0]);
    sample.vm.as_mut().unwrap().oom_kill = Some(1);
    sample.swap.as_mut().unwrap().free = Some(123);
    sample.uptime_s = Some(120.0);
    sample.cpu_ticks = Some(CpuTicks { total: Some(120_000), steal: Some(15_123) });
    told.push(verdict(&update(&mut latches, &policy, &sample)));
    sample.mem.as_mut().unwrap().available = Some(3 * GIB);
    sample.psi.as_mut().unwrap().cpu_some_avg60 = Some(80.0);
    sample.uptime_s = Some(180.0);
    told.push(verdict(&update(&mut latches, &policy, &sample)));
    insta::assert_snapshot!(told.join("\n"));
}

/// A sample of any state.
fn any_sample() -> impl Strategy<Value = Sample> {
    let part = || proptest::option::weighted(0.9, 0u64..=1000);
    let share = || proptest::option::weighted(0.9, 0u32..=1000);
    (
        (0u64..=1000, part(), part(), part(), part()),
        (share(), share(), share(), share(), 0u64..4),
        proptest::bool::weighted(0.9),
    )
        .prop_map(|((mem, swap, free, inodes, pids), (cpu, full, io, load, kills), psi)| {
            let mut sample = well(1);
            sample.mem = Some(Mem { total: Some(10 * GIB), available: Some(mem * GIB / 100) });
            sample.mem = sample.mem.map(|m| Mem { available: m.available.map(|a| a.min(10 * GIB)), ..m });
            sample.swap = swap.map(|free| Swap { total: Some(1000), free: Some(free) });
            sample.disks = Some(vec![Disk {
                path: "/".into(),
                total: Some(1000),
                free,
                inodes_total: Some(1000),
                inodes_free: inodes,
            }]);
            sample.pids = pids.map(|free| crate::remote::sample::Pids { max: Some(1000), used: Some(1000 - free) });
            let percent = |value: Option<u32>| value.map(|value| f64::from(value) / 10.0);
            sample.psi = psi.then(|| Psi {
                cpu_some_avg60: percent(cpu),
                memory_some_avg10: None,
                memory_full_avg10: percent(full),
                io_full_avg60: percent(io),
            });
            sample.load = load.map(|load| [f64::from(load) / 40.0, 0.0, 0.0]);
            sample.vm = Some(Vm { oom_kill: Some(kills), ..Vm::default() });
            sample
        })
}

/// A history: each sample with the seconds since the one before, the kills made cumulative.
fn any_history() -> impl Strategy<Value = Vec<Sample>> {
    proptest::collection::vec((any_sample(), 1u64..400), 1..12).prop_map(|steps| {
        let (mut uptime, mut kills) = (0, 0);
        let step = |(mut sample, seconds): (Sample, u64)| {
            uptime += seconds;
            let vm = sample.vm.as_mut().unwrap();
            kills += vm.oom_kill.unwrap();
            vm.oom_kill = Some(kills);
            sample.uptime_s = Some(uptime as f64);
            sample.cpu_ticks = Some(CpuTicks { total: Some(uptime * 1000), steal: Some(kills * 7000) });
            sample
        };
        steps.into_iter().map(step).collect()
    })
}

/// The same sample with everything that is known a little or much worse.
fn worsen(sample: &Sample, by: u64) -> Sample {
    let mut worse = sample.clone();
    let less = |value: &mut Option<u64>| *value = value.map(|value| value.saturating_sub(by));
    if let Some(mem) = worse.mem.as_mut() {
        mem.available = mem.available.map(|free| free.saturating_sub(by * GIB / 100));
    }
    if let Some(swap) = worse.swap.as_mut() {
        less(&mut swap.free);
    }
    for disk in worse.disks.iter_mut().flatten() {
        less(&mut disk.free);
        less(&mut disk.inodes_free);
    }
    if let Some(pids) = worse.pids.as_mut() {
        pids.used = pids.used.map(|used| (used + by).min(1000));
    }
    if let Some(psi) = worse.psi.as_mut() {
        for value in [&mut psi.cpu_some_avg60, &mut psi.memory_full_avg10, &mut psi.io_full_avg60] {
            *value = value.map(|value| (value + by as f64 / 10.0).min(100.0));
        }
    }
    worse.load = worse.load.map(|[one, five, fifteen]| [one + by as f64 / 10.0, five, fifteen]);
    let vm = worse.vm.as_mut().unwrap();
    vm.oom_kill = vm.oom_kill.map(|kills| kills + by.min(1));
    let ticks = worse.cpu_ticks.as_mut().unwrap();
    ticks.steal = ticks.steal.map(|steal| steal + by);
    worse
}

proptest! {
    #[test]
    fn a_worse_sample_never_lowers_a_severity(mut history in any_history(), by in 0u64..1000) {
        let policy = Policy::default();
        let last = history.pop().unwrap();
        let mut latches = Latches::default();
        for sample in &history {
            update(&mut latches, &policy, sample);
        }
        let as_it_is = update(&mut latches.clone(), &policy, &last);
        let worse = update(&mut latches, &policy, &worsen(&last, by));
        for severity in &as_it_is.signals {
            let other = worse.signals.iter().find(|other| (other.signal, &other.subject) == (severity.signal, &severity.subject));
            prop_assert!(other.map(|other| other.level) >= Some(severity.level), "{severity:?} {other:?}");
        }
        prop_assert!(worse.inc >= as_it_is.inc && worse.dsk >= as_it_is.dsk && worse.cmp >= as_it_is.cmp);
    }

    #[test]
    fn saved_state_goes_on_as_if_it_had_never_been_saved(history in any_history()) {
        let policy = Policy::default();
        let (mut kept, mut saved) = (Latches::default(), Latches::default());
        for sample in &history {
            let json = serde_json::to_string(&saved).unwrap();
            saved = serde_json::from_str(&json).unwrap();
            let one = update(&mut kept, &policy, sample);
            let two = update(&mut saved, &policy, sample);
            prop_assert_eq!(&one, &two);
            let json = serde_json::to_string(&one).unwrap();
            let back: Severities = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.signals.len(), one.signals.len());
        }
        prop_assert_eq!(kept, saved);
    }

    /// Each interval: kills of others, then by run whether the sample knows it and what was killed inside its limit.
    #[test]
    fn exactly_what_was_killed_outside_our_own_runs_counts(
        intervals in proptest::collection::vec((0u64..2, [proptest::option::of(0u64..3), proptest::option::of(0u64..3)]), 1..100),
    ) {
        let policy = Policy::default();
        let mut latches = Latches::default();
        let (mut all, mut own) = (7, [3, 0]);
        for (i, (others, inside)) in intervals.into_iter().enumerate() {
            // A run of which nothing is told ended in quiet, and another of that token never comes.
            let mut runs = Vec::new();
            for (slot, kills) in inside.into_iter().enumerate() {
                let Some(kills) = kills else { continue };
                own[slot] += kills;
                all += kills;
                let state = "RUNNING".to_owned();
                runs.push(Run { token: slot.to_string(), state, oom_kills: Some(own[slot]), ..Run::default() });
            }
            all += others;
            let mut sample = well(60 * (i as u64 + 1));
            sample.vm.as_mut().unwrap().oom_kill = Some(all);
            let known = runs.iter().map(|run| run.token.clone()).collect::<Vec<_>>();
            sample.runs = Some(runs);
            let level = update(&mut latches, &policy, &sample).level(Signal::Oom);
            prop_assert_eq!(level, Some(if others > 0 && i > 0 { Level::Soft } else { Level::Ok }), "{:?}", known);
            // Runs that are gone take their count with them.
            for (slot, kills) in own.iter_mut().enumerate() {
                if !known.contains(&slot.to_string()) {
                    *kills = 0;
                }
            }
        }
    }

    #[test]
    fn the_same_sample_again_changes_no_latch(history in any_history()) {
        let policy = Policy::default();
        let mut latches = Latches::default();
        for sample in &history {
            update(&mut latches, &policy, sample);
            let before = latches.clone();
            let again = update(&mut latches, &policy, sample);
            prop_assert_eq!(again.level(Signal::Oom).unwrap_or_default(), Level::Ok);
            prop_assert_eq!(&latches, &before);
        }
    }

    #[test]
    fn a_missing_sample_changes_nothing(history in any_history()) {
        let policy = Policy::default();
        let mut latches = Latches::default();
        for sample in &history {
            update(&mut latches, &policy, sample);
            let before = latches.clone();
            update(&mut latches, &policy, &Sample::missing("box", sample.at, "gone"));
            prop_assert_eq!(&latches, &before);
        }
    }
}
