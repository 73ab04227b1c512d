//! Which pipeline speaks for a pull, and what it says.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::statuses::{self, checks, is_reported};
use super::{CiKind, Pull, Repo};

/// One pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its number: a later one is higher.
    pub number: u64,
    /// What began it.
    pub event: Event,
    /// The commit that it judges, in full.
    pub commit: String,
    /// How it is.
    pub state: State,
    /// Its configuration could not be had from the forge.
    #[serde(default)]
    pub unfetched: bool,
    /// Its steps over all workflows; `None` when it was not asked for by itself.
    pub steps: Option<Vec<Step>>,
}

/// What begins a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A push to a branch.
    Push,
    /// A pull, with its number where that is known.
    Pull(Option<u64>),
    /// Anything else: a tag, a schedule, a closed pull.
    Other,
}

impl Pipeline {
    /// Whether it judges this commit for a pull with this number. One that was skipped judged nothing.
    pub fn is_of(&self, pull: u64, head: &str) -> bool {
        let own = matches!(self.event, Event::Pull(number) if number.is_none_or(|number| number == pull));
        own && self.commit == head && self.state != State::Skipped
    }
}

/// How a pipeline or a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It waits or runs.
    Running,
    /// It waits for somebody to allow it.
    Blocked,
    /// It ended well.
    Success,
    /// It ended badly.
    Failure,
    /// It could not be made out: its configuration is wrong.
    Error,
    /// Somebody, or a later one, ended it.
    Killed,
    /// Somebody did not allow it.
    Declined,
    /// There was nothing to do.
    Skipped,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Its exit status.
    pub exit_code: Option<i64>,
    /// A failure of it is no failure of its workflow.
    pub ignored: bool,
}

/// What CI says of the head commit of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is good; the pipeline that says so, if one does.
    Green(Option<u64>),
    /// It is not: the code is to be mended.
    Red(Red),
    /// It failed by what it runs on.
    Infrastructure(Infra),
    /// Not yet.
    Waiting(Wait),
    /// It does not answer.
    Unknown(&'static str),
}

/// By what the code failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Red {
    /// By this step of this pipeline.
    Step(u64, String),
    /// By this pipeline, whose configuration is wrong.
    Config(u64),
    /// By this status check.
    Check(String),
}

/// By what else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Infra {
    /// A git step ended with 128: the forge's rate limit, or the forge itself.
    Git(u64, String),
    /// Its configuration could not be had from the forge.
    Config(u64),
    /// A step ended with 137: out of memory.
    Memory(u64, String),
    /// Who was to judge could not.
    Check(String),
}

/// For what CI waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// This pipeline runs, or waits to.
    Runs(u64),
    /// This pipeline waits for somebody to allow it.
    Blocked(u64),
    /// Somebody did not allow this pipeline.
    Declined(u64),
    /// This pipeline was ended before it was done.
    Killed(u64),
    /// No pipeline of the pull has begun yet; the head commit has been there for so many seconds.
    NotBegun(i64),
    /// Nothing ran for the head commit.
    Nothing,
    /// These status checks are not there yet.
    Checks(Vec<String>),
    /// This status check was ended before it was done.
    Ended(String),
}

/// What CI says.
pub(super) fn says(repo: &Repo<'_>, pull: &Pull, now: Timestamp) -> Says {
    match repo.ci {
        CiKind::None => unjudged(repo, pull),
        CiKind::Pipelines => by_pipelines(repo, pull, now),
        CiKind::Statuses => statuses::says(repo, pull, now),
    }
}

/// Without CI: what the protection asks for is asked, as far as it is there. Something else may set it.
fn unjudged(repo: &Repo<'_>, pull: &Pull) -> Says {
    let Some(statuses) = &pull.statuses else {
        return if repo.checks.is_empty() { Says::Green(None) } else { Says::Unknown(statuses::SILENT) };
    };
    match checks(repo.checks, statuses) {
        Says::Waiting(Wait::Checks(missing)) if missing.iter().all(|check| !is_reported(check, statuses)) => {
            Says::Green(None)
        }
        other => other,
    }
}

/// The pipeline of the pull's own event decides, whatever a push says; only when there is none for a while the push's, then
/// the status checks that the protection asks for. A badge never decides against a pipeline: a lost callback leaves it
/// pending for ever.
fn by_pipelines(repo: &Repo<'_>, pull: &Pull, now: Timestamp) -> Says {
    let Some(pipelines) = &pull.pipelines else { return Says::Unknown("CI does not answer") };
    let own = pipelines.iter().filter(|one| one.is_of(pull.number, &pull.head));
    if let Some(own) = own.max_by_key(|one| one.number) {
        return one(own);
    }
    if let Some(early) = early(repo, pull, now) {
        return early;
    }
    let pushed = |one: &&Pipeline| one.event == Event::Push && one.commit == pull.head && one.state != State::Skipped;
    if let Some(push) = pipelines.iter().filter(pushed).max_by_key(|one| one.number) {
        return one(push);
    }
    match pull.statuses.as_ref() {
        None if !repo.checks.is_empty() => Says::Unknown(statuses::SILENT),
        told => told.and_then(|told| statuses::instead(repo.checks, told)).unwrap_or(Says::Waiting(Wait::Nothing)),
    }
}

