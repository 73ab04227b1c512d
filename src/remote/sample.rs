//! A sample: what one probe of one host said, in the form that `probe`, `events` and `replay` read and write.
//!
//! Bytes and seconds; raw counters where a difference is wanted; an absent key is *unknown*, never 0.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::probe::Report;

/// One look at one host, or the reason why there is none ([`Sample::missing`]).
///
/// The JSON has `"v":1,"kind":"sample"` and the keys below in this order. Extra keys in the input are ignored, so that
/// an older `replay` reads a newer file; a known key of the wrong type is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The version of this form: 1.
    v: One,
    /// Always `sample`.
    kind: Kind,
    /// The inventory name.
    pub host: String,
    /// When the answer came, by the controller's clock.
    pub at: Timestamp,
    /// Why there is no answer, for people; all that follows is unknown then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// From the question to the answer, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_s: Option<f64>,
    /// The kernel's id of this boot, from `/proc/sys/kernel/random/boot_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Seconds since boot, from `/proc/uptime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<f64>,
    /// The host's clock less the controller's, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_s: Option<f64>,
    /// Processors that a process may use, from `nproc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Load over 1, 5 and 15 minutes, from `/proc/loadavg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// Main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<Mem>,
    /// Swap space; a total of 0 is a host without swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Swap>,
    /// Pressure stall information; absent on a kernel without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
    /// Counters of `/proc/vmstat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<Vm>,
    /// Processor time since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ticks: Option<CpuTicks>,
    /// The watched paths, also those of which nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<Vec<Disk>>,
    /// Process ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Runs per agent, found by the agent's `match` text in command lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<BTreeMap<String, u64>>,
    /// The content of the host's `host-id`; absent before the guard made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Whose commands the host obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// The halts found there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Vec<Found>>,
    /// The runs under `runs/`; an empty list is a host that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Vec<Run>>,
}

/// Main memory in bytes, from `/proc/meminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mem {
    /// MemTotal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// MemAvailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<u64>,
}

/// Swap space in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// SwapTotal; 0 where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// SwapFree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
}

/// Pressure stall information, in percent of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Psi {
    /// `/proc/pressure/cpu`, some, over 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_some_avg60: Option<f64>,
    /// `/proc/pressure/memory`, some, over 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_some_avg10: Option<f64>,
    /// `/proc/pressure/memory`, full, over 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_full_avg10: Option<f64>,
    /// `/proc/pressure/io`, full, over 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_full_avg60: Option<f64>,
}

/// Counters since boot, from `/proc/vmstat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Processes killed for want of memory; kernels before 4.13 do not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kill: Option<u64>,
    /// Pages read from swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pswpin: Option<u64>,
    /// Page faults that waited for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgmajfault: Option<u64>,
}

/// Ticks of all processors since boot, from the first line of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTicks {
    /// Everything, idle too; guests are inside user time and not counted twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Time that the hypervisor gave to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<u64>,
}

/// The file system of one watched path. Only `path` = it is watched and nothing is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The watched path, `~` expanded.
    pub path: String,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes that a user without privileges may still write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Files that fit; 0 where the file system has no such limit (btrfs, vfat).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_total: Option<u64>,
    /// Files that may still be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
}

/// Process ids: every thread takes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pids {
    /// `/proc/sys/kernel/pid_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Threads that exist, from `/proc/loadavg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// Whose commands the host obeys: the files `fleet` and `epoch` of its home.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The id made with the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The highest epoch accepted; absent also when the file is corrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Who holds that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// One halt as found on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The agent that it halts.
    pub agent: String,
    /// The repo that it is for, or `*`.
    pub repo: String,
    /// By what means: `file`, `cron` or `active_file`.
    pub how: String,
    /// Whether the agent is halted by it.
    pub held: bool,
    /// Who set it, from a line of our form; absent for an empty file or one that a person made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One run of an agent that factory started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The token that the controller chose.
    pub token: String,
    /// CREATED, RUNNING, DONE n, CANCELLED, CRASHED, REBOOTED or UNKNOWN.
    pub state: String,
    /// Resident memory of its tree in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss: Option<u64>,
    /// Kills for want of memory inside its own limit, since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Bytes of its standard output so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<u64>,
    /// Bytes of its standard error so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<u64>,
}

/// The controller's clock around one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When the question went out.
    pub sent: Timestamp,
    /// When the answer was there whole.
    pub received: Timestamp,
    /// The time between, by a clock that does not jump.
    pub rtt: Duration,
}

impl Sample {
    /// The sample of a host that gave no answer; `why` is told to people as it stands.
    pub fn missing(host: impl Into<String>, at: Timestamp, why: impl Into<String>) -> Sample {
        Sample { missing: Some(why.into()), ..Sample::unknown(host, at) }
    }

