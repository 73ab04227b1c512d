//! One law on one machine for some days.

use factory::policy::ladder::Mode;
use factory::remote::sample::Sample;

use super::agents::{Agent, Class, End, HOUR, Task};
use super::dice::Dice;
use super::host::{Host, at};
use super::laws::{Law, Setting, Victim, Word};
use super::work::{Background, DAY, Queue};

/// The simulation's own clock, in seconds.
const TICK: f64 = 5.0;
/// So many samples, of 1, do not arrive.
const MISSED: f64 = 0.01;

/// What became of a week.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Processes that the kernel killed.
    pub kills: u64,
    /// Modes that changed.
    pub flips: u64,
    /// Agents that the law stopped.
    pub stops: u64,
    /// Those of the killed and the stopped that did not leak, and would have come to their end.
    pub healthy: u64,
    /// Dev tasks done.
    pub dev: u64,
    /// Review tasks done.
    pub review: u64,
    /// Hours of work in what was done, as if nothing had waited.
    pub work: f64,
    /// Hours that killed agents had run.
    pub lost_to_kills: f64,
    /// Hours that stopped agents had run.
    pub lost_to_stops: f64,
    /// Hours of those that came to their time limit.
    pub lost_to_limits: f64,
    /// Hours in which dev work waited, a slot was free, and the mode forbade it to start.
    pub held: f64,
    /// Hours in which dev work waited at RUN, a slot was free, and there was no room by reservation.
    pub no_room: f64,
    /// Minute by minute.
    pub points: Vec<Point>,
    /// What happened to agents.
    pub marks: Vec<(f64, Mark)>,
}

/// One minute.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// When it ended, in seconds.
    pub time: f64,
    /// The least memory available in it.
    pub available: f64,
    /// What dev agents might do.
    pub dev: Mode,
    /// What review agents might do.
    pub review: Mode,
    /// Dev agents that ran.
    pub agents: usize,
}

/// What happened to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The kernel killed it.
    Killed,
    /// The law stopped it.
    Stopped,
}

struct Week {
    seed: u64,
    setting: Setting,
    law: Law,
    word: Word,
    /// Whether dev work waited at RUN, with a slot free and no room for it, at the last look.
    no_room: bool,
    host: Host,
    background: Background,
    issues: Queue,
    pulls: Queue,
    agents: Vec<Agent>,
    out: Outcome,
}

/// Runs one.
pub fn run(setting: Setting, seed: u64, days: u32) -> Outcome {
    let until = f64::from(days) * DAY;
    let mut week = Week {
        seed,
        setting,
        law: Law::new(setting),
        word: Word { dev: Mode::Hold, review: Mode::Run, flips: 0, stop: None, pause: 0.0 },
        no_room: false,
        host: Host::new(setting.machine),
        background: Background::new(seed, until, setting.machine.total),
        issues: Queue::issues(seed, until),
        pulls: Queue::pulls(seed, until),
        agents: Vec::new(),
        out: Outcome::default(),
    };
    let (mut now, mut speed, mut next, mut least) = (0.0, 1.0, 0.0, f64::INFINITY);
    while now < until {
        if now >= next {
            week.look(now);
            // Cron's minutes go on beside the shorter pauses.
            next = (now + week.word.pause).min((now / 60.0).floor() * 60.0 + 60.0);
        }
        now += TICK;
        speed = week.live(now, speed);
        least = least.min(week.host.available);
        if now % 60.0 == 0.0 {
            week.note(now, least);
            least = f64::INFINITY;
        }
    }
    week.out
}

