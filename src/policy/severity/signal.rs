//! The signals and the levels.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How bad a signal is: 0 to 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0: nothing.
    #[default]
    Ok,
    /// 1: no new dev agents when it lasts.
    Soft,
    /// 2: no new agents.
    Hard,
    /// 3: agents are stopped.
    Crit,
}

impl Level {
    /// All of them, the mildest first.
    pub const ALL: [Level; 4] = [Level::Ok, Level::Soft, Level::Hard, Level::Crit];

    /// The number, 0 to 3.
    pub fn number(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Soft => 1,
            Level::Hard => 2,
            Level::Crit => 3,
        }
    }

    /// The word: `ok`, `soft`, `hard`, `crit`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Soft => "soft",
            Level::Hard => "hard",
            Level::Crit => "crit",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        let number = u8::deserialize(deserializer)?;
        let level = Level::ALL.into_iter().find(|level| level.number() == number);
        level.ok_or_else(|| de::Error::custom(format_args!("{number} is not a severity: 0 to 3")))
    }
}

/// What becomes of the work while a signal is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Cannot be squeezed: what is gone is gone, and processes die.
    Incompressible,
    /// A disk: full holds work, filling stops it.
    Disk,
    /// Everything gets slower; never a reason to stop work.
    Compressible,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// MemAvailable, in bytes.
    Mem,
    /// All tasks waiting for memory, in percent of 10 s.
    PsiMem,
    /// Processes killed for want of memory since the last sample, beyond those inside our own runs' limits.
    Oom,
    /// Free swap in percent.
    Swap,
    /// Free space of a path in bytes.
    Disk,
    /// Free inodes of a path in percent.
    Inodes,
    /// Free process ids in percent.
    Pids,
    /// Tasks waiting for a processor, in percent of 60 s.
    PsiCpu,
    /// All tasks waiting for a disk, in percent of 60 s.
    PsiIo,
    /// Processor time given to others by the hypervisor, in percent since the last sample.
    Steal,
    /// Load per core.
    Load,
}

impl Signal {
    /// All of them, in the order of the table.
    pub const ALL: [Signal; 11] = [
        Signal::Mem,
        Signal::PsiMem,
        Signal::Oom,
        Signal::Swap,
        Signal::Disk,
        Signal::Inodes,
        Signal::Pids,
        Signal::PsiCpu,
        Signal::PsiIo,
        Signal::Steal,
        Signal::Load,
    ];

    /// The short name, as in `policy:` and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Mem => "mem",
            Signal::PsiMem => "psi_mem",
            Signal::Oom => "oom",
            Signal::Swap => "swap",
            Signal::Disk => "disk",
            Signal::Inodes => "inodes",
            Signal::Pids => "pids",
            Signal::PsiCpu => "psi_cpu",
            Signal::PsiIo => "psi_io",
            Signal::Steal => "steal",
            Signal::Load => "load",
        }
    }

    /// Which kind of resource it is about.
    pub fn kind(self) -> Kind {
        match self {
            Signal::Mem | Signal::PsiMem | Signal::Oom | Signal::Swap | Signal::Pids => Kind::Incompressible,
            Signal::Disk | Signal::Inodes => Kind::Disk,
            Signal::PsiCpu | Signal::PsiIo | Signal::Steal | Signal::Load => Kind::Compressible,
        }
    }

    /// What is measured, before and after the number: `memory 1.1GiB free`.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Signal::Mem => ("memory", " free"),
            Signal::PsiMem => ("waiting for memory", ""),
            Signal::Oom => ("killed for want of memory", ""),
            Signal::Swap => ("swap", " free"),
            Signal::Disk => ("disk", " free"),
            Signal::Inodes => ("inodes of", " free"),
            Signal::Pids => ("process ids", " free"),
            Signal::PsiCpu => ("waiting for a processor", ""),
            Signal::PsiIo => ("waiting for disks", ""),
            Signal::Steal => ("processor stolen by the hypervisor", ""),
            Signal::Load => ("load per core", ""),
        }
    }
}
