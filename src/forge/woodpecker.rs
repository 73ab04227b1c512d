//! Woodpecker 2 and 3.

use jiff::Timestamp;
use serde::Deserialize;

use super::failure::{Failure, Why};
use super::http::{Call, Client, Pages};
use super::load::load;
use super::model::Account;
use super::pipeline::{Pipeline, Project, Status};
use super::{Answer, Ci};
use crate::policy::ci_load::Load;

/// How many pipelines are looked through for those that wait, where the server cannot be asked for them: it is Woodpecker 2.
const LOOKED_THROUGH: usize = 250;

/// One repo on a Woodpecker.
#[derive(Debug)]
pub struct Woodpecker {
    client: Client,
    repo_id: String,
    workers: u32,
}

/// An agent, without its token.
#[derive(Deserialize)]
struct Agent {
    #[serde(default)]
    capacity: u32,
    #[serde(default)]
    no_schedule: bool,
}

impl Woodpecker {
    /// The repo with this number on the server that this client calls, with as many `workers` as the inventory says.
    pub fn new(client: Client, repo_id: u32, workers: u32) -> Woodpecker {
        Woodpecker { client, repo_id: repo_id.to_string(), workers }
    }

    /// The repo with this name on the server that the client calls; tells the number that the inventory needs.
    ///
    /// # Errors
    /// Any [`Failure`]; not found where Woodpecker was not switched on for it.
    pub async fn lookup(client: &Client, slug: &str) -> Result<Project, Failure> {
        let (owner, name) = slug.split_once('/').unwrap_or((slug, ""));
        client.one(&Call::get(["api", "repos", "lookup", owner, name])).await
    }

    /// Whose token it is. A public repo is shown for a token that is wrong, too: only this tells.
    ///
    /// # Errors
    /// Any [`Failure`]; refused with 401 where the token is missing or wrong.
    pub async fn account(&self) -> Result<Account, Failure> {
        self.client.one(&Call::get(["api", "user"])).await
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        ["api", "repos", &self.repo_id].into_iter().chain(rest.iter().copied()).collect()
    }
}

impl Ci for Woodpecker {
    fn project(&self) -> Answer<'_, Project> {
        Box::pin(async { self.client.one(&Call::get(self.path(&[]))).await })
    }

    fn pipelines(&self, least: usize) -> Answer<'_, Vec<Pipeline>> {
        Box::pin(async move {
            let call = Call::get(self.path(&["pipelines"]));
            let mut count = 0;
            // They come in the order of their numbers, and mostly end in it: behind a page on which all have ended there is
            // little that has not.
            let pages = |page: Option<Vec<Pipeline>>| {
                let page = page.unwrap_or_default();
                count += page.len();
                let wanted = count < least || page.iter().any(|pipeline| !pipeline.status.ended());
                (page, wanted)
            };
            let mut all = self.client.all(&call, Pages::Full, pages).await?;
            // One that was made meanwhile moves another onto the next page, where it comes once more.
            all.sort_by_key(|pipeline| std::cmp::Reverse(pipeline.number));
            all.dedup_by_key(|pipeline| pipeline.number);
            Ok(all)
        })
    }

    fn waiting(&self) -> Answer<'_, Vec<Pipeline>> {
        Box::pin(async move {
            let call = Call::get(self.path(&["pipelines"])).query("status", "pending");
            let mut count = 0;
            // Woodpecker 2 does not know the question, and lists them all.
            let pages = |page: Option<Vec<Pipeline>>| {
                let page = page.unwrap_or_default();
                count += page.len();
                let filtered = page.iter().all(|pipeline| pipeline.status == Status::Pending);
                (page, filtered || count < LOOKED_THROUGH)
            };
            self.client.all(&call, Pages::Full, pages).await
        })
    }

    fn pipeline(&self, number: u64) -> Answer<'_, Pipeline> {
        Box::pin(async move {
            let number = number.to_string();
            self.client.one(&Call::get(self.path(&["pipelines", &number]))).await
        })
    }

    fn workers(&self) -> Answer<'_, Option<u32>> {
        Box::pin(async {
            let call = Call::get(["api", "agents"]);
            // None at all are `null`.
            let pages = |page: Option<Vec<Agent>>| (page.unwrap_or_default(), true);
            match self.client.all(&call, Pages::Full, pages).await {
                Ok(agents) => {
                    Ok(Some(agents.iter().filter(|agent| !agent.no_schedule).map(|agent| agent.capacity).sum()))
                }
                // Only an administrator may ask.
                Err(Failure { why: Why::Refused { .. } | Why::NotFound { .. }, .. }) => Ok(None),
                Err(failure) => Err(failure),
            }
        })
    }

    fn load(&self, pipelines: &[Pipeline], now: Timestamp) -> Load {
        load(pipelines, self.workers, now)
    }
}
