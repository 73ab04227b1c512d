//! The numbers of waking, of SSH and of the guard, each with its default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seconds;
use crate::inventory::de::words;
use crate::inventory::policy::Policy;
use crate::inventory::units::{Bytes, Percent, Span};

/// How the next wake comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WakeMode {
    /// Cron starts us each minute, and we go again at once when nothing is due.
    #[default]
    Gate,
    /// Our own crontab entry is rewritten.
    Crontab,
    /// We stay and sleep; the crontab entry is the watchdog.
    Loop,
}

/// When to look again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Wake {
    /// How the next wake comes about: `gate`, `crontab` or `loop`.
    pub mode: WakeMode,
    /// The shortest time between two wakes.
    pub min: Span,
    /// The longest.
    pub max: Span,
    /// How long between two looks at the hosts while one of them is busy or in trouble. `run --if-due` goes on looking
    /// at hosts in trouble for three quarters of it.
    pub watch: Span,
    /// How long between two looks of `run --if-due` at a host at level hard or crit.
    pub watch_urgent: Span,
    /// A due time up to this far ahead is due.
    pub early: Span,
    /// A wait is varied by up to this much ...
    pub jitter: Percent,
    /// ... when it is longer than this.
    pub jitter_above: Span,
    /// A pipeline is first looked at after this part of its median duration ...
    pub pipeline_first: f64,
    /// ... then each time this part of the time since its start has gone by ...
    pub pipeline_step: f64,
    /// ... but not sooner than this.
    pub pipeline_min: Span,
    /// A running agent is looked at each time this part of the time since its start has gone by ...
    pub running_step: f64,
    /// ... but not sooner than this ...
    pub running_min: Span,
    /// ... nor later than this.
    pub running_max: Span,
    /// With something open and nothing moving, or after any change, the wait begins here ...
    pub idle_min: Span,
    /// ... grows by this factor each time ...
    pub idle_growth: f64,
    /// ... up to this; with nothing open up to `max`.
    pub idle_max: Span,
    /// A head commit without a pipeline of its own for so long is judged by its push pipeline or required statuses.
    pub pipeline_missing: Span,
    /// A tick is aborted past this, the machine's sleep included.
    pub deadline: Span,
    /// A tick without progress for so long is killed by the next, which takes its lock.
    pub stuck: Span,
}

impl Default for Wake {
    fn default() -> Self {
        Wake {
            mode: WakeMode::Gate,
            min: seconds(60),
            max: seconds(900),
            watch: seconds(60),
            watch_urgent: seconds(20),
            early: seconds(30),
            jitter: Percent(10.0),
            jitter_above: seconds(300),
            pipeline_first: 0.65,
            pipeline_step: 0.15,
            pipeline_min: seconds(60),
            running_step: 0.25,
            running_min: seconds(120),
            running_max: seconds(600),
            idle_min: seconds(120),
            idle_growth: 1.6,
            idle_max: seconds(600),
            pipeline_missing: seconds(900),
            deadline: seconds(600),
            stuck: seconds(900),
        }
    }
}

/// Calls to forges and CI servers. Each server has one budget, over all repos on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forges {
    /// How long making a connection may take, with TLS.
    pub connect: Span,
    /// How long a call may take with its whole answer.
    pub call: Span,
    /// How long a look at all repos may take; who has not answered by then is unknown.
    pub look: Span,
    /// How many calls a server gets at once.
    #[serde(deserialize_with = "words::at_least_one")]
    #[schemars(range(min = 1))]
    pub at_once: u32,
    /// How many calls a second it gets ...
    #[serde(deserialize_with = "words::at_least_one")]
    #[schemars(range(min = 1))]
    pub rate: u32,
    /// ... and how many may follow each other at once after a pause.
    #[serde(deserialize_with = "words::at_least_one")]
    #[schemars(range(min = 1))]
    pub burst: u32,
    /// How long the accounts, the default branch and the protection of a repo are taken for what they were.
    pub settled: Span,
    /// How long one may be silent, with what was decided standing, until that is an alert.
    pub silent: Span,
    /// How long after a claim of an issue was read back it is read once more: of two who write at once each reads its own.
    pub claimed: Span,
    /// How long an open issue of a repo that is not in the inventory, on which one of ours depends, is taken for open; a
    /// status of a commit that is not what it should be for half of it.
    pub facts: Span,
}

