//! CI over HTTP, against [`super::forge_server`]: Woodpecker, and Forgejo's Actions.

use factory::forge::{Actions, Ci, Event, Forge, Forgejo, Pipeline, Status, Why, Woodpecker};
use factory::policy::ci_load::Load;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::forge::{REPO, client, failed, limits, woodpecker};
use super::forge_server::{Fault, Server};

/// A pipeline as Woodpecker 3.17 writes it.
pub fn pipeline(number: u64, status: &str, [created, started, finished]: [i64; 3]) -> Value {
    let clone = json!({
        "id": 1, "uuid": "", "pipeline_id": 1, "pid": 2, "ppid": 1, "name": "clone", "state": "failure",
        "exit_code": 128, "started": 100, "finished": 101, "type": "clone",
    });
    let test = json!({"id": 2, "uuid": "", "pipeline_id": 1, "pid": 3, "ppid": 1, "name": "test", "state": "skipped",
        "exit_code": 0});
    let build = json!({"id": 1, "pipeline_id": 1, "pid": 1, "name": "build", "state": "failure", "agent_id": 1,
        "children": [clone, test]});
    let lint = json!({"id": 2, "pipeline_id": 1, "pid": 4, "name": "lint", "state": "success", "children": null});
    let mut pipeline = json!({
        "id": 5000 + number, "number": number, "author": "dev-bot", "parent": 0, "event": "pull_request",
        "event_reason": null, "status": status, "errors": null, "created": created, "updated": 0, "started": started,
        "finished": finished, "commit": "head", "branch": "master", "ref": "refs/pull/7/head",
        "refspec": "fix/issue-7:master", "reviewed": 0, "version": "3.17.0", "timestamp": 0,
    });
    let empty = "deploy_to deploy_task author_avatar forge_url reviewed_by title message sender author_email";
    empty.split(' ').for_each(|key| pipeline[key] = json!(""));
    pipeline["workflows"] = json!([build, lint]);
    pipeline
}

#[tokio::test]
async fn pipelines_are_read_with_their_steps_in_both_versions() {
    let server = Server::start(true).await;
    server.set(|state| state.pipelines = vec![pipeline(9, "failure", [90, 100, 200])]);
    let ci = woodpecker(&server);
    let three = ci.pipeline(9).await.unwrap();
    assert_eq!((three.event, three.status, three.commit.as_str()), (Event::PullRequest, Status::Failure, "head"));
    assert_eq!(three.finished, Timestamp::from_second(200).ok());
    let clone = &three.workflows[0].steps[0];
    assert_eq!((clone.exit_code, clone.kind.as_str(), clone.state), (128, "clone", Status::Failure));
    assert_eq!((three.workflows[0].steps[1].started, three.workflows[1].steps.len()), (None, 0));
    // The same one in the words of Woodpecker 2.8.3.
    server.set(|state| {
        let text = state.pipelines[0].to_string();
        let (head, tail) = text.split_once("\"workflows\"").unwrap();
        let head = head.replace("\"created\"", "\"created_at\"").replace("\"started\"", "\"started_at\"");
        let head = head.replace("\"finished\"", "\"finished_at\"");
        let tail = tail.replace("\"started\"", "\"start_time\"").replace("\"finished\"", "\"end_time\"");
        state.pipelines[0] = serde_json::from_str(&format!("{head}\"workflows\"{tail}")).unwrap();
        assert!(state.pipelines[0].get("created").is_none());
    });
    assert_eq!(ci.pipeline(9).await.unwrap(), three);
    let project = ci.project().await.unwrap();
    assert_eq!((project.id, project.full_name.as_str(), project.active), (2, REPO, true));
    let found = Woodpecker::lookup(&client(&server.host(limits()), "good"), REPO).await.unwrap();
    assert_eq!(found, project);
    let other = Woodpecker::new(client(&server.host(limits()), "good"), 3, 1);
    assert!(matches!(failed(other.project()).await.why, Why::NotFound { .. }));
    let stranger = Woodpecker::new(client(&server.host(limits()), "bad"), 2, 1);
    assert!(matches!(failed(stranger.project()).await.why, Why::Refused { status: 401, .. }));
    // Of a public repo it is told to everybody, with a token that is wrong too; only what is not public is refused.
    server.set(|state| state.public = true);
    assert_eq!(stranger.project().await.unwrap(), project);
    let missing = Woodpecker::new(client(&server.host(limits()), "bad"), 3, 1);
    assert!(matches!(failed(missing.project()).await.why, Why::Refused { status: 401, .. }));
    // What Woodpecker does not know it answers with its web page.
    let wrong = Forgejo::new(client(&server.host(limits()), "good"));
    assert!(failed(wrong.version()).await.to_string().contains("an HTML page"));
}

