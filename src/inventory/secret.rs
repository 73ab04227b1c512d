//! Secrets: the inventory says where one is kept, never what it is.

use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::argv::Argv;
use super::de::{told, words};
use crate::error::{Error, Result};

/// The largest secret that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// How often a command that reads a secret is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Where a secret is kept: `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`. It can be shown: it
/// holds no secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "one:secret", rename_all = "lowercase")]
#[schemars(rename = "SecretRef")]
pub enum SecretRef {
    /// The name of an environment variable.
    Env(#[schemars(regex(pattern = "^[A-Za-z_][A-Za-z0-9_]*$"))] EnvName),
    /// A file that only its owner can read; `~/` is the home directory, a relative path is below the inventory.
    File(#[serde(deserialize_with = "words::filled")] String),
    /// A program and its arguments that prints the secret as its first line, such as `[pass, show, harb]`.
    Command(Argv),
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct EnvName(pub String);

impl<'de> Deserialize<'de> for EnvName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(EnvName(text));
        }
        // Somebody may have put the secret itself here.
        let help = "write the variable's name: letters, digits and `_`, such as `{env: HARB_TOKEN}`";
        Err(de::Error::custom(told("not the name of an environment variable").help(help).secret()))
    }
}

/// What reading a secret may use.
#[derive(Clone, Debug)]
pub struct Access {
    /// The inventory directory: relative files are below it, and commands run in it.
    pub dir: PathBuf,
    /// Whether commands may run: not from an inventory that was found by standing in its directory.
    pub commands: bool,
    /// How long a command may take.
    pub time_limit: Duration,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "{{env: {}}}", name.0),
            SecretRef::File(path) => write!(f, "{{file: {path}}}"),
            SecretRef::Command(argv) => write!(f, "{{command: [{}]}}", argv.0.join(", ")),
        }
    }
}

impl SecretRef {
    /// Reads the secret.
    ///
    /// # Errors
    /// Exit 3: the variable is not set or empty; the file is missing, unreadable, readable by others, empty or longer
    /// than a line; the command is not allowed, fails, is too slow or prints nothing. No message holds the secret, nor
    /// anything that the command printed.
    pub fn resolve(&self, access: &Access) -> Result<SecretString> {
        let text = match self {
            SecretRef::Env(name) => env(&name.0)?,
            SecretRef::File(path) => file(&expand(path, &access.dir)?)?,
            SecretRef::Command(argv) if access.commands => command(&argv.0, access)?,
            SecretRef::Command(_) => {
                let dir = access.dir.display();
                return Err(Error::inventory(format!("the command of {self} may not run"))
                    .help(format!("look at the inventory, then allow its commands: factory inventory allow {dir}")));
            }
        };
        if text.chars().any(|c| c.is_control()) {
            return Err(Error::inventory(format!("{self} holds more than one line or a control character"))
                .help("keep there the secret alone, on one line"));
        }
        Ok(SecretString::from(text))
    }
}

fn env(name: &str) -> Result<String> {
    let help = "set it where factory runs; a cron job has only the variables of its crontab";
    match std::env::var(name) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Error::inventory(format!("the environment variable {name} is empty")).help(help)),
        Err(std::env::VarError::NotPresent) => {
            Err(Error::inventory(format!("the environment variable {name} is not set")).help(help))
        }
        Err(_) => Err(Error::inventory(format!("the environment variable {name} is not UTF-8"))),
    }
}

fn expand(path: &str, dir: &Path) -> Result<PathBuf> {
    let Some(rest) = path.strip_prefix("~/") else { return Ok(dir.join(path)) };
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(rest)),
        None => Err(Error::inventory(format!("cannot find {path}: HOME is not set"))),
    }
}

fn file(path: &Path) -> Result<String> {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let cannot =
        |error: std::io::Error| Error::inventory(format!("cannot read the secret file {shown}")).because(error);
    // Not opened before it is known to be a file: opening a pipe would wait for ever.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(Error::inventory(format!("the secret file {shown} is not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if meta.mode() & 0o077 != 0 {
        return Err(Error::inventory(format!("others than its owner may use the secret file {shown}"))
            .help(format!("chmod 600 {shown}")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::inventory(format!("the secret file {shown} is larger than {} KiB", MAX_BYTES >> 10)));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| Error::inventory(format!("the secret file {shown} is not UTF-8")))?;
    match text.trim() {
        "" => Err(Error::inventory(format!("the secret file {shown} is empty"))),
        text => Ok(text.to_owned()),
    }
}

