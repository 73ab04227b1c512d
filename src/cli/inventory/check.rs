//! `factory inventory check`: what is wrong, in the files, on the hosts, with the repos.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;

use super::super::context::{Context, reach};
use super::super::global::Form;
use super::super::repo::{examine, examiner, exits as of_repos};
use crate::error::{Diagnostic, Diagnostics, Error, Level, Result};
use crate::exit::Exit;
use crate::forge::examine::Examined;
use crate::inventory::Inventory;
use crate::inventory::cross::shared_logins;
use crate::inventory::hosts::Host;
use crate::inventory::units::Bytes;
use crate::policy::hold::Model;
use crate::policy::room::unfit;
use crate::policy::takeover;
use crate::remote::check::{Found, parse, script};
use crate::remote::crontab::Mark;
use crate::remote::crontab::key::Key;
use crate::render::repos::{lines, row, table};
use crate::render::table::{Field, Sheet, count};
use crate::ssh::exec::{Command, Ended};
use crate::ssh::{Failed, Fleet, Reach, each};
use crate::tick::coming::crontabs;
use crate::tick::hand::Place;
use crate::tick::observe::Bounds;
use crate::tick::practices;

/// Looks for what is wrong: in the files, then on every host, then with every repo
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory inventory check\n  factory inventory check --offline        the files alone\n  factory inventory check -l beefy-2\n\nOf every repo it shows what `factory repo check` compares.\n\nEnds with 3 for an error in the files or an agent that fits on none of its hosts, 1 for something that a host or a repo lacks, 4 for a host, a\nforge or a CI that was not reached."
)]
pub(in crate::cli) struct Args {
    /// The files alone: touch no host and no forge, read no secret
    #[arg(long)]
    offline: bool,
}

/// What was found out about one host, a column each; absent = not known.
#[derive(Debug, Default, Serialize)]
struct Row {
    host: String,
    reach: Option<String>,
    key: Option<String>,
    login: Option<String>,
    clock: Option<String>,
    tools: Option<String>,
    crontab: Option<String>,
    halt_dir: Option<String>,
    disk: Option<String>,
    problems: Vec<Problem>,
    /// Its main memory, in bytes.
    #[serde(skip)]
    memory: Option<u64>,
}

/// One thing that is wrong with a host.
#[derive(Debug, Serialize)]
struct Problem {
    fatal: bool,
    message: String,
    help: String,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let location = context.locate()?;
    let mut problems = Diagnostics::default();
    let inventory = Inventory::load(location, &mut problems);
    let mut exits = Vec::new();
    let (mut rows, mut repos) = (Vec::new(), Vec::new());
    problems.extend(inventory.iter().flat_map(shared_logins));
    problems.extend(inventory.iter().flat_map(practices::check));
    if let Some(inventory) = inventory.as_ref().filter(|_| !args.offline) {
        let fleet = context.fleet(&inventory.settings).await?;
        let taken = Model::of(&inventory.settings, &inventory.repos).taken().to_vec();
        rows = hosts(&context.hosts(inventory)?, &fleet, context.bounds(&inventory.settings), taken).await;
        fleet.close().await;
        problems.extend(too_large(inventory, &rows));
        repos = examine(&examiner(inventory, context), &inventory.repos.repos, context).await;
        let lacks = rows.iter().flat_map(|row| &row.problems);
        exits.extend(lacks.filter(|problem| problem.fatal).map(|_| Exit::Failed));
        exits.extend(of_repos(&repos));
        exits.extend(rows.iter().filter(|row| row.reach.is_none()).map(|_| Exit::Unreachable));
    }
    exits.push(if problems.has_errors() { Exit::Inventory } else { Exit::Ok });
    show(inventory.as_ref(), &problems, &rows, &repos, context);
    Ok(Exit::worst(exits))
}

/// Agents whose `needs.memory` no host of theirs has, as far as the hosts said what they have.
fn too_large(inventory: &Inventory, rows: &[Row]) -> Vec<Diagnostic> {
    let totals: BTreeMap<String, u64> = rows.iter().filter_map(|row| Some((row.host.clone(), row.memory?))).collect();
    let told = unfit(inventory, &totals).into_iter().map(|unfit| {
        let problem = Diagnostic::error(unfit.to_string())
            .help("lower its `needs.memory`, or give it a larger host: as it is, it is never launched");
        match inventory.repos.get(&unfit.repo) {
            Some(repo) => problem.at(&repo.place.source, repo.place.span),
            None => problem,
        }
    });
    told.collect()
}

