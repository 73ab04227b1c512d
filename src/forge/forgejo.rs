//! Forgejo, as on Codeberg: the API v1 of Forgejo 7 and newer.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::failure::{Failure, Outage, Why};
use super::http::{Call, Client, Pages};
use super::model::{
    Account, Branch, CommitStatus, Issue, Label, MergeStyle, Protection, ProtectionChange, Pull, Repository, Review,
    Scope, State,
};
use super::{Answer, Forge};

/// The colour of a new label, which the forge wants: a light grey.
const LABEL_COLOR: &str = "#ededed";

/// An account on a Forgejo.
#[derive(Debug)]
pub struct Forgejo {
    client: Client,
}

impl Forgejo {
    /// The forge that this client calls, as the account of its token.
    pub fn new(client: Client) -> Forgejo {
        Forgejo { client }
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Failure> {
        self.client.one(&Call::get(api(path))).await
    }

    /// An account that is not there breaks the forge (500): that is told instead of a forge that is down.
    async fn nobody(&self, logins: &[String], failure: Failure) -> Failure {
        if matches!(failure.why, Why::Down { why: Outage::Status(500, _) }) {
            for login in logins {
                let answer = self.get::<Account>(&["users", login]).await;
                if matches!(&answer, Err(Failure { why: Why::NotFound { .. }, .. })) {
                    let said = format!("there is no account {login}");
                    return Failure { why: Why::Invalid { status: 500, said }, ..failure };
                }
            }
        }
        failure
    }

    /// A list in pages, each item once: what is made meanwhile moves items to the next page.
    async fn list<T: DeserializeOwned, K: PartialEq>(
        &self,
        call: Call<'_>,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, Failure> {
        let all =
            self.client.all(&call, Pages::Headers, |page: Option<Vec<T>>| (page.unwrap_or_default(), true)).await?;
        let mut once: Vec<T> = Vec::with_capacity(all.len());
        for item in all {
            if !once.iter().any(|known| key(known) == key(&item)) {
                once.push(item);
            }
        }
        Ok(once)
    }
}

/// A path below the API.
fn api<'a>(path: &[&'a str]) -> Vec<&'a str> {
    ["api", "v1"].into_iter().chain(path.iter().copied()).collect()
}

/// A path of a repo. One that is not OWNER/NAME has an empty part, which no address is made of.
pub(super) fn repo<'a>(slug: &'a str, path: &[&'a str]) -> Vec<&'a str> {
    let (owner, name) = slug.split_once('/').unwrap_or((slug, ""));
    let all = ["repos", owner, name].into_iter().chain(path.iter().copied()).collect::<Vec<_>>();
    api(&all)
}

impl MergeStyle {
    /// The style that a repo's settings name; a merge commit for one that is not known.
    pub fn named(name: &str) -> MergeStyle {
        let all = [MergeStyle::Rebase, MergeStyle::RebaseMerge, MergeStyle::Squash, MergeStyle::FastForward];
        all.into_iter().find(|style| style.as_str() == name).unwrap_or_default()
    }

    fn as_str(self) -> &'static str {
        match self {
            MergeStyle::Merge => "merge",
            MergeStyle::Rebase => "rebase",
            MergeStyle::RebaseMerge => "rebase-merge",
            MergeStyle::Squash => "squash",
            MergeStyle::FastForward => "fast-forward-only",
        }
    }
}

/// The combined status, in pages. Its own `state` is that of one page only, so it is not used.
#[derive(Deserialize)]
struct Combined {
    #[serde(default)]
    statuses: Option<Vec<CommitStatus>>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Permission {
    permission: String,
}

impl Forge for Forgejo {
    fn version(&self) -> Answer<'_, String> {
        Box::pin(async { Ok(self.get::<Version>(&["version"]).await?.version) })
    }

