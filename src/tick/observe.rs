//! Looks at every host at once, each within its own bounds: a dead one costs its time-out, never the tick.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::lead::boot_clock;
use crate::remote::logs::Fetched;
use crate::remote::probe::{Program, Request};
use crate::remote::sample::{Heard, Sample};
use crate::ssh::exec::{Command, Ended, Output};
use crate::ssh::{Failed, Fleet, Reach, each};
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// A probe's answer without logs is a few KiB, and with all that is known of thousands of runs a MiB; more is a host gone
/// mad.
const MAX_ANSWER: usize = 4 << 20;

/// A host to look at.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its inventory name.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// What to ask.
    pub request: Request,
    /// A login that it refused lately, which is not tried again before its time.
    pub barred: Option<Barred>,
}

/// A login that was refused. Programs such as fail2ban count such attempts and shut the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barred {
    /// What was tried: user, address and keys. With others it may be tried at once.
    pub id: String,
    /// When it may be tried again.
    pub until: Timestamp,
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

/// What came of one host.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The sample, or why there is none.
    pub sample: Sample,
    /// What came of its logs, where they were asked for.
    pub logs: Option<Fetched>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// When it was asked.
    pub asked: Instant,
    /// When the answer was in, by the clock that goes on while this machine sleeps.
    pub heard: f64,
    /// How the login went.
    pub login: Login,
    /// How it is reached, for who has more to do there; who has not calls [`Fleet::release`].
    pub reach: Reach,
}

impl Answer {
    /// The host gave a sample.
    pub fn is_sample(&self) -> bool {
        self.sample.missing.is_none()
    }
}

/// How a login went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The host let us in, or needs no login.
    Fine,
    /// It was not tried, or did not get that far.
    Untried,
    /// It was refused; what was tried goes by this name.
    Refused(String),
}

/// What a sweep tells while it goes on.
pub enum Seen {
    /// This host is being asked.
    Asked(String),
    /// This is what came of it.
    Answer(Box<Answer>),
}

/// The hosts that are being asked. Each is told of as soon as it has answered, in whatever order they do; more can be asked
/// meanwhile, so that one that takes long stands in nobody's way. Every target gives exactly one answer.
pub struct Sweep {
    fleet: Fleet,
    bounds: Bounds,
    send: UnboundedSender<Seen>,
    receive: UnboundedReceiver<Seen>,
    /// Who has not answered yet.
    out: HashMap<String, Out>,
    /// What is asked together ends together.
    batches: Vec<(tokio::time::Instant, JoinSet<()>)>,
    /// When a host that is not this machine last gave a sample.
    pub heard: Option<Instant>,
}

/// A host that has not answered yet.
struct Out {
    reach: Reach,
    asked: Instant,
    deadline: tokio::time::Instant,
}

impl Sweep {
    /// One that asks nobody yet.
    pub fn new(fleet: &Fleet, bounds: Bounds) -> Sweep {
        let (send, receive) = unbounded_channel();
        Sweep { fleet: fleet.clone(), bounds, send, receive, out: HashMap::new(), batches: Vec::new(), heard: None }
    }

    /// Asks these hosts; from now on they have the time of a sweep.
    pub fn ask(&mut self, targets: Vec<Target>) {
        let (asked, deadline) = (Instant::now(), tokio::time::Instant::now() + self.bounds.sweep);
        let out = |target: &Target| (target.name.clone(), Out { reach: target.reach.clone(), asked, deadline });
        self.out.extend(targets.iter().map(out));
        let (send, fleet, command) = (self.send.clone(), self.fleet.clone(), self.bounds.command);
        let tasks = each(targets, self.bounds.forks, move |target: Target| {
            let (send, fleet) = (send.clone(), fleet.clone());
            async move {
                let _ = send.send(Seen::Asked(target.name.clone()));
                let began = Instant::now();
                let ((sample, logs), login) = match ask(&target, &fleet, command).await {
                    Ok(answer) => (answer, Login::Fine),
                    Err((why, login)) => ((Sample::missing(&target.name, Timestamp::now(), why), None), login),
                };
                let (seconds, heard) = (began.elapsed().as_secs_f64(), boot_clock().seconds);
                let answer = Answer { sample, logs, seconds, asked, heard, login, reach: target.reach };
                let _ = send.send(Seen::Answer(Box::new(answer)));
            }
        });
        self.batches.push((deadline, tasks));
    }

    /// Who has not answered yet.
    pub fn out(&self) -> impl Iterator<Item = &str> {
        self.out.keys().map(String::as_str)
    }

