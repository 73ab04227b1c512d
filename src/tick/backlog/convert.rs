//! What a forge and a CI server tell -> what decisions look at.

use jiff::Timestamp;

use crate::forge::{self, Check, CommitStatus, Verdict};
use crate::policy::queue::closes::{Told, closes};
use crate::policy::queue::depends::depends;
use crate::policy::queue::{self, Event, Says, State, StatusState};

fn login(account: &Option<forge::Account>) -> String {
    account.as_ref().map(|account| account.login.clone()).unwrap_or_default()
}

/// An issue of the repo `slug`, on the forge at `url`; `known` is the same as it was seen before: its age counts on while nothing that matters has changed.
pub fn issue(issue: forge::Issue, known: Option<&queue::Issue>, slug: &str, url: &str) -> queue::Issue {
    let mut one = queue::Issue {
        number: issue.number,
        title: issue.title,
        depends: depends(&issue.body, slug, url),
        labels: issue.labels.into_iter().map(|label| label.name).collect(),
        assignees: issue.assignees.into_iter().map(|account| account.login).collect(),
        open: issue.state == forge::State::Open,
        pull: issue.is_pull,
        since: issue.updated_at,
    };
    let same = |known: &&queue::Issue| (&known.labels, &known.assignees) == (&one.labels, &one.assignees);
    if let Some(known) = known.filter(same) {
        one.since = known.since;
    }
    one
}

/// A pull of the repo `slug`, on the forge at `url`, without its reviews, statuses and pipelines; `head_at` is when its head came there.
pub fn pull(pull: &forge::Pull, head_at: Timestamp, slug: &str, url: &str) -> queue::Pull {
    let (title, body, branch) = (pull.title.as_str(), pull.body.as_str(), pull.head.branch.as_str());
    queue::Pull {
        number: pull.number,
        title: pull.title.clone(),
        closes: closes(Told { number: pull.number, title, body, branch }, slug, url),
        author: login(&pull.user),
        base: pull.base.branch.clone(),
        branch: pull.head.branch.clone(),
        head: pull.head.sha.clone(),
        head_at,
        open: pull.state == forge::State::Open,
        draft: pull.draft,
        mergeable: Some(pull.mergeable),
        reviews: None,
        statuses: None,
        pipelines: None,
        untold: None,
    }
}

/// Reviews.
pub fn reviews(all: Vec<forge::Review>) -> Vec<queue::Review> {
    let one = |review: forge::Review| queue::Review {
        id: review.id,
        author: login(&review.user),
        says: match review.state {
            Verdict::Approved => Says::Approved,
            Verdict::Changes => Says::ChangesRequested,
            Verdict::Comment => Says::Comment,
            Verdict::Pending | Verdict::Asked | Verdict::Unknown => Says::Nothing,
        },
        commit: review.commit_id,
        dismissed: review.dismissed,
        stale: review.stale,
        official: review.official,
    };
    all.into_iter().map(one).collect()
}

/// What each check last said; the forge gives each one once.
pub fn statuses(mut all: Vec<CommitStatus>) -> Vec<queue::Status> {
    all.sort_by_key(|status| status.updated_at);
    let one = |(index, status): (usize, CommitStatus)| queue::Status {
        id: u64::try_from(index).unwrap_or(u64::MAX),
        state: match status.state {
            _ if status.called_off() => StatusState::Killed,
            Check::Success | Check::Skipped | Check::Warning => StatusState::Success,
            Check::Failure => StatusState::Failure,
            Check::Error => StatusState::Error,
            // What is not known is neither red nor green.
            Check::Pending | Check::Unknown => StatusState::Pending,
        },
        context: status.context,
    };
    all.into_iter().enumerate().map(one).collect()
}

/// A pipeline, with its steps where they came along.
pub fn pipeline(pipeline: &forge::Pipeline) -> queue::Pipeline {
    let steps = (!pipeline.workflows.is_empty()).then(|| steps(pipeline));
    listed(pipeline, steps)
}

