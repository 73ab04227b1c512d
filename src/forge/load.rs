//! What the CI of a repo has to do, by its pipelines.

use jiff::Timestamp;

use super::pipeline::{Event, Pipeline, Status};
use crate::policy::ci_load::Load;

/// How many pipelines the median is taken of, at most.
const MEDIAN_OF: usize = 25;

/// What the CI of a repo has to do, by its pipelines, the newest first.
pub(super) fn load(pipelines: &[Pipeline], workers: u32, now: Timestamp) -> Load {
    let pending = || pipelines.iter().filter(|pipeline| pipeline.status == Status::Pending);
    let oldest = pending().filter_map(|pipeline| pipeline.created).min();
    // How long it takes to do the work: what was called off or could not be run took no such time.
    let took = |pipeline: &Pipeline| {
        let worked = matches!(pipeline.status, Status::Success | Status::Failure);
        let closed = matches!(pipeline.event, Event::PullRequestClosed | Event::PullRequestMetadata);
        let took = pipeline.finished?.duration_since(pipeline.started?).as_secs_f64();
        (worked && !closed && took >= 0.0).then_some(took)
    };
    let mut times: Vec<f64> = pipelines.iter().filter_map(took).take(MEDIAN_OF).collect();
    times.sort_by(f64::total_cmp);
    let middle = |index: usize| times.get(index).copied();
    let median = match times.len() {
        0 => None,
        len if len % 2 == 1 => middle(len / 2),
        len => middle(len / 2 - 1).zip(middle(len / 2)).map(|(low, high)| low.midpoint(high)),
    };
    Load {
        pending: u32::try_from(pending().count()).unwrap_or(u32::MAX),
        // A clock that is behind the server's makes nothing older than new.
        oldest: oldest.map(|oldest| now.duration_since(oldest).as_secs_f64().max(0.0)),
        median,
        workers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pipeline(number: u64, status: Status, times: [i64; 3]) -> Pipeline {
        let [created, started, finished] = times.map(|second| (second > 0).then(|| at(second)));
        let (commit, branch, reference) = (String::new(), String::new(), String::new());
        let (event, errors, workflows) = (Event::Push, Vec::new(), Vec::new());
        Pipeline { number, event, status, commit, branch, reference, created, started, finished, errors, workflows }
    }

    #[test]
    fn the_load_is_what_waits_and_the_median_of_what_was_done() {
        let all = [
            pipeline(9, Status::Pending, [900, 0, 0]),
            pipeline(8, Status::Pending, [800, 0, 0]),
            pipeline(7, Status::Blocked, [100, 0, 0]),
            pipeline(6, Status::Running, [700, 710, 0]),
            pipeline(5, Status::Success, [100, 100, 160]),
            pipeline(4, Status::Killed, [100, 100, 101]),
            pipeline(3, Status::Failure, [100, 100, 200]),
            pipeline(2, Status::Success, [100, 100, 900]),
        ];
        let got = load(&all, 2, at(1000));
        assert_eq!(got, Load { pending: 2, oldest: Some(200.0), median: Some(100.0), workers: 2 });
        let even = load(all.get(4..7).unwrap(), 2, at(1000));
        assert_eq!(even, Load { pending: 0, oldest: None, median: Some(80.0), workers: 2 });
        assert_eq!(load(&[], 1, at(0)), Load { workers: 1, ..Load::default() });
        assert_eq!(load(&all, 1, at(10)).oldest, Some(0.0));
    }
}
