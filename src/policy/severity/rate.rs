//! Raw counters of the last sample, for what is a difference: kills, stolen time, a disk that fills.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::remote::sample::{Disk, Sample};

/// What is kept of the last samples of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// `oom_kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oom_kill: Option<u64>,
    /// Kills inside the limits of our own runs, by token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    own_kills: BTreeMap<String, u64>,
    /// `(total, steal)` ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ticks: Option<(u64, u64)>,
    /// `(bytes, inodes)` free by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    free: BTreeMap<String, (Option<u64>, Option<u64>)>,
}

impl Rates {
    /// Kills since the last sample that counted them, less those in our own runs; none when there is nothing to
    /// compare with.
    pub fn oom_kills(&mut self, sample: &Sample) -> Option<u64> {
        let now = sample.vm?.oom_kill?;
        let own: BTreeMap<String, u64> = sample
            .runs
            .iter()
            .flatten()
            .map(|run| {
                let before = self.own_kills.get(&run.token).copied().unwrap_or_default();
                (run.token.clone(), run.oom_kills.unwrap_or(before))
            })
            .collect();
        let grown = |(token, kills): (&String, &u64)| {
            kills.saturating_sub(self.own_kills.get(token).copied().unwrap_or_default())
        };
        let ours = own.iter().map(grown).fold(0u64, u64::saturating_add);
        let before = self.oom_kill.replace(now);
        self.own_kills = own;
        Some(now.checked_sub(before?)?.saturating_sub(ours))
    }

    /// Percent of the processors' time that was stolen since the last sample; none when there is nothing to compare
    /// with, or a counter went back.
    pub fn steal(&mut self, sample: &Sample) -> Option<f64> {
        let ticks = sample.cpu_ticks?;
        let (total, steal) = (ticks.total?, ticks.steal?);
        let (total_before, steal_before) = self.ticks.replace((total, steal))?;
        let all = total.checked_sub(total_before).filter(|all| *all > 0)?;
        // The kernel does not read both at one instant: over a short interval one may be a tick ahead.
        let stolen = steal.checked_sub(steal_before)?.min(all);
        Some(stolen as f64 / all as f64 * 100.0)
    }

    /// Whether free bytes and free inodes of a path are fewer than when they were last known.
    pub fn fell(&mut self, disk: &Disk) -> [bool; 2] {
        let last = self.free.entry(disk.path.clone()).or_default();
        let fell = |last: &mut Option<u64>, now: Option<u64>| {
            let Some(now) = now else { return false };
            last.replace(now).is_some_and(|last| now < last)
        };
        [fell(&mut last.0, disk.free), fell(&mut last.1, disk.inodes_free)]
    }

    /// Forgets the paths that are not watched any more.
    pub fn keep_paths(&mut self, disks: &[Disk]) {
        self.free.retain(|path, _| disks.iter().any(|disk| disk.path == *path));
    }
}
