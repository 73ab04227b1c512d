//! The probe's answer -> a [`Report`]. Never panics, and never takes a cut or garbled line for a number: what is not
//! exactly of its form is unknown.

use std::collections::{BTreeMap, BTreeSet};

use super::super::sample::{CpuTicks, Disk, Fence, Found, Mem, Pids, Psi, Run, Swap, Vm};

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
    /// Runs per agent.
    pub running: Option<BTreeMap<String, u64>>,
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

/// Reads the whole standard output of one probe.
///
/// Whatever comes before the line `begin factory-probe 1` (a banner) and after the line `end` is ignored, and so are
/// unknown keys. A key that comes twice with different values is unknown.
///
/// # Errors
/// Without `begin` or without `end` nothing in it is believed, nor when a line between is not `key value`: a line that
/// was broken in two could else pass for a smaller number.
pub fn parse(output: &[u8]) -> Result<Report, Garbled> {
    let text = String::from_utf8_lossy(output);
    let mut lines: Vec<&str> = text.split('\n').collect();
    let marks = ["begin factory-probe 1", "begin factory-probe 1\r"];
    let Some(begin) = lines.iter().rposition(|line| marks.contains(line)) else {
        let first = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or_default();
        return Err(Garbled::NoBegin(printable(first, 120)));
    };
    // A terminal in between ends every line in CR LF, or none.
    if lines.get(begin).is_some_and(|line| line.ends_with('\r')) {
        lines.iter_mut().for_each(|line| *line = line.strip_suffix('\r').unwrap_or(line));
    }
    lines.drain(..=begin);
    if let Some(why) = lines.first().and_then(|line| line.strip_prefix("refused ")) {
        return Err(Garbled::Refused(printable(why, 120)));
    }
    let end = lines.iter().position(|line| *line == "end").ok_or(Garbled::Cut)?;
    lines.truncate(end);
    if let Some(line) = lines.iter().find(|line| !is_line(line)) {
        return Err(Garbled::Mixed(printable(line, 120)));
    }
    Ok(Answer::new(&lines).report())
}

/// `key value`: a key of small letters, digits and `_`, and a space.
fn is_line(line: &str) -> bool {
    let key = line.split_once(' ').map(|(key, _)| key).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(plain)
}

/// `text` without control characters, at most `most` characters.
fn printable(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(most).collect()
}

/// The lines of an answer by their key, in their order.
struct Answer<'a>(BTreeMap<&'a str, Vec<&'a str>>);

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
    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(key).into_iter().flatten().copied()
    }

    /// The value of a key that must have one: none if two lines disagree.
    fn one(&self, key: &str) -> Option<&'a str> {
        only(self.all(key))
    }

    /// The value after `key NAME`, e.g. `vmstat oom_kill`; none if two lines disagree.
    fn named(&self, key: &str, name: &str) -> Option<&'a str> {
        only(self.all(key).filter_map(|value| value.strip_prefix(name)?.strip_prefix(' ')))
    }

    fn report(&self) -> Report {
        let load = self.one("loadavg").and_then(loadavg);
        let pids = Pids { max: self.one("pid_max").and_then(number).filter(|max| *max > 0), used: load.map(|l| l.1) };
        let found = self.found();
        Report {
            clock: self.one("clock_start").and_then(seconds).zip(self.one("clock_end").and_then(seconds)),
            boot_id: self.one("boot_id").filter(|id| is_boot_id(id)).map(Into::into),
            uptime_s: self.one("uptime").and_then(uptime),
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
            running: self.running(),
            home: self.one("home").map(Into::into),
            host_id: self.one("host_id").filter(|id| is_plain(id)).map(Into::into),
            fence: some(self.fence()),
            found,
            runs: self.runs(),
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
        let epoch = self.one("epoch").and_then(|line| {
            let (epoch, holder) = line.split_once(' ').map_or((line, None), |(epoch, holder)| (epoch, Some(holder)));
            let whole = epoch.len() <= 15 && !epoch.starts_with('0');
            let holder = holder.filter(|holder| is_plain(holder));
            number(epoch).filter(|_| whole).map(|epoch| (epoch, holder.map(Into::into)))
        });
        let (epoch, holder) = epoch.map_or((None, None), |(epoch, holder)| (Some(epoch), holder));
        Fence { fleet: self.one("fleet").filter(|id| is_plain(id)).map(Into::into), epoch, holder }
    }

    /// One entry a line of a halt file; one for a file without lines of our form.
    fn found(&self) -> Option<Vec<Found>> {
        let count = self.one("halts").and_then(number)?;
        let mut found = Vec::new();
        for i in 0..count.min(self.all("halt").count() as u64) {
            let name = self.named("halt", &i.to_string())?;
            let (agent, repo) = name.split_once('@').unwrap_or((name, "*"));
            let entry = |by| Found { agent: agent.into(), repo: repo.into(), how: "file".into(), held: true, by };
            let index = i.to_string();
            let lines = self.all("hold").filter_map(|line| line.strip_prefix(index.as_str())?.strip_prefix(' '));
            let mut holds: Vec<Found> = lines.map(|line| entry(holder_of(line))).collect();
            holds.dedup();
            if holds.is_empty() {
                holds.push(entry(None));
            }
            found.append(&mut holds);
        }
        (self.all("halt").count() as u64 == count).then_some(found)
    }

    fn runs(&self) -> Option<Vec<Run>> {
        let count = self.one("runs").and_then(number)?;
        let runs: Vec<Run> = self.all("run").map(run).collect::<Option<_>>()?;
        let tokens: BTreeSet<&str> = runs.iter().map(|run| run.token.as_str()).collect();
        (tokens.len() as u64 == count && runs.len() == tokens.len()).then_some(runs)
    }
}

