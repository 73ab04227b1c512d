//! The probe: one POSIX sh program, run by one exec of `/bin/sh -c`, that says how a host is.
//!
//! What varies, the question, stands on its last line: a command with input costs a round trip more than one without,
//! since OpenSSH's server takes no input before it has answered the command. A text to look for in command lines must not
//! stand in the probe's own, so the question is written in octal.

mod parse;
mod runs;

pub use parse::{Garbled, Report, parse};

use std::sync::LazyLock;
use std::time::Duration;

use super::crontab::Mark;
use super::logs::{self, Question};
use crate::error::{self, Error};
use crate::inventory::policy::Policy;

/// The function that is the program. Under dash, bash and BusyBox sh alike; it needs no installed tool of ours, writes
/// nothing and takes no lock that could disturb another reader.
const SOURCE: &str = concat!(
    include_str!("probe/probe.sh"),
    include_str!("probe/account.sh"),
    include_str!("probe/crontabs.sh"),
    include_str!("probe/runs.sh"),
    include_str!("expand.sh"),
    include_str!("state.sh")
);

static BODY: LazyLock<String> = LazyLock::new(|| reduce(SOURCE));

/// The program of a request that asks for logs too.
static WITH_LOGS: LazyLock<String> = LazyLock::new(|| reduce(&[SOURCE, logs::SOURCE].concat()));

/// A program without indentation and comments but the first, by which a probe is known: each connection holds the program
/// several times over, and a sweep has many. No text in it goes over lines that this would change.
pub(super) fn reduce(source: &str) -> String {
    let lines = source.lines().map(str::trim_start).enumerate();
    lines.filter(|(at, line)| *at == 0 || !line.starts_with('#')).flat_map(|(_, line)| [line, "\n"]).collect()
}

/// The longest program with its question on it, in bytes. The command that it becomes may have 120 KiB, and quoting
/// adds up to a quarter.
const MAX_SCRIPT: usize = 92 << 10;

/// The end of the last line: what the probe's own tools complain of is no answer.
const QUIET: &str = "; } 2>/dev/null 3>/dev/null\n";

/// What makes a host answer a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The one argument of `/bin/sh -c`.
    pub script: String,
    /// Its standard input: empty, but for a question that is too long for a command.
    pub stdin: Vec<u8>,
}

/// What to ask of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `factory_home`: absolute, or with a leading `~` or `~/`, which the host expands.
    pub home: String,
    /// `factory_disks`: the paths to watch, absolute or with `~/`; none means `/` and the file system of the home.
    pub disks: Vec<String>,
    /// `(agent, text)`: count the runs whose command line holds the text. Several texts of one agent are counted
    /// together.
    pub matches: Vec<(String, String)>,
    /// The halt files and `active_file`s that lie elsewhere than in the home.
    pub means: Vec<Means>,
    /// Say the last line that each run wrote of which more than its state is told.
    pub last: bool,
    /// `YYYYMMDD`: tell all about runs that are quite over too, of those whose tokens begin with this day or a later one;
    /// `0` means every day. Of others the state alone is told.
    pub since: Option<String>,
    /// Crontab lines: count those that contain the text of a mark, and those that are held, by their keys. Several texts
    /// of one key are counted together. The crontabs are read only for these.
    pub crons: Vec<Mark>,
    /// What to send of logs, for who keeps them.
    pub logs: Option<Question>,
    /// A run whose `critical` file is younger asks not to be stopped now: `policy.critical`. It counts when the answer is
    /// read.
    pub critical: Duration,
}

/// How one agent is told to hold still, beside the halt files in the home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Means {
    /// The agent.
    pub agent: String,
    /// The repo that it is for, or `*`.
    pub repo: String,
    /// Absolute, or with `~/`.
    pub path: String,
    /// The agent may run while it is there (`active_file`); else it may not (`file`).
    pub active: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            home: "~/.factory".into(),
            disks: Vec::new(),
            matches: Vec::new(),
            means: Vec::new(),
            last: false,
            since: None,
            crons: Vec::new(),
            logs: None,
            critical: Policy::default().critical.0,
        }
    }
}

