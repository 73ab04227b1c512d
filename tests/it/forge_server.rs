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

use super::forgejo_server::{FORGEJO, forgejo};
use super::woodpecker_server::{WOODPECKER, woodpecker};

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
    /// Whether POST labels takes only ids, as forges before Forgejo 8 do.
    pub ids_only: bool,
    /// It answers what it is asked of issues from before they were changed.
    pub stale: bool,
    /// Somebody who takes each issue for themselves right after a label is added to it.
    pub race: Option<&'static str>,
    /// The id of a label that a person adds to an issue right after a call with this method has changed it, once.
    pub adds: Option<(&'static str, u64)>,
    /// The pulls that are closed, each right after a page of pulls is given.
    pub leaving: VecDeque<u64>,
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
    /// Whether pipelines are listed by status, as Woodpecker 2 does not.
    pub filters: bool,
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
    pub fn right(&self, login: &str) -> &'static str {
        match self.collaborators.as_slice() {
            [] => "admin",
            all => all.iter().find(|(own, _)| own.eq_ignore_ascii_case(login)).map_or("none", |(_, right)| right),
        }
    }

    /// The protection that covers a branch: one of its name before one of a pattern.
    pub fn rule(&self, branch: &str) -> Option<&Value> {
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
            adds: None,
            leaving: VecDeque::new(),
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
            filters: true,
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

pub type Reply = (u16, Vec<(String, String)>, String);

pub fn reply(status: u16, body: &Value) -> Reply {
    (status, Vec::new(), body.to_string())
}

/// An error in Forgejo's form.
pub fn error(base: &str, status: u16, message: &str) -> Reply {
    reply(status, &json!({"message": message, "url": format!("{base}/api/swagger")}))
}

pub fn not_found(base: &str) -> Reply {
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

pub fn number_of(text: &str) -> Value {
    json!(text.parse::<u64>().unwrap_or_default())
}