/// That the head commit is so young that what judges it may still begin; none when it is not.
pub(super) fn early(repo: &Repo<'_>, pull: &Pull, now: Timestamp) -> Option<Says> {
    let age: SignedDuration = now.duration_since(pull.head_at);
    (age < repo.grace).then(|| Says::Waiting(Wait::NotBegun(age.as_secs().max(0))))
}

fn one(pipeline: &Pipeline) -> Says {
    let number = pipeline.number;
    match pipeline.state {
        State::Success => Says::Green(Some(number)),
        State::Running => Says::Waiting(Wait::Runs(number)),
        State::Blocked => Says::Waiting(Wait::Blocked(number)),
        State::Declined => Says::Waiting(Wait::Declined(number)),
        State::Killed => Says::Waiting(Wait::Killed(number)),
        State::Skipped => Says::Waiting(Wait::Nothing),
        State::Failure | State::Error => failed(pipeline),
    }
}

/// By what a pipeline failed. One step that failed by code is enough: there is something to mend.
fn failed(pipeline: &Pipeline) -> Says {
    let number = pipeline.number;
    if pipeline.unfetched {
        return Says::Infrastructure(Infra::Config(number));
    }
    let Some(steps) = &pipeline.steps else { return Says::Unknown("CI does not tell the steps of a failed pipeline") };
    let bad = |step: &&Step| !step.ignored && matches!(step.state, State::Failure | State::Error);
    // What is killed along with the rest failed by itself only when nothing else did.
    let killed = |step: &&Step| !step.ignored && step.state == State::Killed;
    let mut failed: Vec<&Step> = steps.iter().filter(bad).collect();
    if failed.is_empty() {
        failed = steps.iter().filter(killed).filter(|step| step.exit_code == Some(137)).collect();
    }
    failed.sort_by(|one, other| one.name.cmp(&other.name));
    let mut infra = None;
    for step in failed {
        let name = step.name.clone();
        match step.exit_code {
            Some(137) => infra = infra.or(Some(Infra::Memory(number, name))),
            Some(128) if is_git(&step.name) => infra = infra.or(Some(Infra::Git(number, name))),
            _ => return Says::Red(Red::Step(number, name)),
        }
    }
    match infra {
        Some(infra) => Says::Infrastructure(infra),
        None if pipeline.state == State::Error => Says::Red(Red::Config(number)),
        None => Says::Unknown("a pipeline failed, and none of its steps did"),
    }
}

/// Whether a step fetches the code: `clone`, `git`, `git-lfs`. In others 128 is what a test got from git.
fn is_git(name: &str) -> bool {
    name.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| matches!(word, "git" | "clone"))
}

/// For people.
impl std::fmt::Display for Red {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Red::Step(number, step) => write!(f, "step {step} of pipeline {number} failed"),
            Red::Config(number) => write!(f, "pipeline {number} could not be made: its configuration is wrong"),
            Red::Check(context) => write!(f, "{context} failed"),
        }
    }
}

/// For people.
impl std::fmt::Display for Infra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Infra::Git(number, step) => {
                write!(
                    f,
                    "step {step} of pipeline {number} ended with 128: the forge refused git, by its rate limit say"
                )
            }
            Infra::Config(number) => {
                write!(f, "pipeline {number} could not be made: the forge did not tell its configuration")
            }
            Infra::Memory(number, step) => write!(f, "step {step} of pipeline {number} ended with 137: out of memory"),
            Infra::Check(context) => write!(f, "{context} could not judge"),
        }
    }
}

/// For people.
impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wait::Runs(number) => write!(f, "pipeline {number} is not finished"),
            Wait::Blocked(number) => write!(f, "pipeline {number} waits for somebody to allow it"),
            Wait::Declined(number) => write!(f, "pipeline {number} was declined"),
            Wait::Killed(number) => write!(f, "pipeline {number} was ended before it was done"),
            Wait::NotBegun(seconds) => write!(f, "no pipeline of the pull yet, {seconds}s after its head commit"),
            Wait::Nothing => f.write_str("no pipeline and no status check for its head commit"),
            Wait::Ended(context) => write!(f, "{context} was ended before it was done"),
            Wait::Checks(missing) => write!(f, "not green yet: {}", missing.join(", ")),
        }
    }
}