/// The value if there is one and no other.
fn only<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

/// Nothing known of a group of numbers = the group is unknown.
fn some<T: Default + PartialEq>(group: T) -> Option<T> {
    (group != T::default()).then_some(group)
}

/// Digits alone, at most `u64::MAX`.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// `12` or `12.34`: digits on both sides of the point, at most 15 of them, which a float holds exactly.
fn decimal(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(part) && text.len() <= 16 { text.parse().ok() } else { None }
}

/// A clock's reading, to the microsecond. One without a fraction stands for the middle of its second.
fn seconds(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "5"));
    number(part)?;
    let micros = number(format!("{part:0<6}").get(..6)?)?;
    // Far beyond any calendar: not a clock.
    let whole = number(whole).filter(|seconds| *seconds < 1 << 36)?;
    Some(whole as f64 + micros as f64 / 1e6)
}

/// `UPTIME IDLE`.
fn uptime(line: &str) -> Option<f64> {
    let (up, idle) = line.split_once(' ')?;
    decimal(idle)?;
    up.contains('.').then(|| decimal(up))?
}

/// `1.0 5.0 15.0 RUNNING/ALL LAST`: the loads and the number of threads.
fn loadavg(line: &str) -> Option<([f64; 3], u64)> {
    let mut words = line.split(' ');
    let mut load = || words.next().filter(|word| word.contains('.')).and_then(decimal);
    let loads = [load()?, load()?, load()?];
    let (running, all) = words.next()?.split_once('/')?;
    number(running)?;
    number(words.next()?)?;
    Some((loads, number(all)?)).filter(|_| words.next().is_none())
}

/// `cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL GUEST GUEST_NICE`; old kernels stop earlier.
fn ticks(line: &str) -> Option<CpuTicks> {
    let fields: Vec<u64> = line.strip_prefix("cpu  ")?.split(' ').map(number).collect::<Option<_>>()?;
    let counted = fields.iter().take(8);
    let total = counted.clone().try_fold(0u64, |sum, ticks| sum.checked_add(*ticks));
    (fields.len() >= 4).then(|| CpuTicks { total, steal: fields.get(7).copied() })
}

/// One line of `df -Pk` or `df -Pi`.
struct Usage<'a> {
    device: &'a str,
    total: u64,
    free: u64,
    mount: &'a str,
}

impl<'a> Usage<'a> {
    /// Device and mount point may hold spaces, so the four columns between are looked for: `TOTAL USED FREE N%`. A
    /// line with two such places says nothing.
    fn parse(line: &'a str) -> Option<Usage<'a>> {
        let words: Vec<(usize, &str)> = words(line);
        let mut found = None;
        for (i, columns) in words.windows(4).enumerate() {
            let [(start, total), (_, used), (_, free), (last, share)] = columns else { continue };
            let (total, used) = (number(total), number(used));
            let percent = share.strip_suffix('%').and_then(number);
            // Below 0 = the part kept for root is in use already: nothing is left for others.
            let free = match free.strip_prefix('-') {
                Some(over) => number(over).filter(|_| percent >= Some(100)).map(|_| 0),
                None => number(free),
            };
            let is_share = *share == "-" || percent.is_some();
            let (Some(total), Some(used), Some(free), true) = (total, used, free, is_share) else { continue };
            if i == 0 || found.is_some() {
                return None;
            }
            let device = line.get(..*start)?.trim_end();
            let mount = line.get(last + share.len()..)?.strip_prefix(' ')?;
            let sound = free <= total && used <= total && mount.starts_with('/');
            found = Some(sound.then_some(Usage { device, total, free, mount })?);
        }
        found
    }
}

/// The words of a line with where they begin.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut words = Vec::new();
    for word in line.split(' ') {
        if !word.is_empty() {
            words.push((at, word));
        }
        at += word.len() + 1;
    }
    words
}

