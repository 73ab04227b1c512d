//! From sample to ladder, as a tick does it: a restart at any step changes nothing, and the cases that went wrong elsewhere.

use std::sync::Arc;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::error::{Diagnostics, SourceFile};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::journal::HostRecord;
use crate::policy::severity::Severities;
use crate::remote::sample::{CpuTicks, Disk, Matched, Mem, Pids, Psi, Run, Swap, Vm};
use crate::tick::decide::{self, decide};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const KILL_AFTER: Duration = Duration::from_secs(30);

/// A host of 16 GiB and two cores that is well, 1000 s after its boot.
fn well() -> Sample {
    let mut sample = Sample::unknown("box", "2026-03-12T13:18:47Z".parse().unwrap());
    (sample.boot_id, sample.uptime_s, sample.cores) = (Some("b0".into()), Some(1000.0), Some(2));
    sample.load = Some([0.5, 0.5, 0.5]);
    sample.mem = Some(Mem { total: Some(16 * GIB), available: Some(12 * GIB) });
    sample.swap = Some(Swap { total: Some(GIB), free: Some(GIB) });
    sample.psi = Some(psi(0.0, 0.0, 0.0));
    sample.vm = Some(Vm { oom_kill: Some(0), pswpin: Some(0), pgmajfault: Some(0) });
    sample.cpu_ticks = Some(CpuTicks { total: Some(0), steal: Some(0) });
    sample.disks = Some(vec![disk("/", 50 * GIB)]);
    sample.pids = Some(Pids { max: Some(1000), used: Some(100) });
    sample.runs = Some(vec![]);
    sample
}

fn psi(cpu: f64, memory: f64, io: f64) -> Psi {
    Psi {
        cpu_some_avg60: Some(cpu),
        memory_some_avg10: Some(memory),
        memory_full_avg10: Some(memory),
        io_full_avg60: Some(io),
    }
}

/// A disk of 80 GiB.
fn disk(path: &str, free: u64) -> Disk {
    let inodes = Some(1000);
    Disk { path: path.into(), total: Some(80 * GIB), free: Some(free), inodes_total: inodes, inodes_free: inodes }
}

fn run(agent: &str, token: String) -> Run {
    let (agent, state) = (Some(agent.into()), "RUNNING".into());
    Run { token, agent, state, critical: Some(false), oom_kills: Some(0), ..Run::default() }
}

/// A host as the ticks of one controller after another look at it: each one begins with what the ledger and the journal
/// kept, as JSON.
struct Host {
    ladder: Ladder,
    sample: Sample,
    at: f64,
    ledger: Option<String>,
    journal: Option<HostRecord>,
    /// What was said last.
    severities: Severities,
    changes: Vec<String>,
    stopped: Vec<Class>,
}

impl Host {
    /// One that has been looked at for long, with so many dev and review agents.
    fn new(dev: usize, review: usize) -> Host {
        Host::with("{}\n", dev, review)
    }

    /// The same with this factory.yml.
    fn with(settings: &str, dev: usize, review: usize) -> Host {
        let source = Arc::new(SourceFile { path: "factory.yml".into(), text: settings.to_owned() });
        let settings = Settings::parse(source, &mut Diagnostics::default()).0.unwrap();
        let mut sample = well();
        let runs = |agent: &'static str, n| (0..n).map(move |index| run(agent, format!("{agent}-{index}")));
        sample.runs = Some(runs("dev", dev).chain(runs("review", review)).collect());
        let mut host = Host {
            ladder: Ladder::new(&Policy::default(), Roster::of(&settings, &Repos::default()), KILL_AFTER),
            sample,
            at: 0.0,
            ledger: Some(serde_json::to_string(&Standing::default()).unwrap()),
            journal: None,
            severities: Severities::default(),
            changes: Vec::new(),
            stopped: Vec::new(),
        };
        host.look();
        host
    }

    fn pass(&mut self, seconds: f64) {
        self.at += seconds;
        self.sample.at += SignedDuration::from_secs_f64(seconds);
        let uptime = self.sample.uptime_s.unwrap() + seconds;
        self.sample.uptime_s = Some(uptime);
        if let Some(ticks) = &mut self.sample.cpu_ticks {
            ticks.total = Some((uptime * 200.0) as u64);
        }
    }

