//! The probe's answer -> a [`Report`]. Never panics, and never takes a cut or garbled line for a number: what is not
//! exactly of its form is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::crontab::key::Key;
use super::super::form::{
    Usage, decimal, epoch, is_boot_id, is_plain, is_token, loadavg, number, printable, seconds, ticks, uptime,
};
use super::super::halt::HaltLine;
use super::super::logs::{Fetched, Raw};
use super::super::sample::{CpuTicks, Disk, Fence, Found, Matched, Mem, Pids, Psi, Run, Swap, Vm};
use super::Request;
use super::runs::{matched, runs};

/// What a host said. `None` = unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The host's clock, in seconds since 1970, when the probe began and when it ended.
    pub clock: Option<(f64, f64)>,
    /// See [`super::super::sample::Sample`] for this and the fields below of the same names.
    pub boot_id: Option<String>,
    /// Seconds since boot.
    pub uptime_s: Option<f64>,
    /// Processors.
    pub cores: Option<u64>,
    /// Load over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Main memory.
    pub mem: Option<Mem>,
    /// Swap space.
    pub swap: Option<Swap>,
    /// Pressure stall information.
    pub psi: Option<Psi>,
    /// Counters of `/proc/vmstat`.
    pub vm: Option<Vm>,
    /// Allocations that had to wait for memory, all zones, since boot.
    pub allocstall: Option<u64>,
    /// Processor time.
    pub cpu_ticks: Option<CpuTicks>,
    /// Watched paths.
    pub disks: Option<Vec<Disk>>,
    /// Process ids.
    pub pids: Option<Pids>,
    /// The user as whom the probe ran.
    pub uid: Option<u32>,
    /// Runs per agent.
    pub running: Option<BTreeMap<String, u64>>,
    /// The processes that these were counted by.
    pub matched: Option<Vec<Matched>>,
    /// `factory_home` with `~` expanded.
    pub home: Option<String>,
    /// The host's id.
    pub host_id: Option<String>,
    /// Whose commands it obeys.
    pub fence: Option<Fence>,
    /// The halts found.
    pub found: Option<Vec<Found>>,
    /// The runs.
    pub runs: Option<Vec<Run>>,
    /// What is new in logs; only where that was asked.
    pub logs: Option<Fetched>,
}

/// Why an answer is no report at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// No probe spoke: the login shell, a forced command or a broken startup file did.
    #[error("the host did not run the probe{}", saw(.0))]
    NoBegin(String),
    /// The answer stops before its `end`.
    #[error("the probe's answer was cut off: it has no last line `end`")]
    Cut,
    /// Something else is mixed into the answer.
    #[error("the probe's answer holds a line that it did not write: {0}")]
    Mixed(String),
    /// The probe itself gave up.
    #[error("the probe refused: {0}")]
    Refused(String),
}

fn saw(line: &str) -> String {
    if line.is_empty() { "; it said nothing".into() } else { format!("; it said: {line}") }
}

/// Reads the whole standard output of one probe, as who asks with the defaults does ([`Request::report`]).
///
/// Whatever comes before the first line `begin factory-probe 1` (a banner) and after the line `end` is ignored, and so
/// are unknown keys. A key that comes twice with different values is unknown.
///
/// # Errors
/// Without `begin` or without `end` nothing in it is believed, nor when a line between is not `key value`: a line that
/// was broken in two could else pass for a smaller number.
pub fn parse(output: &[u8]) -> Result<Report, Garbled> {
    Request::default().report(output)
}

