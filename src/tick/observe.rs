//! Looks at every host at once, each within its own bounds: a dead one costs its time-out, never the tick.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::remote::probe::{Request, parse, script};
use crate::remote::sample::{Heard, Sample};
use crate::ssh::exec::{Command, Ended, Output};
use crate::ssh::local;

/// A probe's answer is a few KiB; more is a host gone mad.
const MAX_ANSWER: usize = 1 << 20;

/// A host to look at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its inventory name.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// What to ask.
    pub request: Request,
}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is this machine.
    Local,
    /// It cannot be, and why.
    Not(String),
}

/// The bounds of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many hosts at once.
    pub forks: usize,
    /// How long one command may take.
    pub command: Duration,
    /// After this long, who has not answered is missed.
    pub sweep: Duration,
}

/// What a sweep tells while it goes on.
pub enum Seen {
    /// This host is being asked.
    Asked(String),
    /// This is what came of it, after so many seconds.
    Sample(Box<Sample>, f64),
}

/// Asks every target and tells of each as soon as it is known, in whatever order they answer. Every target gives
/// exactly one sample.
pub async fn sweep(targets: Vec<Target>, bounds: Bounds, mut tell: impl FnMut(Seen)) {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let forks = Arc::new(Semaphore::new(bounds.forks.max(1)));
    let mut tasks = JoinSet::new();
    let deadline = tokio::time::Instant::now() + bounds.sweep;
    let mut out: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    for target in targets {
        let (send, forks) = (send.clone(), Arc::clone(&forks));
        tasks.spawn(async move {
            // The semaphore is never closed; a task without a permit would only be one too many.
            let _permit = forks.acquire_owned().await.ok();
            let _ = send.send(Seen::Asked(target.name.clone()));
            let began = Instant::now();
            let sample = probe(&target, bounds.command).await;
            let _ = send.send(Seen::Sample(Box::new(sample), began.elapsed().as_secs_f64()));
        });
    }
    drop(send);
    while let Ok(Some(seen)) = tokio::time::timeout_at(deadline, receive.recv()).await {
        if let Seen::Sample(sample, _) = &seen {
            out.retain(|name| *name != sample.host);
        }
        tell(seen);
    }
    tasks.shutdown().await;
    for name in out {
        let why = format!("no answer when the sweep ended after {} s", bounds.sweep.as_secs());
        tell(Seen::Sample(Box::new(Sample::missing(name, Timestamp::now(), why)), bounds.sweep.as_secs_f64()));
    }
}

/// One look at one host. Whatever goes wrong is a sample that says so.
async fn probe(target: &Target, command_timeout: Duration) -> Sample {
    let missing = |why: String| Sample::missing(&target.name, Timestamp::now(), why);
    if let Reach::Not(why) = &target.reach {
        return missing(why.clone());
    }
    let stdin = match target.request.stdin() {
        Ok(stdin) => stdin,
        Err(error) => return missing(error.to_string()),
    };
    let (sent, began) = (Timestamp::now(), Instant::now());
    let command = Command { script: script(), stdin, timeout: command_timeout, max_output: MAX_ANSWER };
    // The command has a time-out of its own; this one is for a machine that cannot even start it.
    let output = match timeout(command_timeout + Duration::from_secs(5), local::exec(command)).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return missing(error.with_causes()),
        Err(_) => return missing(format!("the probe did not start within {} s", command_timeout.as_secs())),
    };
    let heard = Heard { sent, received: Timestamp::now(), rtt: began.elapsed() };
    understand(&target.name, heard, &output).unwrap_or_else(missing)
}

/// An answer that ended well and came whole is a sample; anything else is the reason why not.
fn understand(host: &str, heard: Heard, output: &Output) -> Result<Sample, String> {
    if output.ended != Ended::Exited(0) {
        let last = output.last_error_line().map(|line| format!(": {line}")).unwrap_or_default();
        return Err(format!("the probe {}{last}", output.ended));
    }
    let report = parse(&output.stdout).map_err(|garbled| garbled.to_string())?;
    Ok(Sample::from_report(host, heard, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, reach: Reach) -> Target {
        Target { name: name.to_owned(), reach, request: Request::default() }
    }

    async fn samples(targets: Vec<Target>, bounds: Bounds) -> Vec<Sample> {
        let mut samples = Vec::new();
        sweep(targets, bounds, |seen| {
            if let Seen::Sample(sample, _) = seen {
                samples.push(*sample);
            }
        })
        .await;
        samples.sort_by(|a, b| a.host.cmp(&b.host));
        samples
    }

    #[tokio::test]
    async fn every_host_gives_one_sample_and_this_machine_a_whole_one() {
        let bounds = Bounds { forks: 1, command: Duration::from_secs(20), sweep: Duration::from_secs(40) };
        let targets = vec![target("b", Reach::Not("no road".to_owned())), target("a", Reach::Local)];
        let samples = samples(targets, bounds).await;
        assert!(samples[0].is_whole(), "{:?}", samples[0].lacks());
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(samples[0].boot_id.as_deref(), Some(boot_id.trim()));
        assert_eq!((samples[1].host.as_str(), samples[1].missing.as_deref()), ("b", Some("no road")));
        assert_eq!(samples.len(), 2);
    }

    #[tokio::test]
    async fn the_end_of_the_sweep_ends_it() {
        let bounds = Bounds { forks: 1, command: Duration::from_secs(20), sweep: Duration::ZERO };
        let samples = samples(vec![target("a", Reach::Local), target("b", Reach::Local)], bounds).await;
        assert_eq!(samples.len(), 2);
        assert!(samples.iter().all(|sample| sample.missing.as_deref().unwrap().contains("the sweep ended")));
    }

    #[test]
    fn what_did_not_end_well_is_no_sample() {
        let now = Timestamp::now();
        let heard = Heard { sent: now, received: now, rtt: Duration::ZERO };
        let output = |ended| Output { ended, stdout: vec![], stderr: b"no sh\x1b[2J\n\n".to_vec(), truncated: false };
        for (ended, want) in [
            (Ended::Exited(127), "the probe exited with 127: no sh[2J"),
            (Ended::Signaled(9), "the probe was killed by signal 9: no sh[2J"),
            (Ended::TimedOut(Duration::from_secs(60)), "the probe was still running after 60 s: no sh[2J"),
        ] {
            assert_eq!(understand("a", heard, &output(ended)).unwrap_err(), want);
        }
        assert!(understand("a", heard, &output(Ended::Exited(0))).is_err(), "an empty answer");
    }
}
