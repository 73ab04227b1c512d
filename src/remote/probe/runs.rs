//! What a probe says of runs, and of processes that factory did not start -> [`Run`]s and [`Matched`].

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::form::{is_plain, is_token, legible, number, printable, run, shown};
use super::super::halt::decode;
use super::super::sample::{MAX_LINE, Matched, Run, Said};
use super::parse::{Answer, only};

/// So many processes that match are told one by one; of more the number alone is known.
const MAX_MATCHED: u64 = 256;

/// A clock tick of the kernel's, as it counts for programs on every architecture in use, in milliseconds.
const TICK_MS: u64 = 10;

/// All that is told of runs: each kind of line, by its token.
struct Told<'a>(HashMap<&'static str, HashMap<&'a str, Vec<&'a str>>>);

impl<'a> Told<'a> {
    fn new(answer: &Answer<'a>) -> Told<'a> {
        let keys = ["spec", "started", "over", "stop", "oom", "tree", "last", "tail", "file"];
        let by_token = |key: &'static str| {
            let mut lines: HashMap<&str, Vec<&str>> = HashMap::new();
            for value in answer.all(key) {
                let parts = if key == "file" {
                    value.rsplit_once(' ').map(|(rest, name)| (name, rest))
                } else {
                    value.split_once(' ')
                };
                if let Some((token, rest)) = parts {
                    lines.entry(token).or_default().push(rest);
                }
            }
            (key, lines)
        };
        Told(keys.into_iter().map(by_token).collect())
    }

    fn all<'b>(&'b self, key: &str, token: &str) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        self.0.get(key).and_then(|lines| lines.get(token)).into_iter().flatten().copied()
    }

    /// The value of a line that must stand alone: none if two disagree.
    fn one(&self, key: &str, token: &str) -> Option<&'a str> {
        only(self.all(key, token))
    }

    /// A value of `spec`, decoded.
    fn spec(&self, token: &str, name: &str) -> Option<String> {
        let values = self.all("spec", token).filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        decode(only(values)?).filter(|value| is_plain(value))
    }

    /// Size in bytes and time of the last change, in seconds since 1970, of a file of the run.
    fn file(&self, token: &str, name: &str) -> Option<(u64, u64)> {
        let (size, changed) = self.one("file", &format!("{token}/{name}"))?.split_once(' ')?;
        Some((number(size)?, number(changed)?))
    }

    /// Fills in what there is on `run`, whose host's clock shows `now`. A `critical` file counts while it is younger than
    /// `critical` by that clock; as much in the future is no less odd.
    fn fill(&self, run: &mut Run, now: Option<f64>, critical: Duration) {
        let token = run.token.as_str();
        let spec = |name| self.spec(token, name);
        (run.fleet, run.task, run.repo, run.agent) = (spec("fleet"), spec("task"), spec("repo"), spec("agent"));
        run.attempt = spec("attempt").and_then(|attempt| u32::try_from(number(&attempt)?).ok());
        let slot: Vec<&str> = self.one("started", token).map(|line| line.split(' ').collect()).unwrap_or_default();
        match slot.as_slice() {
            ["cancelled", at, ..] => run.ended = time(at),
            [_, _, _, at] => {
                run.started = time(at);
                run.ended = self.one("over", token).and_then(time);
            }
            _ => {}
        }
        // Of an empty file, written while the disk was full, nobody knows by whom.
        run.stopping = self.one("stop", token).map(|line| {
            let by = line.split(' ').next().unwrap_or_default();
            decode(by).filter(|by| is_plain(by)).unwrap_or_default()
        });
        (run.out, run.err) = (self.file(token, "out.log").map(|f| f.0), self.file(token, "err.log").map(|f| f.0));
        // All files of a run are told at once: where others are and this one is not, it is not there.
        let young = |(_, changed): (u64, u64)| Some((now? - changed as f64).abs() < critical.as_secs_f64());
        run.critical = match self.all("file", &format!("{token}/critical")).next() {
            Some(_) => self.file(token, "critical").and_then(young),
            None => run.out.or(run.err).map(|_| false),
        };
        run.oom_kills = self.one("oom", token).and_then(number);
        if let Some([procs, kilobytes, ticks]) = self.one("tree", token).and_then(numbers) {
            // A run that lives and has no process has ended while we looked: nobody counted them.
            if procs > 0 || run.state != "RUNNING" {
                run.procs = Some(procs);
                run.rss = kilobytes.checked_mul(1024);
                run.cpu_ms = ticks.checked_mul(TICK_MS);
            }
        }
        let logs = ["out.log", "err.log"].map(|log| format!("{token}/{log}"));
        let said = |key| logs.iter().filter_map(|log| self.one(key, log)).find(|line| !shown(line, 1).is_empty());
        run.said = said("last")
            .or_else(|| said("tail"))
            .map(|line| Said { line: line.to_owned(), cut: said("last").is_none() });
        run.last = run.said.as_ref().map(|said| shown(&said.line, MAX_LINE));
    }
}