impl Request {
    /// Reads the whole standard output of the program.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn report(&self, output: &[u8]) -> Result<Report, Garbled> {
        parse::read(output, self.critical)
    }

    /// The program that asks this. It is called on its last line, all of which is one command: a cut copy is a syntax
    /// error, never half a probe.
    ///
    /// # Errors
    /// A path or text that holds a newline or a NUL could not be told apart there; a relative path, an empty text and an
    /// agent's name with other characters than a name has mean nothing there.
    pub fn program(&self) -> error::Result<Program> {
        let body = if self.logs.is_some() { &WITH_LOGS } else { &BODY };
        Ok(program(body, "probe", &self.question()?))
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        let logs = self.logs.iter().flat_map(Question::paths);
        std::iter::once(&self.home).chain(&self.disks).chain(self.means.iter().map(|means| &means.path)).chain(logs)
    }

    /// What the program reads.
    fn question(&self) -> error::Result<String> {
        let mut lines = vec![format!("home {}", self.home)];
        lines.extend(self.disks.iter().map(|path| format!("disk {path}")));
        lines.extend(self.matches.iter().map(|(agent, text)| format!("match {agent} {text}")));
        lines.extend(self.means.iter().map(|means| {
            let Means { agent, repo, path, active } = means;
            format!("{} {agent} {repo} {path}", if *active { "active" } else { "file" })
        }));
        lines.extend(self.last.then(|| "last".to_owned()));
        if let Some(day) = &self.since {
            if day.is_empty() || day.len() > 8 || !day.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Error::usage(format!("`{day}` is no day that a token begins with")));
            }
            lines.push(format!("since {day}"));
        }
        lines.extend(self.crons.iter().map(|mark| format!("cron {} {}", mark.key, mark.text)));
        lines.extend(self.logs.iter().flat_map(Question::lines));
        lines.push("end".into());
        check_lines(&lines)?;
        self.paths().try_for_each(|path| check_path(path))?;
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let bad = |(agent, text): &&(String, String)| agent.is_empty() || !plain(agent) || text.is_empty();
        if let Some((agent, _)) = self.matches.iter().find(bad) {
            return Err(Error::inventory(format!("agent `{agent}` cannot be looked for"))
                .help("its name is letters, digits, `.`, `_` and `-`, and its `match` must not be empty"));
        }
        let is_key =
            |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(&b));
        if let Some(mark) = self.crons.iter().find(|mark| !is_key(&mark.key) || mark.text.is_empty()) {
            return Err(Error::inventory(format!("the crontab lines of `{}` cannot be looked for", mark.key))
                .help("an agent's name is letters, digits, `.`, `_` and `-`, and its text must not be empty"));
        }
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

/// The program of `body` that calls `function` with `question`.
pub(super) fn program(body: &str, function: &str, question: &str) -> Program {
    let program = |argument: &[&str]| [&[body, "{ ", function], argument, &[QUIET]].concat().concat();
    if body.len() + 4 * question.len() > MAX_SCRIPT {
        return Program { script: program(&[]), stdin: question.as_bytes().to_vec() };
    }
    let octal: String = question.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    Program { script: program(&[" \"$(printf '", &octal, "')\""]), stdin: Vec::new() }
}

pub(super) fn check_lines(lines: &[String]) -> error::Result<()> {
    let Some(bad) = lines.iter().find(|line| line.contains(['\n', '\0'])) else { return Ok(()) };
    let what = bad.split(' ').next().unwrap_or_default();
    Err(Error::inventory(format!("a `{what}` for the probe holds a line break or a NUL: {bad:?}"))
        .help("write it on one line"))
}

/// A path that means something on a host, wherever a command stands there.
pub(super) fn check_path(path: &str) -> error::Result<()> {
    if path.starts_with('/') || path == "~" || path.starts_with("~/") {
        return Ok(());
    }
    Err(Error::inventory(format!("`{path}` is not a path that a host can look at"))
        .help("write it from the root, like `/var/lib`, or from the home directory, like `~/data`"))
}
