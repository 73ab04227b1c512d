//! A forge and a CI server of the tests' own, which refuse what the real ones refuse.
//!
//! Routes, scopes, models, messages and paging follow the source of Forgejo (routers/api/v1/api.go and modules/structs, tags
//! v8.0.3 and v9.0.3 and the development branch of July 2026; for Actions also the branches v11.0 to v16.0) and of
//! Woodpecker (server/router/api.go and server/model, tags v2.8.3 and v3.17.0), and what running servers of Forgejo 7.0.16
//! and 15.0.3 and Woodpecker 3.17.0 answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use factory::forge::{Host, Limits};
use factory::inventory::url::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the routes of a real server are: method, path, scope category (`-` needs no token at all).
pub const FORGEJO: [(&str, &str, &str); 32] = [
    ("GET", "/api/v1/version", "-"),
    ("GET", "/api/v1/user", "user"),
    ("GET", "/api/v1/users/{username}", "user"),
    ("GET", "/api/v1/orgs/{org}/labels", "organization"),
    ("GET", "/api/v1/repos/{owner}/{repo}", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/issues", "issue"),
    ("POST", "/api/v1/repos/{owner}/{repo}/issues", "issue"),
    ("GET", "/api/v1/repos/{owner}/{repo}/issues/{index}", "issue"),
    ("PATCH", "/api/v1/repos/{owner}/{repo}/issues/{index}", "issue"),
    ("GET", "/api/v1/repos/{owner}/{repo}/issues/{index}/labels", "issue"),
    ("PUT", "/api/v1/repos/{owner}/{repo}/issues/{index}/labels", "issue"),
    ("POST", "/api/v1/repos/{owner}/{repo}/issues/{index}/comments", "issue"),
    ("GET", "/api/v1/repos/{owner}/{repo}/labels", "issue"),
    ("POST", "/api/v1/repos/{owner}/{repo}/labels", "issue"),
    ("GET", "/api/v1/repos/{owner}/{repo}/pulls", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/pulls/{index}", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/pulls/{index}/reviews", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/pulls/{index}/merge", "repository"),
    ("POST", "/api/v1/repos/{owner}/{repo}/pulls/{index}/merge", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/commits/{ref}/status", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/commits/{ref}/statuses", "repository"),
    // The rest of the path is the branch, with its slashes.
    ("GET", "/api/v1/repos/{owner}/{repo}/branches/{*}", "repository"),
    ("PATCH", "/api/v1/repos/{owner}/{repo}/pulls/{index}", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/branch_protections", "repository"),
    ("POST", "/api/v1/repos/{owner}/{repo}/branch_protections", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/branch_protections/{name}", "repository"),
    ("PATCH", "/api/v1/repos/{owner}/{repo}/branch_protections/{name}", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/collaborators", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/collaborators/{collaborator}/permission", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/actions/tasks", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/actions/runs", "repository"),
    ("GET", "/api/v1/repos/{owner}/{repo}/actions/runs/{run_id}", "repository"),
];

/// Those of Woodpecker; the third is who may: `-` everybody, `user` who has a token, `pull` who may read the repo, `admin`.
pub const WOODPECKER: [(&str, &str, &str); 7] = [
    ("GET", "/api/user", "user"),
    ("GET", "/api/repos/lookup/{owner}/{repo}", "pull"),
    ("GET", "/api/repos/{repo_id}", "pull"),
    ("GET", "/api/repos/{repo_id}/pipelines", "pull"),
    ("GET", "/api/repos/{repo_id}/pipelines/{number}", "pull"),
    ("GET", "/api/agents", "admin"),
    ("GET", "/api/queue/info", "admin"),
];

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status, with headers and a body.
    Status(u16, Vec<(&'static str, String)>, &'static str),
    /// It waits for so long, then answers.
    Late(Duration),
    /// A byte, a wait, the next byte.
    Drip(Duration),
    /// The connection ends without a word.
    CutHead,
    /// The connection ends in the middle of the body.
    CutBody,
    /// The body says less than a document has.
    Without(&'static str),
}

/// One call as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: std::time::Instant,
    pub line: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }
}

/// What the server has.
pub struct State {
    /// Whether it is a Woodpecker.
    pub woodpecker: bool,
    /// The token that it knows.
    pub token: Vec<u8>,
    /// What the token may.
    pub scopes: Vec<&'static str>,
    /// Whether what it has can be read without a token.
    pub public: bool,
    /// The most items of a page.
    pub page: usize,
    /// Whether every repo is there, each the same.
    pub all_repos: bool,
    /// Whether it sends an `ETag`.
    pub etag: bool,
    /// Whether PUT labels takes only ids, as forges before Forgejo 8 do.
    pub ids_only: bool,
    /// It answers what it is asked of issues from before they were changed.
    pub stale: bool,
    /// Somebody who takes each issue for themselves right after its labels are set.
    pub race: Option<&'static str>,
    /// A merge is answered with this.
    pub merge: (u16, &'static str),
    /// A merge that is answered so is done.
    pub merges: bool,
    /// The faults of the next calls.
    pub faults: VecDeque<Fault>,
    /// Each call.
    pub seen: Vec<Seen>,
    /// The most calls that were open at once.
    pub most: usize,
    open: usize,
    pub issues: Vec<Value>,
    pub pulls: Vec<Value>,
    pub reviews: Vec<Value>,
    pub statuses: Vec<Value>,
    pub labels: Vec<Value>,
    /// Those of the organization that owns the repo; none where a person does.
    pub org_labels: Vec<Value>,
    pub protections: Vec<Value>,
    pub pipelines: Vec<Value>,
    pub agents: Vec<Value>,
    /// Runs of Actions, in the order in which the list has them: the newest first since Forgejo 15, in none before.
    pub runs: Vec<Value>,
    /// Whether there is a list of runs, as there is none before Forgejo 12.
    pub has_runs: bool,
    /// Tasks of Actions.
    pub tasks: Vec<Value>,
    /// OWNER/NAME of the one repo that there is.
    pub slug: &'static str,
    /// Whose the token is.
    pub login: &'static str,
    /// Other tokens: each with its account and its scopes.
    pub others: Vec<(&'static str, &'static str, Vec<&'static str>)>,
    /// What each account may do in the repo. Empty: everybody may do all.
    pub collaborators: Vec<(&'static str, &'static str)>,
    /// What is said of the repo beside that.
    pub repo: Value,
    /// Its branches.
    pub branches: Vec<&'static str>,
    /// Where the repo has moved to.
    pub moved: Option<&'static str>,
    /// Faults of all calls whose first line has this text, whatever their order.
    pub stuck: Vec<(&'static str, Fault)>,
    /// Accounts that are left out of whitelists without a word, whatever they may.
    pub dropped: Vec<&'static str>,
    /// The repos of a Woodpecker.
    pub projects: Vec<Value>,
    /// The first line of each call that has changed something.
    pub written: Vec<String>,
}

impl State {
    /// What the account may do: `none`, `read`, `write` or `admin`.
    fn right(&self, login: &str) -> &'static str {
        match self.collaborators.as_slice() {
            [] => "admin",
            all => all.iter().find(|(own, _)| own.eq_ignore_ascii_case(login)).map_or("none", |(_, right)| right),
        }
    }

    /// The protection that covers a branch: one of its name before one of a pattern.
    fn rule(&self, branch: &str) -> Option<&Value> {
        let named = |own: &&Value| own["rule_name"] == branch;
        let covers = |own: &&Value| {
            let name = own["rule_name"].as_str().unwrap();
            name.strip_suffix('*').is_some_and(|start| branch.starts_with(start))
        };
        self.protections.iter().find(named).or_else(|| self.protections.iter().find(covers))
    }
}

/// A running server.
pub struct Server {
    pub address: String,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start(woodpecker: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            woodpecker,
            token: b"good".to_vec(),
            scopes: vec!["write:issue", "write:repository", "read:user", "read:organization"],
            public: false,
            page: 50,
            all_repos: false,
            etag: false,
            ids_only: false,
            stale: false,
            race: None,
            merge: (200, ""),
            merges: true,
            faults: VecDeque::new(),
            seen: Vec::new(),
            most: 0,
            open: 0,
            issues: Vec::new(),
            pulls: Vec::new(),
            reviews: Vec::new(),
            statuses: Vec::new(),
            labels: Vec::new(),
            org_labels: Vec::new(),
            protections: Vec::new(),
            pipelines: Vec::new(),
            agents: Vec::new(),
            runs: Vec::new(),
            has_runs: true,
            tasks: Vec::new(),
            slug: "johba/harb",
            login: "dev-bot",
            others: vec![("reviews", "review-bot", vec!["write:issue", "write:repository", "read:user"])],
            collaborators: Vec::new(),
            repo: json!({}),
            branches: vec!["master"],
            moved: None,
            stuck: Vec::new(),
            dropped: Vec::new(),
            projects: vec![
                json!({"id": 2, "full_name": "johba/harb", "active": true, "allow_pr": true, "timeout": 60}),
            ],
            written: Vec::new(),
        }));
        let own = Arc::clone(&state);
        let base = address.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&own), base.clone()));
            }
        });
        Server { address, state }
    }

    /// One in a thread of its own, for tests that do not know of it otherwise.
    pub fn beside(woodpecker: bool) -> Server {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                send.send(Server::start(woodpecker).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    }

    pub fn host(&self, limits: Limits) -> Arc<Host> {
        Host::new(&url(&self.address), limits).unwrap()
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub fn fault(&self, fault: Fault) {
        self.set(|state| state.faults.push_back(fault));
    }

    /// The first line of each call until now.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.iter().map(|seen| seen.line.clone()).collect()
    }

    pub fn last(&self) -> Seen {
        self.state.lock().unwrap().seen.last().unwrap().clone()
    }
}

