//! `ansible_connection: local`: the same commands through `/bin/sh` on this machine, without SSH.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::exec::Ended;
use super::fleet::{From, Job};
use crate::error::{Error, Result};

/// How long output is still read after the command's end: a child that it left behind may keep the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs `job` in a process group of its own, which is killed when its time is up or the caller goes away. Its output
/// goes to `sink` as it comes.
///
/// # Errors
/// Exit 1 when `/bin/sh` cannot be started.
pub async fn stream(job: Job<'_>, sink: &mut (dyn FnMut(From, &[u8]) + Send)) -> Result<Ended> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(job.script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::failed("cannot start /bin/sh").because(error))?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdin, input) = (child.stdin.take(), job.stdin);
    let feed = async move {
        if let Some(mut pipe) = stdin {
            // A command that does not read its input closes the pipe; that is its right.
            let _ = pipe.write_all(&input).await;
        }
    };
    tokio::pin!(feed);
    let (mut out, mut err) = (Pipe::new(child.stdout.take()), Pipe::new(child.stderr.take()));
    let (mut fed, mut ended) = (false, None);
    let mut until = Instant::now() + job.timeout;
    while ended.is_none() || out.open() || err.open() {
        let step = async {
            tokio::select! {
                () = &mut feed, if !fed => fed = true,
                bytes = out.read(), if out.open() => sink(From::Stdout, bytes),
                bytes = err.read(), if err.open() => sink(From::Stderr, bytes),
                status = child.wait(), if ended.is_none() => return Some(status),
            }
            None
        };
        match timeout_at(until, step).await {
            Err(_) => break,
            Ok(None) => {}
            Ok(Some(status)) => {
                let status = status.map_err(|error| Error::failed("cannot wait for /bin/sh").because(error))?;
                // Once it is reaped its number may be somebody else's. What it left running is its own affair, as with
                // sshd.
                group.0 = None;
                until = until.min(Instant::now() + DRAIN);
                ended = Some(match status.signal() {
                    Some(signal) => Ended::Signaled(signal),
                    None => Ended::Exited(status.code().unwrap_or(-1)),
                });
            }
        }
    }
    drop(group);
    Ok(ended.unwrap_or(Ended::TimedOut(job.timeout)))
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

/// One of the command's streams, until its end.
struct Pipe<R> {
    stream: Option<R>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(stream: Option<R>) -> Pipe<R> {
        Pipe { stream, buffer: vec![0; 32 << 10] }
    }

    fn open(&self) -> bool {
        self.stream.is_some()
    }

    /// What has come; empty at the end, after which it is no longer open.
    async fn read(&mut self) -> &[u8] {
        let Some(stream) = &mut self.stream else { return &[] };
        match stream.read(&mut self.buffer).await {
            Ok(count @ 1..) => self.buffer.get(..count).unwrap_or_default(),
            _ => {
                self.stream = None;
                &[]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::exec::{Command, Output};
    use super::super::fleet::{Fleet, Options};
    use super::super::reach::Reach;
    use super::*;

    async fn run(script: &str, stdin: &[u8], seconds: f64, max_output: usize) -> Output {
        let timeout = Duration::from_secs_f64(seconds);
        let fleet = Fleet::new(Options::default()).await.unwrap();
        fleet.run(&Reach::Local, Command { script, stdin: stdin.to_vec(), timeout, max_output }).await.unwrap()
    }

    async fn sh(script: &str, stdin: &[u8], seconds: f64) -> Output {
        run(script, stdin, seconds, 1 << 20).await
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
    async fn input_and_output_larger_than_any_pipe_pass_through() {
        let input: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        let output = sh("cat", &input, 20.0).await;
        assert_eq!((output.ended, output.stdout == input), (Ended::Exited(0), true));
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
        let output = run("head -c 3000000 /dev/zero; echo x >&2", b"", 20.0, 1000).await;
        assert_eq!((output.stdout.len(), output.truncated, output.ended), (1000, true, Ended::Exited(0)));
    }
}
