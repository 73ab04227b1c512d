//! Forgejo's Actions, as far as the API of Forgejo 12 and newer tells of them.
//!
//! A *run* is one file of workflows at work for one event, so a push may make several, each with a number of its own. Its
//! jobs become *tasks* when a runner takes them: what waits for a runner is in no list of tasks, and only runs tell of it.
//! Runs come with the whole event that began them, and in no order before Forgejo 15; so only those are asked for that have
//! not ended, and what has ended is put together from its tasks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::failure::{Failure, Why};
use super::forgejo::repo;
use super::http::{Call, Client, Pages};
use super::load::load;
use super::pipeline::{Event, Pipeline, Project, Status, Step, Workflow};
use super::{Answer, Ci};
use crate::policy::ci_load::Load;

/// How many pages of tasks are looked through for those of one run.
const TASK_PAGES: usize = 5;

/// The Actions of one repo.
#[derive(Debug)]
pub struct Actions {
    client: Client,
    slug: String,
    workers: u32,
}

/// A page of a list; `total_count` is that of the whole list.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(default)]
    workflow_runs: Option<Vec<T>>,
    #[serde(default)]
    total_count: usize,
}

/// One file of workflows at work for one event.
#[derive(Clone, Debug, Deserialize)]
struct Run {
    #[serde(rename = "index_in_repo")]
    number: u64,
    #[serde(rename = "workflow_id")]
    workflow: String,
    /// A branch, a tag, or a pull as `#7`.
    #[serde(default, rename = "prettyref")]
    reference: String,
    #[serde(rename = "commit_sha")]
    commit: String,
    #[serde(default)]
    need_approval: bool,
    #[serde(rename = "trigger_event")]
    event: String,
    status: Word,
    #[serde(default, deserialize_with = "time")]
    created: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    started: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    stopped: Option<Timestamp>,
}

/// A job that a runner has taken; one that is run again is a task of its own, with a higher number.
#[derive(Clone, Debug, Deserialize)]
struct Task {
    id: u64,
    /// Of the job.
    name: String,
    #[serde(default, rename = "head_branch")]
    reference: String,
    #[serde(rename = "head_sha")]
    commit: String,
    #[serde(rename = "run_number")]
    run: u64,
    event: String,
    status: Word,
    #[serde(rename = "workflow_id")]
    workflow: String,
    #[serde(default, rename = "created_at", deserialize_with = "time")]
    created: Option<Timestamp>,
    /// Of one that has ended: when it did, since nothing else tells.
    #[serde(default, rename = "updated_at", deserialize_with = "time")]
    updated: Option<Timestamp>,
    #[serde(default, rename = "run_started_at", deserialize_with = "time")]
    started: Option<Timestamp>,
}

/// Where a run or a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Waiting,
    Running,
    Blocked,
    Success,
    Failure,
    Cancelled,
    Skipped,
    #[serde(other)]
    Unknown,
}

impl Word {
    /// What is blocked waits for other jobs, or for a run of the same kind.
    fn status(self) -> Status {
        match self {
            Word::Waiting | Word::Blocked => Status::Pending,
            Word::Running => Status::Running,
            Word::Success => Status::Success,
            Word::Failure => Status::Failure,
            Word::Cancelled => Status::Killed,
            Word::Skipped => Status::Skipped,
            Word::Unknown => Status::Unknown,
        }
    }
}

/// The repo, as far as its Actions matter.
#[derive(Deserialize)]
struct About {
    id: u64,
    full_name: String,
    #[serde(default)]
    has_actions: bool,
}

impl Actions {
    /// Those of the repo OWNER/NAME on the forge that this client calls, with as many `workers` as the inventory says.
    pub fn new(client: Client, slug: &str, workers: u32) -> Actions {
        Actions { client, slug: slug.to_owned(), workers }
    }

