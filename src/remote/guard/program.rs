//! A [`Call`] -> the program that makes it.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::halt::{HaltFile, encode};
use super::{Call, Drop, Op};
use crate::error::{Error, Result};
use crate::inventory::settings::Guard;

/// The highest epoch: a longer number is none to a shell's `[`.
const MAX_EPOCH: u64 = 999_999_999_999_999;

/// The longest payload that the guard takes, in bytes, with its first line.
const MAX_PAYLOAD: usize = 4 << 20;

/// What one exec on the host needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The whole POSIX sh program, for one `/bin/sh -c` argument.
    pub script: String,
    /// `LENGTH SHA256` on a line, then the payload.
    pub stdin: Vec<u8>,
}

/// The program for `call`, with the time-outs of `numbers`.
///
/// # Errors
/// Exit 3 for a path that is not absolute nor begins with `~/`, or holds a line break or a NUL; for a halt file's name
/// that is empty, begins with `.` or holds `/`. Exit 1 for an epoch that is 0 or of more than 15 digits, a fleet that is
/// no id, an empty holder, and a payload over 4 MiB.
pub fn program(call: &Call, numbers: &Guard) -> Result<Program> {
    if !(1..=MAX_EPOCH).contains(&call.epoch) {
        return Err(Error::failed(format!("epoch {} cannot be given to a host", call.epoch))
            .help("the ledger is damaged: restore it from a backup"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if call.fleet.is_empty() || call.fleet.len() > 200 || !call.fleet.bytes().all(plain) || call.holder.is_empty() {
        return Err(Error::failed(format!("fleet id `{}` or holder `{}` is not of its form", call.fleet, call.holder))
            .help("the ledger is damaged: restore it from a backup"));
    }
    if call.home != "~" {
        path(&call.home, "factory_home")?;
    }
    let (op, payload) = payload(&call.op)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload.as_bytes());
    let mut stdin = format!("{} ", payload.len());
    for byte in digest.as_ref() {
        let _ = write!(stdin, "{byte:02x}");
    }
    stdin.push('\n');
    stdin.push_str(&payload);
    if stdin.len() > MAX_PAYLOAD {
        return Err(Error::failed(format!("{} MiB cannot be sent to a host at once", stdin.len() >> 20))
            .help("limit it to fewer agents"));
    }
    let script = format!(
        "{{\nhome={}\npayload_time={} op_time={} lock_wait={} lock_stuck={}\n{}{}guard {} {} {} {}\n}}\n",
        quoted(&call.home),
        seconds(numbers.payload.0),
        seconds(numbers.op.0),
        numbers.lock_wait.0.as_millis() / 10,
        numbers.lock_stuck.0.as_millis() / 10,
        include_str!("../state.sh"),
        include_str!("guard.sh"),
        quoted(&call.fleet),
        quoted(&call.epoch.to_string()),
        quoted(&encode(&call.holder)),
        quoted(op),
    );
    Ok(Program { script, stdin: stdin.into_bytes() })
}

/// For `timeout`: whole seconds, since BusyBox's takes no others, and not 0, which would be for ever.
fn seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

/// In quotes always: a cut within them is a syntax error.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The op's word and what goes by standard input.
fn payload(op: &Op) -> Result<(&'static str, String)> {
    let mut lines = Vec::new();
    let word = match op {
        Op::Seal => return Ok(("seal", String::new())),
        Op::Adopt => return Ok(("adopt", String::new())),
        Op::Repair => return Ok(("repair", String::new())),
        Op::Halt { add, hide } => {
            grouped(&mut lines, add, |line| format!("add {}", line.render()))?;
            for at in hide {
                lines.push(format!("hide {}", path(at, "active_file")?));
            }
            "halt"
        }
        Op::Resume { drop, show } => {
            grouped(&mut lines, drop, |what| match what {
                Drop::Line(kind, id) => format!("drop {} {}", kind.word(), encode(id)),
                Drop::Foreign => "drop foreign".to_owned(),
            })?;
            for (at, unless) in show {
                lines.push(format!("show {}", path(at, "active_file")?));
                for file in unless {
                    lines.push(format!("unless {}", named(file)?));
                }
            }
            "resume"
        }
    };
    lines.push("end\n".to_owned());
    Ok((word, lines.join("\n")))
}

/// Each file once, in the order in which it is first named, with all that is to be done to it.
fn grouped<T>(lines: &mut Vec<String>, items: &[(HaltFile, T)], line: impl Fn(&T) -> String) -> Result<()> {
    let mut seen: Vec<&HaltFile> = Vec::new();
    for (file, _) in items {
        if !seen.contains(&file) {
            seen.push(file);
            lines.push(format!("file {}", named(file)?));
            lines.extend(items.iter().filter(|(other, _)| other == file).map(|(_, item)| line(item)));
        }
    }
    Ok(())
}

fn named(file: &HaltFile) -> Result<&str> {
    match file {
        HaltFile::Path(at) => path(at, "halt file"),
        HaltFile::Home(name) if name.is_empty() || name.starts_with('.') || name.contains(['/', '\n', '\0']) => {
            Err(Error::inventory(format!("{name:?} is no name for a halt file"))
                .help("agents and repos have names of letters, digits, `.`, `_` and `-`"))
        }
        HaltFile::Home(name) => Ok(name),
    }
}

fn path<'a>(at: &'a str, what: &str) -> Result<&'a str> {
    let rooted = at.starts_with('/') || at.starts_with("~/");
    let named = !matches!(at.rsplit('/').next(), None | Some("" | "." | ".."));
    if !rooted || !named || at.contains(['\n', '\0']) {
        return Err(Error::inventory(format!("{at:?} is no path for a {what} on a host"))
            .help("write it from the root, like `/var/lib/x`, or from the home directory, like `~/x`, on one line"));
    }
    Ok(at)
}