impl Default for Forges {
    fn default() -> Self {
        Forges {
            connect: seconds(10),
            call: seconds(30),
            look: seconds(45),
            at_once: 6,
            rate: 10,
            burst: 100,
            settled: seconds(3600),
            silent: seconds(600),
            claimed: seconds(2),
            facts: seconds(600),
        }
    }
}

/// Connections to hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// How long TCP, banner, key exchange and login may take together.
    pub connect: Span,
    /// How long a command may take unless told otherwise.
    pub command: Span,
    /// How long until a silent connection is asked for a sign of life ...
    pub keepalive: Span,
    /// ... and how many such questions may go unanswered.
    pub keepalive_misses: u32,
    /// How long a sweep over all hosts may take; who has not answered is missed.
    pub sweep: Span,
    /// How often connecting is tried again. Only connecting: never a command, never a refused login.
    pub retries: u32,
    /// How many connections may be logging in at one sshd or jump host.
    pub logins: u32,
    /// How many channels one connection may have; sshd's MaxSessions is 10.
    pub channels: u32,
    /// How long until a refused login is tried again ...
    pub refused: Span,
    /// ... doubling up to this.
    pub refused_max: Span,
    /// The longest command that is sent, its input not counted; a longer one is refused before it is sent.
    pub max_command: Bytes,
    /// How much of one run's log is fetched at a tick, at least 128KiB ...
    pub log_run: Bytes,
    /// ... and how much of all logs of a host, at least twice as much.
    pub log_host: Bytes,
}

impl Default for Ssh {
    fn default() -> Self {
        Ssh {
            connect: seconds(10),
            command: seconds(60),
            keepalive: seconds(15),
            keepalive_misses: 3,
            sweep: seconds(45),
            retries: 7,
            logins: 8,
            channels: 8,
            refused: seconds(900),
            refused_max: seconds(4 * 3600),
            max_command: Bytes(120 << 10),
            log_run: Bytes(256 << 10),
            log_host: Bytes(1 << 20),
        }
    }
}

/// What changes a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// How long the payload may take to arrive.
    pub payload: Span,
    /// How long to wait for the lock of a host.
    pub lock_wait: Span,
    /// A holder of that lock this old is killed.
    pub lock_stuck: Span,
    /// How long one change may take while it holds the lock.
    pub op: Span,
    /// How long to wait for the sign that a run has begun.
    pub started: Span,
    /// How long a run that was told to stop has until it is killed.
    pub kill_after: Span,
    /// A launch whose token is older is refused.
    pub stale: Span,
    /// Logs that were never fetched are kept so long.
    pub keep_logs: Span,
    /// The record that a run was started and how it ended is kept so long: it is what keeps it from starting twice.
    pub keep_runs: Span,
    /// How many backups of a crontab are kept, besides the first and one a day ...
    pub cron_backups: u32,
    /// ... for so long.
    pub cron_daily: Span,
    /// A crontab of more lines is not edited; cron refuses it.
    pub cron_lines: u32,
    /// `policy.critical`, which the guard needs too: no key of its own.
    #[serde(skip)]
    pub critical: Span,
}

impl Default for Guard {
    fn default() -> Self {
        let days = |days: u64| seconds(days * 86400);
        Guard {
            payload: seconds(30),
            lock_wait: seconds(20),
            lock_stuck: seconds(60),
            op: seconds(5),
            started: seconds(2),
            kill_after: seconds(30),
            stale: days(14),
            keep_logs: days(7),
            keep_runs: days(30),
            cron_backups: 20,
            cron_daily: days(30),
            cron_lines: 10_000,
            critical: Policy::default().critical,
        }
    }
}

/// The logs of runs and agents that are kept on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// How long after it was fetched a part of a log is kept.
    pub keep: Span,
    /// How much is kept of all logs; beyond it the oldest parts go first.
    pub size: Bytes,
}

impl Default for Logs {
    fn default() -> Self {
        Logs { keep: seconds(14 * 86400), size: Bytes(256 << 20) }
    }
}
