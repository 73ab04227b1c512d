//! Every number of the pressure policy, each with its default: the `policy:` key of `factory.yml`.
//!
//! Where a signal has steps (soft, hard, crit), `enter` is passed on the way up and `leave` on the way down; between
//! the two the severity stays as it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Bytes, Percent, Span};

mod order;

/// A struct with `serde`, a schema and a default for each field, which the YAML may leave out.
macro_rules! keys {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$doc])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $default,)* }
            }
        }
    };
}

/// A signal with three steps: its struct, and one for its `enter` and its `leave`.
macro_rules! steps {
    ($(#[$meta:meta])* $name:ident, $enter:ident = $enters:expr, $leave:ident = $leaves:expr, $kind:ty) => {
        keys! { $(#[$meta])* $name {
            /// Passed on the way up.
            enter: $enter = $enter::default(),
            /// Passed on the way down.
            leave: $leave = $leave::default(),
        } }
        steps! { @side $(#[$meta])* $enter = $enters, $kind }
        steps! { @side $(#[$meta])* $leave = $leaves, $kind }

        impl $name {
            /// `(enter, leave)` for soft, hard and crit.
            pub fn steps(&self) -> Vec<($kind, $kind)> {
                let (enter, leave) = (&self.enter, &self.leave);
                vec![(enter.soft, leave.soft), (enter.hard, leave.hard), (enter.crit, leave.crit)]
            }
        }
    };
    (@side $(#[$meta:meta])* $name:ident = $defaults:expr, $kind:ty) => {
        keys! { $(#[$meta])* $name {
            /// No new start of a dev agent when it lasts.
            soft: $kind = { let [soft, _, _] = $defaults; soft },
            /// No new start.
            hard: $kind = { let [_, hard, _] = $defaults; hard },
            /// Agents are stopped.
            crit: $kind = { let [_, _, crit] = $defaults; crit },
        } }
    };
}

/// A signal with two steps: compressible resources are never crit.
macro_rules! two_steps {
    ($(#[$meta:meta])* $name:ident, $enter:ident = $enters:expr, $leave:ident = $leaves:expr, $kind:ty) => {
        keys! { $(#[$meta])* $name {
            /// Passed on the way up.
            enter: $enter = $enter::default(),
            /// Passed on the way down.
            leave: $leave = $leave::default(),
        } }
        two_steps! { @side $(#[$meta])* $enter = $enters, $kind }
        two_steps! { @side $(#[$meta])* $leave = $leaves, $kind }

        impl $name {
            /// `(enter, leave)` for soft and hard.
            pub fn steps(&self) -> Vec<($kind, $kind)> {
                let (enter, leave) = (&self.enter, &self.leave);
                vec![(enter.soft, leave.soft), (enter.hard, leave.hard)]
            }
        }
    };
    (@side $(#[$meta:meta])* $name:ident = $defaults:expr, $kind:ty) => {
        keys! { $(#[$meta])* $name {
            /// No new start of a dev agent when it lasts.
            soft: $kind = { let [soft, _] = $defaults; soft },
            /// No new start of a dev agent when it lasts; for `psi_io` and `steal` none of a review either.
            hard: $kind = { let [_, hard] = $defaults; hard },
        } }
    };
}

/// An amount given twice, as a part of the whole and in bytes. Both keys are needed where one is given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// Part of the whole.
    pub percent: Percent,
    /// Bytes.
    pub bytes: Bytes,
}

const fn room(percent: u8, gib: u64) -> Room {
    Room { percent: Percent(percent as f64), bytes: Bytes(gib << 30) }
}

const fn percent(value: u8) -> Percent {
    Percent(value as f64)
}

const fn seconds(seconds: u64) -> Span {
    Span(std::time::Duration::from_secs(seconds))
}

steps! {
    /// MemAvailable; the smaller of the two amounts counts. Enter below 15 %/4 GiB, 8 %/2 GiB, 4 %/1 GiB;
    /// leave above 25 %/6 GiB, 15 %/4 GiB, 8 %/2 GiB.
    Memory, MemoryEnter = [room(15, 4), room(8, 2), room(4, 1)], MemoryLeave = [room(25, 6), room(15, 4), room(8, 2)], Room
}
steps! {
    /// Share of the last 10 s in which all tasks waited for memory. Enter above 5, 20, 40 %; leave below 1, 5, 20 %.
    MemoryPressure, MemoryPressureEnter = [5, 20, 40].map(percent), MemoryPressureLeave = [1, 5, 20].map(percent), Percent
}
steps! {
    /// Free swap, looked at only where there is swap and memory is soft. Enter below 25, 10, 5 %; leave above 40, 25,
    /// 10 %.
    SwapRoom, SwapRoomEnter = [25, 10, 5].map(percent), SwapRoomLeave = [40, 25, 10].map(percent), Percent
}
steps! {
    /// Free space of a watched path: entered when below both amounts, left when above either. Enter 15 % and 10 GiB,
    /// 10 % and 5 GiB, 5 % and 2 GiB; leave 20 % or 15 GiB, 15 % or 10 GiB, 10 % or 5 GiB.
    DiskRoom, DiskRoomEnter = [room(15, 10), room(10, 5), room(5, 2)], DiskRoomLeave = [room(20, 15), room(15, 10), room(10, 5)], Room
}
steps! {
    /// Free inodes of a watched path. Enter below 15, 10, 5 %; leave above 20, 15, 10 %.
    InodeRoom, InodeRoomEnter = [15, 10, 5].map(percent), InodeRoomLeave = [20, 15, 10].map(percent), Percent
}
steps! {
    /// Free process ids. Enter below 15, 5, 2 %; leave above 25, 15, 5 %.
    PidRoom, PidRoomEnter = [15, 5, 2].map(percent), PidRoomLeave = [25, 15, 5].map(percent), Percent
}
two_steps! {
    /// Share of the last 60 s in which all tasks waited for a disk. Enter above 30, 60 %; leave below 10, 30 %.
    IoPressure, IoPressureEnter = [30, 60].map(percent), IoPressureLeave = [10, 30].map(percent), Percent
}
two_steps! {
    /// Processor time that the hypervisor gave to others since the last sample. Enter above 20, 40 %; leave below 10,
    /// 20 %.
    Steal, StealEnter = [20, 40].map(percent), StealLeave = [10, 20].map(percent), Percent
}
two_steps! {
    /// Load over 1 minute per core, only on a host without pressure stall information. Enter above 2, 4; leave below
    /// 1, 2.
    Load, LoadEnter = [2.0, 4.0], LoadLeave = [1.0, 2.0], f64
}

keys! {
    /// One bound of [`CpuPressure`].
    CpuPressureEnter {
        /// Share of the last 60 s in which some task waited for a processor. Default 90 %.
        waiting: Percent = percent(90),
        /// Load over 1 minute per core. Default 2.
        load: f64 = 2.0,
    }
}
keys! {
    /// One bound of [`CpuPressure`].
    CpuPressureLeave {
        /// Share of the last 60 s in which some task waited for a processor. Default 70 %.
        waiting: Percent = percent(70),
        /// Load over 1 minute per core. Default 1.5.
        load: f64 = 1.5,
    }
}
keys! {
    /// Processors wanted: at most soft. Entered when above both bounds, left when below either.
    CpuPressure {
        /// Passed on the way up. Default above 90 % and 2 per core.
        enter: CpuPressureEnter = CpuPressureEnter::default(),
        /// Passed on the way down. Default below 70 % or 1.5 per core.
        leave: CpuPressureLeave = CpuPressureLeave::default(),
    }
}
keys! {
    /// How long a host must have been well before it runs again: `base`, doubled for each time it fell back within
    /// `window`, up to `max`.
    Dwell {
        /// The first wait. Default 2 min.
        base: Span = seconds(120),
        /// The longest wait. Default 15 min.
        max: Span = seconds(900),
        /// How long a relapse counts. Default 30 min.
        window: Span = seconds(1800),
    }
}
keys! {
    /// When a repo's CI is short of workers.
    CiLoad {
        /// Pending pipelines per worker above which it is soft. Default 2.
        pending: f64 = 2.0,
        /// For how long so many must be pending. Default 10 min.
        pending_for: Span = seconds(600),
        /// Age of the oldest pending pipeline, in median durations, above which it is soft. Default 3.
        oldest: f64 = 3.0,
        /// Times the soft bounds at which it is hard. Default 2.
        hard: f64 = 2.0,
        /// Pending pipelines per worker, and age in medians, at or below which it is over. Default 1.
        leave: f64 = 1.0,
    }
}
keys! {
    /// How many samples and how much time each rung of the ladder asks for.
    Policy {
        /// Available memory.
        mem: Memory = Memory::default(),
        /// Memory pressure.
        psi_mem: MemoryPressure = MemoryPressure::default(),
        /// Free swap.
        swap: SwapRoom = SwapRoom::default(),
        /// Free disk space.
        disk: DiskRoom = DiskRoom::default(),
        /// Free inodes.
        inodes: InodeRoom = InodeRoom::default(),
        /// Free process ids.
        pids: PidRoom = PidRoom::default(),
        /// Processor pressure.
        psi_cpu: CpuPressure = CpuPressure::default(),
        /// Disk pressure.
        psi_io: IoPressure = IoPressure::default(),
        /// Stolen processor time.
        steal: Steal = Steal::default(),
        /// Load, without pressure stall information.
        load: Load = Load::default(),
        /// A signal that was there and has been unknown for so long counts as soft. Default 10 min.
        unknown: Span = seconds(600),
        /// A longer time between two samples proves nothing about the time between. Default 200 s.
        gap: Span = seconds(200),
        /// Samples in a row with a soft severity before dev is held. Default 2.
        soft_samples: u32 = 2,
        /// Samples in a row with a hard severity before dev is stopped. Default 2.
        hard_samples: u32 = 2,
        /// A soft shortage that lasts so long holds review too. Default 2 min.
        soft_since: Span = seconds(120),
        /// A crit shortage with no agent left that lasts so long leaves probe and alert only. Default 2 min.
        survive: Span = seconds(120),
        /// How long it must be better than hard before one step back from STOP or SURVIVE. Default 60 s.
        calm: Span = seconds(60),
        /// How long it must be good before a hold ends.
        dwell: Dwell = Dwell::default(),
        /// The least time between two steps of the ladder. Default 20 s.
        pace: Span = seconds(20),
        /// The least time between two stops on one host. Default 60 s.
        stop_pace: Span = seconds(60),
        /// An agent whose `critical` file is younger is not stopped. Default 5 min.
        critical: Span = seconds(300),
        /// How long after KILL a run still counts as running. Default 60 s.
        kill_grace: Span = seconds(60),
        /// Samples missed before a host is UNREACHABLE. Default 3.
        misses: u32 = 3,
        /// The least time between two misses that count. Default 60 s.
        miss_pace: Span = seconds(60),
        /// The oldest sample that a launch or a plan may rest on. Default 90 s.
        sample_age: Span = seconds(90),
        /// Reviews for which memory is kept free when a dev agent is launched. Default 1.
        review_slots: u32 = 1,
        /// Memory kept free in any case, a part of the whole; `factory_reserve` may ask for more. Default 5 %.
        reserve: Percent = percent(5),
        /// Processors promised to runs, per core. Default 2.
        cpu: f64 = 2.0,
        /// Load of CI.
        ci: CiLoad = CiLoad::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_the_default_of_the_design() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&Policy::default()).unwrap());
    }

    #[test]
    fn one_key_alone_may_be_given_at_any_depth() {
        let text = r#"{"mem": {"enter": {"hard": {"percent": "9%", "bytes": "2.5GiB"}}}, "gap": "5m"}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        let mut want = Policy { gap: seconds(300), ..Policy::default() };
        want.mem.enter.hard = Room { percent: percent(9), bytes: Bytes(5 << 29) };
        assert_eq!(policy, want);
        for text in
            [r#"{"men": {}}"#, r#"{"mem": {"enter": {"hardd": {}}}}"#, r#"{"mem": {"enter": {"hard": {"bytes": 1}}}}"#]
        {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_schema_explains_every_key() {
        let schema = serde_json::to_value(schemars::schema_for!(Policy)).unwrap();
        let keys = schema["properties"].as_object().unwrap();
        assert_eq!(keys.len(), serde_json::to_value(Policy::default()).unwrap().as_object().unwrap().len());
        for (key, value) in keys {
            assert!(value["description"].as_str().is_some_and(|text| !text.is_empty()), "{key}: {value}");
        }
    }
}
