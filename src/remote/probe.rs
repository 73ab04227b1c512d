//! The probe: one POSIX sh program, run by one exec of `/bin/sh -c`, that says how a host is.
//!
//! The program is fixed text; what varies comes by standard input, for two reasons: any byte but NUL and newline is
//! safe there, and a text to look for in command lines must not stand in the probe's own.

mod parse;

pub use parse::{Garbled, Report, parse};

use crate::error::{Error, Result};

/// The program, the one argument of `/bin/sh -c`. Under dash, bash and BusyBox sh alike; it needs no installed tool of
/// ours, writes nothing and takes no lock that could disturb another reader.
pub fn script() -> &'static str {
    include_str!("probe/probe.sh")
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
}

impl Default for Request {
    fn default() -> Request {
        Request { home: "~/.factory".into(), disks: Vec::new(), matches: Vec::new() }
    }
}

impl Request {
    /// The standard input of the program.
    ///
    /// # Errors
    /// A path or text that holds a newline or a NUL could not be told apart there; a relative path, an empty text and an
    /// agent's name with other characters than a name has mean nothing there.
    pub fn stdin(&self) -> Result<Vec<u8>> {
        let mut lines = vec![format!("home {}", self.home)];
        lines.extend(self.disks.iter().map(|path| format!("disk {path}")));
        lines.extend(self.matches.iter().map(|(agent, text)| format!("match {agent} {text}")));
        lines.push("end".into());
        if let Some(bad) = lines.iter().find(|line| line.contains(['\n', '\0'])) {
            let what = bad.split(' ').next().unwrap_or_default();
            return Err(Error::inventory(format!("a `{what}` for the probe holds a line break or a NUL: {bad:?}"))
                .help("write it on one line"));
        }
        let rooted = |path: &&String| path.starts_with('/') || *path == "~" || path.starts_with("~/");
        if let Some(path) = std::iter::once(&self.home).chain(&self.disks).find(|path| !rooted(path)) {
            return Err(Error::inventory(format!("`{path}` is not a path that a host can look at"))
                .help("write it from the root, like `/var/lib`, or from the home directory, like `~/work`"));
        }
        let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let bad = |(agent, text): &&(String, String)| agent.is_empty() || !plain(agent) || text.is_empty();
        if let Some((agent, _)) = self.matches.iter().find(bad) {
            return Err(Error::inventory(format!("agent `{agent}` cannot be looked for"))
                .help("its name is letters, digits, `.`, `_` and `-`, and its `match` must not be empty"));
        }
        lines.push(String::new());
        Ok(lines.join("\n").into_bytes())
    }
}
