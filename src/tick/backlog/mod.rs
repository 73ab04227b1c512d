//! The repos in a tick: each is looked at by itself, so that none waits for the forge of another, and what is known of it
//! goes from look to look in its [`Book`]. A repo whose forge does not answer, or whose token is refused, is that alone.

mod book;
mod ci;
mod convert;
mod judge;
mod look;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

pub use self::book::{Blocked, Book, Following, KnownFact, KnownPull, Settled, Silent};
pub use self::convert::reviews;
pub use self::judge::{Known, Runs, Work, judge};
use self::look::Look;
use super::ci::{CiLoads, Loading};
use crate::forge::{Connection, Servers};
use crate::inventory::repos::Repo;
use crate::inventory::secret::Access;
use crate::inventory::settings::{Forges, Wake};
use crate::inventory::units::Span;
use crate::journal::{Event, RepoRecord};
use crate::policy::ci_load::Load;

/// The repos of an inventory, to be looked at.
#[derive(Clone)]
pub struct Repos {
    /// They, in the order of the inventory.
    pub repos: Vec<Repo>,
    /// How their tokens are read.
    pub access: Access,
    /// The numbers.
    pub numbers: Forges,
    /// The numbers of waking.
    pub wake: Wake,
}

/// What a look at a repo gave.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What is known of it now.
    pub book: Book,
    /// It was asked; otherwise its book is as it was.
    pub asked: bool,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// The way to its servers; none without its tokens.
    pub connection: Option<Connection>,
}

/// The looks that are under way.
pub struct Backlog {
    looks: BTreeMap<String, watch::Receiver<Option<Looked>>>,
    /// What each CI has to do, as soon as it has told: pressure waits for no forge.
    loads: BTreeMap<String, watch::Receiver<Option<Load>>>,
    // Ends with us.
    _tasks: JoinSet<()>,
}

/// Which repos are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// All of them: somebody waits for it.
    All,
    /// Those that were not asked for the shortest time between two wakes.
    Rested,
}

impl Repos {
    /// Begins to look at all of them, side by side. `records` is what is known of them.
    pub fn look(&self, records: &[RepoRecord], due: Due, now: Timestamp) -> Backlog {
        let servers = Arc::new(Servers::new(crate::forge::Limits::of(&self.numbers)));
        let books = self.repos.iter().map(|repo| {
            let record = records.iter().find(|record| record.repo == repo.name);
            (repo.clone(), Book::read(repo, record))
        });
        let books: Vec<(Repo, Book)> = books.collect();
        for (repo, book) in &books {
            book.leaves_alone(repo, &servers, now);
        }
        let (mut looks, mut loads, mut tasks) = (BTreeMap::new(), BTreeMap::new(), JoinSet::new());
        for (repo, book) in books {
            let (send, receive) = watch::channel(None);
            looks.insert(repo.name.clone(), receive);
            let (loaded, load) = watch::channel(None);
            loads.insert(repo.name.clone(), load);
            let (servers, own) = (Arc::clone(&servers), self.clone());
            tasks.spawn(async move {
                let looked = own.one(&repo, book, &servers, due, now, &loaded).await;
                let _ = send.send(Some(looked));
            });
        }
        Backlog { looks, loads, _tasks: tasks }
    }

    async fn one(
        &self,
        repo: &Repo,
        mut book: Book,
        servers: &Arc<Servers>,
        due: Due,
        now: Timestamp,
        loaded: &watch::Sender<Option<Load>>,
    ) -> Looked {
        let rest = Span(self.wake.min.0.saturating_sub(self.wake.early.0));
        if due == Due::Rested && book.asked.is_some_and(|asked| !is_over(asked, rest, now)) {
            return Looked { book, asked: false, events: Vec::new(), connection: None };
        }
        book.asked = Some(now);
        let (mut connection, mut ci, mut detail) = (None, None, None);
        let asking = async {
            let (servers, of, access) = (Arc::clone(servers), repo.clone(), self.access.clone());
            // A token's program may take its time.
            let connected = match tokio::task::spawn_blocking(move || servers.connect(&of, &access)).await {
                Ok(Ok(connected)) => connection.insert(connected),
                Ok(Err(error)) => return Some(Silent::by_error(&error, now)),
                Err(_) => return Some(Silent::late(self.numbers.look, now)),
            };
            let look = Look { repo, connection: connected, numbers: &self.numbers, loaded, now };
            let took = look.take(&mut book).await;
            (ci, detail) = (took.ci, took.detail);
            took.forge.map(|failure| Silent::by(&failure, now))
        };
        let asked = tokio::time::timeout(self.numbers.look.0, asking).await;
        let asked_all = asked.is_ok();
        let forge = match asked {
            Ok(forge) => forge,
            // What was learned is kept: the next look goes on from there.
            Err(_) if book.seen == Some(now) => None,
            Err(_) => Some(Silent::late(self.numbers.look, now)),
        };
        debug!(repo = repo.name, silent = ?forge.as_ref().map(|silent| &silent.why), "looked at");
        // Of a CI that was not asked, or may be asked still, nothing is concluded.
        let told = connection.is_some() && asked_all;
        if let Some(Connection { hosts, .. }) = &connection {
            book.forge_rests = hosts.first().and_then(|host| host.rests_until());
            book.ci_rests = hosts.get(1).and_then(|host| host.rests_until());
        }
        let mut events = book.heard(&repo.name, forge, &self.numbers, now);
        if book.seen == Some(now) {
            let untold = match asked_all {
                // Of one detail it is never certain that it stays away: it has to last.
                true => detail.map(|failure| Silent { disabled: false, ..Silent::by(&failure, now) }),
                false => Some(Silent::late(self.numbers.look, now)),
            };
            events.extend(book.heard_all(&repo.name, untold, &self.numbers, now));
        }
        if told {
            events.extend(book.heard_ci(&repo.name, ci.map(|ci| Silent::by(&ci, now)), &self.numbers, now));
        }
        Looked { book, asked: true, events, connection }
    }
}

/// Whether so much time has gone by since `then`; a time to come is of a clock that was put back.
pub fn is_over(then: Timestamp, span: Span, now: Timestamp) -> bool {
    now < then || now.duration_since(then).as_secs_f64() >= span.0.as_secs_f64()
}

impl Backlog {
    /// What the look at this repo gave, when it is over; none where it died.
    pub async fn looked(&self, repo: &str) -> Option<Looked> {
        let mut look = self.looks.get(repo)?.clone();
        look.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// All looks, when they are over. They end in bounded time.
    pub async fn all(self) -> BTreeMap<String, Looked> {
        let mut all = BTreeMap::new();
        let names: Vec<String> = self.looks.keys().cloned().collect();
        for name in names {
            if let Some(looked) = self.looked(&name).await {
                all.insert(name, looked);
            }
        }
        all
    }
}

impl CiLoads for Backlog {
    fn load<'a>(&'a self, repo: &'a str) -> Loading<'a> {
        Box::pin(async {
            let mut load = self.loads.get(repo)?.clone();
            *load.wait_for(Option::is_some).await.ok()?
        })
    }
}
