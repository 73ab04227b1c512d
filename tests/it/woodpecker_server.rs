//! What the CI server of [`super::forge_server`] answers: Woodpecker.

use serde_json::{Value, json};

use super::forge_server::{Reply, State, number_of, reply};

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

pub fn woodpecker(
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
        "/api/repos/{repo_id}/pipelines" => {
            let status = query.iter().find(|(own, _)| own == "status").filter(|_| state.filters);
            let wanted = |own: &&Value| status.is_none_or(|(_, status)| own["status"] == *status);
            page(&state.pipelines.iter().filter(wanted).cloned().collect::<Vec<_>>())
        }
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
