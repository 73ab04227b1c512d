//! What CI servers tell, as far as it is used.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::model::or_default;

/// A repo as a CI server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// Its number there.
    pub id: u64,
    /// OWNER/NAME on the forge.
    pub full_name: String,
    /// Whether pipelines are run for it.
    #[serde(default)]
    pub active: bool,
    /// Whether they are run for pulls.
    #[serde(default)]
    pub allow_pr: bool,
    /// How long a pipeline may take, in minutes.
    #[serde(default)]
    pub timeout: u64,
}

/// What a pipeline was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A push to a branch.
    Push,
    /// A pull, or a push to its branch.
    PullRequest,
    /// The end of a pull.
    PullRequestClosed,
    /// A change of a pull's title or labels.
    PullRequestMetadata,
    /// A tag.
    Tag,
    /// A release.
    Release,
    /// A deployment.
    Deployment,
    /// The clock.
    Cron,
    /// A person.
    Manual,
    /// Something that is not known here.
    #[serde(other)]
    Unknown,
}

/// Where a pipeline, a workflow or a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was not to be run.
    Skipped,
    /// It waits to be run.
    #[serde(alias = "created")]
    Pending,
    /// It runs.
    Running,
    /// It is well.
    Success,
    /// It is not well.
    Failure,
    /// It was ended by somebody.
    Killed,
    /// It was called off before it ran.
    Canceled,
    /// It could not be run.
    Error,
    /// It waits for somebody to allow it.
    Blocked,
    /// Somebody did not allow it.
    Declined,
    /// Something that is not known here: neither red nor green.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Whether it will not change any more by itself.
    pub fn ended(self) -> bool {
        !matches!(self, Status::Pending | Status::Running | Status::Blocked | Status::Unknown)
    }
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pipeline {
    /// Its number in the repo.
    pub number: u64,
    /// What it was made for.
    pub event: Event,
    /// Where it stands.
    pub status: Status,
    /// The commit that is judged.
    pub commit: String,
    /// The branch; of a pull, the one that it goes to.
    #[serde(default)]
    pub branch: String,
    /// The ref, such as `refs/heads/master` or `refs/pull/7/head`.
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// When it was made.
    #[serde(default, alias = "created_at", deserialize_with = "second")]
    pub created: Option<Timestamp>,
    /// When it began to run.
    #[serde(default, alias = "started_at", deserialize_with = "second")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, alias = "finished_at", deserialize_with = "second")]
    pub finished: Option<Timestamp>,
    /// What went wrong with its configuration, and what may be wrong with it.
    #[serde(default, deserialize_with = "or_default")]
    pub errors: Vec<Trouble>,
    /// Its workflows; none in a list, nor where its configuration is wrong.
    #[serde(default, deserialize_with = "or_default")]
    pub workflows: Vec<Workflow>,
}

/// What went wrong before a pipeline could be made out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Trouble {
    /// In the server's words.
    #[serde(default)]
    pub message: String,
    /// Whether it stops nothing.
    #[serde(default)]
    pub is_warning: bool,
}

impl Trouble {
    /// Whether the configuration could not be had from the forge, or was not there to be run again for that: nothing is wrong
    /// with what it says.
    pub fn unfetched(&self) -> bool {
        let begins = |text: &&str| self.message.starts_with(*text);
        !self.is_warning && ["could not load config from forge", "pipeline definition not found"].iter().any(begins)
    }
}

/// A workflow of a pipeline.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Workflow {
    /// Its number in the pipeline.
    pub pid: u64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: Status,
    /// What went wrong with the workflow itself.
    #[serde(default)]
    pub error: String,
    /// Its steps.
    #[serde(default, rename = "children", deserialize_with = "or_default")]
    pub steps: Vec<Step>,
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Step {
    /// Its number in the pipeline.
    pub pid: u64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: Status,
    /// How its program ended: 128 in a clone is the forge's refusal, 137 a want of memory. 0 also before it has ended.
    #[serde(default)]
    pub exit_code: i64,
    /// What went wrong with the step itself.
    #[serde(default)]
    pub error: String,
    /// What kind of step: `clone`, `commands`, `plugin`, `service`, `cache`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// When it began to run.
    #[serde(default, alias = "start_time", deserialize_with = "second")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, alias = "end_time", deserialize_with = "second")]
    pub finished: Option<Timestamp>,
}

/// Seconds of the epoch; 0 is never.
fn second<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let second = Option::<i64>::deserialize(deserializer)?.unwrap_or_default();
    if second == 0 {
        return Ok(None);
    }
    Timestamp::from_second(second).map(Some).map_err(serde::de::Error::custom)
}
