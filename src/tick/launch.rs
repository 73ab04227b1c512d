//! A launch by hand: a claim in the ledger, then the host, then the ledger again.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Progress;
use super::capacity::{Capacity, Looked};
use super::claims::{change, launching};
use super::drive::{self, Driven};
use super::hand::{Place, Stopped};
use super::jobs::Jobs;
use super::lead::{boot_clock, lead};
use super::manual::Order;
use super::seen::{barred, held, left, replaced};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::forge::Failure;
use crate::forge::claim::{Before, Claimant};
use crate::inventory::settings::Account;
use crate::ledger::{Change, Document, Ledger, random_id};
use crate::policy::claim::{self, Claim, Ending};
use crate::policy::hold::Hold;
use crate::policy::takeover::{self, Starts};
use crate::remote::halt::Kind;
use crate::remote::sample::{Run, Sample};

/// What a person wants to be launched.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// On which host.
    pub host: String,
    /// For which repo, or `*`.
    pub repo: String,
    /// Which agent.
    pub agent: String,
    /// The issue that it is about.
    pub issue: Option<u64>,
    /// Arguments behind those of its command.
    pub args: Vec<String>,
    /// Who asks.
    pub by: String,
}

/// What the inventory says of a launch.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The agents, to be launched.
    pub jobs: &'a Jobs,
    /// Budgets per credential.
    pub accounts: &'a BTreeMap<String, Account>,
    /// The room on hosts.
    pub capacity: &'a Capacity<'a>,
    /// Who claims the issue that it is about on its forge; none where nobody may write there.
    pub claimant: Option<&'a Claimant>,
}

/// A launch, and what became of it.
#[derive(Debug)]
pub struct Launched {
    /// The task's key.
    pub task: String,
    /// The claim as it was made.
    pub claim: Claim,
    /// What became of it.
    pub driven: Driven,
    /// Why the ledger does not say so, if it does not; the next tick writes it.
    pub noted: Option<Error>,
    /// Why its issue still looks worked on, if it does although nothing runs.
    pub claimed: Option<Failure>,
    /// What holds it, where it was cancelled before it began.
    pub hold: Option<Hold>,
}

impl Wanted {
    /// The claim that is made for it, and its task. The token is new.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn claim(&self, now: Timestamp) -> Result<(String, Claim)> {
        let random: String = random_id()?.chars().take(12).collect();
        let token = claim::token(now, &random);
        let claim = Claim {
            token: token.clone(),
            host: self.host.clone(),
            repo: self.repo.clone(),
            agent: self.agent.clone(),
            attempt: 1,
            by: self.by.clone(),
            at: now,
            issue: self.issue,
            args: self.args.clone(),
            unclaimed: false,
            started: false,
            told: None,
        };
        Ok((claim::task(&self.repo, self.issue, &token), claim))
    }
}