#[tokio::test]
async fn the_load_is_read_from_as_many_pages_as_wait() {
    let server = Server::start(true).await;
    server.set(|state| {
        let pending = (0..70).map(|n| pipeline(1000 - n, "pending", [i64::try_from(900 - n).unwrap(), 0, 0]));
        let done = (0..200).map(|n| pipeline(900 - n, "success", [10, 100, 160]));
        state.pipelines = pending.chain(done).collect();
    });
    let ci = woodpecker(&server);
    let all = ci.pipelines(25).await.unwrap();
    let load = ci.load(&all, Timestamp::from_second(1000).unwrap());
    assert_eq!(load, Load { pending: 70, oldest: Some(169.0), median: Some(60.0), workers: 2 });
    let lines = server.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], "GET /api/repos/2/pipelines?page=2&perPage=50");
    // Nothing waits: one page.
    server.set(|state| drop(state.pipelines.drain(..70)));
    let all = ci.pipelines(25).await.unwrap();
    let load = ci.load(&all, Timestamp::from_second(1000).unwrap());
    assert_eq!((load.pending, load.oldest, server.lines().len()), (0, None, 4));
    // Agents only for an administrator.
    assert_eq!(ci.workers().await.unwrap(), None);
    server.set(|state| state.scopes = vec!["admin"]);
    assert_eq!(ci.workers().await.unwrap(), Some(0));
    server.set(|state| {
        state.agents = vec![
            json!({"id": 1, "token": "SECRET", "capacity": 2, "no_schedule": false}),
            json!({"id": 2, "token": "SECRET", "capacity": 4, "no_schedule": true}),
            json!({"id": 3, "token": "SECRET", "capacity": 1, "no_schedule": false}),
        ];
    });
    assert_eq!(ci.workers().await.unwrap(), Some(3));
    server.fault(Fault::Status(502, vec![], ""));
    assert!(failed(ci.pipelines(25)).await.unknown());
}

fn actions(server: &Server) -> Actions {
    Actions::new(client(&server.host(limits()), "good"), REPO, 2)
}

