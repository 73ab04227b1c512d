//! The probe: one POSIX sh program, run by one exec of `/bin/sh -c`, that says how a host is.
//!
//! What varies, the question, stands on its last line: a command with input costs a round trip more than one without,
//! since OpenSSH's server takes no input before it has answered the command. A text to look for in command lines must not
//! stand in the probe's own, so the question is written in octal.

mod parse;

pub use parse::{Garbled, Report, parse};

use std::sync::LazyLock;

use crate::error::{Error, Result};

/// The function that is the program. Under dash, bash and BusyBox sh alike; it needs no installed tool of ours, writes
/// nothing and takes no lock that could disturb another reader.
const SOURCE: &str = concat!(include_str!("probe/probe.sh"), include_str!("state.sh"));

/// The same without indentation and comments but the first, by which a probe is known: each connection holds the program
/// several times over, and a sweep has many. No text in it goes over lines that this would change.
static BODY: LazyLock<String> = LazyLock::new(|| {
    let lines = SOURCE.lines().map(str::trim_start).enumerate();
    lines.filter(|(at, line)| *at == 0 || !line.starts_with('#')).flat_map(|(_, line)| [line, "\n"]).collect()
});

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
        Request { home: "~/.factory".into(), disks: Vec::new(), matches: Vec::new(), means: Vec::new() }
    }
}

impl Request {
    /// The program that asks this. It is called on its last line, all of which is one command: a cut copy is a syntax
    /// error, never half a probe.
    ///
    /// # Errors
    /// A path or text that holds a newline or a NUL could not be told apart there; a relative path, an empty text and an
    /// agent's name with other characters than a name has mean nothing there.
    pub fn program(&self) -> Result<Program> {
        let question = self.question()?;
        let program = |argument: &[&str]| [&[BODY.as_str(), "{ probe"], argument, &[QUIET]].concat().concat();
        if BODY.len() + 4 * question.len() > MAX_SCRIPT {
            return Ok(Program { script: program(&[]), stdin: question.into_bytes() });
        }
        let octal: String = question.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        Ok(Program { script: program(&[" \"$(printf '", &octal, "')\""]), stdin: Vec::new() })
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.home).chain(&self.disks).chain(self.means.iter().map(|means| &means.path))
    }

    /// What the program reads.
    fn question(&self) -> Result<String> {
        let mut lines = vec![format!("home {}", self.home)];
        lines.extend(self.disks.iter().map(|path| format!("disk {path}")));
        lines.extend(self.matches.iter().map(|(agent, text)| format!("match {agent} {text}")));
        lines.extend(self.means.iter().map(|means| {
            let Means { agent, repo, path, active } = means;
            format!("{} {agent} {repo} {path}", if *active { "active" } else { "file" })
        }));
        lines.push("end".into());
        if let Some(bad) = lines.iter().find(|line| line.contains(['\n', '\0'])) {
            let what = bad.split(' ').next().unwrap_or_default();
            return Err(Error::inventory(format!("a `{what}` for the probe holds a line break or a NUL: {bad:?}"))
                .help("write it on one line"));
        }
        let rooted = |path: &&String| path.starts_with('/') || *path == "~" || path.starts_with("~/");
        if let Some(path) = self.paths().find(|path| !rooted(path)) {
            return Err(Error::inventory(format!("`{path}` is not a path that a host can look at"))
                .help("write it from the root, like `/var/lib`, or from the home directory, like `~/data`"));
        }
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let bad = |(agent, text): &&(String, String)| agent.is_empty() || !plain(agent) || text.is_empty();
        if let Some((agent, _)) = self.matches.iter().find(bad) {
            return Err(Error::inventory(format!("agent `{agent}` cannot be looked for"))
                .help("its name is letters, digits, `.`, `_` and `-`, and its `match` must not be empty"));
        }
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}