/// The same; a run whose `critical` file is younger than `critical` asks not to be stopped.
pub(super) fn read(output: &[u8], critical: Duration) -> Result<Report, Garbled> {
    let Some(Spoken { text, raw, terminal }) = Spoken::of(output) else {
        let text = String::from_utf8_lossy(output);
        let first = text.split('\n').map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        return Err(Garbled::NoBegin(printable(first, 120)));
    };
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<&str> = text.split('\n').filter(|_| !text.is_empty()).collect();
    // A terminal in between ends every line in CR LF, or none.
    if terminal {
        lines.iter_mut().for_each(|line| *line = line.strip_suffix('\r').unwrap_or(line));
    }
    if let Some(why) = lines.first().and_then(|line| line.strip_prefix("refused ")) {
        return Err(Garbled::Refused(printable(why, 120)));
    }
    let raw = raw.ok_or(Garbled::Cut)?;
    if let Some(line) = lines.iter().find(|line| !is_line(line)) {
        return Err(Garbled::Mixed(printable(line, 120)));
    }
    let answer = Answer::new(&lines);
    let all = |key| answer.all(key).collect();
    let (count, log, followed, of) = (answer.one("logs"), all("log"), all("followed"), all("of"));
    Ok(Report { logs: Raw { count, log, followed, of, bytes: raw, terminal }.read(), ..answer.report(critical) })
}

/// What the probe itself said.
struct Spoken<'a> {
    /// From behind the line `begin` to before the line `end`.
    text: &'a [u8],
    /// Every byte behind the line `end`; none without that line.
    raw: Option<&'a [u8]>,
    /// The lines end in CR LF.
    terminal: bool,
}

impl<'a> Spoken<'a> {
    /// From the first line `begin` to the first line `end` behind it: what comes later may be of a log, and hold anything.
    fn of(output: &'a [u8]) -> Option<Spoken<'a>> {
        let (mut next, mut begun) = (0, None);
        for line in output.split(|byte| *byte == b'\n') {
            let from = next;
            next += line.len() + 1;
            let (line, terminal) = line.strip_suffix(b"\r").map_or((line, false), |line| (line, true));
            match begun {
                None if line == b"begin factory-probe 1" => begun = Some((next, terminal)),
                Some((text, through)) if line == b"end" && terminal == through => {
                    let text = output.get(text..from.saturating_sub(1)).unwrap_or_default();
                    return Some(Spoken { text, raw: Some(output.get(next..).unwrap_or_default()), terminal });
                }
                _ => {}
            }
        }
        begun.map(|(text, terminal)| Spoken { text: output.get(text..).unwrap_or_default(), raw: None, terminal })
    }
}

/// `key value`: a key of small letters, digits and `_`, and a space.
fn is_line(line: &str) -> bool {
    let key = line.split_once(' ').map(|(key, _)| key).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(plain)
}

/// The lines of an answer by their key, in their order.
pub(super) struct Answer<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Answer<'a> {
    fn new(lines: &[&'a str]) -> Answer<'a> {
        let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in lines {
            if let Some((key, value)) = line.split_once(' ') {
                keys.entry(key).or_default().push(value);
            }
        }
        Answer(keys)
    }

    /// All values of a key.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(key).into_iter().flatten().copied()
    }

    /// The value of a key that must have one: none if two lines disagree.
    pub(super) fn one(&self, key: &str) -> Option<&'a str> {
        only(self.all(key))
    }

