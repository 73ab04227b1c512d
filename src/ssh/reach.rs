//! Which way leads to a host: this machine itself, SSH, or none.

use super::config::Wanted;
use super::exec::{Capture, Command, Ended, Output};
use super::failed::Failed;
use super::fleet::{Fleet, From, Job};
use super::local;
use crate::error::Error;

/// The way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is this machine: `ansible_connection: local`.
    Local,
    /// Over SSH.
    Ssh(Wanted),
    /// None, and why.
    Not(String),
}

impl Fleet {
    /// Runs `command` on a host, whichever way leads there.
    ///
    /// # Errors
    /// Why it was certainly not begun.
    pub async fn run(&self, reach: &Reach, command: Command<'_>) -> Result<Output, Failed> {
        let max = command.max_output;
        let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
        let job = Job { script: command.script.as_bytes(), stdin: command.stdin, timeout: command.timeout };
        let mut sink = |from: From, bytes: &[u8]| match from {
            From::Stdout => stdout.take(bytes, max),
            From::Stderr => stderr.take(bytes, max),
        };
        let ended = self.run_streaming(reach, job, &mut sink).await?;
        let truncated = stdout.truncated || stderr.truncated;
        Ok(Output { ended, stdout: stdout.bytes, stderr: stderr.bytes, truncated })
    }

    /// The same with output handed to `sink` as it comes; see [`Fleet::stream`].
    ///
    /// # Errors
    /// Why it was certainly not begun.
    pub async fn run_streaming(
        &self,
        reach: &Reach,
        job: Job<'_>,
        sink: &mut (dyn FnMut(From, &[u8]) + Send),
    ) -> Result<Ended, Failed> {
        match reach {
            Reach::Ssh(wanted) => self.stream(wanted, job, sink).await,
            Reach::Local => local::stream(job, sink).await.map_err(Failed::config),
            Reach::Not(why) => Err(Failed::config(Error::inventory(why.clone()))),
        }
    }
}
