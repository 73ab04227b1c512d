//! What a new sample means for a host: its severities, its verdict, and what is worth telling. No I/O, no clock.

use jiff::Timestamp;

use crate::inventory::policy::Policy;
use crate::journal::{Event, HostRecord};
use crate::policy::severity::{Latches, Severities, update, verdict};
use crate::remote::sample::Sample;

/// The level of a host of which nothing is known.
pub const UNKNOWN: u8 = 4;

/// A host after its newest sample.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What is known of it now.
    pub record: HostRecord,
    /// The severities behind that, from this sample or, when it is missing, from the last whole one.
    pub severities: Option<Severities>,
    /// The sample.
    pub sample: Sample,
    /// What is worth telling.
    pub events: Vec<Event>,
}

/// Judges `sample` by `policy`, given what was known of the host. No answer moves nothing: the latches and severities
/// stay, and the host is unknown.
pub fn decide(previous: Option<&HostRecord>, policy: &Policy, sample: Sample) -> Decided {
    let at = sample.at;
    let mut latches: Latches = previous.and_then(|known| serde_json::from_str(&known.latches).ok()).unwrap_or_default();
    let before: Option<Severities> = previous.and_then(|known| serde_json::from_str(&known.severities).ok());
    let mut events = Vec::new();
    let mut tell = |what: &str, severity: u8, message: String| {
        events.push(Event { at, host: Some(sample.host.clone()), what: what.to_owned(), severity, message });
    };
    let (severities, level, verdict) = match why_not(&sample) {
        Some(why) => {
            if previous.is_none_or(|known| known.level != UNKNOWN) {
                tell("missed", UNKNOWN, why.clone());
            }
            (before, UNKNOWN, format!("unknown: {why}"))
        }
        None => {
            let now = update(&mut latches, policy, &sample);
            let level = now.worst();
            let verdict = verdict(&now);
            if previous.is_some_and(|known| known.level == UNKNOWN) {
                tell("back", level, format!("answers again: {verdict}"));
            }
            changes(before.as_ref(), &now, &mut tell);
            (Some(now), level, verdict)
        }
    };
    let since = previous.filter(|known| known.level == level).map_or(at, |known| known.since);
    let seen = if level == UNKNOWN { previous.and_then(|known| known.seen) } else { Some(at) };
    let record = HostRecord {
        host: sample.host.clone(),
        at,
        seen,
        latches: json(&latches),
        severities: json(&severities),
        verdict,
        level,
        since,
        sample: json(&sample),
    };
    Decided { record, severities, sample, events }
}

/// `value` as the journal keeps it. These types cannot fail to serialize; were one to, the next tick would start anew.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Why nothing can be decided from `sample`; `None` when it is whole.
fn why_not(sample: &Sample) -> Option<String> {
    match &sample.missing {
        Some(why) => Some(why.clone()),
        None if sample.is_whole() => None,
        None => Some(format!("the probe could not tell {}", sample.lacks().join(", "))),
    }
}

/// Tells of each signal whose severity is another than before.
fn changes(before: Option<&Severities>, now: &Severities, tell: &mut impl FnMut(&str, u8, String)) {
    for signal in &now.signals {
        let was = before.and_then(|before| before.level(signal)).unwrap_or(0);
        if signal.level != was {
            tell("pressure", signal.level, signal.text.clone());
        }
    }
}