impl Week {
    /// One tick of the simulation: agents live, the kernel kills what does not fit. Gives the speed of the next one.
    fn live(&mut self, now: f64, speed: f64) -> f64 {
        let mut ended = Vec::new();
        self.agents.retain_mut(|agent| match agent.advance(now, TICK, speed) {
            Some(end) => {
                ended.push((end, agent.task, now - agent.since, agent.work));
                false
            }
            None => true,
        });
        for (end, task, ran, work) in ended {
            self.end(end, task, ran, work);
        }
        let (base, base_cores) = self.background.at(now);
        let asked = |agents: &[Agent]| base + agents.iter().map(|agent| agent.rss).sum::<f64>();
        while self.host.is_short(asked(&self.agents)) {
            // The wrapper of each run has told the kernel to take it before anything else.
            let Some(victim) = most(&self.agents, |agent| agent.rss) else { break };
            let agent = self.agents.remove(victim);
            self.host.kills += 1;
            self.out.kills += 1;
            self.out.healthy += u64::from(!agent.leaks());
            self.out.lost_to_kills += (now - agent.since) / HOUR;
            self.out.marks.push((now, Mark::Killed));
            self.give_back(agent.task);
        }
        let free = self.agents.len() < self.setting.slots();
        if free && self.issues.waits(now) {
            let hours = if self.word.dev > Mode::Run { &mut self.out.held } else { &mut self.out.no_room };
            *hours += if self.word.dev > Mode::Run || self.no_room { TICK / HOUR } else { 0.0 };
        }
        let cores = base_cores + self.agents.iter().map(Agent::cores).sum::<f64>();
        self.host.advance(TICK, asked(&self.agents), cores)
    }

    fn end(&mut self, end: End, task: Task, ran: f64, work: f64) {
        match end {
            End::Finished => {
                let done = if task.class == Class::Dev { &mut self.out.dev } else { &mut self.out.review };
                *done += 1;
                self.out.work += work / HOUR;
                return;
            }
            End::Stopped => self.out.lost_to_stops += ran / HOUR,
            End::Late => self.out.lost_to_limits += ran / HOUR,
        }
        self.give_back(task);
    }

    fn give_back(&mut self, task: Task) {
        if task.class == Class::Dev { self.issues.give_back(task) } else { self.pulls.give_back(task) }
    }

    /// One look of the law: at most one stop, at most one start.
    fn look(&mut self, now: f64) {
        let missed = Dice::of(self.seed, &[7, now as u64]).chance(MISSED);
        let sample = if missed {
            Sample::missing("simulated", at(now), "no answer in time")
        } else {
            self.host.sample(now, &self.agents)
        };
        self.word = self.law.look(&sample, now);
        self.out.flips += self.word.flips;
        if let Some(victim) = self.word.stop {
            self.stop(now, victim);
        }
        self.no_room = false;
        let free = self.agents.len() < self.setting.slots();
        if !sample.is_whole() || !free {
            return;
        }
        // A review goes before new work.
        for class in [Class::Review, Class::Dev] {
            let (mode, queue) = match class {
                Class::Dev => (self.word.dev, &mut self.issues),
                _ => (self.word.review, &mut self.pulls),
            };
            if mode > Mode::Run || !queue.waits(now) {
                continue;
            }
            if !self.law.has_room(&sample, class) {
                self.no_room |= class == Class::Dev;
                continue;
            }
            if let Some(task) = queue.take(now) {
                self.agents.push(Agent::begin(self.seed, task, now));
            }
            return;
        }
    }

    fn stop(&mut self, now: f64, victim: Victim) {
        let over = |agent: &Agent| match victim {
            _ if agent.stopping.is_some() => f64::NEG_INFINITY,
            Victim::Of(class) if agent.task.class == class => agent.rss - self.setting.reservation(class),
            Victim::Of(_) => f64::NEG_INFINITY,
            Victim::Biggest => agent.rss,
        };
        let agent = most(&self.agents, over).and_then(|at| self.agents.get_mut(at));
        if let Some(agent) = agent.filter(|agent| over(agent) > f64::NEG_INFINITY) {
            agent.stopping = Some(now);
            self.out.stops += 1;
            self.out.healthy += u64::from(!agent.leaks());
            self.out.marks.push((now, Mark::Stopped));
        }
    }

    fn note(&mut self, time: f64, available: f64) {
        let agents = self.agents.iter().filter(|agent| agent.task.class == Class::Dev).count();
        let (dev, review) = (self.word.dev, self.word.review);
        self.out.points.push(Point { time, available, dev, review, agents });
    }
}

/// Where the agent is that has the most of something; of equals the youngest.
fn most(agents: &[Agent], of: impl Fn(&Agent) -> f64) -> Option<usize> {
    let by = |(_, a): &(usize, &Agent), (_, b): &(usize, &Agent)| of(a).total_cmp(&of(b));
    agents.iter().enumerate().max_by(by).map(|(at, _)| at)
}
