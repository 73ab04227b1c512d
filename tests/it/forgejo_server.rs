//! What the forge of [`super::forge_server`] answers: Forgejo, with its Actions.

use serde_json::{Value, json};

use super::forge_server::{Reply, Seen, State, error, not_found, number_of, reply};

/// What the routes of a real server are: method, path, scope category (`-` needs no token at all).
pub const FORGEJO: [(&str, &str, &str); 33] = [
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
    ("POST", "/api/v1/repos/{owner}/{repo}/issues/{index}/labels", "issue"),
    ("DELETE", "/api/v1/repos/{owner}/{repo}/issues/{index}/labels/{identifier}", "issue"),
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

pub fn forgejo(
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
        ("POST", "/issues/{index}/labels") if state.stale => reply(200, &json!([])),
        ("DELETE", "/issues/{index}/labels/{identifier}") if state.stale => (204, Vec::new(), String::new()),
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
                add(issue, &state.labels, &mut state.adds, method);
            }
            reply(201, &issue.clone())
        }
        ("GET", "/issues/{index}/labels") => match found(&state.issues) {
            Some(issue) => reply(200, &issue["labels"]),
            None => not_found(base),
        },
        ("POST", "/issues/{index}/labels") => {
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
            let mut labels: Vec<Value> = state.labels.iter().filter(has).cloned().collect();
            match state.issues.iter_mut().find(|item| item["number"] == index) {
                // As Forgejo up to 11 does; 12 and newer say nothing at all with the 403.
                Some(_) if !["write", "admin"].contains(&right) => {
                    let page = "<!DOCTYPE html>\n<html><div class=\"page-content status-page-500\">500</div></html>";
                    return (403, vec![("Content-Type".into(), "text/html; charset=utf-8".into())], page.into());
                }
                Some(issue) => {
                    // One that is there already is no fault.
                    let own = issue["labels"].as_array().unwrap();
                    labels.retain(|label| own.iter().all(|own| own["id"] != label["id"]));
                    labels.splice(0..0, own.iter().cloned());
                    issue["labels"] = json!(labels);
                    add(issue, &state.labels, &mut state.adds, method);
                    if let Some(login) = state.race {
                        issue["assignees"] = json!([{"id": 2, "login": login}]);
                    }
                }
                None => return not_found(base),
            }
            reply(200, &json!(labels))
        }
        ("DELETE", "/issues/{index}/labels/{identifier}") => {
            // Newer ones look for a name before an id; one that the issue has not is no fault, one that is not there is.
            let named = |key: &str| {
                state.labels.iter().find(|label| label[key].to_string().trim_matches('"') == parts[3]).cloned()
            };
            let label = named("name").or_else(|| named("id"));
            let Some(issue) = state.issues.iter_mut().find(|item| item["number"] == index) else {
                return not_found(base);
            };
            if !["write", "admin"].contains(&right) {
                return (403, Vec::new(), String::new());
            }
            let Some(label) = label else {
                return error(base, 422, &format!("label does not exist [label_id: {}]", parts[3]));
            };
            issue["labels"].as_array_mut().unwrap().retain(|own| own["id"] != label["id"]);
            (204, Vec::new(), String::new())
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
        ("GET", "/pulls") => {
            let page = paged(&state.pulls, state, query, seen, base, true);
            let closed = state.leaving.pop_front();
            state.pulls.retain(|pull| pull["number"].as_u64() != closed);
            page
        }
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

/// A person adds a label to an issue that was changed by a call.
fn add(issue: &mut Value, labels: &[Value], adds: &mut Option<(&'static str, u64)>, method: &str) {
    if let Some((_, id)) = adds.take_if(|(after, _)| *after == method) {
        let added = labels.iter().find(|label| label["id"] == id).unwrap();
        issue["labels"].as_array_mut().unwrap().push(added.clone());
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
