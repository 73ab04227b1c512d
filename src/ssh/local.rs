//! `ansible_connection: local`: the same commands through `/bin/sh` on this machine, without SSH.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::exec::{Command, Ended, Output};
use crate::error::{Error, Result};

/// How long output is still read after the command's end: a child that it left behind may keep the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs `command` in a process group of its own, which is killed when its time is up or the caller goes away.
///
/// # Errors
/// Exit 1 when `/bin/sh` cannot be started.
pub async fn exec(command: Command<'_>) -> Result<Output> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command.script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::failed("cannot start /bin/sh").because(error))?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let stdin = child.stdin.take();
    let mut out = Capture::new(command.max_output);
    let mut err = Capture::new(command.max_output);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut ended = None;
    {
        let feed = async {
            if let Some(mut pipe) = stdin {
                // A command that does not read its input closes the pipe; that is its right.
                let _ = pipe.write_all(&command.stdin).await;
            }
        };
        let pipes = async { tokio::join!(feed, out.read(stdout), err.read(stderr)) };
        tokio::pin!(pipes);
        let mut drained = false;
        let whole = timeout(command.timeout, async {
            tokio::select! {
                _ = &mut pipes => { drained = true; child.wait().await }
                status = child.wait() => status,
            }
        })
        .await;
        if let Ok(status) = whole {
            let status = status.map_err(|error| Error::failed("cannot wait for /bin/sh").because(error))?;
            // Once it is reaped its number may be somebody else's. What it left running is its own affair, as with sshd.
            group.0 = None;
            ended = Some(match status.signal() {
                Some(signal) => Ended::Signaled(signal),
                None => Ended::Exited(status.code().unwrap_or(-1)),
            });
            if !drained {
                let _ = timeout(DRAIN, &mut pipes).await;
            }
        }
    }
    drop(group);
    let truncated = out.truncated || err.truncated;
    let ended = ended.unwrap_or(Ended::TimedOut(command.timeout));
    Ok(Output { ended, stdout: out.bytes, stderr: err.bytes, truncated })
}

/// The process group of a command that has not been waited for: killed when this goes out of scope.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The first bytes of a stream; the rest is read and dropped, so that the writer never blocks.
struct Capture {
    bytes: Vec<u8>,
    max: usize,
    truncated: bool,
}

impl Capture {
    fn new(max: usize) -> Capture {
        Capture { bytes: Vec::new(), max, truncated: false }
    }

    async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let room = self.max.saturating_sub(self.bytes.len());
            self.bytes.extend(buffer.iter().take(count.min(room)));
            self.truncated |= count > room;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, stdin: &[u8], seconds: f64) -> Output {
        let timeout = Duration::from_secs_f64(seconds);
        exec(Command { script, stdin: stdin.to_vec(), timeout, max_output: 1 << 20 }).await.unwrap()
    }

    #[tokio::test]
    async fn streams_and_statuses_are_kept_apart() {
        let output = sh("cat; echo err >&2; exit 3", b"in", 10.0).await;
        assert_eq!(output.ended, Ended::Exited(3));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"in"[..], &b"err\n"[..]));
        assert_eq!(output.last_error_line().as_deref(), Some("err"));
        assert_eq!(sh("kill -9 $$", b"", 10.0).await.ended, Ended::Signaled(9));
        assert_eq!(sh("exec 0<&-; exit 0", &vec![0; 1 << 20], 10.0).await.ended, Ended::Exited(0));
    }

    #[tokio::test]
    async fn a_command_past_its_time_is_killed_with_its_children() {
        let output = sh("sleep 999 & echo $!; wait", b"", 0.5).await;
        assert_eq!(output.ended, Ended::TimedOut(Duration::from_millis(500)));
        let child = String::from_utf8(output.stdout).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        for _ in 0..100 {
            let state = std::fs::read_to_string(&stat).unwrap_or_default();
            // Gone, or a zombie that the machine's init has not reaped yet.
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child lives on");
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_pipe_open_holds_nobody_up() {
        let output = sh("sleep 999 & echo $!", b"", 30.0).await;
        assert_eq!(output.ended, Ended::Exited(0));
        let child = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn output_beyond_the_limit_is_dropped_and_said() {
        let script = "head -c 3000000 /dev/zero; echo x >&2";
        let output = exec(Command { script, stdin: vec![], timeout: Duration::from_secs(20), max_output: 1000 }).await;
        let output = output.unwrap();
        assert_eq!((output.stdout.len(), output.truncated, output.ended), (1000, true, Ended::Exited(0)));
    }
}