    /// A tick, if not of this sample then of one that does not come. The agent that must stop is told, and does not
    /// mind.
    fn tick(&mut self, sample: Sample) -> (Standing, Step) {
        let known: Option<Standing> = self.ledger.as_deref().map(|json| serde_json::from_str(json).unwrap());
        let latches = self.ladder.latches(known.as_ref(), decide::latches(self.journal.as_ref()));
        let decided = decide(self.journal.as_ref(), latches, &Policy::default(), sample);
        let step = match decide::why_not(&decided.record.sample) {
            None => self.ladder.look(known.as_ref(), &decided, &BTreeMap::new(), self.at, true),
            Some(_) => self.ladder.miss(known.as_ref(), &decided, self.at),
        };
        let mut standing = step.standing.clone();
        if let Some(one) = step.stop.and_then(|stop| self.ladder.next(&decided.record.sample, stop, &standing)) {
            standing.told(one);
        }
        self.severities = decided.record.severities.clone().unwrap_or_default();
        self.ledger = Some(serde_json::to_string(&standing).unwrap());
        self.journal = Some(decided.record);
        (standing, step)
    }

    /// A tick of a host whose agents obey.
    fn look(&mut self) -> Step {
        let (standing, step) = self.tick(self.sample.clone());
        self.changes.extend(step.events.iter().filter(|event| event.what == "ladder").map(|event| {
            let message = event.message.as_str();
            message.split([':', ',']).next().unwrap_or(message).to_owned()
        }));
        self.stopped.extend(step.stop.map(class_of));
        self.sample.runs.iter_mut().flatten().filter(|run| standing.told.contains_key(&run.token)).for_each(|run| {
            if !run.token.starts_with("stuck") {
                run.state = "CANCELLED".into();
            }
        });
        step
    }

    /// The same for so long, a tick each `every` seconds.
    fn hold(&mut self, seconds: f64, every: f64) {
        for _ in 0..(seconds / every).round() as usize {
            self.pass(every);
            self.look();
        }
    }

    fn free(&mut self, bytes: u64) {
        self.sample.mem = Some(Mem { total: Some(16 * GIB), available: Some(bytes) });
    }

    fn modes(&self) -> (Mode, Mode) {
        let standing: Standing = serde_json::from_str(self.ledger.as_deref().unwrap()).unwrap();
        (standing.rung().dev, standing.rung().review)
    }
}

impl Ladder {
    /// The agent that a stop would hit.
    fn next(&self, sample: &Sample, action: Action, standing: &Standing) -> Option<String> {
        victim(sample, &self.roster, class_of(action), standing).map(|one| one.token)
    }
}

/// What changes on a host between two looks.
#[derive(Clone, Debug)]
enum Weather {
    /// As it was.
    Same,
    /// All is well again.
    Well,
    /// Free memory in MiB.
    Free(u64),
    /// Percent that wait: for a processor, for memory, for a disk.
    Waiting(f64, f64, f64),
    /// Load.
    Load(f64),
    /// No pressure information, or no disks, or no swap told.
    Unknown(u8),
    /// The root's free GiB, and whether another path is watched that does not answer.
    Disk(u64, bool),
    /// Free swap in MiB, of 1024.
    Swap(u64),
    /// Processes that were killed, and how many of those in the limits of our own runs.
    Killed(u64, u64),
    /// Stolen ticks.
    Stolen(u64),
    /// A run of dev, or of review, begins, and minds or does not when it is told to stop.
    Begins(bool, bool),
    /// All runs are over.
    Over,
    /// A new boot.
    Boot,
    /// No sample for so many looks.
    Silence(usize),
}