    fn account(&self) -> Answer<'_, Account> {
        Box::pin(async { self.get(&["user"]).await })
    }

    fn repo<'a>(&'a self, slug: &'a str) -> Answer<'a, Repository> {
        Box::pin(async move { self.client.one(&Call::get(repo(slug, &[]))).await })
    }

    fn issues<'a>(&'a self, slug: &'a str, label: Option<&'a str>) -> Answer<'a, Vec<Issue>> {
        Box::pin(async move {
            let open = || Call::get(repo(slug, &["issues"])).query("state", "open").query("type", "issues");
            let key = |issue: &Issue| issue.number;
            let Some(label) = label else {
                let mut issues = self.list(open(), key).await?;
                issues.retain(|issue| !issue.is_pull && issue.state == State::Open);
                return Ok(issues);
            };
            let count = |issue: &Issue| issue.labels.iter().filter(|own| own.name == label).count();
            // A comma parts names there.
            let mut issues = match label.contains(',') {
                true => Vec::new(),
                false => self.list(open().query("labels", label), key).await?,
            };
            // Where two labels have that name, of the repo or one of its organization, only issues with both come.
            if issues.is_empty() || issues.iter().any(|issue| count(issue) > 1) {
                issues = self.list(open(), key).await?;
            }
            // A label that is not there filters nothing: then every issue would be ready.
            issues.retain(|issue| !issue.is_pull && issue.state == State::Open && count(issue) > 0);
            Ok(issues)
        })
    }

    fn issue<'a>(&'a self, slug: &'a str, number: u64) -> Answer<'a, Issue> {
        Box::pin(async move {
            let number = number.to_string();
            self.client.one(&Call::get(repo(slug, &["issues", &number]))).await
        })
    }

    fn pulls<'a>(&'a self, slug: &'a str) -> Answer<'a, Vec<Pull>> {
        Box::pin(async move {
            let call = Call::get(repo(slug, &["pulls"])).query("state", "open");
            let mut pulls = self.list(call, |pull: &Pull| pull.number).await?;
            pulls.retain(|pull| pull.state == State::Open);
            Ok(pulls)
        })
    }

    fn pull<'a>(&'a self, slug: &'a str, number: u64) -> Answer<'a, Pull> {
        Box::pin(async move {
            let number = number.to_string();
            self.client.one(&Call::get(repo(slug, &["pulls", &number]))).await
        })
    }

    fn reviews<'a>(&'a self, slug: &'a str, number: u64) -> Answer<'a, Vec<Review>> {
        Box::pin(async move {
            let number = number.to_string();
            let call = Call::get(repo(slug, &["pulls", &number, "reviews"]));
            let mut reviews = self.list(call, |review: &Review| review.id).await?;
            reviews.sort_by_key(|review| (review.submitted_at, review.id));
            Ok(reviews)
        })
    }

    fn statuses<'a>(&'a self, slug: &'a str, commit: &'a str) -> Answer<'a, Vec<CommitStatus>> {
        Box::pin(async move {
            let call = Call::get(repo(slug, &["commits", commit, "status"]));
            // For a commit without any it is an empty document.
            let items = |page: Combined| (page.statuses.unwrap_or_default(), true);
            self.client.all(&call, Pages::Headers, items).await
        })
    }

    fn labels<'a>(&'a self, slug: &'a str) -> Answer<'a, Vec<Label>> {
        Box::pin(async move {
            let mut labels = self.list(Call::get(repo(slug, &["labels"])), |label: &Label| label.id).await?;
            let owner = slug.split('/').next().unwrap_or_default();
            match self.list(Call::get(api(&["orgs", owner, "labels"])), |label: &Label| label.id).await {
                Ok(more) => labels.extend(more),
                // The owner is a person, or the token may not look at organizations.
                Err(Failure { why: Why::NotFound { .. } | Why::Refused { .. }, .. }) => {}
                Err(failure) => return Err(failure),
            }
            Ok(labels)
        })
    }

    fn hides_labels<'a>(&'a self, slug: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let owner = slug.split('/').next().unwrap_or_default();
            match self.client.done(&Call::get(api(&["orgs", owner, "labels"])).query("limit", "1")).await {
                Ok(()) | Err(Failure { why: Why::NotFound { .. }, .. }) => Ok(false),
                Err(Failure { why: Why::Refused { .. }, .. }) => Ok(true),
                Err(failure) => Err(failure),
            }
        })
    }

    fn branch<'a>(&'a self, slug: &'a str, name: &'a str) -> Answer<'a, Branch> {
        Box::pin(async move {
            // The slashes of a branch's name are slashes of the path.
            let path: Vec<&str> = ["branches"].into_iter().chain(name.split('/')).collect();
            self.client.one(&Call::get(repo(slug, &path))).await
        })
    }

    fn may_write<'a>(&'a self, slug: &'a str, scope: Scope) -> Answer<'a, bool> {
        // No call tells the scopes of a token. But they are looked at before the thing that is to be changed, and numbers
        // begin at 1: so to change nothing of number 0 is refused for want of the scope, or else not found.
        let of = match scope {
            Scope::Issue => "issues",
            Scope::Repository => "pulls",
        };
        Box::pin(async move {
            match self.client.done(&Call::new(Method::PATCH, repo(slug, &[of, "0"])).body(json!({}))).await {
                Ok(()) | Err(Failure { why: Why::NotFound { .. }, .. }) => Ok(true),
                Err(Failure { why: Why::Refused { status: 403, said }, .. }) if said.contains("required scope") => {
                    Ok(false)
                }
                Err(failure) => Err(failure),
            }
        })
    }

    fn protection<'a>(&'a self, slug: &'a str, name: &'a str) -> Answer<'a, Protection> {
        Box::pin(async move { self.client.one(&Call::get(repo(slug, &["branch_protections", name]))).await })
    }

    fn permission<'a>(&'a self, slug: &'a str, login: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            let call = Call::get(repo(slug, &["collaborators", login, "permission"]));
            Ok(self.client.one::<Permission>(&call).await?.permission)
        })
    }

    fn add_label<'a>(&'a self, slug: &'a str, number: u64, id: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let number = number.to_string();
            let path = repo(slug, &["issues", &number, "labels"]);
            self.client.done(&Call::new(Method::POST, path).body(json!({"labels": [id]}))).await
        })
    }

    fn remove_label<'a>(&'a self, slug: &'a str, number: u64, id: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let (number, id) = (number.to_string(), id.to_string());
            self.client.done(&Call::new(Method::DELETE, repo(slug, &["issues", &number, "labels", &id]))).await
        })
    }

    fn new_label<'a>(&'a self, slug: &'a str, name: &'a str) -> Answer<'a, Label> {
        Box::pin(async move {
            let body = json!({"name": name, "color": LABEL_COLOR});
            self.client.one(&Call::new(Method::POST, repo(slug, &["labels"])).body(body)).await
        })
    }

    fn assign<'a>(&'a self, slug: &'a str, number: u64, logins: &'a [String]) -> Answer<'a, Issue> {
        Box::pin(async move {
            let text = number.to_string();
            let path = repo(slug, &["issues", &text]);
            let call = Call::new(Method::PATCH, path).body(json!({"assignees": logins}));
            // Who made the issue but may not write in the repo is answered with success, and nothing is done.
            if let Err(failure) = self.client.done(&call).await {
                return Err(self.nobody(logins, failure).await);
            }
            self.issue(slug, number).await
        })
    }

    fn comment<'a>(&'a self, slug: &'a str, number: u64, text: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let number = number.to_string();
            let path = repo(slug, &["issues", &number, "comments"]);
            self.client.done(&Call::new(Method::POST, path).body(json!({"body": text}))).await
        })
    }

    fn protect<'a>(&'a self, slug: &'a str, name: &'a str, change: &'a ProtectionChange) -> Answer<'a, Protection> {
        Box::pin(async move {
            let path = repo(slug, &["branch_protections", name]);
            self.client.done(&Call::new(Method::PATCH, path).body(json!(change))).await?;
            self.protection(slug, name).await
        })
    }

    fn new_protection<'a>(
        &'a self,
        slug: &'a str,
        name: &'a str,
        change: &'a ProtectionChange,
    ) -> Answer<'a, Protection> {
        Box::pin(async move {
            let mut body = json!(change);
            if let Some(body) = body.as_object_mut() {
                body.insert("rule_name".to_owned(), json!(name));
            }
            self.client.done(&Call::new(Method::POST, repo(slug, &["branch_protections"])).body(body)).await?;
            self.protection(slug, name).await
        })
    }

    fn merge<'a>(&'a self, slug: &'a str, number: u64, head: &'a str, style: MergeStyle) -> Answer<'a, Pull> {
        Box::pin(async move {
            let text = number.to_string();
            let path = repo(slug, &["pulls", &text, "merge"]);
            let call = Call::new(Method::POST, path).body(json!({"Do": style.as_str(), "head_commit_id": head}));
            let merged = match self.client.done(&call).await {
                // One that was merged before is blocked too: by a call whose answer was lost, or by a person.
                Err(failure) if matches!(failure.why, Why::Blocked { .. }) => {
                    let pull = self.pull(slug, number).await;
                    return pull.ok().filter(|pull| pull.merged && pull.head.sha == head).ok_or(failure);
                }
                // Not known whether it was done: only the pull itself tells.
                Err(failure) if !failure.unknown() || matches!(failure.why, Why::Busy { .. }) => return Err(failure),
                merged => merged,
            };
            match (self.pull(slug, number).await, merged) {
                (Ok(pull), _) if pull.merged => Ok(pull),
                (_, Err(failure)) => Err(failure),
                (Ok(_), Ok(())) => Err(self.client.told(&call, "the forge said yes, and it is not merged")),
                (Err(failure), Ok(())) => Err(failure),
            }
        })
    }
}
