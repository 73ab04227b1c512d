//! Claims: which run works on which task, and what a look at its host means for it. Pure.
//!
//! A launch is a claim in the ledger, then the guard, then the claim again. Whatever dies in between, the claim says what was
//! meant and the host's run directory says what became of it, so that whoever leads next goes on from there: the same token
//! again, never another one while the first may live.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hold::{Hold, Model, Wanted};
use crate::remote::halt::HaltFile;
use crate::remote::sample::Run;

/// A run that works on a task, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The run's token: `YYYYMMDD-` and 12 hexadecimal digits; the day is the UTC day of its making.
    pub token: String,
    /// The inventory name of the host.
    pub host: String,
    /// The repo, or `*`.
    pub repo: String,
    /// The agent.
    pub agent: String,
    /// Which attempt at the task it is, from 1.
    pub attempt: u32,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The number of the issue that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<u64>,
    /// Arguments behind those of the agent's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its issue is not claimed on the forge yet: a launch that was cut off there is not finished by others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclaimed: bool,
    /// The host said that it began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
    /// What was last told of it, so that it is told once: that it left something behind, or is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
}

/// What a look at a claim's host means for the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it runs, or nobody can tell.
    Keep,
    /// It runs, which the ledger does not know yet.
    Started,
    /// It has not begun: the same launch again, or none ever.
    Relaunch,
    /// It is over and nothing of it lives.
    Over(Ending),
    /// It is over, or its wrapper is dead, and something of its tree still lives: it holds its task until that is gone.
    Leftover(Ending),
    /// It had begun, and its host does not know it any more.
    Lost,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// With this exit status.
    Done(u8),
    /// It never began.
    Cancelled,
    /// Its wrapper died.
    Crashed,
    /// Its host was booted anew.
    Rebooted,
}

/// For people.
impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Done(0) => f.write_str("is done"),
            Ending::Done(code @ 129..) => write!(f, "was ended by signal {}", code - 128),
            Ending::Done(code) => write!(f, "failed with exit status {code}"),
            Ending::Cancelled => f.write_str("was cancelled before it began"),
            Ending::Crashed => f.write_str("crashed: its wrapper was killed"),
            Ending::Rebooted => f.write_str("was ended by a reboot of its host"),
        }
    }
}

/// How the run ended whose state is `state`; none while it has not, or when nobody can tell. Whether something of it is left
/// comes second.
pub fn ending(state: &str) -> Option<(Ending, bool)> {
    let bare = state.strip_suffix(" LEFTOVER");
    let ending = match bare.unwrap_or(state) {
        "CANCELLED" => Ending::Cancelled,
        "CRASHED" => Ending::Crashed,
        "REBOOTED" => Ending::Rebooted,
        other => Ending::Done(other.strip_prefix("DONE ")?.parse().ok()?),
    };
    Some((ending, bare.is_some()))
}

/// What the runs that a host shows mean for a claim there that is older than the look.
pub fn fate(claim: &Claim, runs: &[Run]) -> Fate {
    let Some(run) = runs.iter().find(|run| run.token == claim.token) else {
        return if claim.started { Fate::Lost } else { Fate::Relaunch };
    };
    match (run.state.as_str(), ending(&run.state)) {
        // The slot is still free, whatever we were told.
        ("CREATED", _) => Fate::Relaunch,
        ("RUNNING", _) if claim.started => Fate::Keep,
        ("RUNNING", _) => Fate::Started,
        (_, Some((ending, false))) => Fate::Over(ending),
        (_, Some((ending, true))) => Fate::Leftover(ending),
        (_, None) => Fate::Keep,
    }
}

/// The runs of this fleet that live on a host and of which no claim knows: a ledger was lost, or came back old. Each
/// with the task and the claim that are made of its `spec`.
pub fn strays<'a>(
    claims: &BTreeMap<String, Claim>,
    host: &str,
    fleet: &str,
    runs: &'a [Run],
    now: Timestamp,
) -> Vec<(&'a Run, String, Claim)> {
    let known = |token: &str| claims.values().any(|claim| claim.token == token);
    let ours = |run: &&Run| run.fleet.as_deref() == Some(fleet) && !known(&run.token);
    let lives = |run: &&Run| run.state == "RUNNING" || ending(&run.state).is_some_and(|(_, left)| left);
    let claim = |run: &'a Run| {
        let claim = Claim {
            token: run.token.clone(),
            host: host.to_owned(),
            repo: run.repo.clone()?,
            agent: run.agent.clone()?,
            attempt: run.attempt?,
            by: "found on the host".to_owned(),
            at: run.started.unwrap_or(now),
            issue: None,
            args: Vec::new(),
            unclaimed: false,
            started: true,
            told: None,
        };
        Some((run, run.task.clone()?, claim))
    };
    runs.iter().filter(ours).filter(lives).filter_map(claim).collect()
}

/// The task of a launch: the issue of a repo, so that it is worked on once, else the launch itself.
pub fn task(repo: &str, issue: Option<u64>, token: &str) -> String {
    match issue {
        Some(issue) => format!("{repo}#{issue}"),
        None => format!("adhoc:{token}"),
    }
}