/// Looks at all hosts at once, as many as `--forks` allows.
async fn hosts(hosts: &[&Host], fleet: &Fleet, bounds: Bounds, taken: Vec<Mark>) -> Vec<Row> {
    let ways = hosts.iter().enumerate().map(|(index, host)| (index, host.name.clone(), host.home.clone(), reach(host)));
    let (send, mut receive) = unbounded_channel();
    let (fleet, taken) = (fleet.clone(), Arc::new(taken));
    let _tasks = each(ways.collect(), bounds.forks, move |(index, host, home, reach)| {
        let (fleet, send, taken) = (fleet.clone(), send.clone(), Arc::clone(&taken));
        async move {
            let mut row = Row { host, ..Row::default() };
            look(&mut row, &reach, &home, &fleet, bounds.command).await;
            if row.login.is_some() && row.crontab.as_deref() == Some("ok") && !taken.is_empty() {
                let place = Place { name: row.host.clone(), reach: reach.clone(), home };
                still_started(&mut row, &fleet, &place, bounds.command, &taken).await;
            }
            fleet.release(&reach);
            let _ = send.send((index, row));
        }
    });
    let mut rows: Vec<(usize, Row)> = Vec::with_capacity(hosts.len());
    while let Some(row) = receive.recv().await {
        rows.push(row);
    }
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

impl Row {
    fn lacks(&mut self, fatal: bool, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { fatal, message: message.into(), help: help.into() });
    }

    fn lacks_error(&mut self, error: &Error) {
        let message = error.with_causes();
        // The row names the host already.
        let bare = message.strip_prefix(&format!("host `{}`", self.host));
        let bare = bare.and_then(|rest| rest.split_once(": ")).map_or(message.as_str(), |(_, rest)| rest);
        self.lacks(true, bare, error.advice().unwrap_or_default());
    }
}

async fn look(row: &mut Row, reach: &Reach, home: &str, fleet: &Fleet, timeout: Duration) {
    let script = match script(home) {
        Ok(script) => script,
        Err(error) => return row.lacks_error(&error),
    };
    let command = Command { script: &script, stdin: Vec::new(), timeout, max_output: 1 << 20 };
    let output = match fleet.run(reach, command).await {
        Ok(output) => output,
        Err(failed) => {
            // How far it came is what the columns show.
            match &failed {
                Failed::Unverified(_) => row.key = Some("refused".to_owned()),
                Failed::Refused(_) => {
                    row.key = Some("known".to_owned());
                    row.login = Some("refused".to_owned());
                }
                Failed::Unreached(_) | Failed::Config(_) => {}
            }
            if !matches!(failed, Failed::Unreached(_) | Failed::Config(_)) {
                row.reach = address(fleet, reach).await;
            }
            return row.lacks_error(&failed.to_error());
        }
    };
    row.reach = address(fleet, reach).await;
    row.key = matches!(reach, Reach::Ssh(_)).then(|| "known".to_owned());
    match (output.ended.clone(), parse(&output.stdout)) {
        (Ended::Exited(0), Some(found)) => fill(row, &found, Timestamp::now().as_second()),
        (ended, _) => row.lacks(
            true,
            format!("the check {ended}, its answer is not whole"),
            output.last_error_line().unwrap_or_else(|| "run it again with -vv".to_owned()),
        ),
    }
}

/// Tells of crontab lines that start what is ours to start. What cannot be read was told before.
async fn still_started(row: &mut Row, fleet: &Fleet, place: &Place, timeout: Duration, taken: &[Mark]) {
    let Ok(seen) = crontabs(fleet, place, None, timeout).await else { return };
    let agents: BTreeSet<&str> = taken.iter().map(|mark| Key::of(&mark.key).agent).collect();
    for agent in agents {
        let lines = takeover::still_started(&seen.tables, taken, agent);
        if let Some(first) = lines.first() {
            let more = if lines.len() > 1 { format!(" and {} more", lines.len() - 1) } else { String::new() };
            let message = format!("its crontab starts `{agent}`, which is factory's to start: {first}{more}");
            let help = format!("`factory takeover {}` disables it; or write `start: cron`", row.host);
            row.lacks(false, message, help);
        }
    }
}

