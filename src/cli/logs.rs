//! `factory logs`: what runs and agents wrote, from the journal and beyond it from the hosts.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;
use tokio::sync::mpsc::unbounded_channel;

use super::context::{Context, reach};
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::units::Span;
use crate::journal::{Chunk, Journal, Which};
use crate::remote::logs::{Book, Cursor, Mask, Veil, Veiled};
use crate::render::Ui;
use crate::render::logs::{Logs as Shown, Part};
use crate::render::table::count;
use crate::ssh::each;
use crate::tick::follow::{Heard, Masks, Source, Wish, follow};
use crate::tick::logs::Logs;
use crate::tick::secrets::Secrets;

/// Shows what runs wrote: of one run as it is, of all line by line; `-f` goes on as it comes
///
/// First comes what is kept on this machine, then what the hosts have beyond that. The values of all secrets that the
/// inventory names are shown as `*`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory logs 20260312-harb-12 > out.log     one run: its output to stdout, its errors to stderr, byte by byte
  factory logs -f 20260312-harb-12            until the run has ended, also over lost connections
  factory logs -f -l builders                 all runs and log files there, each line behind its name
  factory logs --since 1h --agent dev         what came in within the last hour
  factory logs --offline -o jsonl             what is kept here, asking no host

Ends with 1 when no host has the run, or a part of what it wrote is neither there nor here any more, with 4 when a host was
not reached.")]
pub(super) struct Args {
    /// One run, by its token; without it all runs, and the log files of agents
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// Go on as more is written: until the run has ended, or until interrupted
    #[arg(short, long, conflicts_with = "offline")]
    follow: bool,
    /// Only what was fetched within the last so long, such as `1h`; what is fetched now is new
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// Only of these hosts, as with --limit
    #[arg(long, value_name = "PATTERN")]
    host: Option<String>,
    /// Only of this agent
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Only of this repo
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
    /// Which output of runs
    #[arg(long, value_name = "STREAM", default_value = "both")]
    stream: Streams,
    /// Ask no host: only what is kept on this machine
    #[arg(long)]
    offline: bool,
    // The global option of this name, without its `-f`, which is for --follow here as in other programs.
    /// How many hosts at once
    #[arg(long, value_name = "N", default_value_t = 20, env = "FACTORY_FORKS", hide_env = true,
          help_heading = "Global options", value_parser = clap::value_parser!(u16).range(1..=1000))]
    forks: u16,
}

/// Which output of runs is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Streams {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// Both, each to its own.
    Both,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    if args.follow && context.global.output == Form::Json {
        return Err(Error::usage("one JSON object cannot be followed").help("use `-o jsonl`, an object for each part"));
    }
    let (state, names, inventory) = if args.offline && args.host.is_none() {
        let (state, names) = context.state_and_hosts()?;
        (state, names, None)
    } else {
        let inventory = context.inventory()?;
        let names = names(args, context, &inventory)?;
        (context.state_dir(&inventory.settings.fleet)?, Some(names), Some(inventory))
    };
    let since = args.since.and_then(|since| Timestamp::now().checked_sub(since.0).ok());
    let (token, agent, repo) = (args.token.clone(), args.agent.clone(), args.repo.clone());
    let which = Which { token, hosts: names.clone(), agent, repo, since };
    let hosts = names.iter().flatten().map(String::as_str);
    // Those of today: what is kept may be older than a secret that it holds.
    let readable = if inventory.is_none() { context.readable() } else { None };
    let secrets = inventory.as_ref().or(readable.as_ref());
    let secrets = secrets.map(|inventory| Secrets::of(inventory, context.access(inventory).commands));
    let shown = Shown::new(args.token.is_some(), hosts);
    let mut showing = Showing { args, ui: &context.ui, shown, any: false, secrets, mask: None };
    let books = showing.kept(&state, &which)?;
    let exit = match inventory.filter(|_| !args.offline) {
        Some(inventory) if !showing.closed() => {
            showing.beyond(&inventory, names.as_deref(), books, &state, context).await?
        }
        _ if !showing.any && args.token.is_some() => {
            return Err(showing.unknown("nothing of it is kept on this machine"));
        }
        _ => Exit::Ok,
    };
    let _ = showing.shown.finish(&context.ui);
    Ok(exit)
}