/// The runs, if all of them came; `now` is the host's clock, and `critical` the age up to which that file counts.
pub(super) fn runs(answer: &Answer<'_>, now: Option<f64>, critical: Duration) -> Option<Vec<Run>> {
    let count = answer.one("runs").and_then(number)?;
    let mut runs: Vec<Run> = answer.all("run").map(run).collect::<Option<_>>()?;
    let mut tokens: Vec<String> = runs.iter().map(|run| run.token.clone()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    if tokens.len() as u64 != count || runs.len() != tokens.len() {
        return None;
    }
    let told = Told::new(answer);
    runs.iter_mut().for_each(|run| told.fill(run, now, critical));
    Some(runs)
}

/// The processes that match, if all of them came; `counted` is how many there are, and `booted` when the host began to
/// count, in seconds since 1970.
pub(super) fn matched(answer: &Answer<'_>, counted: u64, booted: Option<f64>) -> Option<Vec<Matched>> {
    let mut matched: Vec<Matched> =
        answer.all("matched").map(|line| one_matched(line, booted)).collect::<Option<_>>()?;
    matched.sort_by_key(|one| (one.start, one.pid));
    (matched.len() as u64 == counted.min(MAX_MATCHED)).then_some(matched)
}

/// `AGENT PID START SESSION UID PROCESSES KILOBYTES TICKS COMMAND`.
fn one_matched(line: &str, booted: Option<f64>) -> Option<Matched> {
    let mut words = line.splitn(9, ' ');
    let agent = words.next().filter(|agent| is_token(agent))?.to_owned();
    let mut next = || number(words.next()?);
    let (pid, start, sid, uid) = (next()?, next()?, next()?, next()?);
    let (procs, rss, cpu_ms) = (next()?, next()?.checked_mul(1024)?, next()?.checked_mul(TICK_MS)?);
    let begun = booted.map(|booted| booted + start as f64 / 100.0);
    Some(Matched {
        agent,
        pid: u32::try_from(pid).ok().filter(|pid| *pid > 0)?,
        start,
        started: begun.and_then(|at| Timestamp::from_second(at as i64).ok()),
        sid: u32::try_from(sid).ok()?,
        uid: u32::try_from(uid).ok()?,
        procs,
        rss,
        cpu_ms,
        command: printable(legible(words.next()?).trim(), MAX_LINE),
    })
}

/// Three numbers with a space between.
fn numbers(text: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = text.split(' ').map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// `YYYY-MM-DDTHH:MM:SSZ`.
fn time(text: &str) -> Option<Timestamp> {
    let whole = text.len() == 20 && text.ends_with('Z');
    text.parse().ok().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::super::{Request, parse};
    use super::*;
    use crate::remote::probe::Report;

    const RUN: &str = "clock_start 1795675032.5\nuptime 1432.10 2000.00\nrun 20261126-a RUNNING\nruns 1\n";

    fn report(lines: &str) -> Report {
        parse(format!("\nbegin factory-probe 1\n{RUN}{lines}\nend\n").as_bytes()).unwrap()
    }

    fn one(lines: &str) -> Run {
        report(&format!("clock_end 1795675033\n{lines}")).runs.unwrap().remove(0)
    }

    #[test]
    fn all_that_is_told_of_a_run_is_known() {
        let run = one("spec 20261126-a fleet f%201\nspec 20261126-a task harb#7\nspec 20261126-a repo harb\n\
            spec 20261126-a agent dev\nspec 20261126-a attempt 2\nspec 20261126-a other x\nspec 20261126-b repo no\n\
            started 20261126-a 12 345 5e13387a-edc6-4c38-901c-45547fd2015e 2026-11-26T06:00:00Z\n\
            stop 20261126-a anna%20b 2026-11-26T06:01:00Z 0 30\noom 20261126-a 3\ntree 20261126-a 4 2048 150\n\
            file 13 1795675019 20261126-a/out.log\nfile 0 1795675019 20261126-a/err.log\n\
            file 0 1795674800 20261126-a/critical\nlast 20261126-a/out.log \u{1b}[32mok\u{1b}[0m\t 12 of 30");
        let want = Run {
            token: "20261126-a".into(),
            state: "RUNNING".into(),
            fleet: Some("f 1".into()),
            task: Some("harb#7".into()),
            repo: Some("harb".into()),
            agent: Some("dev".into()),
            attempt: Some(2),
            started: Some("2026-11-26T06:00:00Z".parse().unwrap()),
            ended: None,
            procs: Some(4),
            cpu_ms: Some(1500),
            critical: Some(true),
            stopping: Some("anna b".into()),
            last: Some("ok  12 of 30".into()),
            said: Some(Said { line: "\u{1b}[32mok\u{1b}[0m\t 12 of 30".into(), cut: false }),
            rss: Some(2 << 20),
            oom_kills: Some(3),
            out: Some(13),
            err: Some(0),
        };
        assert_eq!(run, want);
        let bare = Run { token: "20261126-a".into(), state: "RUNNING".into(), ..Run::default() };
        assert_eq!(one("cores 2"), bare, "what is not told is unknown, never 0");
    }

    #[test]
    fn what_is_not_of_its_form_is_unknown() {
        for (line, why) in [
            ("tree 20261126-a 0 0 0", "a run that lives has processes"),
            ("tree 20261126-a 4 2048", "short"),
            ("tree 20261126-a 4 2048 1 1", "long"),
            ("tree 20261126-a 4 -1 1", "negative"),
            ("tree 20261126-a 4 1 1\ntree 20261126-a 5 1 1", "two answers are none"),
            ("spec 20261126-a repo ha rb", "not encoded"),
            ("spec 20261126-a repo harb\nspec 20261126-a repo disinto", "two answers are none"),
            ("spec 20261126-a attempt 4294967296", "too large"),
            ("started 20261126-a 12 345 5e13387a 26-11-26", "no time"),
            ("started 20261126-a 12 345 5e13387a", "cut off"),
            ("over 20261126-a 2026-11-26T06:00:00Z", "an end without a beginning"),
            ("file 1x 1795675019 20261126-a/out.log", "no size"),
            ("file 1 20261126-a/out.log", "no time"),
            ("last 20261126-a/out.log  \u{1b}[K", "nothing to see"),
            ("oom 20261126-a", "no number"),
        ] {
            let bare = Run { token: "20261126-a".into(), state: "RUNNING".into(), ..Run::default() };
            assert_eq!(one(line), bare, "{why}: {line}");
        }
        assert_eq!(one("stop 20261126-a ").stopping.as_deref(), Some(""), "told to stop, nobody knows by whom");
    }

    #[test]
    fn critical_is_a_young_file() {
        // The host's clock shows 1795675032.5.
        for (changed, critical) in [
            (1_795_674_732, false),
            (1_795_674_733, true),
            (1_795_675_032, true),
            (1_795_675_331, true),
            (1_795_675_400, false),
        ] {
            assert_eq!(one(&format!("file 0 {changed} 20261126-a/critical")).critical, Some(critical), "{changed}");
        }
        // By another number, another age.
        let text =
            format!("begin factory-probe 1\n{RUN}clock_end 1795675033\nfile 0 1795675012 20261126-a/critical\nend\n");
        for (age, critical) in [(20, false), (21, true)] {
            let request = Request { critical: Duration::from_secs(age), ..Request::default() };
            let run = request.report(text.as_bytes()).unwrap().runs.unwrap().remove(0);
            assert_eq!(run.critical, Some(critical), "{age}");
        }
        assert_eq!(one("file 0 1795675032 20261126-a/err.log").critical, Some(false), "it is not there");
        let two = "file 0 1795675032 20261126-a/critical\nfile 0 1 20261126-a/critical\nfile 0 1 20261126-a/out.log";
        assert_eq!(one(two).critical, None, "two answers are none");
        let clockless = report("file 0 1795675019 20261126-a/critical").runs.unwrap().remove(0);
        assert_eq!(clockless.critical, None, "without a clock nobody knows how old it is");
    }

    #[test]
    fn a_run_that_is_over_keeps_its_times() {
        let of = |state: &str, lines: &str| {
            let text = format!("begin factory-probe 1\nrun a {state}\nruns 1\n{lines}\nend\n");
            parse(text.as_bytes()).unwrap().runs.unwrap().remove(0)
        };
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let done = of("DONE 3", "started a 1 2 x 2026-11-26T06:00:00Z\nover a 2026-11-26T07:00:00Z\ntree a 0 0 0");
        assert_eq!((done.started, done.ended), (at("2026-11-26T06:00:00Z"), at("2026-11-26T07:00:00Z")));
        assert_eq!((done.procs, done.rss), (Some(0), Some(0)), "an empty tree is known to be empty");
        let cancelled = of("CANCELLED", "started a cancelled 2026-11-26T06:00:00Z vps-1");
        assert_eq!((cancelled.started, cancelled.ended), (None, at("2026-11-26T06:00:00Z")));
    }

    #[test]
    fn processes_that_match_are_known_all_or_not_at_all() {
        let line = "matched dev 77 12345 70 1000 3 2048 150 sh -c  dev-agent.sh \r 12 ";
        let matched = report(&format!("clock_end 1795675033\n{line}\nrunning dev 1\nrunning review 0")).matched;
        let want = Matched {
            agent: "dev".into(),
            pid: 77,
            start: 12345,
            // Up for 1432.1 s at 1795675032.5; begun 123.45 s after that.
            started: Some(Timestamp::from_second(1_795_673_723).unwrap()),
            sid: 70,
            uid: 1000,
            procs: 3,
            rss: 2 << 20,
            cpu_ms: 1500,
            command: "sh -c  dev-agent.sh ? 12".into(),
        };
        assert_eq!(matched, Some(vec![want]));
        assert_eq!(report("running dev 0").matched, Some(vec![]));
        assert_eq!(report("cores 2").matched, None);
        for lines in [
            "matched dev 77 12345 70 1000 3 2048 150\nrunning dev 1",
            "matched dev 0 12345 70 1000 3 2048 150 x\nrunning dev 1",
            "matched d?v 77 12345 70 1000 3 2048 150 x\nrunning dev 1",
            "matched dev 77 12345 70 1000 3 20x8 150 x\nrunning dev 1",
            "matched dev 77 12345 70 1000 3 2048 150 x\nrunning dev 2",
            "matched dev 77 12345 70 1000 3 2048 150 x",
        ] {
            assert_eq!(report(lines).matched, None, "{lines}");
        }
    }
}