    /// The value after `key NAME`, e.g. `vmstat oom_kill`; none if two lines disagree.
    fn named(&self, key: &str, name: &str) -> Option<&'a str> {
        only(self.all(key).filter_map(|value| value.strip_prefix(name)?.strip_prefix(' ')))
    }

    fn report(&self, critical: Duration) -> Report {
        let load = self.one("loadavg").and_then(loadavg);
        let pids = Pids { max: self.one("pid_max").and_then(number).filter(|max| *max > 0), used: load.map(|l| l.1) };
        let found = self.found();
        let clock = self.one("clock_start").and_then(seconds).zip(self.one("clock_end").and_then(seconds));
        let (now, uptime_s) = (clock.map(|clock| clock.0), self.one("uptime").and_then(uptime));
        let running = self.running();
        let counted = running.as_ref().map(|running| running.values().sum());
        let booted = now.zip(uptime_s).map(|(now, uptime)| now - uptime);
        Report {
            clock,
            boot_id: self.one("boot_id").filter(|id| is_boot_id(id)).map(Into::into),
            uptime_s,
            cores: self.one("cores").and_then(number).filter(|cores| *cores > 0),
            load: load.map(|l| l.0),
            mem: some(self.mem()),
            swap: some(self.swap()),
            psi: some(self.psi()),
            vm: some(Vm {
                oom_kill: self.named("vmstat", "oom_kill").and_then(number),
                pswpin: self.named("vmstat", "pswpin").and_then(number),
                pgmajfault: self.named("vmstat", "pgmajfault").and_then(number),
            }),
            allocstall: self.allocstall(),
            cpu_ticks: self.one("stat").and_then(ticks),
            disks: self.disks(),
            pids: some(pids),
            uid: self.one("uid").and_then(number).and_then(|uid| u32::try_from(uid).ok()),
            matched: counted.and_then(|counted| matched(self, counted, booted)),
            running,
            home: self.one("home").map(Into::into),
            host_id: self.one("host_id").filter(|id| is_plain(id)).map(Into::into),
            fence: some(self.fence()),
            found,
            runs: runs(self, now, critical),
            logs: None,
        }
    }

    /// Total and available from /proc/meminfo; each from `free -b` only where that lacks it.
    fn mem(&self) -> Mem {
        let free = self.free("Mem:");
        let total = self.meminfo("MemTotal:").or_else(|| free.get("total").copied()?);
        // More free than there is: one of the two is wrong, and we cannot tell which.
        // BusyBox's `free` prints 0 where it does not know.
        let listed = self.meminfo("MemAvailable:");
        let available = listed.or_else(|| free.get("available").copied()?.filter(|free| *free > 0));
        let available = available.filter(|free| total.is_none_or(|total| *free <= total));
        Mem { total, available }
    }

    fn swap(&self) -> Swap {
        let free = self.free("Swap:");
        let of = |name, column| self.meminfo(name).or_else(|| free.get(column).copied()?);
        let total = of("SwapTotal:", "total");
        Swap { total, free: of("SwapFree:", "free").filter(|free| total.is_none_or(|total| *free <= total)) }
    }

    /// A line of /proc/meminfo in bytes. A line that is there but of another form is unknown, not `free`'s business.
    fn meminfo(&self, name: &str) -> Option<u64> {
        let kilobytes = self.named("meminfo", name)?.trim_start_matches(' ').strip_suffix(" kB")?;
        number(kilobytes)?.checked_mul(1024)
    }

    /// The columns of one row of `free -b`, by their heading.
    fn free(&self, row: &str) -> BTreeMap<&'a str, Option<u64>> {
        let mut head: Vec<&str> = Vec::new();
        for line in self.all("free") {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            if line.starts_with(' ') {
                head = words.collect();
            } else if words.next() == Some(row) {
                let cells: Vec<Option<u64>> = words.map(number).collect();
                // Swap has the first three columns alone.
                let fits = cells.len() == head.len() || cells.len() == 3;
                let sound = head.starts_with(&["total", "used", "free"]) && fits;
                return if sound { head.into_iter().zip(cells).collect() } else { BTreeMap::new() };
            }
        }
        BTreeMap::new()
    }

    fn psi(&self) -> Psi {
        let of = |key, kind, window: &str| {
            let line = self.named(key, kind)?;
            let mut words = line.split(' ');
            let form = ["avg10=", "avg60=", "avg300=", "total="];
            let values: Vec<&str> =
                form.iter().map(|name| words.next()?.strip_prefix(name)).collect::<Option<Vec<_>>>()?;
            number(values.get(3)?)?;
            let value = values.get(form.iter().position(|name| *name == window)?)?;
            // A share of the time; the kernel's rounding may show a hair above 100.
            decimal(value).filter(|percent| words.next().is_none() && *percent <= 101.0)
        };
        Psi {
            cpu_some_avg60: of("psi_cpu", "some", "avg60="),
            memory_some_avg10: of("psi_memory", "some", "avg10="),
            memory_full_avg10: of("psi_memory", "full", "avg10="),
            io_full_avg60: of("psi_io", "full", "avg60="),
        }
    }

    /// The sum over the zones that the kernel counts apart.
    fn allocstall(&self) -> Option<u64> {
        let zones: Vec<&str> = self.all("vmstat").filter(|line| line.starts_with("allocstall")).collect();
        let sum = zones.iter().try_fold(0u64, |sum, line| sum.checked_add(number(line.split_once(' ')?.1)?));
        sum.filter(|_| !zones.is_empty())
    }

    /// The watched paths with what df said of each; the home's is left out where it lies on another's file system.
    fn disks(&self) -> Option<Vec<Disk>> {
        let mut disks = Vec::new();
        for (i, home) in (0..).map_while(|i: usize| Some((i, self.path(i)?))) {
            let index = i.to_string();
            let blocks = self.named("df_k", &index).and_then(Usage::parse);
            let inodes = self.named("df_i", &index).and_then(Usage::parse);
            let mount = blocks.as_ref().map(|usage| (usage.device.to_owned(), usage.mount.to_owned()));
            let (path, is_home) = home;
            if is_home && mount.is_some() && disks.iter().any(|(_, other)| *other == mount) {
                continue;
            }
            let bytes = |kilobytes: u64| kilobytes.checked_mul(1024);
            let disk = Disk {
                path: path.to_owned(),
                total: blocks.as_ref().and_then(|usage| bytes(usage.total)),
                free: blocks.as_ref().and_then(|usage| bytes(usage.free)),
                inodes_total: inodes.as_ref().map(|usage| usage.total),
                inodes_free: inodes.as_ref().map(|usage| usage.free),
            };
            disks.push((disk, mount));
        }
        let listed = self.all("path").count() + self.all("path_home").count();
        let whole = listed > 0 && (0..listed).all(|i| self.path(i).is_some());
        whole.then(|| disks.into_iter().map(|(disk, _)| disk).collect())
    }

    /// The path with this index, and whether it is the home's.
    fn path(&self, index: usize) -> Option<(&'a str, bool)> {
        let index = index.to_string();
        let home = self.named("path_home", &index).map(|path| (path, true));
        self.named("path", &index).map(|path| (path, false)).or(home).filter(|(path, _)| !path.is_empty())
    }

    fn running(&self) -> Option<BTreeMap<String, u64>> {
        let agents: BTreeSet<&str> = self.all("running").filter_map(|line| Some(line.split_once(' ')?.0)).collect();
        let counted = agents.into_iter().filter_map(|agent| {
            let count = self.named("running", agent).and_then(number)?;
            is_token(agent).then(|| (agent.to_owned(), count))
        });
        let counted: BTreeMap<String, u64> = counted.collect();
        (!counted.is_empty()).then_some(counted)
    }

    /// `fleet` holds the id; `epoch` holds `EPOCH HOLDER`, 1-15 digits without a leading zero.
    fn fence(&self) -> Fence {
        let epoch = self.one("epoch").and_then(epoch);
        let (epoch, holder) = epoch.map_or((None, None), |(epoch, holder)| (Some(epoch), holder));
        Fence { fleet: self.one("fleet").filter(|id| is_plain(id)).map(Into::into), epoch, holder }
    }

    /// One entry a line of a halt file; one for an empty file, and one for each `active_file`.
    fn found(&self) -> Option<Vec<Found>> {
        let count = self.one("halts").and_then(number)?;
        let mut found = Vec::new();
        let told = ["halt", "own", "active"].map(|key| self.all(key).count() as u64).iter().sum();
        for i in 0..count.min(told) {
            let index = i.to_string();
            let (agent, repo, path) = match (self.named("halt", &index), self.named("own", &index)) {
                (Some(name), _) => {
                    let (agent, repo) = name.split_once('@').unwrap_or((name, "*"));
                    (agent, repo, None)
                }
                (None, Some(own)) => own_means(own)?,
                (None, None) => {
                    let (state, means) = self.named("active", &index)?.split_once(' ')?;
                    let (agent, repo, path) = own_means(means)?;
                    let by = (state == "hidden").then(|| "factory".to_owned());
                    let path = path.map(str::to_owned);
                    let (agent, repo, how, held) = (agent.into(), repo.into(), "active_file".into(), state != "shown");
                    found.push(Found { agent, repo, how, held, by, path, live: None, line: None });
                    continue;
                }
            };
            let entry = |line: Option<&str>| Found {
                agent: agent.into(),
                repo: repo.into(),
                how: "file".into(),
                held: true,
                by: line.and_then(HaltLine::parse).map(|line| line.by),
                path: path.map(str::to_owned),
                live: None,
                line: line.map(str::to_owned),
            };
            let lines = self.all("hold").filter_map(|line| line.strip_prefix(index.as_str())?.strip_prefix(' '));
            let mut holds: Vec<Found> = lines.map(|line| entry(Some(line))).collect();
            if holds.is_empty() {
                holds.push(entry(None));
            }
            found.append(&mut holds);
        }
        found.extend(self.all("cron").map(crontab).collect::<Option<Vec<_>>>()?);
        (told == count).then_some(found)
    }
}