/// Where a host is, as the ssh configuration has it.
async fn address(fleet: &Fleet, reach: &Reach) -> Option<String> {
    match reach {
        Reach::Local => Some("this machine".to_owned()),
        Reach::Ssh(wanted) => fleet.target(wanted).await.ok().map(|target| target.address()),
        Reach::Not(_) => None,
    }
}

fn fill(row: &mut Row, found: &Found, now: i64) {
    let missing = found.tools.values().filter(|there| !**there).count();
    let yes = |result: &std::result::Result<(), String>| if result.is_ok() { "ok" } else { "refused" }.to_owned();
    row.login = found.user.clone();
    row.clock = found.clock_ahead(now).map(|ahead| format!("{ahead:+}s"));
    row.tools = Some(if missing == 0 { "ok".to_owned() } else { format!("{missing} missing") });
    row.crontab = found.crontab.as_ref().map(yes);
    row.halt_dir = found.halt.as_ref().map(yes);
    row.memory = found.mem_total_kib.and_then(|kib| kib.checked_mul(1024));
    row.disk = found.home_free_kib.map(|kib| format!("{} free", Bytes(kib << 10)));
    for lack in found.lacks(now) {
        row.lacks(lack.fatal, lack.message, lack.help);
    }
}

fn show(inventory: Option<&Inventory>, problems: &Diagnostics, rows: &[Row], repos: &[Examined], context: &Context) {
    let ui = &context.ui;
    if ui.form != Form::Text {
        let problems: Vec<serde_json::Value> = problems.iter().map(problem_json).collect();
        let repos: Vec<serde_json::Value> = repos.iter().map(row).collect();
        let found =
            serde_json::json!({ "usable": inventory.is_some(), "problems": problems, "hosts": rows, "repos": repos });
        ui.object("inventory-check", &found);
        return;
    }
    ui.diagnostics(problems);
    let cell = |text: &Option<String>| Field::text(text.as_deref().unwrap_or("-"));
    if !rows.is_empty() {
        let headings = ["HOST", "REACH", "KEY", "LOGIN", "CLOCK", "TOOLS", "CRONTAB", "HALT DIR", "DISK"];
        let mut sheet = Sheet::new(ui.out, &headings);
        for row in rows {
            let columns =
                [&row.reach, &row.key, &row.login, &row.clock, &row.tools, &row.crontab, &row.halt_dir, &row.disk];
            let level =
                if row.problems.iter().any(|problem| problem.fatal) { 3 } else { u8::from(!row.problems.is_empty()) };
            sheet.row(std::iter::once(Field::text(&row.host).level(level)).chain(columns.into_iter().map(cell)));
        }
        ui.print(&sheet.to_string());
    }
    ui.print_some(&table(repos, ui.out));
    let told = rows.iter().flat_map(|row| row.problems.iter().map(|problem| (&row.host, problem)));
    for (name, problem) in told {
        ui.print(&crate::render::table::plain(&format!("{name}: {}", problem.message)));
        ui.print(&crate::render::table::plain(&format!("  help: {}", problem.help)));
    }
    repos.iter().for_each(|repo| ui.print_some(&lines(repo)));
    summary(inventory, problems, context);
}

fn summary(inventory: Option<&Inventory>, problems: &Diagnostics, context: &Context) {
    let of = |level| problems.iter().filter(|problem| problem.level == level).count();
    let files = match (of(Level::Error), of(Level::Warning)) {
        (0, 0) => "no problem in the files".to_owned(),
        (errors, warnings) => format!("in the files {} and {}", count(errors, "error"), count(warnings, "warning")),
    };
    let what = inventory.map(|inventory| {
        let (hosts, repos) = (count(inventory.hosts.len(), "host"), count(inventory.repos.repos.len(), "repo"));
        format!("{hosts}, {repos}, {}: ", count(inventory.settings.agents.len(), "agent"))
    });
    context.ui.note(&format!("{}{files}", what.unwrap_or_default()));
}

fn problem_json(problem: &Diagnostic) -> serde_json::Value {
    let place = problem.place.as_ref();
    serde_json::json!({
        "level": match problem.level { Level::Error => "error", Level::Warning => "warning", Level::Note => "note" },
        "message": problem.message,
        "file": place.map(|place| place.source.path.display().to_string()),
        "line": place.map(|place| place.span.line),
        "column": place.map(|place| place.span.column),
        "help": problem.help,
    })
}
