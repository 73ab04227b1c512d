//! The pressure ladder of one host: which agents may start, which must stop. A pure step from sample to sample.
//!
//! Dev agents are held first, then review; stopping follows the same order, one rung and one agent at a time. What goes up
//! fast comes down slowly, and only by contiguous good samples: silence moves nothing.

mod standing;
mod step;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::severity::{Level, Severities, Signal};
use crate::inventory::policy::Policy;
use crate::inventory::units::Span;

pub use standing::{Held, Refused, Standing};
pub use step::{ENOUGH, step, wants_stop};

/// What the agents of a class may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Start, as long as there is room.
    #[default]
    Run,
    /// Start nothing new; what runs goes on, for as long as it takes.
    Hold,
    /// Start nothing new, and what runs is stopped, one at a time.
    Stop,
}

impl Mode {
    /// All of them, the freest first.
    pub const ALL: [Mode; 3] = [Mode::Run, Mode::Hold, Mode::Stop];

    /// RUN, HOLD or STOP.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Run => "RUN",
            Mode::Hold => "HOLD",
            Mode::Stop => "STOP",
        }
    }

    fn up(self) -> Mode {
        match self {
            Mode::Run => Mode::Hold,
            Mode::Hold | Mode::Stop => Mode::Stop,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mode, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = Mode::ALL.into_iter().find(|mode| mode.name() == text);
        mode.ok_or_else(|| de::Error::custom(format_args!("`{text}` is none of RUN, HOLD and STOP")))
    }
}

/// Where one host stands, and what is needed to go on from there. As JSON it goes to the ledger. Times are seconds of
/// `t`, the host's time as far as it was observed: it does not go on while nobody looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Dev agents.
    pub dev: Mode,
    /// Review agents; never above dev.
    pub review: Mode,
    /// Nothing starts but probes and alerts, not even supervisors. Only while review is at STOP.
    pub survive: bool,
    /// A signal, or a host that came back, asked for a rung above RUN: then files and crontabs show it. Without it, after
    /// a lost state, dev at HOLD only means that we launch nothing.
    pub asked: bool,
    /// Observed time.
    pub t: f64,
    /// The boot of the last whole sample, and the uptime; none after a miss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Up>,
    /// Contiguous time in which nothing was even soft.
    pub good: f64,
    /// Contiguous time in which it was better than hard.
    pub calm: f64,
    /// Whole samples running that were soft at least, in anything.
    pub soft_n: u32,
    /// Whole samples running that were hard at least, in what cannot be squeezed.
    pub hard_n: u32,
    /// Since when something that cannot be squeezed is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_since: Option<f64>,
    /// Since when it is critical although no agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crit_since: Option<f64>,
    /// When dev went from RUN to HOLD, within the window that counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<f64>,
    /// When the last step was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepped: Option<f64>,
    /// When the last agent was stopped here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<f64>,
    /// Samples missed running, and when the last one that counts was, by the clock of [`Look::at`].
    #[serde(default)]
    pub misses: u32,
    /// See [`Rung::misses`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<f64>,
    /// It has not answered for long: its runs are unknown, not dead.
    #[serde(default)]
    pub unreachable: bool,
    /// It answers again after that, and is still to be held for it.
    #[serde(default)]
    pub back: bool,
}

/// The last whole sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Up {
    /// Its boot.
    pub boot_id: String,
    /// Seconds since that boot.
    pub uptime: f64,
}

impl Rung {
    /// A host without a history: our own launches are held until it has shown itself well; nothing else is touched.
    pub fn unknown() -> Rung {
        Rung { dev: Mode::Hold, ..Rung::running() }
    }

    /// A host at RUN, as `replay` begins.
    pub fn running() -> Rung {
        Rung {
            dev: Mode::Run,
            review: Mode::Run,
            survive: false,
            asked: false,
            t: 0.0,
            up: None,
            good: 0.0,
            calm: 0.0,
            soft_n: 0,
            hard_n: 0,
            soft_since: None,
            crit_since: None,
            entries: Vec::new(),
            stepped: None,
            stopped: None,
            misses: 0,
            missed: None,
            unreachable: false,
            back: false,
        }
    }

    /// What halt files and crontabs must show for dev: a rung that somebody asked for.
    pub fn shown(&self) -> Mode {
        if self.asked { self.dev } else { Mode::Run }
    }
}

/// One look at a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// When, in seconds of a clock of the controller's that never goes back. Only the distance of misses is told by it.
    pub at: f64,
    /// What it showed; none when there was no sample, or not a whole one.
    pub seen: Option<Seen>,
}

/// What a whole sample showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The boot and the uptime.
    pub up: Up,
    /// The worst of what cannot be squeezed.
    pub inc: Level,
    /// The worst of what only gets slower.
    pub cmp: Level,
    /// `psi_io` or `steal` is hard: review is held too.
    pub slow: bool,
    /// Dev agents that run; one that has outlived KILL for long does not count. Where nobody could count them all, at least
    /// one: what needs none to run waits.
    pub dev: u32,
    /// Review agents that run, counted likewise.
    pub review: u32,
}

impl Seen {
    /// What the severities of a whole sample mean for the ladder.
    pub fn of(severities: &Severities, up: Up, dev: u32, review: u32) -> Seen {
        let hard = |signal| severities.level(signal).is_some_and(|level| level >= Level::Hard);
        let slow = hard(Signal::PsiIo) || hard(Signal::Steal);
        Seen { up, inc: severities.inc, cmp: severities.cmp, slow, dev, review }
    }
}

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One dev agent must stop.
    StopDev,
    /// One review agent must stop.
    StopReview,
}

/// A change of rung, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Dev went from one mode to another.
    Dev(Mode, Mode),
    /// Review did.
    Review(Mode, Mode),
    /// Survival began or ended.
    Survive(bool),
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// The one rung that changed.
    pub change: Option<Change>,
    /// The one agent that must stop.
    pub action: Option<Action>,
    /// The host has just become unreachable.
    pub lost: bool,
}

impl Rung {
    /// What must happen, and for how long, before the next step down; none at RUN.
    pub fn next_release(&self, policy: &Policy) -> Option<String> {
        let left = |need: f64, have: f64| length((need - have).max(0.0));
        let calm = left(policy.calm.0.as_secs_f64(), self.calm);
        let good = left(self.dwell(policy), self.good);
        Some(match (self.survive, self.review, self.dev) {
            (true, ..) => format!("survive ends after {calm} more below hard"),
            (_, Mode::Stop, _) => format!("review back to HOLD after {calm} more below hard"),
            (_, _, Mode::Stop) => format!("dev back to HOLD after {calm} more below hard"),
            (_, Mode::Hold, _) => format!("review back to RUN after {good} more without any shortage"),
            (_, _, Mode::Hold) => format!("dev back to RUN after {good} more without any shortage"),
            (false, Mode::Run, Mode::Run) => return None,
        })
    }
}

/// Whole seconds in words.
fn length(seconds: f64) -> String {
    Span(std::time::Duration::from_secs_f64(seconds.ceil())).to_string()
}