pub fn url(address: &str) -> Url {
    serde_json::from_value(json!(address)).unwrap()
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, base: String) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
            // TLS: what a server that speaks none answers.
            if bytes.first() == Some(&0x16) {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
                return;
            }
        };
        let mut head = bytes[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = String::from_utf8(head.next().unwrap().to_vec()).unwrap();
        let headers: Vec<(String, Vec<u8>)> = head
            .map(|line| {
                let colon = line.iter().position(|byte| *byte == b':').unwrap();
                let name = String::from_utf8_lossy(&line[..colon]).to_lowercase();
                (name, line[colon + 1..].trim_ascii().to_vec())
            })
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| String::from_utf8_lossy(value).parse().unwrap());
        while bytes.len() < end + 4 + length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
        }
        let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap_or(Value::Null);
        bytes.drain(..end + 4 + length);
        let at = std::time::Instant::now();
        let seen = Seen { at, line: line.trim_end_matches(" HTTP/1.1").to_owned(), headers, body };
        let fault = {
            let mut state = state.lock().unwrap();
            state.open += 1;
            state.most = state.most.max(state.open);
            state.seen.push(seen.clone());
            let stuck = state.stuck.iter().find(|(text, _)| seen.line.contains(text)).map(|(_, fault)| fault.clone());
            stuck.or_else(|| state.faults.pop_front())
        };
        if let Some(Fault::Late(time)) = &fault {
            tokio::time::sleep(*time).await;
        }
        let (status, more, mut body) = {
            let mut state = state.lock().unwrap();
            state.open -= 1;
            match &fault {
                Some(Fault::Status(status, headers, body)) => {
                    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                    (*status, headers, (*body).to_owned())
                }
                _ => {
                    let answer = answer(&mut state, &seen, &base);
                    if !seen.line.starts_with("GET ") && answer.0 < 300 {
                        state.written.push(seen.line.clone());
                    }
                    answer
                }
            }
        };
        if let Some(Fault::Without(field)) = &fault {
            let mut value: Value = serde_json::from_str(&body).unwrap();
            let document = if value.is_array() { &mut value[0] } else { &mut value };
            document.as_object_mut().unwrap().remove(*field);
            body = value.to_string();
        }
        let typed = more.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        if !typed {
            text += "Content-Type: application/json;charset=utf-8\r\n";
        }
        for (name, value) in more {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += &body;
        match fault {
            Some(Fault::CutHead) => return,
            Some(Fault::CutBody) => {
                let _ = stream.write_all(&text.as_bytes()[..text.len() - body.len().div_ceil(2)]).await;
                return;
            }
            Some(Fault::Drip(time)) => {
                for byte in text.as_bytes() {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(time).await;
                }
            }
            _ => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

type Reply = (u16, Vec<(String, String)>, String);

fn reply(status: u16, body: &Value) -> Reply {
    (status, Vec::new(), body.to_string())
}

/// An error in Forgejo's form.
fn error(base: &str, status: u16, message: &str) -> Reply {
    reply(status, &json!({"message": message, "url": format!("{base}/api/swagger")}))
}

fn not_found(base: &str) -> Reply {
    let message = "The target couldn't be found.";
    reply(404, &json!({"errors": [], "message": message, "url": format!("{base}/api/swagger")}))
}

/// Whether a path is that of a route; gives its parts in braces, decoded.
fn matched(route: &str, path: &str) -> Option<Vec<String>> {
    let (mut route, mut path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    let mut rest = None;
    if route.last() == Some(&"{*}") && path.len() >= route.len() {
        rest = Some(decoded(&path.split_off(route.len() - 1).join("/")));
        route.pop();
    }
    if route.len() != path.len() {
        return None;
    }
    let mut parts = Vec::new();
    for (own, given) in route.iter().zip(path) {
        if own.starts_with('{') {
            if given.is_empty() {
                return None;
            }
            parts.push(decoded(given));
        } else if *own != given {
            return None;
        }
    }
    parts.extend(rest);
    Some(parts)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let byte = u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap();
                rest = &after[2..];
                byte
            }
            b'+' => b' ',
            byte => *byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(state: &mut State, seen: &Seen, base: &str) -> Reply {
    let (method, target) = seen.line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map(|(key, value)| (decoded(key), decoded(value))).unwrap())
        .collect();
    let routes: &[_] = if state.woodpecker { &WOODPECKER } else { &FORGEJO };
    let here: Vec<_> = routes
        .iter()
        .filter_map(|(of, route, scope)| matched(route, path).map(|parts| (*of, *route, *scope, parts)))
        .collect();
    if here.is_empty() {
        // Woodpecker answers any other path with its web page.
        return match state.woodpecker {
            true => (200, vec![("Content-Type".into(), "text/html; charset=utf-8".into())], "<!doctype html>".into()),
            false => not_found(base),
        };
    }
    let Some((_, route, scope, parts)) = here.into_iter().find(|(of, ..)| *of == method) else {
        return (405, vec![("Allow".into(), "GET".into())], String::new());
    };
    let given = seen.header("authorization").map(|value| value.strip_prefix(b"Bearer ").unwrap_or(b"?").to_vec());
    let other = state.others.iter().find(|(token, ..)| given.as_deref() == Some(token.as_bytes())).cloned();
    let known = other.is_some() || given.as_ref() == Some(&state.token);
    let (login, scopes) = match other {
        Some((_, login, scopes)) => (login, scopes),
        None => (state.login, state.scopes.clone()),
    };
    if state.woodpecker {
        woodpecker(state, route, scope, &parts, &query, known)
    } else {
        match (&given, known) {
            (Some(_), false) => return error(base, 401, "user does not exist [uid: 0, name: ]"),
            (None, _) if scope != "-" && (method != "GET" || route == "/api/v1/user") => {
                return error(base, 401, "token is required");
            }
            (None, _) if scope != "-" && !state.public => return not_found(base),
            _ => {}
        }
        if scope != "-" && known {
            let level = if method == "GET" { "read" } else { "write" };
            let may = |level: &str| scopes.iter().any(|own| *own == format!("{level}:{scope}"));
            if !may(level) && !may("write") {
                let needs = format!("token does not have at least one of required scope(s): [{level}:{scope}]");
                return error(base, 403, &needs);
            }
        }
        let login = if known { login } else { "" };
        forgejo(state, (method, route), &parts, &query, seen, (base, login))
    }
}

fn number_of(text: &str) -> Value {
    json!(text.parse::<u64>().unwrap_or_default())
}

fn forgejo(
    state: &mut State,
    (method, route): (&str, &str),
    parts: &[String],
    query: &[(String, String)],
    seen: &Seen,
    (base, login): (&str, &str),
) -> Reply {
    let asked = |key: &str| query.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str());
    let below = route.strip_prefix("/api/v1/repos/{owner}/{repo}").unwrap_or(route);
    if below != route && parts[..2] == ["johba", "old"] {
        let target = seen.line.split_once(' ').map(|(_, target)| target.replacen("johba/old", "johba/harb", 1));
        let target = target.unwrap_or_default();
        let page = format!("<a href=\"{target}\">Temporary Redirect</a>.\n");
        return (307, vec![("Location".into(), target), ("Content-Type".into(), "text/html".into())], page);
    }
    if below != route {
        let slug = format!("{}/{}", parts[0], parts[1]);
        if let (Some(to), true) = (state.moved, slug.eq_ignore_ascii_case(state.slug)) {
            let target = seen.line.split_once(' ').unwrap().1.replacen(&slug, to, 1);
            return (307, vec![("Location".to_owned(), target)], String::new());
        }
        let hidden = state.right(login) == "none" && !state.public;
        if !state.all_repos && !slug.eq_ignore_ascii_case(state.moved.unwrap_or(state.slug)) || hidden {
            return not_found(base);
        }
    }
    let right = state.right(login);
    let strict = !state.collaborators.is_empty();
    if strict && below.starts_with("/branch_protections") && right != "admin" {
        return error(base, 403, "user should be an owner or a collaborator with admin write of a repository");
    }
    if strict && method == "POST" && below == "/labels" && !["write", "admin"].contains(&right) {
        return error(base, 403, "user should have a permission to write to a repo");
    }
    if strict && method != "GET" && below.starts_with("/branch_protections") && state.repo["archived"] == true {
        return error(base, 423, "repository is archived");
    }
    let index = parts.get(2).map(|part| number_of(part)).unwrap_or_default();
    let found = |all: &[Value]| all.iter().find(|item| item["number"] == index).cloned();
    match (method, below) {
        (_, "/api/v1/version") => reply(200, &json!({"version": "9.0.3+gitea-1.22.0"})),
        (_, "/api/v1/user") => reply(200, &json!({"id": 7, "login": login, "is_admin": false})),
        (_, "/api/v1/users/{username}") if parts[0].ends_with("-bot") => {
            reply(200, &json!({"id": 7, "login": parts[0], "is_admin": false}))
        }
        (_, "/api/v1/users/{username}") => not_found(base),
        (_, "/api/v1/orgs/{org}/labels") => match state.org_labels.as_slice() {
            [] => not_found(base),
            all => paged(all, state, query, seen, base, true),
        },
        ("GET", "") => {
            let mut repo = json!({
                "id": 1, "has_actions": true, "full_name": state.moved.map_or_else(|| parts.join("/"), str::to_owned), "default_branch": "master", "archived": false,
                "permissions": {
                    "admin": right == "admin", "push": (["write", "admin"].contains(&right)),
                    "pull": state.public || right != "none",
                },
                "allow_merge_commits": true, "allow_squash_merge": true, "default_merge_style": "merge",
            });
            for (key, value) in state.repo.as_object().into_iter().flatten() {
                repo[key] = value.clone();
            }
            reply(200, &repo)
        }
        ("GET", "/branches/{*}") => {
            let name = parts[2].as_str();
            if !state.branches.contains(&name) {
                return not_found(base);
            }
            let writes = ["write", "admin"].contains(&right);
            let Some(rule) = state.rule(name) else {
                return reply(
                    200,
                    &json!({"name": name, "protected": false, "required_approvals": 0, "enable_status_check": false,
                        "status_check_contexts": [], "user_can_push": writes, "user_can_merge": writes,
                        "effective_branch_protection_name": ""}),
                );
            };
            let listed = |login: &str| {
                let all = rule["merge_whitelist_usernames"].as_array().cloned().unwrap_or_default();
                all.iter().any(|own| own.as_str().unwrap().eq_ignore_ascii_case(login))
            };
            let merges = if rule["enable_merge_whitelist"] == true { listed(login) } else { writes };
            let shown = if right == "admin" { rule["rule_name"].clone() } else { json!("") };
            reply(
                200,
                &json!({"name": name, "protected": true, "required_approvals": rule["required_approvals"],
                    "enable_status_check": rule["enable_status_check"] == true,
                    "status_check_contexts": rule["status_check_contexts"], "user_can_push": false,
                    "user_can_merge": merges, "effective_branch_protection_name": shown}),
            )
        }
        ("PATCH", "/pulls/{index}") => match found(&state.pulls) {
            Some(pull) => reply(201, &pull),
            None => not_found(base),
        },
        ("GET", "/issues") => {
            // Each name is looked up, without one that is not there; then only issues with all of these come. Two labels
            // with one name are two labels.
            let names: Vec<&str> = asked("labels").unwrap_or_default().split(',').collect();
            let named = |own: &&Value| names.iter().any(|name| own["name"] == *name);
            let wanted: Vec<&Value> = state.labels.iter().filter(named).map(|own| &own["id"]).collect();
            let has = |issue: &&Value| {
                let labels = issue["labels"].as_array().unwrap();
                issue["state"] == asked("state").unwrap_or("open")
                    && wanted.iter().all(|id| labels.iter().any(|own| own["id"] == **id))
            };
            let all: Vec<Value> = state.issues.iter().filter(has).cloned().collect();
            paged(&all, state, query, seen, base, true)
        }
        ("GET", "/issues/{index}") => found(&state.issues).map_or_else(|| not_found(base), |issue| reply(200, &issue)),
        ("PATCH", "/issues/{index}") if state.stale => {
            found(&state.issues).map_or_else(|| not_found(base), |it| reply(201, &it))
        }
        ("PUT", "/issues/{index}/labels") if state.stale => reply(200, &json!([])),
        ("PATCH", "/issues/{index}") => {
            let Some(issue) = state.issues.iter_mut().find(|item| item["number"] == index) else {
                return not_found(base);
            };
            if let Some(logins) = seen.body["assignees"].as_array() {
                // Forgejo 7 to 15 mean to say 422 and break over it; only an administrator is told of what.
                if logins.iter().any(|login| !login.as_str().unwrap().ends_with("-bot")) {
                    return error(base, 500, "");
                }
                issue["assignees"] = logins.iter().map(|login| json!({"id": 1, "login": login})).collect();
            }
            reply(201, &issue.clone())
        }
        ("GET", "/issues/{index}/labels") => match found(&state.issues) {
            Some(issue) => reply(200, &issue["labels"]),
            None => not_found(base),
        },
        ("PUT", "/issues/{index}/labels") => {
            let Some(asked) = seen.body["labels"].as_array() else {
                return error(base, 422, "[]: json: cannot unmarshal");
            };
            if state.ids_only && asked.iter().any(|label| !label.is_u64()) {
                let message =
                    "json: cannot unmarshal string into Go struct field IssueLabelsOption.labels of type int64";
                return error(base, 422, message);
            }
            // Those that are not there are left out in silence.
            let has = |label: &&Value| asked.iter().any(|asked| *asked == label["id"] || *asked == label["name"]);
            let labels: Vec<Value> = state.labels.iter().filter(has).cloned().collect();
            match state.issues.iter_mut().find(|item| item["number"] == index) {
                // As Forgejo up to 11 does; 12 and newer say nothing at all with the 403.
                Some(_) if !["write", "admin"].contains(&right) => {
                    let page = "<!DOCTYPE html>\n<html><div class=\"page-content status-page-500\">500</div></html>";
                    return (403, vec![("Content-Type".into(), "text/html; charset=utf-8".into())], page.into());
                }
                Some(issue) => {
                    issue["labels"] = json!(labels);
                    if let Some(login) = state.race {
                        issue["assignees"] = json!([{"id": 2, "login": login}]);
                    }
                }
                None => return not_found(base),
            }
            reply(200, &json!(labels))
        }
        ("POST", "/issues/{index}/comments") => match seen.body["body"].as_str() {
            None | Some("") => error(base, 422, "[Body]: Required"),
            Some(_) => reply(201, &json!({"id": 5})),
        },
        ("GET", "/labels") => paged(&state.labels, state, query, seen, base, false),
        ("POST", "/labels") => {
            let (name, color) = (seen.body["name"].as_str(), seen.body["color"].as_str());
            let (Some(name), Some(color)) = (name.filter(|name| !name.is_empty()), color) else {
                return error(base, 422, "[Name]: Required");
            };
            let plain = color.strip_prefix('#').unwrap_or(color);
            if plain.len() != 6 || !plain.chars().all(|c| c.is_ascii_hexdigit()) {
                return error(base, 422, &format!("bad color code: {color}"));
            }
            let label = json!({"id": 1000 + state.labels.len(), "name": name, "color": plain});
            state.labels.push(label.clone());
            reply(201, &label)
        }
        ("POST", "/branch_protections") => {
            let name = seen.body["rule_name"].as_str().unwrap_or_default();
            if name.is_empty() {
                return error(base, 400, "both rule_name and branch_name are empty");
            }
            if state.protections.iter().any(|own| own["rule_name"] == name) {
                return error(base, 403, "Branch protection already exist");
            }
            let mut own = json!({"rule_name": name, "enable_push": false, "required_approvals": 0});
            let body = match kept(state, &seen.body) {
                Ok(body) => body,
                Err(nobody) => return error(base, 422, &nobody),
            };
            for (key, value) in body.as_object().into_iter().flatten() {
                own[key] = value.clone();
            }
            state.protections.push(own.clone());
            reply(201, &own)
        }
        ("GET", "/pulls") => paged(&state.pulls, state, query, seen, base, true),
        ("GET", "/pulls/{index}") => found(&state.pulls).map_or_else(|| not_found(base), |pull| reply(200, &pull)),
        ("GET", "/pulls/{index}/reviews") => paged(&state.reviews, state, query, seen, base, false),
        ("POST", "/pulls/{index}/merge") => {
            let styles = ["merge", "rebase", "rebase-merge", "squash", "fast-forward-only", "manually-merged"];
            if !seen.body["Do"].as_str().is_some_and(|style| styles.contains(&style)) {
                return error(base, 422, "[Do]: Required");
            }
            let (status, merges) = (state.merge, state.merges);
            let Some(pull) = state.pulls.iter_mut().find(|item| item["number"] == index) else {
                return not_found(base);
            };
            if pull["merged"] == true {
                return error(base, 405, "");
            }
            if seen.body["head_commit_id"].as_str().is_some_and(|head| !head.is_empty() && pull["head"]["sha"] != head)
            {
                return error(base, 409, "head out of date");
            }
            if merges {
                (pull["merged"], pull["state"]) = (json!(true), json!("closed"));
            }
            match status {
                (200, _) => (200, Vec::new(), String::new()),
                (status, message) => error(base, status, message),
            }
        }
        ("GET", "/commits/{ref}/status") => {
            let mine: Vec<Value> =
                state.statuses.iter().filter(|own| own["sha"] == parts[2].as_str()).cloned().collect();
            if mine.is_empty() {
                return reply(
                    200,
                    &json!({"state": "", "sha": "", "total_count": 0, "statuses": null, "repository": null}),
                );
            }
            let (status, headers, body) = paged(&mine, state, query, seen, base, false);
            let statuses: Value = serde_json::from_str(&body).unwrap();
            let headers = headers.into_iter().filter(|(name, _)| name == "X-Total-Count").collect();
            // The state of the page alone, as the real one has it.
            let body = json!({"state": "success", "sha": parts[2], "total_count": 1, "statuses": statuses});
            (status, headers, body.to_string())
        }
        ("GET", "/actions/tasks") => {
            // The highest number first, in every version.
            state.tasks.sort_by_key(|task| std::cmp::Reverse(task["id"].as_u64()));
            actions(&state.tasks, state.page, query, base)
        }
        ("GET", "/actions/runs") if state.has_runs => {
            let of =
                |key: &'static str| query.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str());
            let number = asked("run_number").map(number_of);
            let keep = |run: &&Value| {
                let mut wanted = of("status").peekable();
                (wanted.peek().is_none() || wanted.any(|status| run["status"] == status))
                    && number.as_ref().is_none_or(|number| run["index_in_repo"] == *number)
            };
            let runs: Vec<Value> = state.runs.iter().filter(keep).cloned().collect();
            actions(&runs, state.page, query, base)
        }
        (_, "/branch_protections/{name}") => {
            let name = parts[2].as_str();
            if !state.protections.iter().any(|own| own["rule_name"] == name) {
                return not_found(base);
            }
            let body = match kept(state, &seen.body) {
                Ok(body) => body,
                Err(nobody) => return error(base, 422, &nobody),
            };
            let own = state.protections.iter_mut().find(|own| own["rule_name"] == name).unwrap();
            for (key, value) in body.as_object().into_iter().flatten() {
                own[key] = value.clone();
            }
            reply(200, &own.clone())
        }
        // Up to Forgejo 10 an account may not even ask for its own.
        (_, "/collaborators/{collaborator}/permission") => {
            let of = parts[2].as_str();
            if strict && right != "admin" {
                let message = "Only admins can query all permissions, repo admins can query all repo permissions, \
                               collaborators can query only their own";
                return error(base, 403, message);
            }
            if of.starts_with("nobody") {
                return error(base, 404, &format!("user does not exist [uid: 0, name: {of}]"));
            }
            let right = state.right(of);
            reply(200, &json!({"permission": right, "role_name": right, "user": {"login": of}}))
        }
        _ => not_found(base),
    }
}

/// A page of what Actions have: its only count stands in the document.
fn actions(all: &[Value], most: usize, query: &[(String, String)], base: &str) -> Reply {
    let words = ["unknown", "waiting", "running", "success", "failure", "cancelled", "skipped", "blocked"];
    if let Some((_, word)) = query.iter().find(|(key, word)| key == "status" && !words.contains(&word.as_str())) {
        return error(base, 400, &format!("unknown status: {word}"));
    }
    let asked = |key: &str| query.iter().find(|(own, _)| own == key).and_then(|(_, value)| value.parse::<usize>().ok());
    let limit = asked("limit").unwrap_or(30).clamp(1, most);
    let from = (asked("page").unwrap_or(1).max(1) - 1) * limit;
    let items: Vec<Value> = all.iter().skip(from).take(limit).cloned().collect();
    reply(200, &json!({"workflow_runs": items, "total_count": all.len()}))
}

/// What of a protection is kept: accounts of a whitelist that may not write are left out in silence, those that are not
/// there are refused.
fn kept(state: &State, body: &Value) -> Result<Value, String> {
    let mut body = body.clone();
    if let Some(list) = body["merge_whitelist_usernames"].as_array() {
        if let Some(nobody) = list.iter().filter_map(Value::as_str).find(|login| login.starts_with("nobody")) {
            return Err(format!("user does not exist [uid: 0, name: {nobody}]"));
        }
        let stays = |login: &&Value| {
            let login = login.as_str().unwrap();
            ["write", "admin"].contains(&state.right(login)) && !state.dropped.contains(&login)
        };
        body["merge_whitelist_usernames"] = list.iter().filter(stays).cloned().collect();
    }
    Ok(body)
}

/// A page, with `X-Total-Count` and, where the real one sends it, `Link` under the server's own idea of its address.
fn paged(all: &[Value], state: &State, query: &[(String, String)], seen: &Seen, base: &str, link: bool) -> Reply {
    let asked = |key: &str| query.iter().find(|(own, _)| own == key).and_then(|(_, value)| value.parse::<usize>().ok());
    let limit = asked("limit").unwrap_or(30).clamp(1, state.page);
    let page = asked("page").unwrap_or(1).max(1);
    let items: Vec<Value> = all.iter().skip((page - 1) * limit).take(limit).cloned().collect();
    let mut headers = vec![("X-Total-Count".to_owned(), all.len().to_string())];
    if link && page * limit < all.len() {
        let next = format!("<https://elsewhere.example/api?limit={limit}&page={}>; rel=\"next\"", page + 1);
        let last = format!("<{base}/api?page={}>; rel=\"last\"", all.len().div_ceil(limit));
        headers.push(("Link".to_owned(), format!("{next},{last}")));
    }
    let body = json!(items).to_string();
    if state.etag {
        let tag = format!("\"{}-{page}\"", body.len());
        if seen.header("if-none-match") == Some(tag.as_bytes()) {
            return (304, vec![("ETag".to_owned(), tag)], String::new());
        }
        headers.push(("ETag".to_owned(), tag));
    }
    (200, headers, body)
}

fn woodpecker(
    state: &State,
    route: &str,
    scope: &str,
    parts: &[String],
    query: &[(String, String)],
    known: bool,
) -> Reply {
    let text = |status: u16, text: &str| (status, vec![("Content-Type".into(), "text/plain".into())], text.to_owned());
    if scope == "admin" {
        match (known, state.scopes.contains(&"admin")) {
            (false, _) => return text(401, "User not authorized"),
            (true, false) => return text(403, "User not authorized"),
            _ => {}
        }
    }
    if (scope == "user" && !known) || (scope == "pull" && !known && !state.public) {
        return text(401, "User not authorized");
    }
    let asked = |key: &str| query.iter().find(|(own, _)| own == key).and_then(|(_, value)| value.parse::<usize>().ok());
    let page = |all: &[Value]| {
        let per = asked("perPage").filter(|per| (1..=50).contains(per)).unwrap_or(50);
        let from = (asked("page").unwrap_or(1).max(1) - 1) * per;
        let mut items: Vec<Value> = all.iter().skip(from).take(per).cloned().collect();
        for item in &mut items {
            item.as_object_mut().unwrap().remove("workflows");
        }
        reply(200, &json!(items))
    };
    let by_name = |own: &&Value| own["full_name"] == format!("{}/{}", parts[0], parts[1]);
    let by_number = |own: &&Value| own["id"] == number_of(&parts[0]);
    let repo = match route {
        "/api/repos/lookup/{owner}/{repo}" => state.projects.iter().find(by_name),
        _ if route.contains("{repo_id}") => state.projects.iter().find(by_number),
        _ => None,
    };
    if route.starts_with("/api/repos/") && repo.is_none() {
        return text(if known { 404 } else { 401 }, "");
    }
    match route {
        "/api/user" => reply(200, &json!({"id": 1, "login": "johba", "admin": false})),
        "/api/repos/lookup/{owner}/{repo}" | "/api/repos/{repo_id}" => reply(200, repo.unwrap()),
        "/api/repos/{repo_id}/pipelines" => page(&state.pipelines),
        "/api/repos/{repo_id}/pipelines/{number}" => {
            let one = state.pipelines.iter().find(|own| own["number"] == number_of(&parts[1]));
            one.map_or_else(|| text(404, ""), |one| reply(200, one))
        }
        "/api/agents" => match page(&state.agents) {
            (status, headers, body) if body == "[]" => (status, headers, "null".to_owned()),
            some => some,
        },
        _ => text(if known { 404 } else { 401 }, ""),
    }
}
