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
    let steps = pipeline.workflows.iter().flat_map(|workflow| &workflow.steps);
    let step = |step: &forge::Step| queue::Step {
        name: step.name.clone(),
        state: state(step.state),
        exit_code: step.state.ended().then_some(step.exit_code),
        ignored: false,
    };
    queue::Pipeline {
        number: pipeline.number,
        event: match pipeline.event {
            forge::Event::Push => Event::Push,
            forge::Event::PullRequest => Event::Pull(number(&pipeline.reference)),
            _ => Event::Other,
        },
        commit: pipeline.commit.clone(),
        state: state(pipeline.status),
        steps: (!pipeline.workflows.is_empty()).then(|| steps.map(step).collect()),
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