    /// What is known next; none once every target has answered. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            let deadline = self.out.values().map(|out| out.deadline).min()?;
            match tokio::time::timeout_at(deadline, self.receive.recv()).await {
                Ok(Some(Seen::Answer(answer))) => {
                    // Whose time was up has been told of.
                    if self.out.remove(&answer.sample.host).is_none() {
                        continue;
                    }
                    if answer.is_sample() && !matches!(answer.reach, Reach::Local) {
                        self.heard = Some(Instant::now());
                    }
                    return Some(Seen::Answer(answer));
                }
                Ok(Some(seen)) => return Some(seen),
                Ok(None) | Err(_) => {
                    for (_, tasks) in self.batches.iter_mut().filter(|(until, _)| *until <= deadline) {
                        tasks.shutdown().await;
                    }
                    let late = self.out.iter().find(|(_, out)| out.deadline <= deadline).map(|(name, _)| name.clone());
                    let (name, out) = self.out.remove_entry(&late?)?;
                    let why = format!("no answer when the sweep ended after {} s", self.bounds.sweep.as_secs());
                    return Some(Seen::Answer(Box::new(Answer {
                        sample: Sample::missing(name, Timestamp::now(), why),
                        logs: None,
                        seconds: self.bounds.sweep.as_secs_f64(),
                        asked: out.asked,
                        heard: boot_clock().seconds,
                        login: Login::Untried,
                        reach: out.reach,
                    })));
                }
            }
        }
    }
}

/// One more look at one host, without its logs.
///
/// # Errors
/// Why there is no sample.
pub async fn look(target: &Target, fleet: &Fleet, timeout: Duration) -> Result<Sample, String> {
    let mut target = target.clone();
    target.request.logs = None;
    ask(&target, fleet, timeout).await.map(|(sample, _)| sample).map_err(|(why, _)| why)
}

/// One look at one host: a sample, or why there is none and how the login went.
async fn ask(target: &Target, fleet: &Fleet, timeout: Duration) -> Result<(Sample, Option<Fetched>), (String, Login)> {
    if let Some(why) = still_barred(target, fleet).await {
        return Err((why, Login::Untried));
    }
    let Program { script, stdin } = target.request.program().map_err(|error| (error.to_string(), Login::Untried))?;
    let (sent, began) = (Timestamp::now(), Instant::now());
    let max_output = MAX_ANSWER + target.request.logs.as_ref().map_or(0, |logs| logs.most());
    let command = Command { script: &script, stdin, timeout, max_output };
    let output = fleet.run(&target.reach, command).await.map_err(|failed| {
        let login = match &failed {
            Failed::Refused(refused) => Login::Refused(refused.id.clone()),
            _ => Login::Untried,
        };
        (failed.to_string(), login)
    })?;
    let heard = Heard { sent, received: Timestamp::now(), rtt: began.elapsed() };
    understand(target, heard, &output).map_err(|why| (why, Login::Fine))
}

/// Why the login at a host is not tried now: it was refused with the same user, address and keys not long ago.
async fn still_barred(target: &Target, fleet: &Fleet) -> Option<String> {
    let barred = target.barred.as_ref().filter(|barred| Timestamp::now() < barred.until)?;
    let Reach::Ssh(wanted) = &target.reach else { return None };
    let same = fleet.login_id(wanted).await.is_ok_and(|id| id == barred.id);
    let until = barred.until.strftime("%H:%M:%SZ");
    same.then(|| format!("the login was refused; it is not tried again before {until}, or with another key or user"))
}

/// An answer that ended well and came whole is a sample; anything else is the reason why not.
fn understand(target: &Target, heard: Heard, output: &Output) -> Result<(Sample, Option<Fetched>), String> {
    if output.ended != Ended::Exited(0) {
        let last = output.last_error_line().map(|line| format!(": {line}")).unwrap_or_default();
        return Err(format!("the probe {}{last}", output.ended));
    }
    let mut report = target.request.report(&output.stdout).map_err(|garbled| garbled.to_string())?;
    let logs = report.logs.take();
    Ok((Sample::from_report(&target.name, heard, report), logs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Options;

    fn target(name: &str, reach: Reach) -> Target {
        Target { name: name.to_owned(), reach, request: Request::default(), barred: None }
    }

    async fn samples(targets: Vec<Target>, bounds: Bounds) -> Vec<Sample> {
        let mut samples = Vec::new();
        let fleet = Fleet::new(Options::default()).await.unwrap();
        let mut sweep = Sweep::new(&fleet, bounds);
        sweep.ask(targets);
        while let Some(seen) = sweep.next().await {
            if let Seen::Answer(answer) = seen {
                samples.push(answer.sample);
            }
        }
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
        let (now, a) = (Timestamp::now(), target("a", Reach::Local));
        let heard = Heard { sent: now, received: now, rtt: Duration::ZERO };
        let output = |ended| Output { ended, stdout: vec![], stderr: b"no sh\x1b[2J\n\n".to_vec(), truncated: false };
        for (ended, want) in [
            (Ended::Exited(127), "the probe exited with 127: no sh[2J"),
            (Ended::Signaled(9), "the probe was killed by signal 9: no sh[2J"),
            (Ended::TimedOut(Duration::from_secs(60)), "the probe was still running after 60 s: no sh[2J"),
        ] {
            assert_eq!(understand(&a, heard, &output(ended)).unwrap_err(), want);
        }
        assert!(understand(&a, heard, &output(Ended::Exited(0))).is_err(), "an empty answer");
    }
}