fn command(argv: &[String], access: &Access) -> Result<String> {
    let Some((program, args)) = argv.split_first() else { return Err(Error::inventory("an empty command")) };
    let mut child = Command::new(program)
        .args(args)
        .current_dir(&access.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that a time-out ends its children too.
        .process_group(0)
        .spawn()
        .map_err(|error| Error::inventory(format!("cannot run {program} for a secret")).because(error))?;
    let (send, receive) = std::sync::mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = stdout.take(MAX_BYTES + 1).read_to_end(&mut bytes);
            let _ = send.send(read.map(|_| bytes));
        });
    }
    let deadline = Instant::now() + access.time_limit;
    let left = || deadline.saturating_duration_since(Instant::now());
    let output = receive.recv_timeout(access.time_limit);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if left().is_zero() => break None,
            Ok(None) => std::thread::sleep(POLL.min(left())),
            Err(_) => break None,
        }
    };
    // Also after a good end: what it left behind must not live on. Its group cannot be another's yet when it timed
    // out; after `try_wait` said that it ended, only members that it left keep the number.
    if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or_default())
        && (status.is_none() || output.is_err())
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = child.wait();
    }
    let (Some(status), Ok(output)) = (status, output) else {
        let limit = super::units::Span(access.time_limit);
        return Err(Error::inventory(format!("{program} gave no secret within {limit}"))
            .help("run it by hand: does it ask for a passphrase?"));
    };
    if !status.success() {
        return Err(Error::inventory(format!("{program} gave no secret: {status}")).help("run it by hand"));
    }
    let bytes =
        output.map_err(|error| Error::inventory(format!("cannot read what {program} prints")).because(error))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::inventory(format!("{program} printed no UTF-8")))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(Error::inventory(format!("{program} printed an empty first line"))),
        Some(line) => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn access(dir: &Path) -> Access {
        Access { dir: dir.to_path_buf(), commands: true, time_limit: Duration::from_secs(20) }
    }

    fn sh(script: &str) -> SecretRef {
        SecretRef::Command(Argv(["/bin/sh", "-c", script].map(String::from).to_vec()))
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = SecretRef::File("token".to_owned());
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let got = secret.resolve(&access(dir.path()));
            assert_eq!(got.is_ok(), fine, "{mode:o}: {got:?}");
            match got {
                Ok(value) => {
                    assert_eq!(value.expose_secret(), "hunter2");
                    assert!(!format!("{value:?}").contains("hunter2"));
                }
                Err(error) => assert!(!format!("{error:?}").contains("hunter2")),
            }
        }
    }

    #[test]
    fn a_file_without_one_line_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, fine) in [("a\n", true), ("a", true), ("", false), ("\n\n", false), ("a\nb\n", false)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(SecretRef::File("token".into()).resolve(&access(dir.path())).is_ok(), fine, "{text:?}");
        }
        assert!(SecretRef::File("none".into()).resolve(&access(dir.path())).is_err());
        assert!(SecretRef::File("/dev/zero".into()).resolve(&access(dir.path())).is_err());
    }

    #[test]
    fn a_command_gives_its_first_line_and_its_output_stays_out_of_errors() {
        let dir = tempfile::tempdir().unwrap();
        let got = sh("echo hunter2; echo more").resolve(&access(dir.path())).unwrap();
        assert_eq!(got.expose_secret(), "hunter2");
        for script in ["echo hunter2; exit 3", "true", "echo; echo hunter2"] {
            let error = sh(script).resolve(&access(dir.path())).unwrap_err();
            assert!(!format!("{error}{:?}", error.causes()).contains("hunter2"), "{error}");
        }
        let mut locked = access(dir.path());
        locked.commands = false;
        let mark = dir.path().join("ran");
        let error = sh(&format!("touch {}; echo x", mark.display())).resolve(&locked).unwrap_err();
        assert!(error.advice().unwrap().contains("factory inventory allow"), "{error:?}");
        assert!(!mark.exists());
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mut short = access(dir.path());
        short.time_limit = Duration::from_secs(3);
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        assert!(sh(&script).resolve(&short).is_err());
        let child = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
        // A killed child may stay as a zombie of whoever adopted it; it must not run.
        let dead = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
        };
        for _ in 0..500 {
            if dead() {
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("process {child} lives on");
    }
}