fn moment(second: i64) -> String {
    // As Forgejo writes it, in the zone of its own.
    let zone = jiff::tz::Offset::constant(2).to_time_zone();
    Timestamp::from_second(second).unwrap().to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A run as Forgejo 15.0.3 writes it, with what is not used: the whole event is in it.
fn run(number: u64, event: &str, status: &str, [created, started, stopped]: [i64; 3]) -> Value {
    json!({
        "id": 7000 + number, "title": "fix: it", "repository": {"id": 1, "full_name": REPO}, "workflow_id": "ci.yml",
        "index_in_repo": number, "trigger_user": {"id": 3, "login": "dev-bot"}, "ScheduleID": 0,
        "prettyref": if event == "push" { "fix/issue-7" } else { "#7" }, "is_ref_deleted": false, "commit_sha": "head",
        "is_fork_pull_request": false, "need_approval": false, "approved_by": 0, "event": event,
        "event_payload": "{\"action\": \"opened\"}", "trigger_event": event, "status": status,
        "started": moment(started), "stopped": moment(stopped), "created": moment(created), "updated": moment(stopped),
        "duration": 60_000_000_000_i64, "html_url": "",
    })
}

/// A task as Forgejo 8.0.3 to 15.0.3 write it.
fn task(id: u64, run: u64, name: &str, status: &str, [started, updated]: [i64; 2]) -> Value {
    json!({
        "id": id, "name": name, "head_branch": "#7", "head_sha": "head", "run_number": run, "event": "pull_request",
        "display_title": "fix: it", "status": status, "workflow_id": "ci.yml", "url": "", "created_at": moment(started),
        "updated_at": moment(updated), "run_started_at": moment(started),
    })
}

#[tokio::test]
async fn tasks_and_runs_make_pipelines_and_what_waits_for_a_runner_is_never_green() {
    let server = Server::start(false).await;
    server.set(|state| {
        // In no order, as Forgejo 12 to 14 have them.
        state.runs = vec![
            run(40, "pull_request", "success", [90, 100, 160]),
            // Its first job is done, its second one waits for a runner: no task tells of that.
            run(44, "pull_request", "waiting", [500, 510, 0]),
            run(42, "pull_request", "cancelled", [90, 100, 130]),
            run(46, "push", "blocked", [900, 0, 0]),
            run(41, "pull_request", "failure", [90, 100, 190]),
            run(45, "pull_request", "waiting", [700, 0, 0]),
            run(43, "pull_request", "cancelled", [90, 100, 130]),
        ];
        state.runs[3]["need_approval"] = json!(true);
        state.tasks = vec![
            task(1, 40, "build", "success", [100, 130]),
            task(2, 40, "test", "success", [120, 160]),
            task(3, 41, "build", "success", [100, 130]),
            // It failed, was run again, and failed again.
            task(4, 41, "test", "failure", [120, 140]),
            task(12, 41, "test", "failure", [150, 190]),
            // One failed, and the others were called off for it.
            task(5, 42, "test (1)", "failure", [100, 130]),
            task(6, 42, "test (2)", "cancelled", [100, 130]),
            task(7, 43, "test", "cancelled", [100, 130]),
            task(8, 44, "build", "success", [510, 520]),
            // It failed, and was run again.
            task(9, 39, "build", "failure", [10, 20]),
            task(10, 39, "build", "success", [30, 70]),
            task(11, 38, "lint", "skipped", [10, 10]),
        ];
    });
    let ci = actions(&server);
    let all = ci.pipelines(25).await.unwrap();
    let told: Vec<(u64, Event, Status)> = all.iter().map(|one| (one.number, one.event, one.status)).collect();
    let pull = Event::PullRequest;
    assert_eq!(
        told,
        [
            (46, Event::Push, Status::Blocked),
            (45, pull, Status::Pending),
            (44, pull, Status::Pending),
            (43, pull, Status::Killed),
            (42, pull, Status::Failure),
            (41, pull, Status::Failure),
            (40, pull, Status::Success),
            (39, pull, Status::Success),
            (38, pull, Status::Skipped),
        ]
    );
    assert_eq!((all[0].reference.as_str(), all[0].branch.as_str()), ("", "fix/issue-7"));
    assert!(all.iter().all(|one| one.commit == "head") && all[1].reference == "refs/pull/7/head");
    let names = |one: &Pipeline| one.workflows[0].steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (all[0].workflows[0].name.as_str(), names(&all[0]), names(&all[5])),
        ("ci.yml", vec![], vec!["build".to_owned(), "test".to_owned()])
    );
    let lines = server.lines();
    assert_eq!(
        lines,
        [
            "GET /api/v1/repos/johba/harb/actions/runs?status=waiting&status=running&status=blocked&page=1&limit=50",
            "GET /api/v1/repos/johba/harb/actions/tasks?page=1&limit=50"
        ]
    );
    // What waits for somebody to allow it is no load; the middle of 30, 40, 60 and 90 seconds.
    let load = ci.load(&all, Timestamp::from_second(1000).unwrap());
    assert_eq!(load, Load { pending: 2, oldest: Some(500.0), median: Some(50.0), workers: 2 });

    let one = ci.pipeline(41).await.unwrap();
    assert_eq!((one.status, one.finished), (Status::Failure, Timestamp::from_second(190).ok()));
    let steps = &one.workflows[0].steps;
    let test = steps.iter().find(|step| step.name == "test").unwrap();
    assert_eq!((steps.len(), test.state, test.exit_code, test.pid), (2, Status::Failure, 0, 12));
    assert_eq!(ci.pipeline(42).await.unwrap().status, Status::Failure);
    assert_eq!(ci.pipeline(43).await.unwrap().status, Status::Killed);
    assert_eq!(ci.pipeline(44).await.unwrap().status, Status::Pending);
    let failure = failed(ci.pipeline(99)).await;
    assert!(matches!(&failure.why, Why::NotFound { said } if said == "there is no run 99"), "{failure}");
    let project = ci.project().await.unwrap();
    assert_eq!((project.full_name.as_str(), project.active), (REPO, true));
    assert_eq!(ci.workers().await.unwrap(), None);
}

