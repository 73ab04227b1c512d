//! One command on one host and how it ended, the same for SSH and for this machine.

use std::time::Duration;

use crate::error::{Error, Result};

/// A command to run by `/bin/sh -c` on a host.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// The POSIX shell program, whole.
    pub script: &'a str,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of stdout, and of stderr, are kept. More is read and dropped, and the output says so.
    pub max_output: usize,
}

/// The longest command that is sent unless `ssh.max_command` says otherwise, in bytes, with its quotes. Linux takes 128 KiB in one argument, and beyond that
/// sshd answers 1 or drops the connection; larger input goes by stdin.
pub const MAX_LINE: usize = 120 * 1024;

/// The line that makes any POSIX login shell run `script` by `/bin/sh -c`: sshd gives it to `$SHELL -c`.
///
/// Each byte from 1 to 255 comes through as it is.
///
/// # Errors
/// A NUL in the script, or a line over [`MAX_LINE`]: it would not be run as it is.
pub fn line(script: &[u8]) -> Result<Vec<u8>> {
    line_within(script, MAX_LINE)
}

/// The same, of at most `max` bytes.
///
/// # Errors
/// As [`line`].
pub fn line_within(script: &[u8], max: usize) -> Result<Vec<u8>> {
    let quoted = shlex::bytes::try_quote(script).map_err(|_| {
        Error::failed("the command holds a NUL character, which no shell takes").help("send such bytes by stdin")
    })?;
    let line = [b"exec /bin/sh -c ", quoted.as_ref()].concat();
    if line.len() > max {
        return Err(Error::failed(format!(
            "the command is {} KiB long; at most {} KiB can be sent",
            line.len().div_ceil(1024),
            max / 1024
        ))
        .help("shorten it, or send what is long by stdin"));
    }
    Ok(line)
}

/// The first bytes of a stream; the rest is counted out, so that memory has a bound.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
}

impl Capture {
    /// Takes in `bytes` up to `max` in all.
    pub(crate) fn take(&mut self, bytes: &[u8], max: usize) {
        let room = max.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.truncated |= room < bytes.len();
    }
}

/// How a command ended. These are four different things, and none stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ran to its end with this exit status.
    Exited(i32),
    /// It died of this signal, by its number on Linux; 0 for one that has no name in SSH.
    Signaled(i32),
    /// It was still running when its time was up; it has been killed where that was possible.
    TimedOut(Duration),
    /// The connection went away: whether it ran, and how far, is unknown.
    Lost(String),
}

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Output beyond `max_output` was dropped.
    pub truncated: bool,
}

impl Output {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Exited(0)
    }

    /// The last line of stderr that says anything, for messages: at most 200 characters, without control characters.
    pub fn last_error_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(status) => write!(f, "exited with {status}"),
            Ended::Signaled(signal) => write!(f, "was killed by signal {signal}"),
            Ended::TimedOut(after) => write!(f, "was still running after {} s", after.as_secs_f64()),
            Ended::Lost(why) => write!(f, "lost the connection ({why}); whether it ran is unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn what_cannot_be_sent_whole_is_refused_before() {
        assert!(line(&vec![b'x'; MAX_LINE]).unwrap_err().to_string().contains("at most 120 KiB"));
        assert_eq!(line(&vec![b'x'; MAX_LINE - 16]).unwrap().len(), MAX_LINE);
        assert_eq!(line_within(b"x", 17).unwrap().len(), 17);
        assert!(line_within(b"x", 16).unwrap_err().to_string().contains("at most 0 KiB"));
        assert!(line(b"a\0b").unwrap_err().to_string().contains("NUL"));
    }

    #[test]
    fn every_byte_survives_every_login_shell() {
        let every: Vec<u8> = (1..=255).collect();
        let script = [b"printf %s ".as_slice(), &shlex::bytes::try_quote(&every).unwrap()].concat();
        let line = line(&script).unwrap();
        for shell in [&["bash", "-c"][..], &["dash", "-c"], &["busybox", "sh", "-c"], &["sh", "-c"]] {
            let mut command = std::process::Command::new(shell[0]);
            let Ok(output) = command.args(&shell[1..]).arg(std::ffi::OsStr::from_bytes(&line)).output() else {
                println!("left out: {shell:?} as a login shell; it is not installed");
                continue;
            };
            assert_eq!(output.stdout, every, "{shell:?}");
        }
    }

    #[test]
    fn a_capture_has_a_bound() {
        let mut capture = Capture::default();
        capture.take(b"abc", 4);
        assert!(!capture.truncated);
        capture.take(b"def", 4);
        assert_eq!((capture.bytes.as_slice(), capture.truncated), (&b"abcd"[..], true));
    }
}