    fn call(&self, path: &[&'static str]) -> Call<'_> {
        Call::get(repo(&self.slug, path))
    }

    /// All runs that `call` asks for.
    async fn runs(&self, call: Call<'_>) -> Result<Vec<Run>, Failure> {
        let mut seen = 0;
        let pages = |page: Page<Run>| {
            let runs = page.workflow_runs.unwrap_or_default();
            seen += runs.len();
            (runs, seen < page.total_count)
        };
        self.client.all(&call, Pages::Told, pages).await.map_err(|failure| match failure.why {
            Why::NotFound { .. } => {
                let said = "it takes Forgejo 12 or newer, with Actions switched on for the repo; for an older one write \
                            `ci: statuses`";
                self.client.absent(&call, said)
            }
            _ => failure,
        })
    }

    /// Tasks, the newest first, until `enough` of them, page by page, are there; and whether there are more.
    async fn tasks(&self, mut enough: impl FnMut(&[Task]) -> bool) -> Result<(Vec<Task>, bool), Failure> {
        let (mut seen, mut cut) = (0, false);
        let pages = |page: Page<Task>| {
            let tasks = page.workflow_runs.unwrap_or_default();
            seen += tasks.len();
            let (more, enough) = (seen < page.total_count, enough(&tasks));
            cut = more && enough;
            (tasks, more && !enough)
        };
        let call = self.call(&["actions", "tasks"]);
        let mut tasks = self.client.all(&call, Pages::Told, pages).await?;
        // One that was made meanwhile moves another onto the next page, where it comes once more.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.id));
        tasks.dedup_by_key(|task| task.id);
        Ok((tasks, cut))
    }
}

impl Ci for Actions {
    fn project(&self) -> Answer<'_, Project> {
        Box::pin(async {
            let About { id, full_name, has_actions } = self.client.one(&self.call(&[])).await?;
            Ok(Project { id, full_name, active: has_actions, allow_pr: has_actions, timeout: 0 })
        })
    }

    fn pipelines(&self, least: usize) -> Answer<'_, Vec<Pipeline>> {
        Box::pin(async move {
            // First what is open: what ends meanwhile is open for one more look, and nothing waits unseen.
            let open = ["waiting", "running", "blocked"].iter();
            let open = open.fold(self.call(&["actions", "runs"]), |call, status| call.query("status", *status));
            let open = self.runs(open).await?;
            let mut numbers = BTreeSet::new();
            let (tasks, cut) = self
                .tasks(|page| {
                    numbers.extend(page.iter().map(|task| task.run));
                    numbers.len() > least
                })
                .await?;
            let mut by_run: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
            for task in tasks {
                by_run.entry(task.run).or_default().push(task);
            }
            if cut {
                // Some of its tasks may be on the next page.
                by_run.pop_first();
            }
            let mut all: BTreeMap<u64, Pipeline> =
                open.into_iter().map(|run| (run.number, of_run(&run, by_run.get(&run.number)))).collect();
            for (number, tasks) in by_run {
                if let (None, Some(pipeline)) = (all.get(&number), of_tasks(&tasks)) {
                    all.insert(number, pipeline);
                }
            }
            Ok(all.into_values().rev().collect())
        })
    }

    fn pipeline(&self, number: u64) -> Answer<'_, Pipeline> {
        Box::pin(async move {
            let call = self.call(&["actions", "runs"]).query("run_number", number.to_string());
            let runs = self.runs(call.clone()).await?;
            let run = runs.into_iter().find(|run| run.number == number);
            let run = run.ok_or_else(|| self.client.absent(&call, &format!("there is no run {number}")))?;
            let mut pages = 0;
            let older = |page: &[Task]| {
                pages += 1;
                pages >= TASK_PAGES || page.iter().all(|task| task.run < number)
            };
            let (mut tasks, _) = self.tasks(older).await?;
            tasks.retain(|task| task.run == number);
            Ok(of_run(&run, Some(&tasks)))
        })
    }

    /// Runners are told of to administrators alone, and those of the forge to nobody: the inventory's number counts.
    fn workers(&self) -> Answer<'_, Option<u32>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn load(&self, pipelines: &[Pipeline], now: Timestamp) -> Load {
        load(pipelines, self.workers, now)
    }
}

