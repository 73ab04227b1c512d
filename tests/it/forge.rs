//! Forges and CI over HTTP, against [`super::forge_server`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use factory::forge::{
    Check, Ci, Client, Failure, Forge, Forgejo, Host, Limits, MergeStyle, Outage, ProtectionChange, State, Verdict,
    Why, Woodpecker,
};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::forge_server::{Fault, Server, url};

pub const REPO: &str = "johba/harb";

pub fn limits() -> Limits {
    Limits { whole: Duration::from_secs(20), ..Limits::default() }
}

pub fn client(host: &Arc<Host>, token: &str) -> Client {
    host.client(Some(&SecretString::from(token))).unwrap()
}

pub fn forgejo(server: &Server) -> Forgejo {
    Forgejo::new(client(&server.host(limits()), "good"))
}

pub fn woodpecker(server: &Server) -> Woodpecker {
    Woodpecker::new(client(&server.host(limits()), "good"), 2, 2)
}

/// An issue as Forgejo 9.0.3 writes it, with what is not used.
pub fn issue(number: u64, labels: &[&Value]) -> Value {
    json!({
        "id": 1000 + number, "url": "https://x/api/v1/repos/johba/harb/issues/1", "number": number,
        "user": {"id": 3, "login": "johba", "email": "", "is_admin": false}, "original_author": "",
        "title": format!("Issue {number}"), "body": "Depends on #3", "ref": "", "assets": [], "labels": labels,
        "milestone": null, "assignee": null, "assignees": null, "state": "open", "is_locked": false, "comments": 0,
        "created_at": "2026-08-22T19:00:13+02:00", "updated_at": "2026-08-22T17:00:13Z", "closed_at": null,
        "due_date": null, "pull_request": null, "repository": {"id": 1, "full_name": REPO}, "pin_order": 0,
    })
}

pub fn pull(number: u64) -> Value {
    json!({
        "id": 2000 + number, "number": number, "user": {"id": 3, "login": "dev-bot"}, "title": "fix: it (#7)",
        "body": "Fixes #7", "labels": [], "milestone": null, "assignee": null, "assignees": null,
        "requested_reviewers": null, "state": "open", "draft": false, "is_locked": false, "mergeable": true,
        "merged": false, "merged_at": null, "merge_commit_sha": null, "merged_by": null,
        "base": {"label": "master", "ref": "master", "sha": "base", "repo_id": 1, "repo": {"id": 1}},
        "head": {"label": "fix/issue-7", "ref": "fix/issue-7", "sha": "head", "repo_id": 1, "repo": {"id": 1}},
        "merge_base": "base", "due_date": null, "created_at": "2026-08-22T17:00:13Z",
        "updated_at": "2026-08-22T17:00:13Z", "closed_at": null, "pin_order": 0,
    })
}

pub fn label(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "exclusive": false, "is_archived": false, "color": "00aabb", "description": "", "url": ""})
}

pub async fn failed<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, Failure>>) -> Failure {
    let failure = answer.await.unwrap_err();
    assert!(!failure.help().is_empty() && failure.at.contains("http://127.0.0.1:"), "{failure}");
    failure
}

