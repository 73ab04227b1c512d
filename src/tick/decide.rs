//! What a new sample means for a host: its severities, its verdict, and what is worth telling. No I/O, no clock.

use jiff::SignedDuration;

use crate::inventory::policy::Policy;
use crate::journal::{Event, HostRecord};
use crate::policy::severity::{Latches, Level, Severities, Severity, update, verdict};
use crate::remote::sample::Sample;

/// The level of a host of which nothing is known.
pub const UNKNOWN: u8 = 4;

/// How long a host that was under hard pressure and does not answer is looked at more often.
const RECENT: SignedDuration = SignedDuration::from_mins(3);

/// A host after its newest sample.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What is known of it now.
    pub record: HostRecord,
    /// What is worth telling.
    pub events: Vec<Event>,
}

impl Decided {
    /// It is under hard pressure, or was when it last answered, not long ago: one that is short of everything may well fail
    /// to answer once.
    pub fn is_urgent(&self) -> bool {
        let HostRecord { severities, seen, at, .. } = &self.record;
        let hard = severities.as_ref().is_some_and(|severities| severities.worst() >= Level::Hard);
        hard && seen.is_some_and(|seen| at.duration_since(seen) <= RECENT)
    }
}

/// What was latched when the journal was last written.
pub fn latches(previous: Option<&HostRecord>) -> Latches {
    previous.map(|known| known.latches.clone()).unwrap_or_default()
}

/// Judges `sample` by `policy`, given what was known of the host and what is latched. No answer moves nothing: the latches
/// and severities stay, and the host is unknown.
pub fn decide(previous: Option<&HostRecord>, mut latches: Latches, policy: &Policy, sample: Sample) -> Decided {
    let at = sample.at;
    let before = previous.and_then(|known| known.severities.as_ref());
    let mut events = Vec::new();
    let mut tell = |what: &str, severity: u8, message: String| {
        events.push(Event { at, host: Some(sample.host.clone()), what: what.to_owned(), severity, message });
    };
    let (severities, level, verdict) = match why_not(&sample) {
        Some(why) => {
            if previous.is_none_or(|known| known.level != UNKNOWN) {
                tell("missed", UNKNOWN, why.clone());
            }
            (before.cloned(), UNKNOWN, format!("unknown: {why}"))
        }
        None => {
            let now = update(&mut latches, policy, &sample);
            let level = now.worst().number();
            let verdict = verdict(&now);
            if previous.is_some_and(|known| known.level == UNKNOWN) {
                tell("back", level, format!("answers again: {verdict}"));
            }
            changes(before, &now, &mut tell);
            (Some(now), level, verdict)
        }
    };
    let since = previous.filter(|known| known.level == level).map_or(at, |known| known.since);
    let seen = if level == UNKNOWN { previous.and_then(|known| known.seen) } else { Some(at) };
    let host = sample.host.clone();
    let record = HostRecord { host, at, seen, latches, severities, verdict, level, since, sample };
    Decided { record, events }
}

/// Why nothing can be decided from `sample`; `None` when it is whole.
pub fn why_not(sample: &Sample) -> Option<String> {
    match &sample.missing {
        Some(why) => Some(why.clone()),
        None if sample.is_whole() => None,
        None => Some(format!("the probe could not tell {}", sample.lacks().join(", "))),
    }
}

/// Tells of each signal whose severity is another than before, and of those that are no longer looked at.
fn changes(before: Option<&Severities>, now: &Severities, tell: &mut impl FnMut(&str, u8, String)) {
    let before: &[Severity] = before.map_or(&[], |before| &before.signals);
    let find = |among: &[Severity], wanted: &Severity| {
        let level = |one: &&Severity| one.signal == wanted.signal && one.subject == wanted.subject;
        among.iter().find(level).map_or(Level::Ok, |one| one.level)
    };
    for signal in now.signals.iter().filter(|signal| find(before, signal) != signal.level) {
        tell("pressure", signal.level.number(), signal.text.clone());
    }
    let gone = |old: &&Severity| {
        old.level > Level::Ok && !now.signals.iter().any(|new| new.signal == old.signal && new.subject == old.subject)
    };
    for old in before.iter().filter(gone) {
        tell("pressure", 0, format!("no longer: {}", old.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    use crate::remote::sample::Mem;

    fn sample(second: i64, available_mib: u64) -> Sample {
        let mut sample = Sample::unknown("a".to_owned(), Timestamp::from_second(second).unwrap());
        sample.mem = Some(Mem { total: Some(8192 << 20), available: Some(available_mib << 20) });
        sample.boot_id = Some("b".to_owned());
        sample.uptime_s = Some(second as f64);
        sample.runs = Some(vec![]);
        sample
    }

    fn step(previous: &Option<HostRecord>, sample: Sample) -> (HostRecord, Vec<String>) {
        let decided = decide(previous.as_ref(), latches(previous.as_ref()), &Policy::default(), sample);
        let told = decided.events.iter().map(|event| format!("{} {}", event.what, event.severity)).collect();
        (decided.record, told)
    }

    #[test]
    fn each_change_is_told_once_and_silence_moves_nothing() {
        let mut known = None;
        let missing = || Sample::missing("a", Timestamp::from_second(400).unwrap(), "no road");
        let steps: Vec<(Sample, u8, &[&str], i64)> = vec![
            (sample(100, 8000), 0, &[], 100),
            (sample(200, 600), 2, &["pressure 2"], 200),
            (sample(300, 600), 2, &[], 200),
            (missing(), UNKNOWN, &["missed 4"], 400),
            (missing(), UNKNOWN, &[], 400),
            // 1000 MiB is above the enter of hard (8 %) and below its leave (15 %): the latch outlived the silence.
            (sample(500, 1000), 2, &["back 2"], 500),
            (sample(600, 8000), 0, &["pressure 0"], 600),
        ];
        for (index, (sample, level, told, since)) in steps.into_iter().enumerate() {
            let (record, events) = step(&known, sample);
            assert_eq!((record.level, record.since.as_second()), (level, since), "step {index}");
            assert_eq!(events, told, "step {index}");
            known = Some(record);
        }
        assert_eq!(known.unwrap().seen.unwrap().as_second(), 600);
    }

    #[test]
    fn a_sample_without_what_decisions_rest_on_is_no_answer() {
        let mut partial = sample(1, 8000);
        partial.runs = None;
        let decided = decide(None, Latches::default(), &Policy::default(), partial);
        assert_eq!(decided.record.level, UNKNOWN);
        assert!(decided.record.verdict.contains("run states"), "{}", decided.record.verdict);
        assert_eq!(decided.record.seen, None);
    }
}
