//! Recorded samples through the ladder: what would have happened. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::ladder::{Action, Change, Look, Mode, Rung, Seen, Standing, Stepped, Up, step};
use super::roster::Roster;
use super::severity::{Latches, Severities, update, verdict};
use super::victim::count;
use crate::inventory::agents::Class;
use crate::inventory::policy::Policy;
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::remote::sample::Sample;

/// The ladder of every host that has been seen.
pub struct Replay {
    policy: Policy,
    roster: Roster,
    hosts: BTreeMap<String, Host>,
}

struct Host {
    latches: Latches,
    rung: Rung,
    last: Option<f64>,
    totals: Totals,
}

/// What one sample did.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The host.
    pub host: String,
    /// When it was taken.
    pub at: Timestamp,
    /// Dev agents.
    pub dev: Mode,
    /// Review agents.
    pub review: Mode,
    /// Nothing starts but probes and alerts.
    pub survive: bool,
    /// The level of each signal that is above 0, by its short name and path.
    pub severity: BTreeMap<String, u8>,
    /// What the ladder did: `dev RUN to HOLD`, `stop a dev agent`.
    pub actions: Vec<String>,
    /// Why, for people.
    pub reason: String,
}

/// How one host fared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Samples, those that were missed too.
    pub samples: u64,
    /// Those that were missed or not whole.
    pub missed: u64,
    /// Changes of a rung.
    pub transitions: u64,
    /// How often a dev or review agent would have been stopped.
    pub stops: u64,
    /// Seconds of observed time on each rung, by `dev HOLD` and so on.
    #[serde(serialize_with = "rounded")]
    pub seconds: BTreeMap<String, f64>,
}

fn rounded<S: Serializer>(seconds: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(seconds.iter().map(|(rung, seconds)| (rung, seconds.round())))
}

impl Replay {
    /// A replay by these numbers and agents; every host begins at RUN.
    pub fn new(settings: &Settings) -> Replay {
        let roster = Roster::of(settings, &Repos::default());
        Replay { policy: settings.policy, roster, hosts: BTreeMap::new() }
    }

    /// Takes the next sample; samples of a host are in the order in which they were taken.
    pub fn take(&mut self, sample: &Sample) -> Line {
        let (nothing, zero) = (Standing::default(), Duration::ZERO);
        let count = |class| count(sample, &self.roster, class, &nothing, (zero, zero));
        let (dev, review) = (count(Class::Dev), count(Class::Review));
        let host = self.hosts.entry(sample.host.clone()).or_insert_with(|| Host {
            latches: Latches::default(),
            rung: Rung::running(),
            last: None,
            totals: Totals::default(),
        });
        let severities = update(&mut host.latches, &self.policy, sample);
        let seen = sample.boot_id.clone().zip(sample.uptime_s).filter(|_| severities.whole);
        let seen = seen.map(|(boot_id, uptime)| Seen::of(&severities, Up { boot_id, uptime }, dev, review));
        let at = sample.at.as_duration().as_secs_f64();
        // Samples that were written by a clock that was set back are no earlier for that.
        let at = host.last.map_or(at, |last| last.max(at));
        host.last = Some(at);
        let before = host.rung.clone();
        let stepped = if sample.cut_off {
            host.rung.unseen();
            Stepped::default()
        } else {
            step(&mut host.rung, &self.policy, &Look { at, seen })
        };
        host.count(&before, &stepped, severities.whole);
        let rung = &host.rung;
        Line {
            host: sample.host.clone(),
            at: sample.at,
            dev: rung.dev,
            review: rung.review,
            survive: rung.survive,
            severity: levels(&severities),
            actions: actions(&stepped),
            reason: reason(&severities, rung, &self.policy),
        }
    }

    /// How each host fared.
    pub fn summary(self) -> BTreeMap<String, Totals> {
        self.hosts.into_iter().map(|(name, host)| (name, host.totals)).collect()
    }
}

impl Host {
    fn count(&mut self, before: &Rung, stepped: &Stepped, whole: bool) {
        let totals = &mut self.totals;
        totals.samples += 1;
        totals.missed += u64::from(!whole);
        totals.transitions += u64::from(stepped.change.is_some());
        totals.stops += u64::from(stepped.action.is_some());
        // The time up to this sample was spent where the host stood before it.
        let dt = self.rung.t - before.t;
        let mut add = |rung: String| *totals.seconds.entry(rung).or_default() += dt;
        add(format!("dev {}", before.dev));
        add(format!("review {}", before.review));
        if before.survive {
            add("survive".to_owned());
        }
    }
}

fn levels(severities: &Severities) -> BTreeMap<String, u8> {
    let raised = severities.signals.iter().filter(|signal| signal.level.number() > 0);
    let name = |signal: &super::severity::Severity| match &signal.subject {
        Some(path) => format!("{} {path}", signal.signal.name()),
        None => signal.signal.name().to_owned(),
    };
    raised.map(|signal| (name(signal), signal.level.number())).collect()
}

/// What a step did, in words.
pub fn actions(stepped: &Stepped) -> Vec<String> {
    let change = stepped.change.map(|change| match change {
        Change::Dev(from, to) => format!("dev {from} to {to}"),
        Change::Review(from, to) => format!("review {from} to {to}"),
        Change::Survive(true) => "survive begins".to_owned(),
        Change::Survive(false) => "survive ends".to_owned(),
    });
    let action = stepped.action.map(|action| match action {
        Action::StopDev => "stop a dev agent".to_owned(),
        Action::StopReview => "stop a review agent".to_owned(),
    });
    let lost = stepped.lost.then(|| "unreachable".to_owned());
    change.into_iter().chain(action).chain(lost).collect()
}

/// What the sample says, and what is still to happen before the next step down.
fn reason(severities: &Severities, rung: &Rung, policy: &Policy) -> String {
    if let Some(missing) = &severities.missing {
        return format!("no sample: {missing}");
    }
    match rung.next_release(policy) {
        Some(next) => format!("{}; {next}", verdict(severities)),
        None => verdict(severities),
    }
}