/// A pipeline that was asked for by itself: it has no other steps than these, also where it has none.
pub fn whole(pipeline: &forge::Pipeline) -> queue::Pipeline {
    listed(pipeline, Some(steps(pipeline)))
}

fn steps(pipeline: &forge::Pipeline) -> Vec<queue::Step> {
    let mut all = Vec::new();
    for workflow in &pipeline.workflows {
        // Nothing else tells `failure: ignore`.
        let ignored = workflow.state == forge::Status::Success;
        all.extend(workflow.steps.iter().map(|step| queue::Step {
            name: step.name.clone(),
            state: state(step.state),
            exit_code: step.state.ended().then_some(step.exit_code),
            ignored,
        }));
    }
    all
}

fn listed(pipeline: &forge::Pipeline, steps: Option<Vec<queue::Step>>) -> queue::Pipeline {
    queue::Pipeline {
        number: pipeline.number,
        event: match pipeline.event {
            forge::Event::Push => Event::Push,
            forge::Event::PullRequest => Event::Pull(number(&pipeline.reference)),
            _ => Event::Other,
        },
        commit: pipeline.commit.clone(),
        state: state(pipeline.status),
        unfetched: pipeline.errors.iter().any(forge::Trouble::unfetched),
        steps,
    }
}

/// The pull whose ref it is: `refs/pull/7/head`.
fn number(reference: &str) -> Option<u64> {
    reference.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok()
}

