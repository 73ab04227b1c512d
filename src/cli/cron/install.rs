//! `factory cron install`: the entry that wakes factory on this machine.

use std::path::{Path, PathBuf};

use super::super::context::{Context, make_private};
use super::super::host::{confirm, leader};
use super::{bare, here};
use crate::error::{Diagnostic, Diagnostics, Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::remote::crontab::{Edit, percent};
use crate::render::crontabs::{Todo, done, todo};
use crate::render::holds::host_events;
use crate::tick::coming::{crontabs, preview};
use crate::tick::hand::{Acted, Stopped};

/// Puts the line that wakes factory each minute into this machine's crontab
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory cron install              looks, shows the change, asks
  factory cron install --check      looks and shows only
  factory cron install --remove

Cron gives a command no agent socket and no variables of your login, so a tick that works here may fail there: first all
is tried with nothing but HOME, USER, LOGNAME, SHELL and PATH (and what the crontab itself sets), and whatever token, key
or host fails then is named and nothing is installed. The line stands in a block of its own, `# BEGIN factory FLEET`; the
rest of the crontab stays as it is. What goes wrong at a tick is written to cron.log in the state directory.

Ends with 0 when it is installed as shown, with 1 when something would fail there.")]
pub(in crate::cli) struct Args {
    /// Takes it out again
    #[arg(long)]
    remove: bool,
}

/// The longest command that cron takes for certain, in bytes.
const MAX_LINE: usize = 900;

/// Where what goes wrong is written, in the state directory.
pub(in crate::cli) const LOG: &str = "cron.log";

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let state = absolute(&context.state_dir(&inventory.settings.fleet)?)?;
    if !context.global.check {
        make_private(&state)?;
    }
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    let mut place = here(&me, &inventory);
    let theirs = std::fs::read_to_string(home()?.join(".factory/fleet")).unwrap_or_default();
    let document = order.document().await?;
    // This login may be a host of another fleet; then what the guard keeps lies with our state.
    if document.as_ref().is_some_and(|own| !theirs.is_empty() && theirs.trim_end() != own.fleet) {
        place.home = state.join("host").display().to_string();
    }
    let timeout = context.bounds(&inventory.settings).command;
    let seen = crontabs(&fleet, &place, None, timeout).await;
    let seen = seen.map_err(|stopped| Error::new(stopped.exit(), stopped.to_string()))?;
    let name = inventory.settings.fleet.clone();
    let lines = match args.remove {
        true => Vec::new(),
        false => {
            let words = words(context, &inventory)?;
            refuse_what_fails(&words, &seen, &name, context).await?;
            vec![line(&words, &state)?]
        }
    };
    let edit = Edit::Block { fleet: name, lines };
    let mut one = Todo::of(&place.name);
    match preview(&seen, std::slice::from_ref(&edit)) {
        Ok(diff) => one.diff = diff,
        Err(why) => one.stopped = Some(Stopped::Crontab(why)),
    }
    let nothing =
        if args.remove { "no entry of ours is in the crontab" } else { "the entry is installed, as it should be" };
    let busy = !one.is_nothing();
    let plan = [one];
    todo(&plan, nothing, &context.ui);
    let mut acted: Vec<(String, Acted)> = Vec::new();
    if busy && !context.global.check {
        let question = if args.remove { "Remove it? Nothing wakes factory from then on." } else { "Install it?" };
        confirm(question, context)?;
        acted.push((place.name.clone(), order.edit_here(&place, edit).await?));
        context.remember(&inventory, &host_events(&acted));
    }
    fleet.close().await;
    let word = if args.remove { "removed" } else { "installed" };
    done("cron-install", word, &plan, &acted, context.global.check, &context.ui);
    let stopped = plan.iter().filter_map(|one| one.stopped.as_ref());
    let stopped = stopped.chain(acted.iter().filter_map(|(_, acted)| acted.stopped.as_ref()));
    Ok(Exit::worst(stopped.map(Stopped::exit)))
}