    /// The sample of a host that answered.
    ///
    /// The skew is NTP's: the mean of (host's clock at start - sent) and (host's clock at end - received), so that a
    /// probe that waited for a dead disk does not look like a wrong clock.
    pub fn from_report(host: impl Into<String>, heard: Heard, report: Report) -> Sample {
        let skew = report.clock.map(|(start, end)| {
            let sent = heard.sent.as_duration().as_secs_f64();
            let received = heard.received.as_duration().as_secs_f64();
            micros(((start - sent) + (end - received)) / 2.0)
        });
        Sample {
            rtt_s: Some(micros(heard.rtt.as_secs_f64())),
            boot_id: report.boot_id,
            uptime_s: report.uptime_s,
            clock_skew_s: skew,
            cores: report.cores,
            load: report.load,
            mem: report.mem,
            swap: report.swap,
            psi: report.psi,
            vm: report.vm,
            cpu_ticks: report.cpu_ticks,
            disks: report.disks,
            pids: report.pids,
            running: report.running,
            host_id: report.host_id,
            fence: report.fence,
            found: report.found,
            runs: report.runs,
            ..Sample::unknown(host, heard.received)
        }
    }

    /// A sample that knows nothing, for [`Sample::missing`], [`Sample::from_report`] and tests to fill.
    pub fn unknown(host: impl Into<String>, at: Timestamp) -> Sample {
        Sample {
            v: One,
            kind: Kind,
            host: host.into(),
            at,
            missing: None,
            rtt_s: None,
            boot_id: None,
            uptime_s: None,
            clock_skew_s: None,
            cores: None,
            load: None,
            mem: None,
            swap: None,
            psi: None,
            vm: None,
            cpu_ticks: None,
            disks: None,
            pids: None,
            running: None,
            host_id: None,
            fence: None,
            found: None,
            runs: None,
        }
    }

    /// Whether decisions may rest on it: it has MemAvailable, boot id, uptime and run states, from an answer with `end`.
    pub fn is_whole(&self) -> bool {
        self.lacks().is_empty()
    }

    /// What keeps it from being whole, in words for people; empty for a whole sample.
    pub fn lacks(&self) -> Vec<&'static str> {
        if self.missing.is_some() {
            return vec!["an answer"];
        }
        let needed = [
            (self.mem.and_then(|mem| mem.available).is_some(), "MemAvailable"),
            (self.boot_id.is_some(), "boot id"),
            (self.uptime_s.is_some(), "uptime"),
            (self.runs.is_some(), "run states"),
        ];
        needed.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }
}

/// Rounds to microseconds: finer is noise, and so few digits survive JSON exactly.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// The number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct One;

impl Serialize for One {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<One, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(One),
            other => Err(de::Error::custom(format_args!("version {other} of a sample is not known here, only 1"))),
        }
    }
}

/// The word `sample`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind;

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("sample")
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "sample" => Ok(Kind),
            other => Err(de::Error::custom(format_args!("`{other}` is not a sample"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The two lines of the design, in its own words.
    const WHOLE: &str = r#"{"v":1,"kind":"sample","host":"beefy-2","at":"2026-03-12T13:18:47Z","rtt_s":0.021,"boot_id":"...","uptime_s":86400.5,"clock_skew_s":0.01,"cores":8,"load":[0.5,0.4,0.3],"mem":{"total":33554432000,"available":20132659200},"swap":{"total":0,"free":0},"psi":{"cpu_some_avg60":1.2,"memory_some_avg10":0.0,"memory_full_avg10":0.0,"io_full_avg60":0.1},"vm":{"oom_kill":0,"pswpin":0,"pgmajfault":120},"cpu_ticks":{"total":123456,"steal":78},"disks":[{"path":"/","total":1,"free":1,"inodes_total":1,"inodes_free":1}],"pids":{"max":4194304,"used":140},"running":{"dev":1,"review":0},"host_id":"...","fence":{"fleet":"...","epoch":7,"holder":"vps-1"},"found":[{"agent":"dev","repo":"*","how":"file","held":true,"by":"..."}],"runs":[{"token":"...","state":"RUNNING","rss":1,"oom_kills":0,"out":123,"err":0}]}"#;
    const MISSING: &str = r#"{"v":1,"kind":"sample","host":"beefy-3","at":"2026-03-12T13:18:50Z","missing":"connect timed out after 10 s"}"#;

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
            sample.found = Some(vec![Found { agent: path.clone(), repo: "*".into(), how: "file".into(), held, by: boot_id }]);
            sample.runs = b.map(|b| vec![Run { token: path, state: "RUNNING".into(), rss: Some(b), oom_kills: c, out: d, err: None }]);
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
}