fn state(status: forge::Status) -> State {
    match status {
        // What is not known is neither red nor green.
        forge::Status::Pending | forge::Status::Running | forge::Status::Unknown => State::Running,
        forge::Status::Blocked => State::Blocked,
        forge::Status::Success => State::Success,
        forge::Status::Failure => State::Failure,
        forge::Status::Error => State::Error,
        forge::Status::Killed | forge::Status::Canceled => State::Killed,
        forge::Status::Declined => State::Declined,
        forge::Status::Skipped => State::Skipped,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::inventory::repos::Labels;
    use crate::policy::queue::{CiKind, GRACE, Repo, Seen};

    /// The state of a pipeline, its workflows and its errors, and what is to become of its pull.
    type Row<'a> = (&'a str, &'a [Value], &'a [(&'a str, bool)], &'a str);

    /// A workflow with steps, each by name, state and exit code, as Woodpecker 3.17 writes it.
    fn workflow(name: &str, state: &str, steps: &[(&str, &str, i64)]) -> Value {
        let step = |(name, state, code): &(&str, &str, i64)| {
            json!({"id": 1, "uuid": "", "pipeline_id": 1, "pid": 2, "ppid": 1, "name": name, "state": state,
                "exit_code": code, "started": 100, "finished": 101, "type": "commands"})
        };
        let steps: Vec<Value> = steps.iter().map(step).collect();
        json!({"id": 1, "pipeline_id": 1, "pid": 1, "name": name, "state": state, "agent_id": 1, "children": steps})
    }

    /// What is to become of a green pull without reviews whose own pipeline is this one, with these workflows and errors.
    fn verdict(status: &str, workflows: &[Value], errors: &[(&str, bool)]) -> String {
        let error = |(message, warns): &(&str, bool)| json!({"type": "generic", "message": message, "is_warning": warns, "data": null});
        let mut told = json!({"id": 5007, "number": 7, "author": "dev-bot", "parent": 0, "event": "pull_request",
            "event_reason": null, "status": status, "errors": errors.iter().map(error).collect::<Vec<_>>(), "created": 90,
            "updated": 0, "started": 100, "finished": 200, "commit": "head", "branch": "master",
            "ref": "refs/pull/7/head", "refspec": "fix/issue-7:master", "reviewed": 0, "version": "3.17.0"});
        // None at all are not written.
        if !workflows.is_empty() {
            told["workflows"] = json!(workflows);
        }
        if errors.is_empty() {
            told["errors"] = Value::Null;
        }
        let told: forge::Pipeline = serde_json::from_value(told).unwrap();
        let known: forge::Pull = serde_json::from_value(json!({"number": 7, "title": "fix: it", "body": "",
            "state": "open", "mergeable": true, "user": {"login": "dev-bot"}, "base": {"ref": "master", "sha": "b"},
            "head": {"ref": "fix/issue-7", "sha": "head"}, "created_at": "2026-08-22T17:00:13Z",
            "updated_at": "2026-08-22T17:00:13Z"}))
        .unwrap();
        let (head_at, labels, none) = (known.updated_at, Labels::default(), BTreeSet::new());
        let mut one = pull(&known, head_at, "johba/harb", "https://codeberg.org");
        (one.reviews, one.statuses, one.pipelines) = (Some(vec![]), Some(vec![]), Some(vec![whole(&told)]));
        let repo = Repo {
            name: "harb",
            slug: "johba/harb",
            branch: Some("master"),
            labels: &labels,
            ours: &["dev-bot"],
            reviewer: None,
            approvals: 0,
            checks: &[],
            ci: CiKind::Pipelines,
            grace: GRACE,
        };
        let seen = Seen {
            issues: &[],
            pulls: vec![&one],
            facts: BTreeMap::new(),
            taken: &none,
            blind: false,
            runs_as_of: None,
            merged: BTreeMap::new(),
        };
        queue::pull::judge(&repo, &seen, &one, head_at).to_string()
    }

    #[test]
    fn a_pipeline_is_judged_by_what_its_server_tells_of_it() {
        let lint = |state| workflow("lint", state, &[("clone", "success", 0), ("lint", "failure", 1)]);
        let build = |code| workflow("build", "failure", &[("build", "failure", code), ("after", "skipped", 0)]);
        let memory = "CI failed, not by the code: step build of pipeline 7 ended with 137: out of memory";
        let config = "needs fixes: pipeline 7 could not be made: its configuration is wrong";
        let unfetched =
            "CI failed, not by the code: pipeline 7 could not be made: the forge did not tell its configuration";
        let forge = "could not load config from forge: context deadline exceeded";
        let rows: [Row; 11] = [
            ("success", &[lint("success")], &[], "needs a review"),
            ("failure", &[lint("failure")], &[], "needs fixes: step lint of pipeline 7 failed"),
            // `failure: ignore`, which only its workflow tells.
            ("failure", &[lint("success"), build(137)], &[], memory),
            ("failure", &[lint("success"), build(2)], &[], "needs fixes: step build of pipeline 7 failed"),
            ("failure", &[lint("failure"), build(137)], &[], "needs fixes: step lint of pipeline 7 failed"),
            // A service of a workflow that was good is killed when all is done.
            ("failure", &[workflow("db", "success", &[("db", "killed", 137)]), build(137)], &[], memory),
            ("error", &[], &[("yaml: line 3: mapping values are not allowed in this context", false)], config),
            ("error", &[], &[(forge, false)], unfetched),
            // As it is run again, and as Woodpecker 2.0 says it.
            ("error", &[], &[("pipeline definition not found in johba/harb", false)], unfetched),
            ("error", &[], &[(forge, true), ("invalid step", false)], config),
            ("failure", &[], &[], "unknown: a pipeline failed, and none of its steps did"),
        ];
        for (status, workflows, errors, expected) in rows {
            assert_eq!(verdict(status, workflows, errors), expected, "{status} {workflows:?} {errors:?}");
        }
        // In a list nothing tells whether it has steps.
        let told: forge::Pipeline = serde_json::from_value(
            json!({"number": 7, "event": "push", "status": "failure", "commit": "head", "errors": null}),
        )
        .unwrap();
        assert_eq!((pipeline(&told).steps, whole(&told).steps), (None, Some(vec![])));
    }
}
