//! The documented lines byte by byte, and reading back what was written.

use proptest::prelude::*;

use super::*;

/// The two lines of the design, in its own words.
const WHOLE: &str = r#"{"v":1,"kind":"sample","host":"beefy-2","at":"2026-03-12T13:18:47Z","rtt_s":0.021,"boot_id":"...","uptime_s":86400.5,"clock_skew_s":0.01,"cores":8,"load":[0.5,0.4,0.3],"mem":{"total":33554432000,"available":20132659200},"swap":{"total":0,"free":0},"psi":{"cpu_some_avg60":1.2,"memory_some_avg10":0.0,"memory_full_avg10":0.0,"io_full_avg60":0.1},"vm":{"oom_kill":0,"pswpin":0,"pgmajfault":120},"cpu_ticks":{"total":123456,"steal":78},"disks":[{"path":"/","total":1,"free":1,"inodes_total":1,"inodes_free":1}],"pids":{"max":4194304,"used":140},"running":{"dev":1,"review":0},"host_id":"...","fence":{"fleet":"...","epoch":7,"holder":"vps-1"},"found":[{"agent":"dev","repo":"*","how":"file","held":true,"by":"..."}],"runs":[{"token":"...","state":"RUNNING","rss":1,"oom_kills":0,"out":123,"err":0}]}"#;
const MISSING: &str =
    r#"{"v":1,"kind":"sample","host":"beefy-3","at":"2026-03-12T13:18:50Z","missing":"connect timed out after 10 s"}"#;

#[test]
fn the_documented_lines_are_read_and_written_byte_by_byte() {
    for (line, whole) in [(WHOLE, true), (MISSING, false)] {
        let sample: Sample = serde_json::from_str(line).unwrap();
        assert_eq!(sample.is_whole(), whole);
        assert_eq!(serde_json::to_string(&sample).unwrap(), line);
    }
}

#[test]
fn extra_keys_are_ignored_and_wrong_types_are_not() {
    let extra = MISSING.replace(r#""v":1"#, r#""later":{"a":[1]},"v":1"#);
    assert_eq!(serde_json::from_str::<Sample>(&extra).unwrap(), serde_json::from_str(MISSING).unwrap());
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        (r#""kind":"sample""#, r#""kind":"event""#),
        (r#""cores":8"#, r#""cores":"8""#),
        (r#""cores":8"#, r#""cores":-8"#),
        (r#""available":20132659200"#, r#""available":1.5"#),
        (r#""load":[0.5,0.4,0.3]"#, r#""load":[0.5,0.4]"#),
        (r#""at":"2026-03-12T13:18:47Z""#, r#""at":"yesterday""#),
        (r#""host":"beefy-2","#, ""),
    ] {
        let line = WHOLE.replace(from, to);
        assert_ne!(line, WHOLE);
        assert!(serde_json::from_str::<Sample>(&line).is_err(), "{to}");
    }
}

#[test]
fn what_keeps_a_sample_from_being_whole_is_named() {
    let mut sample: Sample = serde_json::from_str(WHOLE).unwrap();
    sample.mem = Some(Mem { total: Some(1), available: None });
    sample.runs = None;
    assert_eq!(sample.lacks(), ["MemAvailable", "run states"]);
    let missing: Sample = serde_json::from_str(MISSING).unwrap();
    assert_eq!(missing.lacks(), ["an answer"]);
}

#[test]
fn the_skew_does_not_count_the_time_that_the_probe_took() {
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    // 5 s under way, of which the probe took all but 0.2 s; the host is 100 s ahead.
    let heard = Heard { sent: at(0), received: at(5), rtt: Duration::from_secs(5) };
    let clock = Some((1_800_000_100.1, 1_800_000_104.9));
    let sample = Sample::from_report("box", heard, Report { clock, ..Report::default() });
    assert_eq!(sample.clock_skew_s, Some(100.0));
    assert_eq!((sample.at, sample.rtt_s), (at(5), Some(5.0)));
}

fn count() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(any::<u64>())
}

/// Numbers as the kernel prints them: two decimals.
fn decimal() -> impl Strategy<Value = f64> {
    (0u64..1_000_000_000).prop_map(|hundredths| hundredths as f64 / 100.0)
}

prop_compose! {
    fn any_sample()(
        (host, missing, boot_id) in (".*", proptest::option::of(".*"), proptest::option::of(".*")),
        at in -10_000_000_000i64..100_000_000_000,
        (uptime_s, load) in (proptest::option::of(decimal()), proptest::option::of([decimal(), decimal(), decimal()])),
        (a, b, c, d) in (count(), count(), count(), count()),
        path in ".*",
        running in proptest::option::of(proptest::collection::btree_map("[a-z]{1,8}", any::<u64>(), 0..3)),
        psi in proptest::option::of(decimal()),
        held in any::<bool>(),
    ) -> Sample {
        let mut sample = Sample::unknown(host, Timestamp::from_second(at).unwrap());
        sample.missing = missing;
        sample.boot_id = boot_id.clone();
        sample.uptime_s = uptime_s;
        sample.load = load;
        sample.cores = a;
        sample.mem = Some(Mem { total: b, available: c });
        sample.swap = d.map(|d| Swap { total: Some(d), free: a });
        sample.psi = psi.map(|psi| Psi { io_full_avg60: Some(psi), ..Psi::default() });
        sample.vm = Some(Vm { oom_kill: c, pswpin: d, pgmajfault: None });
        sample.disks = Some(vec![Disk { path: path.clone(), total: a, free: b, inodes_total: c, inodes_free: d }]);
        sample.running = running;
        sample.fence = a.map(|a| Fence { fleet: None, epoch: Some(a), holder: boot_id.clone() });
        sample.found = Some(vec![Found { agent: path.clone(), repo: "*".into(), how: "file".into(), held, by: boot_id, path: None, live: None, line: None }]);
        sample.runs = b.map(|b| vec![Run { token: path, state: "RUNNING".into(), rss: Some(b), oom_kills: c, out: d, ..Run::default() }]);
        sample
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(sample in any_sample()) {
        let line = serde_json::to_string(&sample).unwrap();
        prop_assert!(!line.contains('\n'));
        let back: Sample = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), line);
        prop_assert_eq!(back, sample);
    }
}
