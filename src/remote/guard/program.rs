//! A [`Call`] -> the program that makes it.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

use super::super::halt::{HaltFile, encode};
use super::{Call, Drop, Op, job};
use crate::error::{Error, Result};
use crate::inventory::settings::Guard;

/// The highest epoch: a longer number is none to a shell's `[`.
const MAX_EPOCH: u64 = 999_999_999_999_999;

/// The longest payload that the guard takes, in bytes, with its first line.
const MAX_PAYLOAD: usize = 4 << 20;

/// The texts without indentation and comments: they are sent with every call. No text in them goes over lines that this
/// would change.
static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let bare = |texts: &[&str]| -> String {
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim_start);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
    };
    let tree = [include_str!("../run/proc.sh"), include_str!("../state.sh"), include_str!("../run/tree.sh")];
    Texts {
        guard: bare(&[include_str!("runs.sh"), include_str!("cron.sh"), include_str!("guard.sh")]),
        state: bare(&tree[..2]),
        tree: bare(&tree),
        reaper: bare(&[include_str!("../run/reaper.sh")]),
        wrapper: bare(&[include_str!("../run/wrapper.sh")]),
        starter: bare(&[include_str!("../run/starter.sh")]),
    }
});

struct Texts {
    /// The ops.
    guard: String,
    /// What becomes of a run.
    state: String,
    /// The same, and what its processes are.
    tree: String,
    /// What it does with these.
    reaper: String,
    wrapper: String,
    starter: String,
}

/// What one exec on the host needs. Its input may hold secrets, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// The whole POSIX sh program, for one `/bin/sh -c` argument.
    pub script: String,
    /// `LENGTH SHA256` on a line, then the payload.
    pub stdin: Vec<u8>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("script", &self.script).finish_non_exhaustive()
    }
}

/// The program for `call`, with the time-outs of `numbers`.
///
/// # Errors
/// Exit 3 for a path that is not absolute nor begins with `~/`, or holds a line break or a NUL; for a halt file's name
/// that is empty, begins with `.` or holds `/`; for a job's variable that cannot be given to a program, and a NUL. Exit 1 for an epoch that is 0 or of more than 15 digits, a fleet that is
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
    let (op, payload) = payload(call)?;
    let mut stdin = format!("{} {}\n", payload.len(), sha256(&payload)).into_bytes();
    stdin.extend_from_slice(&payload);
    if stdin.len() > MAX_PAYLOAD {
        return Err(Error::failed(format!("{} MiB cannot be sent to a host at once", stdin.len() >> 20))
            .help("limit it to fewer agents"));
    }
    let mut script = format!("{{\nhome={}\n{}", quoted(&call.home), settings(numbers));
    let texts = &*TEXTS;
    match call.op {
        Op::Launch(_) | Op::Stop(_) => {
            // The reaper has a copy of what it needs, made of the same text. In braces, as all that comes by a pipe.
            let _ = write!(script, "tree={}\neval \"$tree\"\n", quoted(&texts.tree));
            let _ = write!(script, "reaper={}\nreaper=\"{{\n$tree$reaper\nexit\n}}\"\n", quoted(&texts.reaper));
        }
        _ => script.push_str(&texts.state),
    }
    if matches!(call.op, Op::Launch(_)) {
        let _ = write!(script, "wrapper={}\nstarter={}\n", quoted(&texts.wrapper), quoted(&texts.starter));
    }
    let words = [&call.fleet, &call.epoch.to_string(), &encode(&call.holder), op].map(quoted);
    let _ = write!(script, "{}guard {}\n}}\n", texts.guard, words.join(" "));
    Ok(Program { script, stdin })
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The numbers that the guard goes by.
fn settings(numbers: &Guard) -> String {
    let hundredths = |span: Duration| span.as_millis() / 10;
    format!(
        "payload_time={} op_time={} lock_wait={} lock_stuck={}\n\
         started_wait={} kill_after={} stale={} keep_logs={} keep_runs={}\n\
         cron_backups={} cron_days={} critical_age={}\n",
        seconds(numbers.payload.0),
        seconds(numbers.op.0),
        hundredths(numbers.lock_wait.0),
        hundredths(numbers.lock_stuck.0),
        hundredths(numbers.started.0),
        numbers.kill_after.0.as_secs(),
        numbers.stale.0.as_secs().div_ceil(86400),
        numbers.keep_logs.0.as_secs(),
        numbers.keep_runs.0.as_secs(),
        numbers.cron_backups,
        numbers.cron_daily.0.as_secs() / 86400,
        numbers.critical.0.as_secs(),
    )
}

/// For `timeout`: whole seconds, since BusyBox's takes no others, and not 0, which would be for ever.
fn seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

/// In quotes always: a cut within them is a syntax error.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The op's word and what goes by standard input.
fn payload(call: &Call) -> Result<(&'static str, Vec<u8>)> {
    let mut lines = Vec::new();
    let word = match &call.op {
        Op::Seal => return Ok(("seal", Vec::new())),
        Op::Adopt => return Ok(("adopt", Vec::new())),
        Op::Repair => return Ok(("repair", Vec::new())),
        Op::Cron(_) | Op::CronRead => return Ok(("cron", b"read\n".to_vec())),
        Op::CronWrite(write) => {
            let head = format!("write {} {}\n", write.table.word(), write.before);
            return Ok(("cron", [head.as_bytes(), &write.content].concat()));
        }
        Op::Launch(it) => {
            lines = job::lines(it, &call.fleet)?;
            "launch"
        }
        Op::Cancel { token } => {
            lines.push(format!("token {}", job::token(token)?));
            "cancel"
        }
        Op::Stop(stop) => {
            lines = job::stop_lines(stop)?;
            "stop"
        }
        Op::Gc { fetched } => {
            for (token, out, err) in fetched {
                lines.push(format!("fetched {} {out} {err}", job::token(token)?));
            }
            "gc"
        }
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
    Ok((word, lines.join("\n").into_bytes()))
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

pub(super) fn path<'a>(at: &'a str, what: &str) -> Result<&'a str> {
    let rooted = at.starts_with('/') || at.starts_with("~/");
    let named = !matches!(at.rsplit('/').next(), None | Some("" | "." | ".."));
    if !rooted || !named || at.contains(['\n', '\0']) {
        return Err(Error::inventory(format!("{at:?} is no path for a {what} on a host"))
            .help("write it from the root, like `/var/lib/x`, or from the home directory, like `~/x`, on one line"));
    }
    Ok(at)
}