impl Order<'_> {
    /// Launches what is `wanted`: looks at the host, claims the task, asks the host, notes what it said.
    ///
    /// # Errors
    /// Before the claim, so that nothing was done: the job cannot be made; the host does not answer (4) or must not be
    /// changed; a hold holds it (6); its task is claimed, its account's budget is spent, or the host has no room for it;
    /// somebody else has its issue, or the forge does not say.
    pub async fn launch(&self, wanted: &Wanted, terms: Terms<'_>, report: &dyn Fn(&Progress)) -> Result<Launched> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let _launching = launching(&self.state)?;
        let document = lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?.document;
        let (task, mut claim) = wanted.claim(Timestamp::now())?;
        let job = terms.jobs.make(&task, &claim)?;
        self.free(&document, &task, &claim, terms)?;
        let issue = terms.claimant.zip(claim.issue);
        claim.unclaimed = issue.is_some();
        if let Some((claimant, number)) = issue {
            claimant.look(number).await.map_err(|why| why.to_error(&claim.repo, number))?;
        }
        let asked = boot_clock().seconds;
        let others = match document.young && wanted.issue.is_some() {
            true => terms.capacity.unknown(&document, &wanted.repo),
            false => Vec::new(),
        };
        let mut samples = self.samples(|name| name == wanted.host || others.contains(&name), report).await;
        let own = samples.iter().position(|sample| sample.host == wanted.host).map(|at| samples.remove(at));
        let (place, sample) = self.fit(&document, wanted, own)?;
        certain(&task, wanted, &sample, &others, &samples)?;
        let looked = Looked { sample, asked };
        ledger
            .change(|old| {
                let mut document = old.cloned().unwrap_or_else(|| document.clone());
                self.free(&document, &task, &claim, terms)?;
                terms.capacity.fits(&document, &claim, &looked)?;
                document.claims.insert(task.clone(), claim.clone());
                Ok(Change::To(document, ()))
            })
            .await?;
        let mut before = None;
        if let Some((claimant, number)) = issue {
            before = match self.claim_issue(&ledger, &task, &claim, claimant, number).await {
                Ok(was) => Some((claimant, was)),
                Err(error) => {
                    // No host was asked, so the task is free again.
                    change(&ledger, &task, &claim.token, |_| None).await?;
                    return Err(error);
                }
            };
            claim.unclaimed = false;
        }
        // A forge may take its time.
        let age = looked.age();
        let driven = if before.is_some() && age > terms.capacity.policy().sample_age.0 {
            Driven::Never(Stopped::Stale(age))
        } else {
            drive::launch(&self.hand, &ledger, &place, &job).await
        };
        self.fleet.release(&place.reach);
        // The issue first: once the task is free, it may be another run's.
        let claimed = match (before, &driven) {
            (Some((claimant, before)), Driven::Held(_) | Driven::Never(_) | Driven::Over(Ending::Cancelled)) => {
                claimant.unclaim(&before).await.err()
            }
            _ => None,
        };
        let noted = note(&ledger, &task, &claim.token, &driven).await.err();
        let hold = match driven {
            Driven::Over(Ending::Cancelled) => {
                let now = ledger.read().await.ok().flatten();
                now.and_then(|(_, now)| held(&now, &self.model, &claim.host, &claim.agent, &claim.repo))
            }
            _ => None,
        };
        Ok(Launched { task, claim, driven, noted, claimed, hold })
    }

    /// Claims the issue on its forge, and notes that in the ledger: until then nobody else may begin the run.
    async fn claim_issue(
        &self,
        ledger: &Ledger,
        task: &str,
        claim: &Claim,
        claimant: &Claimant,
        number: u64,
    ) -> Result<Before> {
        let before = claimant.claim(number).await.map_err(|why| why.to_error(&claim.repo, number))?;
        let noted = change(ledger, task, &claim.token, |claim| Some(Claim { unclaimed: false, ..claim })).await;
        if let Err(error) = noted {
            let _ = claimant.unclaim(&before).await;
            return Err(error);
        }
        Ok(before)
    }

    /// The host, if anything may be launched there, and what it showed.
    fn fit(&self, document: &Document, wanted: &Wanted, sample: Option<Sample>) -> Result<(Place, Sample)> {
        let host = &wanted.host;
        let place = self.targets.iter().find(|target| target.name == *host).map(super::place);
        let (Some(place), Some(sample)) = (place, sample) else {
            return Err(Error::inventory(format!("there is no host `{host}`")));
        };
        if let Some(why) = &sample.missing {
            return Err(Error::new(Exit::Unreachable, format!("{host}: {why}"))
                .help("nothing was launched; `factory inventory check` tells what is wrong with it"));
        }
        let ids = sample.host_id.iter().map(|id| (host.clone(), id.clone())).collect();
        if let Some(why) = barred(document, &self.names(), &ids, host, &sample) {
            return Err(Error::failed(format!("{host}: {why}")));
        }
        match takeover::starts(&sample, self.model.taken(), &wanted.agent) {
            Starts::No => {}
            Starts::By(lines) => {
                let lines = if lines == 1 { "a line".to_owned() } else { format!("{lines} lines") };
                return Err(Error::failed(format!(
                    "the crontab of {host} still starts agent `{}`, by {lines}",
                    wanted.agent
                ))
                .help(format!("`factory takeover {host}` shows and disables what starts it, reversibly")));
            }
            Starts::Unread => {
                return Err(Error::failed(format!(
                    "the crontab of {host} cannot be read, and may start agent `{}` too",
                    wanted.agent
                ))
                .help(format!("`factory cron show {host}` tells why")));
            }
        }
        if let Some(why) = replaced(document, &sample) {
            return Err(Error::failed(why).help("nothing is launched there until somebody says what became of it"));
        }
        Ok((place, sample))
    }

    /// Whether the task may be claimed.
    fn free(&self, document: &Document, task: &str, claim: &Claim, terms: Terms<'_>) -> Result<()> {
        let Terms { jobs, accounts, .. } = terms;
        if document.lease.holder != self.me {
            return Err(Error::new(Exit::Locked, format!("`{}` leads now", document.lease.holder))
                .help("run it on the machine that leads"));
        }
        if let Some(why) = left(document, &claim.host) {
            return Err(Error::failed(format!("{}: {why}", claim.host)));
        }
        if let Some(hold) = held(document, &self.model, &claim.host, &claim.agent, &claim.repo) {
            let why = hold.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            return Err(match hold.kind() {
                Kind::Manual => Error::new(Exit::Held, format!("held: {}, by {}{why}", hold.scope, hold.by))
                    .help(format!("`factory resume {}` lifts it", hold.scope.flags())),
                Kind::Auto => Error::new(Exit::Held, format!("held by pressure: {}{why}", hold.scope))
                    .help("it ends by itself; `factory status` tells what must happen first"),
            });
        }
        if let Some(other) = document.claims.get(task) {
            return Err(Error::failed(format!(
                "{task} is worked on already: {} on {}, since {}",
                claim::name(task, other),
                other.host,
                other.at.strftime("%Y-%m-%d %H:%M UTC")
            ))
            .help(format!(
                "`factory stop {}` ends it, `factory logs {}` shows what it does",
                other.token, other.token
            )));
        }
        let account = |claim: &Claim| jobs.agent(&claim.agent, &claim.repo).and_then(|agent| agent.account.clone());
        if let Some(name) = account(claim)
            && let Some(budget) = accounts.get(&name).map(|account| account.max_runs)
        {
            let runs = document.claims.values().filter(|other| account(other).as_ref() == Some(&name)).count();
            if runs >= budget as usize {
                return Err(Error::failed(format!("account `{name}` has {runs} runs already, its budget is {budget}"))
                    .help("wait for one of them (`factory ps`), or raise `accounts` in factory.yml"));
            }
        }
        Ok(())
    }
}