#[tokio::test]
async fn actions_are_read_from_as_many_pages_as_are_needed() {
    let server = Server::start(false).await;
    server.set(|state| {
        state.page = 7;
        state.runs = (0..20).map(|n| run(1000 + n, "push", "waiting", [900, 0, 0])).collect();
        state.tasks = (0..400).map(|n| task(n, n / 2, &format!("job {}", n % 2), "success", [100, 160])).collect();
    });
    let ci = actions(&server);
    let all = ci.pipelines(10).await.unwrap();
    let ended: Vec<u64> = all.iter().filter(|one| one.status == Status::Success).map(|one| one.number).collect();
    assert_eq!((all.len() - ended.len(), ended.first(), ended.len() >= 10), (20, Some(&199), true), "{ended:?}");
    // One of which a part may be on a page that was not read is not told.
    assert!(all.iter().all(|one| one.status == Status::Pending || one.workflows[0].steps.len() == 2));
    let lines = server.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("/runs?")).count(), 3, "{lines:?}");
    assert!(lines.iter().filter(|line| line.contains("/tasks?")).count() <= 4, "{lines:?}");
    // The whole list, however short its pages are.
    assert_eq!(ci.pipelines(1000).await.unwrap().len(), 220);
    // An old one: its jobs are not looked for for ever.
    server.set(|state| state.runs = vec![run(3, "push", "success", [90, 100, 160])]);
    let before = server.lines().len();
    assert_eq!(ci.pipeline(3).await.unwrap().status, Status::Success);
    assert!(server.lines().len() - before <= 6);
    server.fault(Fault::Status(502, vec![], ""));
    assert!(failed(ci.pipelines(10)).await.unknown());
    // Nothing at all.
    server.set(|state| (state.runs, state.tasks) = (vec![], vec![]));
    assert_eq!(ci.pipelines(10).await.unwrap(), []);
    // A forge without a list of runs would show what waits for a runner as done.
    server.set(|state| state.has_runs = false);
    for failure in [failed(ci.pipelines(10)).await, failed(ci.pipeline(3)).await] {
        assert!(matches!(&failure.why, Why::NotFound { said } if said.contains("`ci: statuses`")), "{failure}");
        assert!(failure.at.ends_with("/api/v1/repos/johba/harb/actions/runs"), "{failure}");
    }
    let stranger = Actions::new(client(&server.host(limits()), "bad"), REPO, 1);
    assert!(matches!(failed(stranger.project()).await.why, Why::Refused { status: 401, .. }));
    let off = serde_json::from_value::<factory::forge::CommitStatus>(json!({"context": "ci.yml / test (pull_request)",
        "status": "failure", "description": "Has been cancelled", "updated_at": "2026-08-22T17:00:13Z"}))
    .unwrap();
    assert!(off.called_off());
}