#[tokio::test]
async fn lists_are_read_to_their_end_and_filtered_again() {
    let server = Server::start(false).await;
    let (ready, other) = (label(5, "backlog"), label(6, "other"));
    server.set(|state| {
        state.labels =
            (0..60).map(|id| label(100 + id, &format!("l{id}"))).chain([ready.clone(), other.clone()]).collect();
        state.issues = (1..=120).map(|number| issue(number, &[&ready])).chain([issue(200, &[&other])]).collect();
        state.issues[3]["pull_request"] = json!({"merged": false});
        state.pulls = (1..=101).map(pull).collect();
    });
    let forge = forgejo(&server);
    let issues = forge.issues(REPO, Some("backlog")).await.unwrap();
    assert_eq!(issues.len(), 119);
    assert!(issues.iter().all(|issue| issue.number != 4 && issue.labels[0].id == 5 && issue.state == State::Open));
    assert_eq!((issues[0].body.as_str(), issues[0].assignees.len()), ("Depends on #3", 0));
    assert_eq!(issues[0].created_at, issues[0].updated_at);
    let lines = server.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let first = "GET /api/v1/repos/johba/harb/issues?state=open&type=issues&labels=backlog&page=1&limit=50";
    assert_eq!(lines[0], first);
    assert_eq!(forge.pulls(REPO).await.unwrap().len(), 101);
    // Labels have a count and no `Link`.
    assert_eq!(forge.labels(REPO).await.unwrap().len(), 62);
    // A label that is not there filters nothing on the server: no issue has it all the same.
    assert_eq!(forge.issues(REPO, Some("backlogg")).await.unwrap(), []);
    // A server that gives less than it is asked for is read to the end too.
    server.set(|state| state.page = 7);
    assert_eq!(forge.issues(REPO, Some("backlog")).await.unwrap().len(), 119);
    assert_eq!(forge.labels(REPO).await.unwrap().len(), 62);
    let few = Forgejo::new(client(&server.host(Limits { pages: 3, ..limits() }), "good"));
    let failure = failed(few.issues(REPO, Some("backlog"))).await;
    assert!(matches!(&failure.why, Why::Garbled { why } if why.contains("more than 3 pages")), "{failure}");
}