/// The hosts that `--host` and `--limit` leave.
fn names(args: &Args, context: &Context, inventory: &Inventory) -> Result<Vec<String>> {
    let named = match &args.host {
        Some(pattern) => Some(inventory.hosts.select(pattern)?),
        None => None,
    };
    let named: Option<BTreeSet<&str>> = named.map(|hosts| hosts.iter().map(|host| host.name.as_str()).collect());
    let left = context.hosts(inventory)?.into_iter().map(|host| host.name.clone());
    let left: Vec<String> =
        left.filter(|name| named.as_ref().is_none_or(|named| named.contains(name.as_str()))).collect();
    match left.is_empty() {
        true => Err(Error::inventory("`--host` and `--limit` together leave no host")),
        false => Ok(left),
    }
}

/// What is shown so far.
struct Showing<'a> {
    args: &'a Args,
    ui: &'a Ui,
    shown: Shown,
    /// Something of what was asked for is there.
    any: bool,
    /// What is hidden; nothing more than when it was fetched where there is no inventory.
    secrets: Option<Secrets>,
    /// The same, once it was read.
    mask: Option<Mask>,
}

impl Showing<'_> {
    /// Shows what is kept here; gives how far it goes.
    fn kept(&mut self, state: &Path, which: &Which) -> Result<HashMap<String, Book>> {
        let Some(journal) = Journal::open_to_read(state)? else { return Ok(HashMap::new()) };
        let mask = std::cell::OnceCell::new();
        let mut veil = None;
        let mut last = Timestamp::UNIX_EPOCH;
        let (secrets, ui) = (self.secrets.take(), self.ui);
        let each = |chunk: Chunk| {
            let Chunk { host, log, offset, at, bytes } = chunk;
            last = at;
            let mask = mask.get_or_init(|| read(secrets.as_ref(), ui));
            let parts = veil.get_or_insert_with(|| Veil::new(mask)).take(&host, log, offset, bytes);
            match parts.iter().any(|part| self.show_veiled(&host, part, at).is_break()) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let books = journal.logs(which, each)?;
        for (host, part) in veil.map(Veil::finish).into_iter().flatten() {
            if self.show_veiled(&host, &part, last).is_break() {
                break;
            }
        }
        self.mask = mask.into_inner();
        if which.since.is_none() {
            self.shown.tell_missing(self.ui);
        }
        Ok(books)
    }

    fn show_veiled(&mut self, host: &str, part: &Veiled, at: Timestamp) -> ControlFlow<()> {
        self.show(Part { host, log: &part.cursor, offset: part.offset, at, bytes: &part.bytes })
    }

    /// Shows bytes that were asked for; breaks when nobody reads any more.
    fn show(&mut self, part: Part<'_>) -> ControlFlow<()> {
        let Args { stream, agent, repo, .. } = self.args;
        let wanted = |name: &Option<String>, is: &Option<String>| name.is_none() || name == is;
        if !wanted(agent, &part.log.agent) || !wanted(repo, &part.log.repo) {
            return ControlFlow::Continue(());
        }
        self.any = true;
        let other = match stream {
            Streams::Out => part.log.stream == "err",
            Streams::Err => part.log.stream != "err",
            Streams::Both => false,
        };
        match other || self.shown.take(part, self.ui).is_ok() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    /// Whether nobody reads any more.
    fn closed(&self) -> bool {
        self.ui.bytes(false, b"").is_err()
    }

    /// Shows what hosts have beyond what is kept here.
    async fn beyond(
        &mut self,
        inventory: &Inventory,
        names: Option<&[String]>,
        mut books: HashMap<String, Book>,
        state: &Path,
        context: &Context,
    ) -> Result<Exit> {
        let names = names.unwrap_or_default();
        let at: Option<Vec<String>> = self.args.token.as_ref().and_then(|token| whose(token, &books, state));
        if let (Some(token), Some(at)) = (&self.args.token, &at) {
            let of = |cursor: &&Cursor| cursor.token == *token;
            let mut cursors =
                at.iter().filter_map(|host| books.get(host)).flat_map(Book::cursors).filter(of).peekable();
            if cursors.peek().is_some() && cursors.all(|cursor| cursor.done) {
                return Ok(Exit::Ok);
            }
        }
        let asked = |name: &&String| at.as_ref().is_none_or(|at| at.contains(name));
        let source = |name: &String| {
            let host = inventory.hosts.get(name)?;
            let book = books.remove(name).unwrap_or_default();
            Some(Source { name: name.clone(), reach: reach(host), home: host.home.clone(), book })
        };
        let sources: Vec<Source> = names.iter().filter(asked).filter_map(source).collect();
        let count = sources.len();
        let wish = Wish {
            logs: Logs::of(inventory, context.access(inventory).commands),
            only: self.args.token.clone(),
            follow: self.args.follow,
            command: context.bounds(&inventory.settings).command,
        };
        let fleet = context.fleet(&inventory.settings).await?;
        let (send, mut receive) = unbounded_channel();
        let (shared, masks, secrets) = (fleet.clone(), Masks::default(), wish.logs.secrets.clone());
        if let Some(mask) = self.mask.take() {
            let _ = masks.set(mask);
        }
        let known = masks.clone();
        // Who follows needs all hosts at once.
        let forks = if self.args.follow { count } else { self.args.forks.into() };
        let tasks = each(sources, forks, move |source: Source| {
            let (wish, fleet, masks, send) = (wish.clone(), shared.clone(), masks.clone(), send.clone());
            async move {
                let reach = source.reach.clone();
                follow(source, &wish, &fleet, &masks, &send).await;
                fleet.release(&reach);
            }
        });
        let (mut errors, mut found, mut missing) = (Vec::new(), false, false);
        while let Some(heard) = receive.recv().await {
            match heard {
                Heard::New(host, pieces) => {
                    let now = Timestamp::now();
                    for piece in pieces.iter().filter(|piece| !piece.bytes.is_empty()) {
                        let (log, offset, bytes) = (&piece.cursor, piece.offset, piece.bytes.as_slice());
                        if self.show(Part { host: &host, log, offset, at: now, bytes }).is_break() {
                            return Ok(Exit::Ok);
                        }
                    }
                }
                Heard::Gone(host, gone) => {
                    let ui = self.ui;
                    let read = || async {
                        let (mask, problems) = secrets.mask().await;
                        problems.iter().for_each(|unread| ui.warn(&unread.to_string()));
                        mask
                    };
                    let mask = known.get_or_init(read).await;
                    for log in &gone {
                        match self.read_on(state, &host, log, mask)? {
                            ControlFlow::Break(()) => return Ok(Exit::Ok),
                            ControlFlow::Continue(whole) => missing |= !whole,
                        }
                    }
                }
                Heard::Lost(host, why) => self.ui.note(&format!("{host}: {why}; trying again")),
                Heard::Back(host) => self.ui.note(&format!("{host}: answers again")),
                Heard::Unhidden(problem) => self.ui.warn(&problem),
                Heard::GaveUp(_, error) => errors.push(error),
                // The one run that was asked for is on one host.
                Heard::Done(_, Some(_)) => {
                    found = true;
                    break;
                }
                Heard::Done(_, None) => {}
            }
        }
        drop(tasks);
        fleet.close().await;
        if found {
            return Ok(if missing { Exit::Failed } else { Exit::Ok });
        }
        errors.iter().for_each(|error| self.ui.error(error));
        if errors.is_empty() && self.args.token.is_some() && !self.any {
            return Err(self.unknown("no host has it"));
        }
        Ok(Exit::worst(errors.iter().map(|error| error.exit()).chain([Exit::Ok])))
    }

    /// Shows what is kept here of a log beyond `log`, which its host does not have any more. Says whether that is all, or
    /// breaks when nobody reads any more.
    fn read_on(&mut self, state: &Path, host: &str, log: &Cursor, mask: &Mask) -> Result<ControlFlow<(), bool>> {
        let other = match self.args.stream {
            Streams::Out => "err",
            Streams::Err => "out",
            Streams::Both => "",
        };
        if log.stream == other {
            return Ok(ControlFlow::Continue(true));
        }
        let (mut next, mut last, mut hole, mut whole, mut closed) =
            (log.next, Timestamp::UNIX_EPOCH, false, false, false);
        let mut veil = Veil::new(mask);
        if let Some(journal) = Journal::open_to_read(state)? {
            let (token, hosts) = (Some(log.token.clone()), Some(vec![host.to_owned()]));
            let each = |chunk: Chunk| {
                let Chunk { host, log: kept, offset, at, bytes } = chunk;
                let skip = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
                let new = bytes.get(skip..).unwrap_or_default();
                if kept.stream != log.stream {
                    return ControlFlow::Continue(());
                }
                whole |= kept.done;
                if new.is_empty() {
                    return ControlFlow::Continue(());
                }
                let offset = offset.max(next);
                hole |= offset > next;
                (next, last) = (offset + new.len() as u64, at);
                let parts = veil.take(&host, kept, offset, new.to_vec());
                closed = parts.iter().any(|part| self.show_veiled(&host, part, at).is_break());
                if closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let books = journal.logs(&Which { token, hosts, ..Which::default() }, each)?;
            let done = |kept: &Cursor| kept.token == log.token && kept.stream == log.stream && kept.done;
            whole |= books.get(host).is_some_and(|book| book.cursors().any(done));
        }
        for (host, part) in veil.finish() {
            closed |= self.show_veiled(&host, &part, last).is_break();
        }
        if closed {
            return Ok(ControlFlow::Break(()));
        }
        self.shown.tell_missing(self.ui);
        if !whole {
            let bytes = count(usize::try_from(next).unwrap_or(usize::MAX), "byte");
            self.ui.warn(&format!(
                "{host} has no log `{}` of run {} any more, and what came behind the first {bytes} is not kept here",
                log.stream, log.token
            ));
        }
        Ok(ControlFlow::Continue(whole && !hole))
    }

    fn unknown(&self, why: &str) -> Error {
        let token = self.args.token.as_deref().unwrap_or_default();
        Error::failed(format!("there is no log of a run `{token}`: {why}"))
            .help("`factory logs` shows the logs of all runs")
    }
}

/// Reads what is hidden, and tells of what cannot be.
fn read(secrets: Option<&Secrets>, ui: &Ui) -> Mask {
    let Some(secrets) = secrets else {
        ui.warn("the inventory cannot be read: only what was a secret when it was fetched is hidden");
        return Mask::default();
    };
    let (mask, problems) = secrets.read();
    problems.iter().for_each(|unread| ui.warn(&unread.to_string()));
    mask
}

/// The hosts that have had the run, as far as is known here.
fn whose(token: &str, books: &HashMap<String, Book>, state: &Path) -> Option<Vec<String>> {
    let has = |book: &Book| book.cursors().any(|cursor| cursor.token == token);
    let mut hosts: BTreeSet<String> =
        books.iter().filter(|(_, book)| has(book)).map(|(host, _)| host.clone()).collect();
    let records = Journal::open_to_read(state).ok().flatten().and_then(|journal| journal.hosts().ok());
    for record in records.unwrap_or_default() {
        if record.sample.runs.iter().flatten().any(|run| run.token == token) {
            hosts.insert(record.host);
        }
    }
    (!hosts.is_empty()).then(|| hosts.into_iter().collect())
}
