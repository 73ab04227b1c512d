//! `factory inventory check`: what is wrong, in the files, on the hosts, with the repos.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;

use super::super::context::{Context, reach};
use super::super::global::Form;
use super::trust::may_run_commands;
use crate::error::{Diagnostic, Diagnostics, Error, Level, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::cross::shared_logins;
use crate::inventory::hosts::Host;
use crate::inventory::secret::Access;
use crate::inventory::units::Bytes;
use crate::remote::check::{Found, parse, script};
use crate::render::table::{Field, Sheet, count};
use crate::ssh::exec::{Command, Ended};
use crate::ssh::{Failed, Fleet, Reach, each};
use crate::tick::observe::Bounds;

/// Looks for what is wrong: in the files, then on every host, then with every repo
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory inventory check\n  factory inventory check --offline        the files alone\n  factory inventory check -l beefy-2\n\nEnds with 3 for an error in the files, 1 for something that a host or a repo lacks, 4 for a host that\nwas not reached."
)]
pub(in crate::cli) struct Args {
    /// The files alone: touch no host and read no secret
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
}

/// One thing that is wrong with a host or a repo.
#[derive(Debug, Serialize)]
struct Problem {
    fatal: bool,
    message: String,
    help: String,
}

/// A repo and whether its token can be read.
#[derive(Debug, Serialize)]
struct Repo {
    repo: String,
    slug: String,
    tokens: String,
    problems: Vec<Problem>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let location = context.locate()?;
    let mut problems = Diagnostics::default();
    let inventory = Inventory::load(location, &mut problems);
    let mut exits = vec![if problems.has_errors() { Exit::Inventory } else { Exit::Ok }];
    let (mut rows, mut repos) = (Vec::new(), Vec::new());
    problems.extend(inventory.iter().flat_map(shared_logins));
    if let Some(inventory) = inventory.as_ref().filter(|_| !args.offline) {
        let fleet = context.fleet(&inventory.settings).await?;
        rows = hosts(&context.hosts(inventory)?, &fleet, context.bounds(&inventory.settings)).await;
        fleet.close().await;
        repos = check_repos(inventory, context)?;
        let lacks = rows.iter().flat_map(|row| &row.problems).chain(repos.iter().flat_map(|repo| &repo.problems));
        exits.extend(lacks.filter(|problem| problem.fatal).map(|_| Exit::Failed));
        exits.extend(rows.iter().filter(|row| row.reach.is_none()).map(|_| Exit::Unreachable));
    }
    show(inventory.as_ref(), &problems, &rows, &repos, context);
    Ok(Exit::worst(exits))
}

/// Looks at all hosts at once, as many as `--forks` allows.
async fn hosts(hosts: &[&Host], fleet: &Fleet, bounds: Bounds) -> Vec<Row> {
    let ways = hosts.iter().enumerate().map(|(index, host)| (index, host.name.clone(), host.home.clone(), reach(host)));
    let (send, mut receive) = unbounded_channel();
    let fleet = fleet.clone();
    let _tasks = each(ways.collect(), bounds.forks, move |(index, host, home, reach)| {
        let (fleet, send) = (fleet.clone(), send.clone());
        async move {
            let mut row = Row { host, ..Row::default() };
            look(&mut row, &reach, &home, &fleet, bounds.command).await;
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
    row.disk = found.home_free_kib.map(|kib| format!("{} free", Bytes(kib << 10)));
    for lack in found.lacks(now) {
        row.lacks(lack.fatal, lack.message, lack.help);
    }
}

/// Whether each repo's tokens can be read; what the forge says of them comes with the forge.
fn check_repos(inventory: &Inventory, context: &Context) -> Result<Vec<Repo>> {
    let access = Access {
        dir: inventory.location.dir.clone(),
        commands: may_run_commands(&inventory.location, context)?,
        time_limit: context.bounds(&inventory.settings).command,
    };
    let check = |repo: &crate::inventory::repos::Repo| {
        let mut problems = Vec::new();
        let mut tokens = Vec::new();
        for (what, secret) in [("token", &repo.token), ("review_token", &repo.review_token)] {
            let Some(secret) = secret else { continue };
            match secret.resolve(&access) {
                Ok(_) => tokens.push(format!("{what} readable")),
                Err(error) => {
                    tokens.push(format!("{what} missing"));
                    let help = error.advice().unwrap_or_default().to_owned();
                    problems.push(Problem { fatal: true, message: format!("{what}: {error}"), help });
                }
            }
        }
        let tokens = if tokens.is_empty() { "none".to_owned() } else { tokens.join(", ") };
        Repo { repo: repo.name.clone(), slug: repo.slug.clone(), tokens, problems }
    };
    Ok(inventory.repos.repos.iter().map(check).collect())
}

fn show(inventory: Option<&Inventory>, problems: &Diagnostics, rows: &[Row], repos: &[Repo], context: &Context) {
    let ui = &context.ui;
    if ui.form != Form::Text {
        let problems: Vec<serde_json::Value> = problems.iter().map(problem_json).collect();
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
    if !repos.is_empty() {
        let mut sheet = Sheet::new(ui.out, &["REPO", "SLUG", "TOKENS"]);
        for repo in repos {
            sheet.row([Field::text(&repo.repo), Field::text(&repo.slug), Field::text(&repo.tokens)]);
        }
        ui.print(&sheet.to_string());
    }
    let told = rows.iter().flat_map(|row| row.problems.iter().map(|problem| (&row.host, problem)));
    let told = told.chain(repos.iter().flat_map(|repo| repo.problems.iter().map(|problem| (&repo.repo, problem))));
    for (name, problem) in told {
        ui.print(&crate::render::table::plain(&format!("{name}: {}", problem.message)));
        ui.print(&crate::render::table::plain(&format!("  help: {}", problem.help)));
    }
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