fn weather() -> impl Strategy<Value = Weather> {
    use Weather::*;
    let share = || (0_u32..=100).prop_map(f64::from);
    prop_oneof![
        10 => Just(Same),
        10 => Just(Well),
        6 => (0_u64..6000).prop_map(Free),
        2 => (share(), share(), share()).prop_map(|(cpu, memory, io)| Waiting(cpu, memory, io)),
        1 => (0_u32..12).prop_map(|load| Load(f64::from(load))),
        1 => (0_u8..3).prop_map(Unknown),
        2 => (0_u64..20, any::<bool>()).prop_map(|(free, dead)| Disk(free, dead)),
        1 => (0_u64..=1024).prop_map(Swap),
        2 => (0_u64..3, 0_u64..2).prop_map(|(all, own)| Killed(all, own)),
        1 => (0_u64..20_000).prop_map(Stolen),
        3 => (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(dev, stuck)| Begins(dev, stuck)),
        1 => Just(Over),
        1 => Just(Boot),
        2 => (1_usize..5).prop_map(Silence),
    ]
}

impl Host {
    fn change(&mut self, weather: &Weather, index: usize) {
        let sample = &mut self.sample;
        match weather {
            Weather::Same | Weather::Silence(_) => {}
            Weather::Well => {
                let fine = well();
                sample.mem = fine.mem;
                (sample.swap, sample.psi, sample.load) = (fine.swap, fine.psi, fine.load);
                (sample.disks, sample.pids) = (fine.disks, fine.pids);
            }
            Weather::Free(mib) => self.free(mib * MIB),
            Weather::Waiting(cpu, memory, io) => sample.psi = Some(psi(*cpu, *memory, *io)),
            Weather::Load(load) => sample.load = Some([*load, 0.0, 0.0]),
            Weather::Unknown(0) => sample.psi = None,
            Weather::Unknown(1) => sample.disks = None,
            Weather::Unknown(_) => sample.swap = None,
            Weather::Disk(free, dead) => {
                let dead = dead.then(|| Disk { path: "/dead".into(), ..Disk::default() });
                sample.disks = Some([disk("/", free * GIB)].into_iter().chain(dead).collect());
            }
            Weather::Swap(free) => sample.swap = Some(Swap { total: Some(GIB), free: Some(free * MIB) }),
            Weather::Killed(all, own) => {
                let vm = sample.vm.as_mut().unwrap();
                vm.oom_kill = vm.oom_kill.map(|kills| kills + all);
                if let Some(run) = sample.runs.iter_mut().flatten().last() {
                    run.oom_kills = run.oom_kills.map(|kills| kills + (*own).min(*all));
                }
            }
            Weather::Stolen(ticks) => {
                let steal = &mut sample.cpu_ticks.as_mut().unwrap().steal;
                *steal = steal.map(|steal| steal + ticks);
            }
            Weather::Begins(dev, stuck) => {
                let token = format!("{}-{index}", if *stuck { "stuck" } else { "run" });
                sample.runs.as_mut().unwrap().push(run(if *dev { "dev" } else { "review" }, token));
            }
            Weather::Over => sample.runs = Some(vec![]),
            Weather::Boot => {
                (sample.boot_id, sample.uptime_s) = (Some(format!("b{index}")), Some(10.0));
                (sample.vm.as_mut().unwrap().oom_kill, sample.runs) = (Some(0), Some(vec![]));
                sample.cpu_ticks = Some(CpuTicks { total: Some(2000), steal: Some(0) });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    /// What a host at rest is forgotten of is never missed: a controller that never ends, and forgets nothing, does the
    /// same as a row of controllers each of which lives for one look.
    /// Times are such that sums of them are exact: whether 20 s are over must not hang on where the count began.
    #[test]
    fn a_restart_at_every_look_and_a_rest_that_forgets_change_nothing(
        trace in vec((weather(), prop_oneof![Just(20.0), Just(60.0), Just(61.25), Just(130.0), Just(230.0)]), 1..80),
        known in any::<bool>(),
    ) {
        let policy = Policy::default();
        let mut host = Host::new(1, 1);
        host.ledger = known.then(|| serde_json::to_string(&Standing::default()).unwrap());
        host.journal = None;
        let mut bare = if known { Standing::default() } else { Standing::unknown() };
        let mut latches = Latches::default();
        let mut rests = 0;
        for (index, (weather, dt)) in trace.iter().enumerate() {
            host.change(weather, index);
            for _ in 0..if let Weather::Silence(looks) = weather { *looks } else { 1 } {
                host.pass(*dt);
                let silent = matches!(weather, Weather::Silence(_));
                let sample = match silent {
                    true => Sample::missing("box", host.sample.at, "no road"),
                    false => host.sample.clone(),
                };
                let (saved, step) = host.tick(sample.clone());

                let severities = update(&mut latches, &policy, &sample);
                let alive: BTreeSet<String> = running(&sample, &host.ladder.roster).into_iter().map(|one| one.token).collect();
                if !silent {
                    bare.forget(|token| alive.contains(token));
                }
                let count = |class| count(&sample, &host.ladder.roster, class, &bare, (KILL_AFTER, policy.kill_grace.0));
                let up = sample.boot_id.clone().zip(sample.uptime_s).map(|(boot_id, uptime)| Up { boot_id, uptime });
                let seen = up.map(|up| Seen::of(&severities, up, count(Class::Dev), count(Class::Review)));
                let (before, shown) = (bare.held.clone(), bare.shown(Class::Dev));
                let stepped = bare.look(&policy, &Look { at: host.at, seen }, sample.at, "");
                if let Some(one) = stepped.action.and_then(|stop| host.ladder.next(&sample, stop, &bare)) {
                    bare.told(one);
                }

                prop_assert_eq!(stepped.action, step.stop);
                // The first hold of a host without a history is no change of its rung, and told as one.
                let first = shown == Mode::Run && bare.shown(Class::Dev) > Mode::Run;
                prop_assert_eq!(stepped.change.is_some() || first, step.change.is_some());
                prop_assert_eq!(stepped.change.is_some_and(|change| !change.tightens()), step.loosens);
                let (a, b) = (bare.rung(), saved.rung());
                let modes = |rung: &crate::policy::ladder::Rung| (rung.dev, rung.review, rung.survive, rung.asked, rung.unreachable);
                prop_assert_eq!(modes(&a), modes(&b));
                prop_assert_eq!(a.dwell(&policy), b.dwell(&policy));
                let since = |standing: &Standing| -> Vec<_> { standing.held.iter().map(|(class, held)| (*class, held.since, held.at)).collect() };
                prop_assert_eq!(since(&bare), since(&saved), "{:?}", before);
                prop_assert!(bare.told.keys().eq(saved.told.keys()));
                if !silent {
                    prop_assert_eq!(&host.severities, &severities);
                }
                rests += u32::from(saved == Standing::default());
                // Those that mind are gone at the next look.
                let told = saved.told;
                let runs = host.sample.runs.iter_mut().flatten();
                runs.filter(|run| told.contains_key(&run.token) && !run.token.starts_with("stuck")).for_each(|run| run.state = "CANCELLED".into());
            }
        }
        // With nothing but good samples it is at rest in the end, and nothing is left to write.
        host.change(&Weather::Well, 0);
        host.change(&Weather::Over, 0);
        host.hold(4500.0, 180.0);
        prop_assert_eq!(host.ledger.as_deref(), Some("{}"), "{} rests before", rests);
    }

    /// 150 MB to either side of any threshold of memory, for half an hour.
    #[test]
    fn memory_that_swings_round_a_threshold_makes_one_halt_and_one_resume_at_most(
        swings in vec(0..=300 * MIB, 90..91), bound in prop::sample::select(vec![15_u64, 8, 4, 25]), dip in any::<bool>(),
        agents in prop_oneof![Just((0, 0)), Just((2, 1))],
    ) {
        let mut host = Host::new(agents.0, agents.1);
        if dip {
            host.free(16 * GIB * bound / 100 - 300 * MIB);
            host.hold(60.0, 20.0);
        }
        for swing in swings {
            host.free(16 * GIB * bound / 100 - 150 * MIB + swing);
            host.hold(20.0, 20.0);
        }
        let count = |what: &str| host.changes.iter().filter(|change| change.starts_with(what)).count();
        prop_assert!(count("dev agents are held") <= 1, "{:?}", host.changes);
        prop_assert!(count("dev agents may start again") <= 1, "{:?}", host.changes);
    }
}

#[test]
fn a_sample_that_is_itself_soft_releases_nothing_and_begins_the_wait_anew() {
    let mut host = Host::new(1, 1);
    host.free(2 * GIB);
    host.hold(40.0, 20.0);
    assert_eq!(host.modes(), (Mode::Hold, Mode::Run));
    host.free(12 * GIB);
    host.hold(100.0, 20.0);
    // The sample at which the hold would have ended.
    host.free(2 * GIB);
    host.hold(20.0, 20.0);
    host.free(12 * GIB);
    host.hold(100.0, 20.0);
    assert_eq!(host.modes(), (Mode::Hold, Mode::Run));
    host.hold(20.0, 20.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}

#[test]
fn a_sample_after_one_that_is_missing_earns_nothing_for_the_gap() {
    let mut host = Host::new(1, 1);
    host.free(2 * GIB);
    host.hold(40.0, 20.0);
    host.free(12 * GIB);
    host.hold(100.0, 20.0);
    host.pass(60.0);
    host.tick(Sample::missing("box", host.sample.at, "no road"));
    // 120 s after the one before that, and good as it was: the wait begins here.
    host.pass(60.0);
    host.look();
    host.hold(100.0, 20.0);
    assert_eq!(host.modes(), (Mode::Hold, Mode::Run));
    host.hold(20.0, 20.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}

#[test]
fn a_host_without_swap_that_is_short_of_memory_only_holds() {
    let mut host = Host::new(2, 1);
    host.sample.swap = Some(Swap { total: Some(0), free: Some(0) });
    host.free(2 * GIB);
    host.hold(1800.0, 20.0);
    assert_eq!((host.modes(), &host.stopped[..]), ((Mode::Hold, Mode::Hold), &[][..]));
    host.free(12 * GIB);
    host.hold(600.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}

#[test]
fn swap_that_never_drains_keeps_nothing_held_once_there_is_memory() {
    let mut host = Host::new(2, 1);
    host.sample.swap = Some(Swap { total: Some(GIB), free: Some(0) });
    host.hold(600.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run), "a full swap is none while there is memory");
    // Short of both is crit.
    host.free(2 * GIB);
    host.hold(60.0, 20.0);
    assert_eq!((host.modes().0, &host.stopped[..]), (Mode::Stop, &[Class::Dev][..]));
    host.free(12 * GIB);
    host.hold(900.0, 60.0);
    assert_eq!((host.modes(), host.stopped.len()), ((Mode::Run, Mode::Run), 1));
}

#[test]
fn a_disk_that_is_91_percent_full_with_7_gb_free_and_steady_holds_and_stops_nothing() {
    let mut host = Host::new(2, 1);
    host.sample.disks = Some(vec![disk("/", 7_200_000_000)]);
    host.hold(3600.0, 60.0);
    assert_eq!((host.modes(), &host.stopped[..]), ((Mode::Hold, Mode::Hold), &[][..]));
    // Nor does one that has no more than 1 GB, once that is steady; while it fills, dev goes first.
    host.sample.disks = Some(vec![disk("/", 1_000_000_000)]);
    host.hold(60.0, 60.0);
    assert_eq!((host.modes().0, &host.stopped[..]), (Mode::Stop, &[Class::Dev][..]));
    host.hold(3600.0, 60.0);
    assert_eq!((host.modes(), host.stopped.len()), ((Mode::Hold, Mode::Hold), 1));
    for less in 1..=6 {
        host.sample.disks = Some(vec![disk("/", 1_000_000_000 - less * MIB)]);
        host.hold(20.0, 20.0);
    }
    assert_eq!(host.stopped, [Class::Dev, Class::Dev, Class::Review]);
}

#[test]
fn a_build_of_four_jobs_on_two_cores_lets_reviews_go_on() {
    let mut host = Host::new(1, 1);
    host.sample.load = Some([4.3, 3.9, 2.0]);
    host.sample.psi = Some(psi(95.0, 0.0, 2.0));
    host.hold(3600.0, 20.0);
    assert_eq!((host.modes(), &host.stopped[..]), ((Mode::Hold, Mode::Run), &[][..]));
    // Exactly four is what two cores are given: not even dev is held.
    let mut host = Host::new(1, 1);
    host.sample.load = Some([4.0, 3.9, 2.0]);
    host.sample.psi = Some(psi(95.0, 0.0, 2.0));
    host.hold(3600.0, 20.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}

#[test]
fn a_kill_inside_the_limit_of_a_run_is_its_own_affair() {
    let mut host = Host::new(2, 1);
    // Short of memory too, where a kill of anybody else's would be crit.
    host.free(2 * GIB);
    host.hold(40.0, 20.0);
    for kills in 1..=10 {
        host.sample.vm.as_mut().unwrap().oom_kill = Some(kills);
        host.sample.runs.as_mut().unwrap()[0].oom_kills = Some(kills);
        host.hold(20.0, 20.0);
        assert_eq!(host.severities.inc.number(), 1);
    }
    assert_eq!((host.modes().0, &host.stopped[..]), (Mode::Hold, &[][..]));
    host.sample.vm.as_mut().unwrap().oom_kill = Some(11);
    host.hold(20.0, 20.0);
    assert_eq!((host.modes().0, &host.stopped[..]), (Mode::Stop, &[Class::Dev][..]));
}

#[test]
fn a_dead_mount_that_hangs_df_holds_after_ten_minutes_and_stops_nothing() {
    let mut host = Host::new(2, 1);
    // The probe gives up on it, and says which path it asked about.
    host.sample.disks = Some(vec![disk("/", 50 * GIB), Disk { path: "/srv".into(), ..Disk::default() }]);
    host.hold(600.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
    host.hold(3600.0, 60.0);
    assert_eq!((host.modes(), &host.stopped[..]), ((Mode::Hold, Mode::Hold), &[][..]));
    host.sample.disks = Some(vec![disk("/", 50 * GIB), disk("/srv", 50 * GIB)]);
    host.hold(300.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}

#[test]
fn a_dev_process_that_survives_kill_does_not_stand_before_the_reviews_for_ever() {
    let mut host = Host::new(0, 1);
    host.sample.runs.as_mut().unwrap().push(run("dev", "stuck".into()));
    host.free(100 * MIB);
    let mut seconds = 0.0;
    while !host.stopped.contains(&Class::Review) {
        host.hold(20.0, 20.0);
        seconds += 20.0;
        assert!(seconds <= 300.0, "{:?} {:?}", host.modes(), host.stopped);
    }
    // Told at 40 s, killed 30 s later, given up 60 s after that.
    assert!(seconds >= 130.0, "{seconds}");
    // While it lives as it should, it is stopped before any review.
    assert_eq!(host.stopped[0], Class::Dev);
}

#[test]
fn a_leak_takes_four_dev_and_two_review_agents_within_320_seconds_and_the_way_back_is_the_designs() {
    let mut host = Host::new(4, 2);
    host.free(100 * MIB);
    // From the first sample that shows it.
    host.hold(20.0, 20.0);
    host.hold(320.0, 20.0);
    let (dev, review) = (Class::Dev, Class::Review);
    assert_eq!(host.stopped, [dev, dev, dev, dev, review, review]);
    host.hold(200.0, 20.0);
    assert!(host.changes.last().unwrap().starts_with("survival"), "{:?}", host.changes);
    let begun = host.changes.len();
    host.free(12 * GIB);
    host.hold(180.0 + 2.0 * 120.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
    insta::assert_snapshot!(host.changes[begun..].join("\n"), @"
    survival ends
    review agents are not stopped any more
    dev agents are not stopped any more
    review agents may start again
    dev agents may start again
    ");
}

#[test]
fn a_dev_agent_that_asks_for_time_after_it_was_told_stands_before_the_reviews_until_it_asks_no_more() {
    let mut host = Host::new(0, 1);
    host.sample.runs.as_mut().unwrap().push(run("dev", "stuck".into()));
    let critical = |host: &mut Host, critical| host.sample.runs.as_mut().unwrap()[1].critical = critical;
    host.free(100 * MIB);
    host.hold(60.0, 20.0);
    assert_eq!(host.stopped, [Class::Dev]);
    // TERM waits for it, up to an hour; or the host does not say.
    for asks in [Some(true), None] {
        critical(&mut host, asks);
        host.hold(1200.0, 20.0);
        assert!(!host.stopped.contains(&Class::Review), "{asks:?}: {:?}", host.stopped);
        assert_eq!(host.modes(), (Mode::Stop, Mode::Hold), "{asks:?}");
    }
    // From here on it has KILL to outlive.
    critical(&mut host, Some(false));
    host.hold(80.0, 20.0);
    assert_eq!(host.modes(), (Mode::Stop, Mode::Hold));
    host.hold(100.0, 20.0);
    assert!(host.stopped.contains(&Class::Review), "{:?}", host.stopped);
}

#[test]
fn where_nobody_can_count_what_cron_started_no_review_is_stopped_and_nothing_is_survived() {
    let settings = "agents: {poll: {class: dev, match: bin/poll, start: cron}}\n";
    let mut host = Host::with(settings, 0, 1);
    host.free(100 * MIB);
    host.hold(600.0, 20.0);
    assert_eq!(host.modes(), (Mode::Stop, Mode::Hold));
    assert!(!host.stopped.contains(&Class::Review), "{:?}", host.stopped);
    // No review either, for all that anybody knows: that is not to be without agents.
    host.sample.runs = Some(vec![]);
    host.hold(600.0, 20.0);
    assert!(!host.changes.iter().any(|change| change.starts_with("survival")), "{:?}", host.changes);
    // It is counted, and there is none.
    (host.sample.running, host.sample.matched) = (Some([("poll".to_owned(), 0)].into()), Some(vec![]));
    host.hold(300.0, 20.0);
    assert!(host.changes.last().unwrap().starts_with("survival"), "{:?}", host.changes);
}

#[test]
fn a_process_that_was_told_and_could_not_be_looked_for_since_is_not_told_again() {
    let settings = "agents: {poll: {class: dev, match: bin/poll, start: cron}}\n";
    let mut host = Host::with(settings, 0, 0);
    let (agent, command) = ("poll".to_owned(), "bin/poll".to_owned());
    let one =
        Matched { agent, pid: 7, start: 70, started: None, sid: 7, uid: 0, procs: 1, rss: GIB, cpu_ms: 0, command };
    let counted = (Some([("poll".to_owned(), 1)].into()), Some(vec![one]));
    (host.sample.running, host.sample.matched) = counted.clone();
    host.free(100 * MIB);
    host.hold(40.0, 20.0);
    let told = |host: &Host| -> Standing { serde_json::from_str(host.ledger.as_deref().unwrap()).unwrap() };
    let before = told(&host).told;
    assert_eq!(before.len(), 1);
    (host.sample.running, host.sample.matched) = (None, None);
    host.hold(20.0, 20.0);
    (host.sample.running, host.sample.matched) = counted;
    host.hold(20.0, 20.0);
    assert_eq!(told(&host).told, before);
}

#[test]
fn a_host_from_which_nobody_answered_has_earned_nothing_and_missed_nothing() {
    let mut host = Host::new(0, 0);
    assert_eq!(host.ladder.unseen(None), None);
    host.free(2 * GIB);
    host.hold(40.0, 20.0);
    host.free(12 * GIB);
    host.hold(100.0, 20.0);
    let known: Standing = serde_json::from_str(host.ledger.as_deref().unwrap()).unwrap();
    let unseen = host.ladder.unseen(Some(&known)).unwrap();
    assert_eq!(host.ladder.unseen(Some(&unseen)), None, "once is enough");
    let (before, rung) = (known.rung(), unseen.rung());
    assert_eq!((rung.up, rung.good, rung.calm, rung.soft_n, rung.hard_n), (None, 0.0, 0.0, 0, 0));
    assert_eq!((rung.misses, rung.dev, rung.t), (before.misses, before.dev, before.t));
    host.ledger = Some(serde_json::to_string(&unseen).unwrap());
    host.hold(120.0, 60.0);
    assert_eq!(host.modes(), (Mode::Hold, Mode::Run));
    host.hold(60.0, 60.0);
    assert_eq!(host.modes(), (Mode::Run, Mode::Run));
}