/// A run as the forge tells of it, with its tasks as far as they are known.
fn of_run(run: &Run, tasks: Option<&Vec<Task>>) -> Pipeline {
    let steps = steps(tasks.map(Vec::as_slice).unwrap_or_default());
    let status = match run.status.status() {
        Status::Pending if run.need_approval => Status::Blocked,
        // The forge calls it cancelled also when one job has failed and the others were called off for it.
        Status::Killed if steps.iter().any(|step| step.state == Status::Failure) => Status::Failure,
        status => status,
    };
    pipeline(Known {
        number: run.number,
        workflow: &run.workflow,
        reference: &run.reference,
        commit: &run.commit,
        event: &run.event,
        status,
        times: [run.created, run.started, run.stopped.filter(|_| status.ended())],
        steps,
    })
}

/// A run of which only tasks tell, and which has ended: its newest task of each job counts.
fn of_tasks(tasks: &[Task]) -> Option<Pipeline> {
    let first = tasks.first()?;
    let steps = steps(tasks);
    let has = |wanted: Status| steps.iter().any(|step| step.state == wanted);
    let order = [
        Status::Running,
        Status::Pending,
        Status::Unknown,
        // One job that has failed is enough: others are called off for it.
        Status::Failure,
        Status::Killed,
        Status::Success,
        Status::Skipped,
    ];
    let status = order.into_iter().find(|status| has(*status))?;
    let started = steps.iter().filter_map(|step| step.started).min();
    let finished = steps.iter().filter_map(|step| step.finished).max().filter(|_| status.ended());
    Some(pipeline(Known {
        number: first.run,
        workflow: &first.workflow,
        reference: &first.reference,
        commit: &first.commit,
        event: &first.event,
        status,
        times: [tasks.iter().filter_map(|task| task.created).min(), started, finished],
        steps,
    }))
}

/// The newest task of each job, in the order of their numbers. How their programs ended is not told.
fn steps(tasks: &[Task]) -> Vec<Step> {
    let mut newest: BTreeMap<&str, &Task> = BTreeMap::new();
    for task in tasks {
        let known = newest.entry(&task.name).or_insert(task);
        if task.id > known.id {
            *known = task;
        }
    }
    let mut tasks: Vec<&Task> = newest.into_values().collect();
    tasks.sort_by_key(|task| task.id);
    let step = |task: &Task| {
        let state = task.status.status();
        Step {
            pid: task.id,
            name: task.name.clone(),
            state,
            exit_code: 0,
            error: String::new(),
            kind: String::new(),
            started: task.started,
            finished: task.updated.filter(|_| state.ended()),
        }
    };
    tasks.into_iter().map(step).collect()
}

/// What is known of a run.
struct Known<'a> {
    number: u64,
    workflow: &'a str,
    reference: &'a str,
    commit: &'a str,
    event: &'a str,
    status: Status,
    times: [Option<Timestamp>; 3],
    steps: Vec<Step>,
}

fn pipeline(known: Known<'_>) -> Pipeline {
    let Known { number, workflow, reference, commit, event, status, times, steps } = known;
    let [created, started, finished] = times;
    let pull = reference.strip_prefix('#').map(|number| format!("refs/pull/{number}/head"));
    Pipeline {
        number,
        event: match event {
            "push" => Event::Push,
            "pull_request" => Event::PullRequest,
            "release" => Event::Release,
            "schedule" => Event::Cron,
            "workflow_dispatch" => Event::Manual,
            // `pull_request_target` runs what the base has, and judges no code of the pull.
            _ => Event::Unknown,
        },
        status,
        commit: commit.to_owned(),
        branch: if pull.is_some() { String::new() } else { reference.to_owned() },
        reference: pull.unwrap_or_default(),
        created,
        started,
        finished,
        errors: Vec::new(),
        workflows: vec![Workflow { pid: 1, name: workflow.to_owned(), state: status, error: String::new(), steps }],
    }
}

/// A time; never is written as the begin of an age.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<Timestamp>::deserialize(deserializer)?.filter(|time| time.as_second() > 0))
}
