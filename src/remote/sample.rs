//! A sample: what one probe of one host said, in the form that `probe`, `events` and `replay` read and write.
//!
//! Bytes and seconds; raw counters where a difference is wanted; an absent key is *unknown*, never 0.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::form::shown;
use super::halt::HaltFile;
use super::logs::Mask;
use super::probe::Report;

#[cfg(test)]
mod tests;

/// Longest last line and command line, in characters.
pub(super) const MAX_LINE: usize = 200;

/// How the token of a [`Matched`] begins.
pub const PROCESS: &str = "pid:";

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
    /// No other remote host answered either: it may be the controller that was cut off, and nothing is concluded from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
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
    /// The user, by number, as whom the host was asked: whose processes it may stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Runs per agent, found by the agent's `match` text in command lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<BTreeMap<String, u64>>,
    /// The processes that these were counted by, oldest first; at most 256, whatever the count is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<Vec<Matched>>,
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
    /// Where it is, when not in the factory's home: as the inventory writes it. With `how: cron` the key under which lines
    /// are held: `AGENT` or `AGENT@REPO`; `takeover:AGENT` for those that start an agent which is ours to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// With `how: cron`: how many lines of crontabs start the agent now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    /// The line of the halt file; absent for an empty one. A file with several lines gives as many entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// One run of an agent that factory started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The token that the controller chose.
    pub token: String,
    /// CREATED, RUNNING, DONE n, CANCELLED, CRASHED, REBOOTED or UNKNOWN; with ` LEFTOVER` behind it when the run is over
    /// and something of its tree still lives.
    pub state: String,
    /// The fleet whose run it is, from its `spec`, as the keys below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The task's key in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The repo, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Which attempt at the task it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it began, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Processes of its tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procs: Option<u64>,
    /// Processor time that these have used, in milliseconds, those included that have ended and were waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Its `critical` file is younger than `policy.critical`: it asks not to be stopped now. False where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// Whether it was told to stop, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<String>,
    /// The last line that it wrote, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// The same as it came; never written anywhere.
    #[serde(skip)]
    pub said: Option<Said>,
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

/// The last line that a run wrote, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The line.
    pub line: String,
    /// It may have begun before.
    pub cut: bool,
}

/// A run of an agent that factory did not start: a process whose command line holds the agent's `match`, that has no
/// terminal, and is neither below another one of this agent nor part of a run of ours. To it belong the processes below
/// it and all others of its session: what a stop ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// The agent.
    pub agent: String,
    /// The process.
    pub pid: u32,
    /// When it began, in clock ticks since boot: with `pid` it is this process and no other.
    pub start: u64,
    /// The same by the host's clock, to about a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// Its session.
    pub sid: u32,
    /// Whose it is, by number.
    pub uid: u32,
    /// Processes of its tree.
    pub procs: u64,
    /// Resident memory of its tree in bytes.
    pub rss: u64,
    /// Processor time of its tree in milliseconds, those included that have ended and were waited for.
    pub cpu_ms: u64,
    /// Its command line, at most 200 characters.
    pub command: String,
}

impl Found {
    /// The halt file, for what is one.
    pub fn file(&self) -> HaltFile {
        self.path.as_ref().map_or_else(|| HaltFile::of(&self.agent, &self.repo), |path| HaltFile::Path(path.clone()))
    }
}

impl Said {
    /// The line as [`Run::last`] has it, without secrets: they are hidden before anything else is done to it.
    pub fn shown(&self, mask: &Mask) -> String {
        let line = mask.hide_part(&self.line, self.cut, false);
        // Also what colours have taken apart.
        let line = mask.hide_part(&shown(&line, usize::MAX), self.cut, false);
        line.chars().take(MAX_LINE).collect()
    }
}

impl Matched {
    /// [`Matched::command`] without secrets.
    pub fn shown(&self, mask: &Mask) -> String {
        mask.hide_part(&self.command, false, self.command.chars().count() >= MAX_LINE)
    }
}

impl Run {
    /// Whether it is over and nothing of it lives.
    pub fn over(&self) -> bool {
        let over = ["DONE", "CANCELLED", "CRASHED", "REBOOTED"];
        over.iter().any(|word| self.state.starts_with(word)) && !self.state.ends_with(" LEFTOVER")
    }
}

impl Matched {
    /// `pid:PID:START`, by which it is stopped.
    pub fn token(&self) -> String {
        format!("{PROCESS}{}:{}", self.pid, self.start)
    }
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
            uid: report.uid,
            running: report.running,
            matched: report.matched,
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
            cut_off: false,
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
            uid: None,
            running: None,
            matched: None,
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