/// `LIVE HELD KEY`: how many lines of crontabs start the agent, and how many are held.
fn crontab(text: &str) -> Option<Found> {
    let mut words = text.split(' ');
    let (live, held) = (number(words.next()?)?, number(words.next()?)?);
    let key = words.next().filter(|_| words.next().is_none())?;
    let Key { agent, repo, .. } = Key::of(key);
    Some(Found {
        agent: agent.to_owned(),
        repo: repo.to_owned(),
        how: "cron".to_owned(),
        held: live == 0 && held > 0,
        by: (held > 0).then(|| "factory".to_owned()),
        path: Some(key.to_owned()),
        live: Some(live),
        line: None,
    })
}

/// `AGENT REPO PATH`.
fn own_means(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut words = text.splitn(3, ' ');
    Some((words.next()?, words.next()?, Some(words.next()?)))
}

/// The value if there is one and no other.
pub(super) fn only<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

/// Nothing known of a group of numbers = the group is unknown.
fn some<T: Default + PartialEq>(group: T) -> Option<T> {
    (group != T::default()).then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &str) -> Report {
        parse(format!("\nbegin factory-probe 1\n{lines}\nend\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_line_of_another_form_is_unknown() {
        assert_eq!(report("cores 8").cores, Some(8));
        assert_eq!(report("cores 0").cores, None);
        assert_eq!(report("cores 8\ncores 9").cores, None, "two answers are none");
        assert_eq!(report("uptime 12.34 5.00").uptime_s, Some(12.34));
        for line in ["uptime 12", "uptime 12.34", "uptime 12 5.00", "uptime up 12 days", "uptime  12.34 5.00"] {
            assert_eq!(report(line).uptime_s, None, "{line}");
        }
        assert_eq!(report("meminfo MemTotal:  8192 kB").mem.unwrap().total, Some(8192 << 10));
        for line in ["MemTotal:  8192", "MemTotal:  8192 MB", "MemTotal:  81 92 kB", "MemTotal: 99999999999999999 kB"] {
            assert_eq!(report(&format!("meminfo {line}")).mem, None, "{line}");
        }
        let load = report("loadavg 0.50 0.40 0.30 2/140 999");
        assert_eq!((load.load, load.pids.unwrap().used), (Some([0.5, 0.4, 0.3]), Some(140)));
        for line in ["0.50 0.40 0.30", "0.50 0.40 0.30 2/140", "0 0 0 2/140 9", "0.50 0.40 0.30 2/140 999 1"] {
            assert_eq!(report(&format!("loadavg {line}")).load, None, "{line}");
        }
        for line in ["some avg60=1.00", "some avg10=0.00 avg60=101.50 avg300=0.00 total=0", "some 1 2 3 4"] {
            assert_eq!(report(&format!("psi_cpu {line}")).psi, None, "{line}");
        }
        let ticks = report("stat cpu  10 0 20 30 1 2 3 4 5 6").cpu_ticks.unwrap();
        assert_eq!((ticks.total, ticks.steal), (Some(70), Some(4)), "guests are in user time already");
        assert_eq!(report("stat cpu  10 0 20 30").cpu_ticks.unwrap().steal, None);
        assert_eq!(report("stat cpu0 10 0 20 30 0 0 0 9").cpu_ticks, None);
        for id in ["1234", "150B159b-e3ec-42fc-8efe-31f0e02cbac2", "150b159b-e3ec-42fc-8efe-31f0e02cbac"] {
            assert_eq!(report(&format!("boot_id {id}")).boot_id, None, "{id}");
        }
    }

    #[test]
    fn more_free_than_there_is_is_not_believed() {
        let both =
            "meminfo MemTotal:  100 kB\nmeminfo MemAvailable:  101 kB\nmeminfo SwapTotal: 1 kB\nmeminfo SwapFree: 2 kB";
        let report = report(both);
        assert_eq!(report.mem.unwrap().available, None);
        assert_eq!(report.swap.unwrap().free, None);
    }

    #[test]
    fn free_is_asked_only_for_what_meminfo_lacks() {
        let free = "free               total        used        free      shared  buff/cache   available\n\
                    free Mem:           1000         200         300          10         500         700\n\
                    free Swap:            50          10          40";
        let mem = report(free).mem.unwrap();
        assert_eq!((mem.total, mem.available), (Some(1000), Some(700)));
        assert_eq!(report(free).swap.unwrap(), Swap { total: Some(50), free: Some(40) });
        let mem = report(&format!("meminfo MemTotal:  1 kB\n{free}")).mem.unwrap();
        assert_eq!((mem.total, mem.available), (Some(1024), Some(700)));
        // BusyBox prints 0 for what it does not know; procps before 3.3.10 has no such column.
        assert_eq!(report(&free.replace("         700", "           0")).mem.unwrap().available, None);
        assert_eq!(report(&free.replace("available", "cached")).mem.unwrap().available, None);
    }

    #[test]
    fn a_list_is_known_whole_or_not_at_all() {
        assert_eq!(report("runs 0").runs, Some(vec![]));
        assert_eq!(report("cores 1").runs, None);
        assert_eq!(report("run a DONE 0\nrun b RUNNING\nruns 2").runs.unwrap().len(), 2);
        for lines in [
            "run a DONE 0\nruns 2",
            "run a DONE 0\nruns 0",
            "run a DONE\nruns 1",
            "run a DONE 256\nruns 1",
            "run a GONE\nruns 1",
            "run a RUNNING\nrun a RUNNING\nruns 2",
        ] {
            assert_eq!(report(lines).runs, None, "{lines}");
        }
        assert_eq!(report("halts 0").found, Some(vec![]));
        assert_eq!(report("halt 0 dev\nhalts 2").found, None);
        assert_eq!(report("path 0 /\npath 2 /x").disks, None);
    }

    #[test]
    fn a_fence_that_could_fail_open_is_unknown() {
        let epoch = |line: &str| report(&format!("epoch {line}")).fence.and_then(|fence| fence.epoch);
        assert_eq!(epoch("7 vps-1"), Some(7));
        assert_eq!(epoch("999999999999999"), Some(999_999_999_999_999));
        for line in ["", "0", "07", "1000000000000000", "-1", "7x", " 7"] {
            assert_eq!(epoch(line), None, "{line}");
        }
    }

    #[test]
    fn a_banner_a_terminal_and_a_farewell_do_no_harm() {
        let plain = parse(b"\nbegin factory-probe 1\ncores 2\nend\n");
        assert_eq!(parse(b"Welcome!\ncores 9\nlast login\nbegin factory-probe 1\ncores 2\nend\nbye\n"), plain);
        assert_eq!(parse(b"\r\nbegin factory-probe 1\r\ncores 2\r\nend\r\n"), plain);
        assert_eq!(plain.unwrap().cores, Some(2));
    }

    #[test]
    fn no_answer_says_what_came_instead() {
        let message = |output: &[u8]| parse(output).unwrap_err().to_string();
        assert_eq!(message(b""), "the host did not run the probe; it said nothing");
        let nologin = b"This account is currently not available.\x1b[2J\n";
        assert_eq!(
            message(nologin),
            "the host did not run the probe; it said: This account is currently not available.?[2J"
        );
        assert_eq!(message(b"begin factory-probe 1\ncores 2\n"), Garbled::Cut.to_string());
        assert_eq!(parse(b"begin factory-probe 1\ncores 12\n8\nend\n"), Err(Garbled::Mixed("8".into())));
        assert_eq!(
            message(b"begin factory-probe 1\nrefused the question was cut off\n"),
            "the probe refused: the question was cut off"
        );
    }
}
