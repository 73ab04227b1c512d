//! What `factory run` would meet when cron starts it: no agent socket, no variables of the login's, little in PATH.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};

/// How long one look may take: a sweep of all hosts.
const LIMIT: Duration = Duration::from_secs(300);

/// What would go wrong.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// What fails there, a line each.
    pub fatal: Vec<String>,
    /// What fails here as well: the host is down, say.
    pub warnings: Vec<String>,
}

/// The variables that cron gives: its own, and what the crontab sets before our block.
pub(super) fn environment(home: &Path, user: &str, table: &[u8], fleet: &str) -> BTreeMap<String, String> {
    let own = [("HOME", home.display().to_string()), ("SHELL", "/bin/sh".into()), ("PATH", "/usr/bin:/bin".into())];
    let mut all: BTreeMap<String, String> = own.map(|(name, value)| (name.to_owned(), value)).into();
    let text = String::from_utf8_lossy(table);
    let ours = format!("# BEGIN factory {fleet}");
    all.extend(text.lines().take_while(|line| line.trim_end() != ours).filter_map(setting));
    // These are cron's, whatever is written.
    all.extend(["USER", "LOGNAME"].map(|name| (name.to_owned(), user.to_owned())));
    all
}

/// `NAME = value`, the value in quotes or not.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

/// What goes wrong with these global flags (`-i`, `--state`, `--as`) and with nothing but `environment`.
///
/// # Errors
/// When this program cannot be started again.
pub(super) async fn problems(words: &[String], environment: &BTreeMap<String, String>) -> Result<Problems> {
    let mut found = Problems::default();
    let check = ["inventory", "check", "-o", "json"];
    let there = look(words, &check, Some(environment)).await?;
    let Some(report) = there.report() else {
        found.fatal.push(there.complaint());
        return Ok(found);
    };
    let silent = report.silent();
    let unreached = silent.iter().any(|host| host.reach.is_none());
    let here = match unreached || report.repos.iter().any(RepoRow::doubtful) {
        true => look(words, &check, None).await?.report(),
        false => None,
    };
    let neither = |name: &str| {
        let here = here.iter().flat_map(Report::silent);
        here.into_iter().any(|host| host.host == name && host.reach.is_none())
    };
    for repo in &report.repos {
        let here = here.iter().flat_map(|here| &here.repos).find(|own| own.repo == repo.repo);
        repo.judge(here, &mut found);
    }
    for host in silent {
        let why = told(host).into_iter().next();
        let why = why.unwrap_or_else(|| format!("host {} does not answer", host.host));
        match host.reach.is_none() && neither(&host.host) {
            true => found.warnings.push(why),
            false => found.fatal.push(why),
        }
    }
    let tick = look(words, &["run", "--check", "-o", "json"], Some(environment)).await?;
    if tick.code != Some(0) {
        found.fatal.push(tick.complaint());
    }
    Ok(found)
}

/// What `inventory check -o json` says.
#[derive(Deserialize)]
struct Report {
    usable: bool,
    hosts: Vec<HostRow>,
    repos: Vec<RepoRow>,
}

#[derive(Deserialize)]
struct HostRow {
    host: String,
    reach: Option<String>,
    login: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct RepoRow {
    repo: String,
    problems: Vec<RepoProblem>,
}

#[derive(Deserialize)]
struct RepoProblem {
    what: String,
    level: String,
    message: String,
}

impl RepoRow {
    /// Whether another environment may be why something is wrong: a proxy that a variable names, say.
    fn doubtful(&self) -> bool {
        self.problems.iter().any(|problem| problem.level != "hint")
    }

    /// Adds what fails there. What is wrong with the repo itself, `here` as there, is no matter of where factory runs.
    fn judge(&self, here: Option<&RepoRow>, found: &mut Problems) {
        let why = |problem: &RepoProblem| format!("repo {}: {}", self.repo, problem.message);
        // A secret that cannot be read there is worth nothing, wherever else it can; all else may follow from it.
        let mut secrets = self.problems.iter().filter(|problem| problem.what == "secret").peekable();
        if secrets.peek().is_some() {
            return found.fatal.extend(secrets.map(why));
        }
        for problem in self.problems.iter().filter(|problem| problem.level != "hint") {
            let silent = problem.level == "unknown";
            let same = |own: &RepoProblem| {
                (&own.what, &own.level) == (&problem.what, &problem.level) && (silent || own.message == problem.message)
            };
            match here.is_some_and(|here| here.problems.iter().any(same)) {
                false => found.fatal.push(why(problem)),
                true if silent => found.warnings.push(why(problem)),
                true => {}
            }
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    fatal: bool,
    message: String,
}

impl Report {
    /// The hosts where nobody was let in.
    fn silent(&self) -> Vec<&HostRow> {
        self.hosts.iter().filter(|host| host.login.as_deref().is_none_or(|login| login == "refused")).collect()
    }
}

/// The fatal problems of a host.
fn told(host: &HostRow) -> Vec<String> {
    let fatal = host.problems.iter().filter(|problem| problem.fatal);
    fatal.map(|problem| format!("host {}: {}", host.host, problem.message)).collect()
}

/// How a look ended.
struct Looked {
    what: String,
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Looked {
    /// What it said, if all was read.
    fn report(&self) -> Option<Report> {
        serde_json::from_slice(&self.stdout).ok().filter(|report: &Report| report.usable)
    }

    /// Why it failed, in its own words.
    fn complaint(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join(" ");
        let code = self.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
        format!("`factory {}` {code}: {last}", self.what)
    }
}

async fn look(words: &[String], verb: &[&str], environment: Option<&BTreeMap<String, String>>) -> Result<Looked> {
    let what = verb.join(" ");
    let cannot = |error: std::io::Error| Error::failed(format!("cannot start `factory {what}`")).because(error);
    let program = std::env::current_exe().map_err(cannot)?;
    let mut command = tokio::process::Command::new(program);
    command.args(words).args(verb).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(environment) = environment {
        command.env_clear().envs(environment);
        environment.get("HOME").iter().for_each(|home| _ = command.current_dir(home));
    }
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(output) => output.map_err(cannot)?,
        Err(_) => return Err(Error::failed(format!("`factory {what}` takes over {} s", LIMIT.as_secs()))),
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Looked { what, code: output.status.code(), stdout: output.stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_our_block_counts() {
        let table =
            b"# A=1\nTOKEN = \"a b\"\n PATH=/opt:/bin\n*/5 * * * * X=1 y\nUSER=eve\nB='c\n# BEGIN factory home\nC=1\n";
        let all = environment(Path::new("/home/ann"), "ann", table, "home");
        let lines: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            ["B='c", "HOME=/home/ann", "LOGNAME=ann", "PATH=/opt:/bin", "SHELL=/bin/sh", "TOKEN=a b", "USER=ann"]
        );
    }
}