/// Tries a tick as cron would start it.
///
/// # Errors
/// What fails then, by name.
async fn refuse_what_fails(
    words: &[String],
    seen: &crate::remote::crontab::read::Crontabs,
    fleet: &str,
    context: &Context,
) -> Result<()> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let user = variable("LOGNAME").or_else(|| variable("USER")).unwrap_or_else(|| "root".to_owned());
    let environment = bare::environment(&home()?, &user, seen.user(), fleet);
    context.ui.note("trying it with nothing but what cron gives ...");
    let problems = bare::problems(words, &environment).await?;
    problems.warnings.iter().for_each(|warning| context.ui.warn(&format!("{warning}; here neither")));
    if problems.fatal.is_empty() {
        return Ok(());
    }
    let mut told = Diagnostics::default();
    told.extend(problems.fatal.iter().map(Diagnostic::error));
    Err(Error::failed("nothing is installed: started by cron a tick would fail").with(told).help(
        "cron gives only HOME, USER, LOGNAME, SHELL and PATH=/usr/bin:/bin: keep tokens in files (`{file: PATH}`), use keys \
         without a passphrase, or set variables in the crontab, above our block",
    ))
}

/// The flags with which a tick finds what it finds here.
fn words(context: &Context, inventory: &Inventory) -> Result<Vec<String>> {
    let location = &inventory.location;
    let plain = location.hosts_yml.file_name().is_some_and(|name| name == "hosts.yml");
    let mut words = vec!["-i".to_owned(), text(&absolute(if plain { &location.dir } else { &location.hosts_yml })?)?];
    if let Some(state) = &context.global.state {
        words.extend(["--state".to_owned(), text(&absolute(state)?)?]);
    }
    if let Some(name) = &context.global.as_name {
        words.extend(["--as".to_owned(), name.clone()]);
    }
    Ok(words)
}

/// The crontab line.
fn line(words: &[String], state: &Path) -> Result<String> {
    let program = std::env::current_exe().map_err(|error| Error::failed("cannot find this program").because(error))?;
    let program = text(&program)?;
    let log = text(&state.join(LOG))?;
    let words = [program.as_str(), "-q"].into_iter().chain(words.iter().map(String::as_str)).chain(["run", "--if-due"]);
    let odd = || {
        Error::failed("a path of this program, inventory or state cannot stand in a crontab").help("use another path")
    };
    let command = shlex::try_join(words).map_err(|_| odd())?;
    let log = shlex::try_quote(&log).map_err(|_| odd())?;
    // Cron makes a line break of `%`.
    let line = format!("* * * * * {command} >/dev/null 2>>{log}").replace('%', "\\%");
    let fits = line.len() <= MAX_LINE && !line.contains(['\n', '\r']);
    if !fits || !percent(std::slice::from_ref(&line)).is_empty() {
        return Err(odd());
    }
    Ok(line)
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::failed(format!("the path {} is no text", path.display())).help("use another path"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let cannot = |error: std::io::Error| Error::failed(format!("cannot find {}", path.display())).because(error);
    path.canonicalize().or_else(|_| std::path::absolute(path)).map_err(cannot)
}

fn home() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.ok_or_else(|| Error::usage("HOME is not set").help("cron sets it to your home directory: do so here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_survives_cron_and_the_shell() {
        let words = ["-i".to_owned(), "/srv/100% o'clock".to_owned()];
        let line = line(&words, Path::new("/var/lib/a b")).unwrap();
        let command = line.strip_prefix("* * * * * ").unwrap();
        assert!(percent(std::slice::from_ref(&line)).is_empty() && command.contains("100\\% o"), "{line}");
        // What cron hands to the shell.
        let mut split = shlex::split(&command.replace("\\%", "%")).unwrap();
        assert_eq!(split.remove(1), "-q");
        assert_eq!(
            split[1..],
            ["-i", "/srv/100% o'clock", "run", "--if-due", ">/dev/null", "2>>/var/lib/a b/cron.log"]
        );
        assert!(super::line(&[], Path::new(&format!("/{}", "x".repeat(MAX_LINE)))).is_err());
        assert!(super::line(&["a\nb".to_owned()], Path::new("/x")).is_err());
    }
}