/// What comes after one that is closed moves over the edge of the page that was read.
#[tokio::test]
async fn a_list_that_shrinks_while_it_is_read_loses_nothing() {
    let server = Server::start(false).await;
    let numbers = async |most: u64, leaving: &[u64], etag: bool| {
        server.set(|state| {
            state.pulls = (1..=most).map(pull).collect();
            state.leaving = leaving.iter().copied().collect();
            (state.etag, state.seen) = (etag, Vec::new());
        });
        let pulls = forgejo(&server).pulls(REPO).await?;
        Ok::<_, Failure>(pulls.iter().map(|pull| pull.number).collect::<Vec<_>>())
    };
    let all: Vec<u64> = (1..=51).filter(|number| *number != 3).collect();
    for etag in [false, true] {
        assert_eq!(numbers(51, &[3], etag).await.unwrap(), all, "{etag}");
        assert_eq!(server.lines().len(), 3, "{etag}");
    }
    // One that never stands still is not known.
    let failure = numbers(120, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false).await.unwrap_err();
    assert!(matches!(&failure.why, Why::Garbled { why } if why.contains("changed while it was read")), "{failure}");
    assert!(failure.unknown());
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test]
async fn two_labels_with_one_name_hide_no_issue() {
    let server = Server::start(false).await;
    // One of the repo, one of its organization or a second one of the repo: together only issues with both are found.
    let (own, other, comma) = (label(5, "backlog"), label(9, "backlog"), label(7, "a,b"));
    server.set(|state| {
        state.labels = vec![own.clone(), other.clone(), comma.clone()];
        state.issues = vec![issue(1, &[&own]), issue(2, &[&other]), issue(3, &[&comma]), issue(4, &[])];
    });
    let forge = forgejo(&server);
    let numbers = async |label: &str| {
        forge.issues(REPO, Some(label)).await.unwrap().iter().map(|issue| issue.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers("backlog").await, [1, 2]);
    assert_eq!(numbers("a,b").await, [3]);
    server.set(|state| state.issues.push(issue(5, &[&own, &other])));
    assert_eq!(numbers("backlog").await, [1, 2, 5]);
    // Where the name is one label's, what the forge filtered is enough.
    server.set(|state| {
        state.labels.remove(1);
        state.issues.pop();
    });
    let before = server.lines().len();
    assert_eq!(numbers("backlog").await, [1]);
    assert_eq!(server.lines().len(), before + 1);
}

#[tokio::test]
async fn a_repo_that_was_renamed_is_told_by_its_new_name() {
    let server = Server::start(false).await;
    let forge = forgejo(&server);
    let failure = failed(forge.issues("johba/old", Some("backlog"))).await;
    assert_eq!(failure.why, Why::Down { why: Outage::Renamed(REPO.to_owned()) });
    assert!(failure.unknown() && failure.to_string().contains("now called johba/harb"), "{failure}");
    assert!(failure.help().contains("repos.yml"), "{}", failure.help());
    assert!(matches!(failed(forge.new_label("johba/old", "x")).await.why, Why::Down { .. }));
    assert_eq!(server.state.lock().unwrap().labels.len(), 0);
}

#[tokio::test]
async fn an_account_without_rights_is_refused_and_not_unknown() {
    let server = Server::start(false).await;
    server.set(|state| {
        state.collaborators = vec![("dev-bot", "read")];
        state.issues = vec![issue(1, &[])];
    });
    let forge = forgejo(&server);
    assert!(matches!(failed(forge.remove_label(REPO, 1, 1)).await.why, Why::Refused { status: 403, .. }));
    // Forgejo breaks over it and answers with its page for that.
    let failure = failed(forge.add_label(REPO, 1, 1)).await;
    assert!(matches!(failure.why, Why::Refused { status: 403, .. }), "{failure}");
    assert!(failure.help().contains("right to do this") && !failure.unknown(), "{}", failure.help());
    assert!(matches!(failed(forge.protection(REPO, "master")).await.why, Why::Refused { status: 403, .. }));
    assert!(matches!(failed(forge.permission(REPO, "dev-bot")).await.why, Why::Refused { status: 403, .. }));
    // What it may do itself the repo tells.
    let repo = forge.repo(REPO).await.unwrap();
    assert!(!repo.permissions.push && !repo.permissions.admin);
}

#[tokio::test]
async fn single_things_are_read() {
    let server = Server::start(false).await;
    let review = |id: u64, state: &str, at: &str| {
        json!({"id": id, "user": {"id": 9, "login": "review-bot"}, "team": null, "state": state, "body": "",
            "commit_id": "head", "stale": id == 1, "official": true, "dismissed": false, "comments_count": 0,
            "submitted_at": at, "updated_at": at, "html_url": "", "pull_request_url": ""})
    };
    let status = |id: u64, context: String, state: &str| {
        json!({"id": id, "status": state, "target_url": "", "description": "", "url": "", "context": context,
            "creator": null, "created_at": "2026-08-22T17:00:13Z", "updated_at": "2026-08-22T17:00:13Z", "sha": "head"})
    };
    server.set(|state| {
        state.pulls = vec![pull(7)];
        // Forgejo 7 does not tell drafts.
        state.pulls[0].as_object_mut().unwrap().remove("draft");
        state.issues = vec![issue(3, &[])];
        state.reviews = vec![
            review(2, "APPROVED", "2026-08-22T18:00:13Z"),
            review(1, "REQUEST_CHANGES", "2026-08-22T17:00:13Z"),
            review(3, "SOMETHING_NEW", "2026-08-22T19:00:13Z"),
        ];
        state.statuses = (0..70).map(|id| status(id, format!("ci/{id}"), "success")).collect();
        state.statuses.push(status(99, "ci/woodpecker/pr/build".into(), "failure"));
        state.protections = vec![json!({"branch_name": "release/*", "rule_name": "release/*", "required_approvals": 1,
            "status_check_contexts": null, "merge_whitelist_usernames": ["review-bot"], "enable_merge_whitelist": true})];
    });
    let forge = forgejo(&server);
    assert_eq!(forge.version().await.unwrap(), "9.0.3+gitea-1.22.0");
    assert_eq!(forge.account().await.unwrap().login, "dev-bot");
    let repo = forge.repo(REPO).await.unwrap();
    assert!(repo.permissions.push && repo.permissions.admin && repo.default_branch == "master");
    let got = forge.pull(REPO, 7).await.unwrap();
    assert_eq!(
        (got.head.sha.as_str(), got.base.branch.as_str(), got.draft, got.merged),
        ("head", "master", false, false)
    );
    assert!(!forge.issue(REPO, 3).await.unwrap().is_pull);
    let reviews = forge.reviews(REPO, 7).await.unwrap();
    let verdicts: Vec<Verdict> = reviews.iter().map(|review| review.state).collect();
    assert_eq!(verdicts, [Verdict::Changes, Verdict::Approved, Verdict::Unknown]);
    assert!(reviews[0].stale && reviews[0].commit_id == "head");
    // The one that failed is on the second page.
    let statuses = forge.statuses(REPO, "head").await.unwrap();
    assert_eq!((statuses.len(), statuses[70].state), (71, Check::Failure));
    assert_eq!(forge.statuses(REPO, "bare").await.unwrap(), []);
    let protection = forge.protection(REPO, "release/*").await.unwrap();
    assert_eq!(protection.merge_whitelist_usernames, ["review-bot"]);
    assert_eq!(server.last().line, "GET /api/v1/repos/johba/harb/branch_protections/release%2F*");
    assert_eq!(forge.permission(REPO, "dev-bot").await.unwrap(), "admin");
    for (number, name) in [(99, "main"), (98, "x")] {
        assert!(matches!(failed(forge.issue(REPO, number)).await.why, Why::NotFound { .. }));
        assert!(matches!(failed(forge.protection(REPO, name)).await.why, Why::NotFound { .. }));
    }
    // Names that would be another path are never sent.
    let before = server.lines().len();
    for bad in ["johba", "johba/", "../harb", "johba/..", ""] {
        assert!(matches!(failed(forge.repo(bad)).await.why, Why::Invalid { .. }), "{bad}");
    }
    assert_eq!(server.lines().len(), before);
}

#[tokio::test]
async fn a_token_that_may_not_is_told_from_one_that_is_wrong() {
    let server = Server::start(false).await;
    server.set(|state| state.scopes = vec!["read:issue"]);
    let host = server.host(limits());
    let forge = Forgejo::new(client(&host, "good"));
    let failure = failed(forge.pulls(REPO)).await;
    let said = "token does not have at least one of required scope(s): [read:repository]".to_owned();
    assert_eq!(failure.why, Why::Refused { status: 403, said: said.clone() });
    assert!(failure.help().contains("write:repository"), "{}", failure.help());
    assert_eq!(failure.at, format!("GET {}/api/v1/repos/johba/harb/pulls", server.address));
    assert_eq!(failure.to_string(), format!("{}: refused with 403: {said}", failure.at));
    let failure = failed(forge.add_label(REPO, 1, 1)).await;
    assert!(matches!(&failure.why, Why::Refused { status: 403, said } if said.contains("[write:issue]")), "{failure}");
    let wrong = Forgejo::new(client(&host, "old"));
    let failure = failed(wrong.issues(REPO, Some("backlog"))).await;
    assert!(
        matches!(&failure.why, Why::Refused { status: 401, .. }) && failure.help().contains("expired"),
        "{failure}"
    );
    // Without a token: what all may see, or nothing at all.
    let none = Forgejo::new(host.client(None).unwrap());
    assert!(matches!(failed(none.repo(REPO)).await.why, Why::NotFound { .. }));
    assert!(matches!(failed(none.comment(REPO, 1, "x")).await.why, Why::Refused { status: 401, .. }));
    server.set(|state| state.public = true);
    assert!(none.repo(REPO).await.is_ok());
    assert!(!failure.unknown());
}

/// All that was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_token_goes_into_its_header_and_nowhere_else() {
    let awkward = "a\"b\\'$(touch x)`%41&;=ü*{}<>#?".replace(' ', "_");
    let server = Server::start(false).await;
    server.set(|state| {
        state.token = awkward.clone().into_bytes();
        state.issues = vec![issue(1, &[])];
    });
    let log = Log::default();
    let own = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || own.clone());
    let _logging = tracing::subscriber::set_default(subscriber.finish());
    tracing::info!("the log begins");
    let host = server.host(limits());
    let client = client(&host, &awkward);
    let shown = format!("{client:?} {host:?}");
    let forge = Forgejo::new(client);
    assert!(forge.issue(REPO, 1).await.is_ok());
    let seen = server.last();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {awkward}").as_bytes()));
    // A server that sends it back, in each kind of answer.
    let echo: &'static str = Box::leak(format!("bad token {awkward}\u{1b}[31m\nx").into_boxed_str());
    let quoted: &'static str = Box::leak(json!({"message": echo}).to_string().into_boxed_str());
    let typed: &'static str = Box::leak(json!({"number": echo}).to_string().into_boxed_str());
    let mut all = vec![shown, format!("{forge:?}")];
    for status in [200, 302, 400, 401, 403, 404, 405, 409, 422, 500, 502] {
        for body in [echo, quoted, typed] {
            server.fault(Fault::Status(status, vec![("Location", "/login".to_owned())], body));
            let failure = failed(forge.issue(REPO, 1)).await;
            assert!(!failure.to_string().contains(char::is_control), "{failure}");
            all.extend([failure.to_string(), format!("{failure:?}"), format!("{:?}", failure.to_error())]);
        }
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // Which of our own lines are there depends on the tests beside this one: tracing remembers for all threads what one
    // of them did not want.
    assert!(logged.contains("the log begins"), "{logged}");
    all.push(logged);
    for text in all {
        assert!(!text.contains("touch") && !text.contains("%41"), "{text}");
    }
    let error = host.client(Some(&SecretString::from("hunter2\nX-Y: z"))).unwrap_err();
    assert!(error.to_string().contains("line break") && !format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn each_way_of_giving_no_answer_is_unknown_and_says_why() {
    let server = Server::start(false).await;
    server.set(|state| state.issues = vec![issue(1, &[])]);
    let short = Limits { whole: Duration::from_millis(1500), body: 64 << 10, ..limits() };
    let forge = Forgejo::new(client(&server.host(short), "good"));
    let html = vec![("Content-Type", "text/html; charset=utf-8".to_owned())];
    let status = |status, headers, body| Fault::Status(status, headers, body);
    let to = |to: &str| status(303, vec![("Location", to.to_owned())], "");
    let big: &'static str = Box::leak(format!("[{}]", "1,".repeat(64 << 10)).into_boxed_str());
    let faults = [
        (status(502, html.clone(), "<html>Bad Gateway</html>"), "status 502: an HTML page"),
        (status(403, html.clone(), "<html>Are you a robot?</html>"), "an HTML page with status 403"),
        (status(404, vec![], "<!doctype html>"), "an HTML page with status 404"),
        (status(500, vec![], "{\"message\":\"\"}"), "no answer: status 500"),
        (status(200, html, "<html>maintenance</html>"), "an HTML page where JSON"),
        (status(200, vec![], "  <!DOCTYPE html>"), "an HTML page where JSON"),
        (status(200, vec![("Content-Type", "text/plain".to_owned())], "ok"), "neither JSON"),
        (status(200, vec![], "{\"number\": 1"), "not what its version says"),
        (status(200, vec![], ""), "not what its version says"),
        (status(200, vec![], big), "longer than 64 KiB"),
        (Fault::Without("state"), "missing field `state`"),
        (Fault::Without("number"), "missing field `number`"),
        (to("https://user:pw@login.example/oauth?next=x"), "it sends us on to https://login.example:"),
        (to("/user/login"), "another page of its own"),
        (to(""), "it sends us on to "),
        (Fault::CutHead, "the connection was cut"),
        (Fault::CutBody, "the connection was cut"),
        (Fault::Drip(Duration::from_millis(20)), "nothing complete within"),
        (Fault::Late(Duration::from_secs(9)), "nothing complete within"),
    ];
    for (fault, text) in faults {
        let about = format!("{fault:?}").chars().take(80).collect::<String>();
        server.fault(fault);
        let begun = Instant::now();
        let failure = failed(forge.issue(REPO, 1)).await;
        assert!(failure.unknown() && failure.to_string().contains(text), "{about}: {failure}");
        assert!(!failure.to_string().contains("pw@") && begun.elapsed() < Duration::from_secs(8), "{about}: {failure}");
    }
    // Each failure was that of its call: the next one is well.
    assert!(forge.issue(REPO, 1).await.is_ok());
}

#[tokio::test]
async fn a_host_that_is_not_there_or_speaks_no_tls_says_so() {
    let (_kept, port) = super::sshd::closed_port();
    let of = |address: &str| Forgejo::new(client(&Host::new(&url(address), limits()).unwrap(), "good"));
    let failure = failed(of(&format!("http://127.0.0.1:{port}")).version()).await;
    assert!(matches!(&failure.why, Why::Down { why: Outage::Connect(said) } if said.contains("refused")), "{failure}");
    let failure = of("http://no-such-host.invalid").version().await.unwrap_err();
    // A resolver that does not answer is a time-out.
    assert!(matches!(&failure.why, Why::Down { why: Outage::Name | Outage::TimedOut(_) }), "{failure:?}");
    let server = Server::start(false).await;
    let secure = server.address.replace("http://", "https://");
    match Host::new(&url(&secure), limits()) {
        Ok(host) => {
            let failure = Forgejo::new(client(&host, "good")).version().await.unwrap_err();
            assert!(matches!(&failure.why, Why::Down { why: Outage::Tls(_) }), "{failure:?}");
            assert!(failure.help().contains("certificate"));
        }
        // A machine without certificates.
        Err(error) => assert!(error.advice().unwrap().contains("ca-certificates"), "{error:?}"),
    }
    assert!(Host::new(&url("https://codeberg.org/?x=y"), limits()).is_err());
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_left_alone_by_all_repos() {
    let server = Server::start(false).await;
    server.set(|state| state.issues = vec![issue(1, &[])]);
    let host = server.host(limits());
    let (one, other) = (Forgejo::new(client(&host, "good")), Forgejo::new(host.client(None).unwrap()));
    server.fault(Fault::Status(429, vec![("Retry-After", "3".to_owned())], "{\"message\":\"slow down\"}"));
    let failure = failed(one.issue(REPO, 1)).await;
    let Why::Busy { until, said } = &failure.why else { panic!("{failure}") };
    let left = until.duration_since(Timestamp::now()).as_secs_f64();
    assert!((0.2..=3.1).contains(&left) && said == "slow down", "{failure}");
    for _ in 0..5 {
        assert!(matches!(failed(other.version()).await.why, Why::Busy { until: again, .. } if again == *until));
    }
    assert_eq!(server.lines().len(), 1);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    assert!(one.issue(REPO, 1).await.is_ok());
    // A rate limit that is used up by a call that was well.
    let headers = vec![("X-RateLimit-Remaining", "0".to_owned()), ("X-RateLimit-Reset", "30".to_owned())];
    server.fault(Fault::Status(200, headers, "{\"version\":\"9\"}"));
    assert_eq!(one.version().await.unwrap(), "9");
    let failure = failed(one.version()).await;
    assert!(matches!(failure.why, Why::Busy { .. }) && failure.help().contains("nothing"), "{failure}");
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn calls_keep_to_the_bucket_and_to_the_number_at_once() {
    let server = Server::start(false).await;
    let bounds = Limits { rate: 20.0, burst: 4.0, at_once: 2, ..limits() };
    let host = server.host(bounds.clone());
    let forge = Arc::new(Forgejo::new(client(&host, "good")));
    for _ in 0..8 {
        server.fault(Fault::Late(Duration::from_millis(150)));
    }
    let begun = Instant::now();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let forge = Arc::clone(&forge);
            tokio::spawn(async move { forge.version().await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.state.lock().unwrap().most, 2);
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    // Without patience the bucket refuses, and says until when.
    let hasty = server.host(Limits { rate: 0.01, burst: 1.0, patience: Duration::from_millis(50), ..bounds });
    let forge = Forgejo::new(client(&hasty, "good"));
    assert!(forge.version().await.is_ok());
    let failure = failed(forge.version()).await;
    assert!(matches!(&failure.why, Why::Busy { said, .. } if said.contains("budget")), "{failure}");
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let server = Server::start(false).await;
    let ready = label(5, "backlog");
    server.set(|state| {
        state.etag = true;
        state.labels = vec![ready.clone()];
        state.issues = (1..=60).map(|number| issue(number, &[&ready])).collect();
    });
    let host = server.host(limits());
    let forge = Forgejo::new(client(&host, "good"));
    let first = forge.issues(REPO, Some("backlog")).await.unwrap();
    assert!(server.last().header("if-none-match").is_none());
    let second = forge.issues(REPO, Some("backlog")).await.unwrap();
    assert!(server.last().header("if-none-match").is_some());
    assert_eq!((first.len(), &first), (60, &second));
    assert_eq!(server.lines().len(), 4);
    server.set(|state| state.issues[0]["title"] = json!("Another title"));
    assert_eq!(forge.issues(REPO, Some("backlog")).await.unwrap()[0].title, "Another title");
    // What one token saw is never given to another.
    server.set(|state| state.token = b"new".to_vec());
    assert!(matches!(failed(Forgejo::new(client(&host, "old")).pulls(REPO)).await.why, Why::Refused { .. }));
}

#[tokio::test]
async fn writes_are_read_back() {
    let server = Server::start(false).await;
    server.set(|state| {
        state.labels = vec![label(5, "backlog"), label(6, "in-progress")];
        state.issues = vec![issue(1, &[&label(5, "backlog")])];
        // Before Forgejo 8 a name is refused: ids always do.
        state.ids_only = true;
        state.protections =
            vec![json!({"rule_name": "master", "required_approvals": 0, "block_on_rejected_reviews": true})];
    });
    let forge = forgejo(&server);
    let labels = async || -> Vec<u64> {
        forge.issue(REPO, 1).await.unwrap().labels.iter().map(|label| label.id).collect::<Vec<_>>()
    };
    // Each by itself, so that what others set stays; twice is once.
    for _ in 0..2 {
        forge.add_label(REPO, 1, 6).await.unwrap();
        assert_eq!(labels().await, [5, 6]);
    }
    for _ in 0..2 {
        forge.remove_label(REPO, 1, 5).await.unwrap();
        assert_eq!(labels().await, [6]);
    }
    // One that is not there is added in silence: only what is read back tells. To take it away is refused.
    forge.add_label(REPO, 1, 777).await.unwrap();
    assert_eq!(labels().await, [6]);
    assert!(matches!(failed(forge.remove_label(REPO, 1, 777)).await.why, Why::Invalid { status: 422, .. }));
    assert!(matches!(failed(forge.remove_label(REPO, 2, 6)).await.why, Why::NotFound { .. }));
    let got = forge.assign(REPO, 1, &["dev-bot".to_owned()]).await.unwrap();
    assert_eq!(got.assignees[0].login, "dev-bot");
    let failure = failed(forge.assign(REPO, 1, &["nobody".to_owned()])).await;
    assert!(matches!(&failure.why, Why::Invalid { said, .. } if said == "there is no account nobody"), "{failure}");
    assert!(failure.at.starts_with("PATCH") && failure.help().contains("accounts"), "{failure}");
    server.fault(Fault::Status(500, vec![], "{\"message\":\"\"}"));
    assert!(failed(forge.assign(REPO, 1, &["dev-bot".to_owned()])).await.unknown());
    assert_eq!(forge.assign(REPO, 1, &[]).await.unwrap().assignees, []);
    forge.comment(REPO, 1, "a \"quoted\"\nline").await.unwrap();
    assert_eq!(server.last().body, json!({"body": "a \"quoted\"\nline"}));
    assert!(matches!(failed(forge.comment(REPO, 1, "")).await.why, Why::Invalid { .. }));
    let change = ProtectionChange { required_approvals: Some(1), ..ProtectionChange::default() };
    let protection = forge.protect(REPO, "master", &change).await.unwrap();
    assert!(protection.required_approvals == 1 && protection.block_on_rejected_reviews);
    // Only what was named was sent.
    let seen = server.state.lock().unwrap().seen.clone();
    let patch = seen.iter().find(|seen| seen.line.starts_with("PATCH") && seen.line.contains("protections")).unwrap();
    assert_eq!(patch.body, json!({"required_approvals": 1}));
    let change =
        ProtectionChange { merge_whitelist_usernames: Some(vec!["nobody".into()]), ..ProtectionChange::default() };
    assert!(matches!(failed(forge.protect(REPO, "master", &change)).await.why, Why::Invalid { status: 422, .. }));
}

#[tokio::test]
async fn what_is_not_there_is_made() {
    let server = Server::start(false).await;
    let forge = forgejo(&server);
    let made = forge.new_label(REPO, "in-progress").await.unwrap();
    assert_eq!(forge.labels(REPO).await.unwrap(), [made]);
    assert!(matches!(failed(forge.new_label(REPO, "")).await.why, Why::Invalid { status: 422, .. }));
    let checks = Some(vec!["ci/woodpecker/pr/*".to_owned()]);
    let change = ProtectionChange {
        enable_status_check: Some(true),
        status_check_contexts: checks.clone(),
        ..ProtectionChange::default()
    };
    let made = forge.new_protection(REPO, "release/*", &change).await.unwrap();
    assert_eq!((made.rule_name.as_str(), Some(made.status_check_contexts)), ("release/*", checks));
    let failure = failed(forge.new_protection(REPO, "release/*", &change)).await;
    assert!(matches!(&failure.why, Why::Refused { status: 403, said } if said.contains("already exist")), "{failure}");
}

#[tokio::test]
async fn only_a_merged_pull_is_merged() {
    let server = Server::start(false).await;
    let reset = |merge: (u16, &'static str), merges: bool| {
        server.set(|state| {
            (state.merge, state.merges) = (merge, merges);
            state.pulls = vec![pull(7)];
        });
    };
    let forge = forgejo(&server);
    reset((200, ""), true);
    assert!(forge.merge(REPO, 7, "head", MergeStyle::Squash).await.unwrap().merged);
    let seen = server.state.lock().unwrap().seen.clone();
    assert_eq!(seen[0].body, json!({"Do": "squash", "head_commit_id": "head"}));
    for said in ["User not allowed to merge PR", "Please try again later", "Work in progress PRs cannot be merged"] {
        reset((405, said), false);
        let failure = failed(forge.merge(REPO, 7, "head", MergeStyle::Merge)).await;
        assert_eq!(failure.why, Why::Blocked { said: said.to_owned() });
        assert!(!forge.pull(REPO, 7).await.unwrap().merged && failure.help().contains("nothing was changed"));
    }
    reset((200, ""), true);
    let failure = failed(forge.merge(REPO, 7, "older", MergeStyle::Merge)).await;
    assert_eq!(failure.why, Why::Conflict { said: "head out of date".to_owned() });
    // A yes without a merge, and no answer with one: the pull itself decides.
    reset((200, ""), false);
    assert!(failed(forge.merge(REPO, 7, "head", MergeStyle::Merge)).await.unknown());
    reset((500, "database is locked"), true);
    assert!(forge.merge(REPO, 7, "head", MergeStyle::Merge).await.unwrap().merged);
    reset((500, "database is locked"), false);
    assert!(matches!(failed(forge.merge(REPO, 7, "head", MergeStyle::Merge)).await.why, Why::Down { .. }));
    // One that was merged before, by a call whose answer was lost, is blocked without a word; it is merged all the same.
    reset((200, ""), true);
    assert!(forge.merge(REPO, 7, "head", MergeStyle::Merge).await.unwrap().merged);
    assert!(forge.merge(REPO, 7, "head", MergeStyle::Merge).await.unwrap().merged);
    // But not what was to be merged.
    let failure = failed(forge.merge(REPO, 7, "newer", MergeStyle::Merge)).await;
    assert_eq!(failure.why, Why::Blocked { said: String::new() });
    reset((423, "archived"), false);
    assert!(failed(forge.merge(REPO, 7, "head", MergeStyle::Merge)).await.help().contains("unarchive"));
}

#[tokio::test]
async fn both_traits_are_used_as_objects() {
    let server = Server::start(false).await;
    let forge: Box<dyn Forge> = Box::new(forgejo(&server));
    assert!(forge.version().await.is_ok());
    let server = Server::start(true).await;
    let ci: Arc<dyn Ci> = Arc::new(woodpecker(&server));
    assert_eq!(tokio::spawn(async move { ci.pipelines(10).await }).await.unwrap().unwrap(), []);
}
