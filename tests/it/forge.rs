//! Forges and CI over HTTP, against [`super::forge_server`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use factory::forge::{
    Actions, Check, Ci, Client, Event, Failure, Forge, Forgejo, Host, Limits, MergeStyle, Outage, Pipeline,
    ProtectionChange, State, Status, Verdict, Why, Woodpecker,
};
use factory::policy::ci_load::Load;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::forge_server::{Fault, Server, url};

const REPO: &str = "johba/harb";

fn limits() -> Limits {
    Limits { whole: Duration::from_secs(20), ..Limits::default() }
}

fn client(host: &Arc<Host>, token: &str) -> Client {
    host.client(Some(&SecretString::from(token))).unwrap()
}

fn forgejo(server: &Server) -> Forgejo {
    Forgejo::new(client(&server.host(limits()), "good"))
}

fn woodpecker(server: &Server) -> Woodpecker {
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

async fn failed<T: std::fmt::Debug>(answer: impl Future<Output = Result<T, Failure>>) -> Failure {
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
    // Forgejo breaks over it and answers with its page for that.
    let failure = failed(forge.set_labels(REPO, 1, &[1])).await;
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
    let failure = failed(forge.set_labels(REPO, 1, &[1])).await;
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
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let of = |address: &str| Forgejo::new(client(&Host::new(&url(address), limits()).unwrap(), "good"));
    let failure = failed(of(&format!("http://{gone}")).version()).await;
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
    let labels = forge.set_labels(REPO, 1, &[6]).await.unwrap();
    assert_eq!(labels.iter().map(|label| label.name.as_str()).collect::<Vec<_>>(), ["in-progress"]);
    assert_eq!(
        server.lines(),
        ["PUT /api/v1/repos/johba/harb/issues/1/labels", "GET /api/v1/repos/johba/harb/issues/1/labels"]
    );
    // An id that is not there is left out in silence: only what is read back tells.
    assert_eq!(forge.set_labels(REPO, 1, &[6, 777]).await.unwrap().len(), 1);
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

#[tokio::test]
async fn both_traits_are_used_as_objects() {
    let server = Server::start(false).await;
    let forge: Box<dyn Forge> = Box::new(forgejo(&server));
    assert!(forge.version().await.is_ok());
    let server = Server::start(true).await;
    let ci: Arc<dyn Ci> = Arc::new(woodpecker(&server));
    assert_eq!(tokio::spawn(async move { ci.pipelines(10).await }).await.unwrap().unwrap(), []);
}