/// What a run is called in messages: `run 20260312-0a1b of dev at harb (harb#12)`.
pub fn name(task: &str, claim: &Claim) -> String {
    let of = if claim.repo == "*" { String::new() } else { format!(" at {}", claim.repo) };
    let task = if task.starts_with("adhoc:") { String::new() } else { format!(" ({task})") };
    format!("run {} of {}{of}{task}", claim.token, claim.agent)
}

/// A token of the UTC day of `now`; `random` is its second half.
pub fn token(now: Timestamp, random: &str) -> String {
    format!("{}-{random}", now.strftime("%Y%m%d"))
}

/// A hold that holds `agent` at `repo` on `host`, of those that are not over.
pub fn held<'a>(holds: &'a [Hold], model: &Model, host: &str, agent: &str, repo: &str) -> Option<&'a Hold> {
    let wanted = Wanted::on(host, holds, model);
    let files = [HaltFile::of(agent, "*"), HaltFile::of(agent, repo)];
    files.iter().find_map(|file| wanted.files.get(file)?.first().copied())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A claim of the issue 7 of `harb`.
    pub(crate) fn claim(started: bool) -> Claim {
        Claim {
            token: "20260312-a".to_owned(),
            host: "h".to_owned(),
            repo: "harb".to_owned(),
            agent: "dev".to_owned(),
            attempt: 1,
            by: "anna".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            issue: Some(7),
            args: Vec::new(),
            unclaimed: false,
            started,
            told: None,
        }
    }

    fn run(token: &str, state: &str) -> Run {
        let text = |text: &str| Some(text.to_owned());
        Run {
            token: token.to_owned(),
            state: state.to_owned(),
            fleet: text("f"),
            task: text("harb#9"),
            repo: text("harb"),
            agent: text("dev"),
            attempt: Some(2),
            ..Run::default()
        }
    }

    #[test]
    fn what_a_host_shows_decides_what_becomes_of_a_claim() {
        use Ending::{Cancelled, Crashed, Done, Rebooted};
        let rows = [
            (None, Fate::Relaunch, Fate::Lost),
            (Some("CREATED"), Fate::Relaunch, Fate::Relaunch),
            (Some("RUNNING"), Fate::Started, Fate::Keep),
            (Some("UNKNOWN"), Fate::Keep, Fate::Keep),
            (Some("WHATEVER"), Fate::Keep, Fate::Keep),
            (Some("DONE 0"), Fate::Over(Done(0)), Fate::Over(Done(0))),
            (Some("DONE 137"), Fate::Over(Done(137)), Fate::Over(Done(137))),
            (Some("DONE 0 LEFTOVER"), Fate::Leftover(Done(0)), Fate::Leftover(Done(0))),
            (Some("CANCELLED"), Fate::Over(Cancelled), Fate::Over(Cancelled)),
            (Some("CRASHED"), Fate::Over(Crashed), Fate::Over(Crashed)),
            (Some("CRASHED LEFTOVER"), Fate::Leftover(Crashed), Fate::Leftover(Crashed)),
            (Some("REBOOTED"), Fate::Over(Rebooted), Fate::Over(Rebooted)),
        ];
        for (state, not_started, started) in rows {
            let mut runs = vec![run("20260312-b", "DONE 0")];
            runs.extend(state.map(|state| run("20260312-a", state)));
            assert_eq!(fate(&claim(false), &runs), not_started, "{state:?}");
            assert_eq!(fate(&claim(true), &runs), started, "{state:?}");
        }
    }

    #[test]
    fn a_task_is_never_free_while_something_of_its_run_may_live() {
        // Only these two let another token work on the task.
        for state in ["RUNNING", "UNKNOWN", "CREATED", "CRASHED LEFTOVER", "DONE 0 LEFTOVER", "REBOOTED LEFTOVER", ""] {
            for started in [false, true] {
                assert!(!matches!(fate(&claim(started), &[run("20260312-a", state)]), Fate::Over(_)), "{state}");
            }
        }
    }

    #[test]
    fn live_runs_of_our_fleet_without_a_claim_are_found() {
        let claims = BTreeMap::from([("harb#7".to_owned(), claim(true))]);
        let mut runs = vec![run("20260312-a", "RUNNING"), run("20260312-b", "RUNNING"), run("20260312-c", "DONE 0")];
        runs.push(run("20260312-d", "CRASHED LEFTOVER"));
        runs.push(Run { fleet: Some("other".to_owned()), ..run("20260312-e", "RUNNING") });
        runs.push(Run { task: None, ..run("20260312-g", "RUNNING") });
        let found = strays(&claims, "h", "f", &runs, Timestamp::UNIX_EPOCH);
        let tokens: Vec<&str> = found.iter().map(|(run, ..)| run.token.as_str()).collect();
        assert_eq!(tokens, ["20260312-b", "20260312-d"]);
        let (_, task, claim) = &found[0];
        assert_eq!((task.as_str(), claim.attempt, claim.started, claim.host.as_str()), ("harb#9", 2, true, "h"));
    }

    #[test]
    fn an_issue_is_one_task_and_a_token_begins_with_its_day() {
        let now = "2026-03-12T23:59:59Z".parse().unwrap();
        assert_eq!(token(now, "00ff"), "20260312-00ff");
        assert_eq!((task("harb", Some(3), "t"), task("harb", None, "t")), ("harb#3".to_owned(), "adhoc:t".to_owned()));
    }
}
