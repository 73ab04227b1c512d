//! What a run is to do: the payload of a launch.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::halt::encode;
use super::program::{path, quoted};
use super::{Stop, Stopped};
use crate::error::{Error, Result};
use crate::inventory::repos::RESERVED;

/// Names that mean something of their own to a shell, which starts every command: what is given would not arrive.
const SHELLS: [&str; 31] = [
    "_",
    "BASHOPTS",
    "BASHPID",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_COMMAND",
    "BASH_COMPAT",
    "BASH_LINENO",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_VERSINFO",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTIND",
    "POSIXLY_CORRECT",
    "PPID",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "UID",
];

/// The longest token, in bytes.
const MAX_TOKEN: usize = 128;

/// A run to be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Chosen by the controller: `YYYYMMDD-` and letters, digits, `.`, `_`, `-`; the day is the UTC day of its making.
    pub token: String,
    /// The task's key in the ledger.
    pub task: String,
    /// The repo that it is for, or `*`.
    pub repo: String,
    /// The agent.
    pub agent: String,
    /// The first is 1.
    pub attempt: u32,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The working directory: absolute, or with `~/`; none is the home directory.
    pub dir: Option<String>,
    /// Its variables, besides those that every run has.
    pub env: BTreeMap<String, String>,
    /// Its secret variables.
    pub secrets: Secrets,
    /// How long it may take, also without a controller.
    pub time_limit: Duration,
    /// The memory kept for it, in bytes: the limits of its unit, where it gets one, are made of it.
    pub memory: u64,
    /// What holds it besides the halt files of its agent in the home: a halt file elsewhere (`false`, path), or an
    /// `active_file` (`true`, path).
    pub means: Vec<(bool, String)>,
    /// What it is to keep to, in Markdown: put beside it as a file, which `FACTORY_PRACTICES` names. None: neither is
    /// there.
    pub practices: Option<String>,
}

/// Secret variables by name. It cannot be printed, and two are compared by their names alone.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub BTreeMap<String, SecretString>);

impl PartialEq for Secrets {
    fn eq(&self, other: &Secrets) -> bool {
        self.0.keys().eq(other.0.keys())
    }
}

impl Secrets {
    /// The names with the values.
    pub(super) fn exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

/// A token that is of its form.
pub(super) fn token(token: &str) -> Result<&str> {
    let day = token.split_once('-').filter(|(day, rest)| {
        day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit()) && !rest.is_empty() && token.len() <= MAX_TOKEN
    });
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if day.is_none() || !token.bytes().all(plain) {
        return Err(Error::failed(format!("{token:?} is no token of a run")).help(
            "a token is its UTC day and a name, like `20260312-harb-12.1`; `factory ps` shows those that there are",
        ));
    }
    Ok(token)
}

/// The payload of a launch, but its last line.
pub(super) fn lines(job: &Job, fleet: &str) -> Result<Vec<String>> {
    let mut lines = vec![
        format!("token {}", token(&job.token)?),
        format!("limit {}", job.time_limit.as_secs().clamp(1, 999_999_999)),
        format!("memory {}", job.memory.min(999_999_999_999_999)),
        format!("fleet {}", encode(fleet)),
        format!("task {}", encode(&job.task)),
        format!("repo {}", encode(&job.repo)),
        format!("agent {}", encode(&job.agent)),
        format!("attempt {}", job.attempt),
    ];
    for (name, text) in [("agent", &job.agent), ("repo", &job.repo)] {
        if text.is_empty() || text.starts_with('.') || text.contains(['/', '\n', '\0']) {
            return Err(Error::inventory(format!("{text:?} is no name of an {name}"))
                .help("agents and repos have names of letters, digits, `.`, `_` and `-`"));
        }
    }
    lines.extend(job.argv.iter().map(|arg| format!("arg {}", encode(arg))));
    for (active, at) in &job.means {
        let (key, what) = if *active { ("active", "active_file") } else { ("file", "halt file") };
        lines.push(format!("{key} {}", encode(path(at, what)?)));
    }
    if let Some(practices) = &job.practices {
        lines.push(format!("practices {}", escaped(practices)?));
    }
    lines.push(format!("job={}", one_line(&quoted(&text(job)?))));
    Ok(lines)
}

/// `text` on one line, for a shell's `printf %b`: at most twice as long, and never quoted, read by `eval` or cut up.
fn escaped(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::inventory("the practices of a run hold a NUL").help("remove it: it is in no text"));
    }
    Ok(text.replace('\\', r"\\").replace('\n', r"\n"))
}

/// The job as a piece of shell text without a line break: `dir`, `practices`, the positional parameters and the function
/// `variables`.
fn text(job: &Job) -> Result<String> {
    if job.argv.first().is_none_or(String::is_empty) {
        return Err(Error::inventory(format!("agent `{}` has no command", job.agent)).help("write it as `command:`"));
    }
    let dir = job.dir.as_deref().unwrap_or("~");
    if !dir.starts_with('/') && dir != "~" && !dir.starts_with("~/") {
        return Err(Error::inventory(format!("{dir:?} is no working directory for agent `{}`", job.agent))
            .help("write it from the root, like `/srv/x`, or from the home directory, like `~/x`"));
    }
    let practices = if job.practices.is_some() { "1" } else { "''" };
    let mut text = format!("dir={}; practices={practices}; set --", value("the working directory", dir)?);
    for arg in &job.argv {
        text.push(' ');
        text.push_str(&value("an argument", arg)?);
    }
    text.push_str("; variables() { :; ");
    let plain = job.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, given) in plain.chain(job.secrets.exposed()) {
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let named = begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !named || SHELLS.contains(&name) || RESERVED.contains(&name) {
            let why = if named { "is the shell's or factory's own" } else { "is no name" };
            return Err(Error::inventory(format!(
                "variable {name:?} cannot be given to agent `{}`: it {why}",
                job.agent
            ))
            .help("give it another name: letters, digits and `_`"));
        }
        text.push_str(&format!("export {name}={}; ", value(name, given)?));
    }
    text.push('}');
    Ok(text)
}

/// `text` in quotes, without a line break.
fn value(what: &str, text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::inventory(format!("{what} of a run holds a NUL")).help("no program can be given one"));
    }
    Ok(one_line(&quoted(text)))
}

/// Quoted text, each line break in it a variable of the agent's program.
fn one_line(quoted: &str) -> String {
    quoted.replace('\n', "'\"$nl\"'")
}

/// The payload of a stop, but its last line.
pub(super) fn stop_lines(stop: &Stop) -> Result<Vec<String>> {
    let seconds = |span: Duration| (span.as_secs() + u64::from(span.subsec_nanos() > 0)).min(999_999_999);
    let mut lines = match &stop.what {
        Stopped::Run(run) => vec![format!("token {}", token(run)?)],
        Stopped::Process { pid, start, text } => {
            if text.is_empty() || text.contains(['\n', '\0']) {
                return Err(Error::inventory(format!("{text:?} cannot be looked for in command lines"))
                    .help("write `match:` on one line"));
            }
            vec![format!("process {pid} {start}"), format!("text {text}")]
        }
    };
    lines.push(format!("by {}", if stop.by.is_empty() { "-".to_owned() } else { encode(&stop.by) }));
    lines.push(format!("drain {}", seconds(stop.drain)));
    lines.push(format!("grace {}", seconds(stop.kill_after)));
    if stop.critical {
        lines.push("critical".to_owned());
    }
    Ok(lines)
}