/// BY of `auto|manual ID BY SINCE UNTIL EPOCH REASON`, percent-decoded; none for a line of another form.
fn holder_of(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [kind, _, by, _, _, epoch, _] = fields.as_slice() else { return None };
    let ours = matches!(*kind, "auto" | "manual") && number(epoch).is_some();
    ours.then(|| percent_decode(by))?
}

fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// `TOKEN STATE`.
fn run(line: &str) -> Option<Run> {
    let (token, state) = line.split_once(' ')?;
    let known = ["CREATED", "RUNNING", "CANCELLED", "CRASHED", "REBOOTED", "UNKNOWN"].contains(&state);
    let done = state.strip_prefix("DONE ").and_then(number).is_some_and(|code| code < 256);
    let whole = is_token(token) && (known || done);
    whole.then(|| Run { token: token.into(), state: state.into(), rss: None, oom_kills: None, out: None, err: None })
}

/// `8-4-4-4-12` hexadecimal digits.
fn is_boot_id(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |text: &&str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
}

/// Letters, digits, `.`, `_`, `-`, at least one.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// 1 to 200 characters without control characters, and no byte that was not UTF-8.
fn is_plain(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &str) -> Report {
        parse(format!("\nbegin factory-probe 1\n{lines}\nend\n").as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        for (text, want) in [("0", Some(0)), ("18446744073709551615", Some(u64::MAX)), ("007", Some(7))] {
            assert_eq!(number(text), want, "{text}");
        }
        for text in ["", "-1", "+1", "1 ", " 1", "1e3", "0x1", "18446744073709551616", "1_000", "\u{0661}"] {
            assert_eq!(number(text), None, "{text}");
        }
        for (text, want) in [("0.5", Some(0.5)), ("12", Some(12.0)), ("123456789.01", Some(123_456_789.01))] {
            assert_eq!(decimal(text), want, "{text}");
        }
        for text in ["", ".", ".5", "5.", "1.2.3", "-0.5", "+1.0", "nan", "inf", "1e9", "1,5", "12345678901234567"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_without_a_fraction_stands_for_the_middle_of_its_second() {
        assert_eq!(seconds("1795355019.539461240"), Some(1_795_355_019.539_461));
        assert_eq!(seconds("1795355019.5"), Some(1_795_355_019.5));
        assert_eq!(seconds("1795355019"), Some(1_795_355_019.5));
        for text in ["", "17953.", ".5", "17.%N", "99999999999", "-1"] {
            assert_eq!(seconds(text), None, "{text}");
        }
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
    fn df_columns_are_found_between_names_with_spaces() {
        let usage = |line| Usage::parse(line).map(|usage| (usage.device, usage.total, usage.free, usage.mount));
        assert_eq!(usage("/dev/vda 100 40 60 40% /"), Some(("/dev/vda", 100, 60, "/")));
        assert_eq!(usage("my 1 2 disk   100  40   60  40% /mnt/a b 7"), Some(("my 1 2 disk", 100, 60, "/mnt/a b 7")));
        assert_eq!(usage("dev 100 100 -5 106% /"), Some(("dev", 100, 0, "/")), "the part kept for root is in use");
        assert_eq!(usage("btrfs 0 0 0 - /"), Some(("btrfs", 0, 0, "/")));
        for line in [
            "",
            "100 40 60 40% /",
            "dev 100 40 60 40%",
            "dev 100 40 60 /",
            "dev 100 40 x 40% /",
            "dev 100 40 101 40% /",
            "dev 100 40 -60 40% /",
            "dev 1 2 1 4% /mnt 5 6 5 8% /x",
            "dev 100 40 60 40% relative",
        ] {
            assert_eq!(usage(line), None, "{line}");
        }
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
