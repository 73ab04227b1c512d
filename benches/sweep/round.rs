//! The rounds: every peer in turn, so that a machine that slows down slows them all alike.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::answers;
use crate::ground::{Ground, Hosts};
use crate::measure::{Cost, measure, median};
use crate::options::Options;
use crate::peers::{BASE, Found, PROGRAM, Peer, last_line};
use crate::table::{Budget, Table, digits, megabytes};

/// Wall time of this program's sweep, as a part of the base's.
const WALL: f64 = 0.75;
/// CPU of this program's process for each host, in milliseconds.
const CPU: f64 = 2.0;
/// Peak memory of this program, in megabytes, for sweeps of up to so many hosts.
const MEMORY: [(usize, f64); 2] = [(50, 20.0), (1000, 40.0)];

/// What a peer's whole runs cost.
pub struct Costs {
    /// The peer.
    pub name: &'static str,
    /// Its runs in which every host answered.
    pub runs: Vec<Cost>,
    /// Why a run does not count.
    pub failures: Vec<String>,
}

impl Costs {
    /// The medians of its runs.
    pub fn median(&self) -> Option<Cost> {
        let middle = |what: fn(&Cost) -> f64| median(self.runs.iter().map(what).collect());
        // What is shown of memory is the worst.
        let memory = self.runs.iter().map(|run| run.memory).max()?;
        Some(Cost { wall: middle(|run| run.wall), cpu: middle(|run| run.cpu), memory })
    }
}

/// One run of one peer, with its directory made anew; an error says which hosts did not answer, and why.
pub fn one(ground: &Ground, peer: &Peer, hosts: &Hosts, forks: usize) -> Result<Cost, String> {
    let out: PathBuf = ground.dir().join("out");
    let told = |error: std::io::Error| format!("{}: {error}", out.display());
    if out.exists() {
        fs::remove_dir_all(&out).map_err(told)?;
    }
    fs::create_dir_all(&out).map_err(told)?;
    let command: Command = peer.command(ground, hosts, forks, &out)?;
    let cost = measure(&command, &out)?;
    let (whole, asked) = (answers::whole(peer.form(), &out), hosts.names.len());
    if whole == asked {
        return Ok(cost);
    }
    let said = |name: &str| String::from_utf8_lossy(&fs::read(out.join(name)).unwrap_or_default()).into_owned();
    let said = [said("stdout"), said("stderr")].concat();
    let why: String = last_line(&said).chars().take(300).collect();
    Err(format!("{whole} of {asked} hosts gave a whole answer; its last line: {why}"))
}

/// Runs every peer once on two hosts, so that its files are in the page cache, and leaves out those that cannot do it.
pub fn warm_up(ground: &Ground, found: &mut Found, options: &Options) -> Result<(), String> {
    let hosts = ground.hosts("few", 2, &ground.ports)?;
    let mut peers = Vec::new();
    for peer in found.peers.drain(..) {
        if options.quick && peer.once {
            found.left_out.push(format!("left out: {}: --quick", peer.name));
            continue;
        }
        match one(ground, &peer, &hosts, options.forks) {
            Ok(_) => peers.push(peer),
            Err(why) => found.left_out.push(format!("left out: {}: {why}", peer.name)),
        }
    }
    found.peers = peers;
    Ok(())
}

/// All rounds over `count` hosts.
pub fn rounds(ground: &Ground, peers: &[Peer], count: usize, options: &Options) -> Result<Vec<Costs>, String> {
    let hosts = ground.hosts(&format!("hosts-{count}"), count, &ground.ports)?;
    measured(ground, peers, &hosts, options.forks, options.runs)
}

/// The same over hosts that are there.
pub fn measured(
    ground: &Ground,
    peers: &[Peer],
    hosts: &Hosts,
    forks: usize,
    runs: usize,
) -> Result<Vec<Costs>, String> {
    let new = |peer: &Peer| Costs { name: peer.name, runs: Vec::new(), failures: Vec::new() };
    let mut costs: Vec<Costs> = peers.iter().map(new).collect();
    for round in 0..runs {
        for (peer, costs) in peers.iter().zip(&mut costs) {
            if peer.once && round > 0 {
                continue;
            }
            match one(ground, peer, hosts, forks) {
                Ok(cost) => costs.runs.push(cost),
                Err(why) => costs.failures.push(why),
            }
        }
    }
    Ok(costs)
}

/// The table of a sweep, the failed runs, and the budgets.
pub fn report(count: usize, costs: &[Costs], options: &Options) -> String {
    let base = costs.iter().find(|costs| costs.name == BASE).and_then(Costs::median);
    let ratio = |value: f64, of: fn(&Cost) -> f64| match &base {
        Some(base) if of(base) > 0.0 => digits(value / of(base)),
        _ => "-".to_owned(),
    };
    let mut table = Table::new(&[
        &format!("{count} hosts"),
        "wall, s",
        "x base",
        "CPU, s",
        "CPU a host, ms",
        "x base",
        "memory, MB",
        "runs",
    ]);
    let mut lines = Vec::new();
    for costs in costs {
        lines.extend(costs.failures.iter().map(|why| format!("a run that does not count: {}: {why}", costs.name)));
        let Some(cost) = costs.median() else { continue };
        table.row(vec![
            costs.name.to_owned(),
            digits(cost.wall),
            ratio(cost.wall, |base| base.wall),
            digits(cost.cpu),
            digits(cost.cpu / count as f64 * 1e3),
            ratio(cost.cpu, |base| base.cpu),
            digits(megabytes(cost.memory)),
            costs.runs.len().to_string(),
        ]);
    }
    if base.is_some() {
        lines.push(format!(
            "base: {BASE}, which has up to {} processes of that size at a time",
            options.forks.min(count)
        ));
    }
    if let Some(own) = costs.iter().find(|costs| costs.name == PROGRAM).and_then(Costs::median) {
        lines.extend(budgets(count, own, base).iter().map(|budget| format!("budget: {budget}")));
    }
    format!("{table}{}", lines.iter().map(|line| format!("\n{line}")).collect::<String>())
}

fn budgets(count: usize, own: Cost, base: Option<Cost>) -> Vec<Budget> {
    let mut budgets = Vec::new();
    if let Some(base) = base {
        let what = format!("wall of {PROGRAM} as a part of that of {BASE}");
        budgets.push(Budget { what, limit: WALL, measured: own.wall / base.wall, unit: "" });
    }
    let measured = own.cpu / count as f64 * 1e3;
    budgets.push(Budget { what: "controller CPU a host".into(), limit: CPU, measured, unit: " ms" });
    if let Some((_, limit)) = MEMORY.into_iter().find(|(most, _)| count <= *most) {
        budgets.push(Budget { what: "peak memory".into(), limit, measured: megabytes(own.memory), unit: " MB" });
    }
    budgets
}