/// Notes in the ledger what became of a launch; a task of which nothing runs, nor may, is free again.
async fn note(ledger: &Ledger, task: &str, token: &str, driven: &Driven) -> Result<()> {
    change(ledger, task, token, |claim| match driven {
        Driven::Runs => Some(Claim { started: true, ..claim }),
        Driven::Open(_) => Some(claim),
        Driven::Over(_) | Driven::Held(_) | Driven::Never(_) => None,
    })
    .await
}

/// Whether it is certain that nobody works on the task, where the ledger cannot know: it was lost, or is older than a run.
/// `others` are hosts that it knows nothing of, `samples` what these answered.
fn certain(task: &str, wanted: &Wanted, own: &Sample, others: &[&str], samples: &[Sample]) -> Result<()> {
    let same = |run: &&Run| run.task.as_deref() == Some(task) && !run.over();
    for sample in samples.iter().chain([own]) {
        if let Some(run) = sample.runs.iter().flatten().find(same) {
            let why = format!("{task} is worked on already: run {} on {}", run.token, sample.host);
            return Err(Error::failed(why).help("the ledger does not know of it yet: `factory run` takes it up"));
        }
    }
    let told = |host: &&str| *host == own.host || samples.iter().any(|one| one.host == *host && one.runs.is_some());
    let silent: Vec<&str> = others.iter().filter(|host| !told(host)).copied().collect();
    if silent.is_empty() {
        return Ok(());
    }
    let silent = silent.join(", ");
    let why =
        format!("nobody knows yet whether a run works on {task} on {silent}: the ledger is new, and no answer came");
    Err(Error::new(Exit::Unreachable, why).help(format!(
        "try again once it answers; if it is gone for good, take it out of the inventory, or out of `hosts` of `{}`",
        wanted.repo
    )))
}
