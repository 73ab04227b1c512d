//! The hand on a host: calls of the guard, and what came of them.

use std::sync::Arc;
use std::time::Duration;

use super::observe::{Target, look};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::settings::Guard;
use crate::ledger::{Change, Document, Ledger};
use crate::policy::ladder::Standing;
use crate::remote::crontab::{self, Edit};
use crate::remote::guard::{self, Answer, Call, CronWrite, Drop, Op, Table, Word};
use crate::remote::halt::HaltFile;
use crate::remote::sample::Sample;
use crate::ssh::exec::{Command, Ended};
use crate::ssh::{Failed, Fleet, Reach};

/// An answer of the guard is a few lines, and one for each run; crontabs come in it whole.
const MAX_ANSWER: usize = 8 << 20;

/// How often a host is tried again after it named a higher epoch, or after the ledger changed meanwhile.
const TRIES: usize = 3;

/// A host that can be changed.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its inventory name.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// `factory_home`.
    pub home: String,
}

/// In whose name a host is changed.
#[derive(Clone)]
pub enum Lead {
    /// What the ledger says when the host is called.
    Ledger(Arc<Ledger>),
    /// The last that is known of it: it cannot be used. Only for what tightens.
    Last(Arc<Document>),
}

/// Calls the guard on hosts, in the name of who leads.
#[derive(Clone)]
pub struct Hand {
    fleet: Fleet,
    numbers: Guard,
    timeout: Duration,
    me: String,
}

/// What came of the calls on one host.
#[derive(Debug, Default)]
pub struct Acted {
    /// What was done, in order, and how the guard put it.
    pub done: Vec<(Op, Word)>,
    /// The host's disk is full: only empty files could be made.
    pub degraded: bool,
    /// The content of `host-id`.
    pub host_id: Option<String>,
    /// The epoch that the host obeys now.
    pub epoch: Option<u64>,
    /// Why not all of it was done.
    pub stopped: Option<Stopped>,
}

/// Why a host was not changed as it should be.
#[derive(Debug)]
pub enum Stopped {
    /// The guard refused.
    Refused(Answer),
    /// It was certainly not begun.
    NotBegun(Failed),
    /// It may have been done or not.
    Unknown(String),
    /// Somebody else leads now.
    Deposed(String),
    /// The ledger could not be asked.
    Ledger(Error),
    /// It did not say how it is.
    Silent(String),
    /// What was seen is too old to act on, by so much time: the machine has slept.
    Stale(Duration),
    /// A crontab is not edited, since it is not certain what would become of it.
    Crontab(String),
    /// The host must not be changed: it is another fleet's, or has two names.
    Barred(String),
}

impl Hand {
    /// A hand that acts as `me`. A call may take `command`, or what the guard's own bounds add up to if that is more.
    pub fn new(fleet: &Fleet, numbers: &Guard, command: Duration, me: &str) -> Hand {
        let own = numbers.payload.0 + numbers.lock_wait.0 + numbers.op.0 * 2;
        let timeout = command.max(own + Duration::from_secs(5));
        Hand { fleet: fleet.clone(), numbers: numbers.clone(), timeout, me: me.to_owned() }
    }

    /// One call, in the name of the lease in `document`; for an edit of crontabs as many as that takes.
    ///
    /// # Errors
    /// Everything but an answer that says it is done.
    pub async fn call(&self, place: &Place, document: &Document, op: Op) -> Result<Answer, Stopped> {
        match op {
            Op::Cron(edit) => self.edit(place, document, &edit).await,
            op => self.send(place, document, op).await,
        }
    }

    /// Edits every crontab that the edit is about: what was read becomes what it makes of it, unless somebody else was
    /// there meanwhile; then it is tried again.
    async fn edit(&self, place: &Place, document: &Document, edit: &Edit) -> Result<Answer, Stopped> {
        let mut tries = 1;
        loop {
            match self.edit_once(place, document, edit).await {
                Err(Stopped::Refused(answer)) if answer.word == Word::Conflict && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn edit_once(&self, place: &Place, document: &Document, edit: &Edit) -> Result<Answer, Stopped> {
        let mut done = self.send(place, document, Op::CronRead).await?;
        let mut tables: Vec<(Table, Option<Vec<u8>>)> =
            std::mem::take(&mut done.tables).into_iter().map(|(table, bytes)| (table, Some(bytes))).collect();
        if !edit.everywhere() {
            tables.retain(|(table, _)| *table == Table::User);
            if tables.is_empty() {
                tables.push((Table::User, None));
            }
        }
        let lines = usize::try_from(self.numbers.cron_lines).unwrap_or(usize::MAX);
        // What cannot be done in one table is done in the others.
        let (mut stopped, mut refused) = (None, Vec::new());
        for (table, bytes) in tables {
            let old = bytes.as_deref().unwrap_or_default();
            let content = match crontab::edit_within(old, edit, lines) {
                Ok(new) if new == old => continue,
                Ok(new) => new,
                Err(why) => {
                    refused.push(format!("{}: {why}", table.word()));
                    continue;
                }
            };
            let before = bytes.as_deref().map_or_else(|| "-".to_owned(), guard::sha256);
            match self.send(place, document, Op::CronWrite(CronWrite { table, before, content })).await {
                Ok(answer) => done = answer,
                // Whatever it was, it is not about this table alone.
                Err(why @ (Stopped::NotBegun(_) | Stopped::Unknown(_))) => return Err(why),
                Err(why) => stopped = Some(why),
            }
        }
        match stopped {
            Some(why) => Err(why),
            None if refused.is_empty() => Ok(done),
            None => Err(Stopped::Crontab(refused.join("; "))),
        }
    }

    async fn send(&self, place: &Place, document: &Document, op: Op) -> Result<Answer, Stopped> {
        let call = Call {
            home: place.home.clone(),
            fleet: document.fleet.clone(),
            epoch: document.lease.epoch,
            holder: document.lease.holder.clone(),
            op,
        };
        let program = guard::program(&call, &self.numbers).map_err(Stopped::Ledger)?;
        let command =
            Command { script: &program.script, stdin: program.stdin, timeout: self.timeout, max_output: MAX_ANSWER };
        let output = self.fleet.run(&place.reach, command).await.map_err(Stopped::NotBegun)?;
        let last = output.last_error_line().map(|line| format!(": {line}")).unwrap_or_default();
        let Ended::Exited(status) = output.ended else {
            return Err(Stopped::Unknown(format!("the guard {}{last}", output.ended)));
        };
        match guard::parse(&output.stdout, status) {
            Ok(answer) if answer.word.status() == 0 => Ok(answer),
            Ok(answer) => Err(Stopped::Refused(answer)),
            Err(garbled) => Err(Stopped::Unknown(format!("{garbled}; the guard exited with {status}{last}"))),
        }
    }

    /// Does on a host what `decide` makes of the newest document: asked again when the host has seen a higher epoch,
    /// after the lease was raised above that. A hold that was lifted while its line was under way is taken out again, so
    /// that the last word is always the ledger's. The host's connection is let go of.
    pub async fn act(&self, ledger: &Ledger, place: &Place, decide: impl Fn(&Document) -> Vec<Op>) -> Acted {
        let acted = self.act_on(ledger, place, decide).await;
        self.fleet.release(&place.reach);
        acted
    }

    /// The same for who has more to do there: the connection is kept.
    pub async fn act_on(&self, ledger: &Ledger, place: &Place, decide: impl Fn(&Document) -> Vec<Op>) -> Acted {
        let mut acted = Acted::default();
        for _ in 0..TRIES {
            let document = match self.document(ledger).await {
                Ok(document) => document,
                Err(stopped) => return Acted { stopped: Some(stopped), ..acted },
            };
            acted.stopped = None;
            acted.done.clear();
            for op in decide(&document) {
                match self.call(place, &document, op.clone()).await {
                    Ok(answer) => acted.take(op, answer),
                    Err(stopped) => {
                        acted.stopped = Some(stopped);
                        break;
                    }
                }
            }
            match &acted.stopped {
                Some(Stopped::Refused(answer)) if answer.word == Word::Fenced => {
                    if let Err(stopped) = self.raise(ledger, &document, answer).await {
                        acted.stopped = Some(stopped);
                        return acted;
                    }
                }
                _ => break,
            }
        }
        if let Err(stopped) = self.take_back(ledger, place, &mut acted).await {
            acted.stopped.get_or_insert(stopped);
        }
        acted
    }

    /// Does `ops` on a host in the name of the last lease that is known, for as long as the host obeys it. Its connection is
    /// kept.
    pub async fn tighten(&self, document: &Document, place: &Place, ops: Vec<Op>) -> Acted {
        let mut acted = Acted::default();
        for op in ops {
            match self.call(place, document, op.clone()).await {
                Ok(answer) => acted.take(op, answer),
                Err(stopped) => {
                    acted.stopped = Some(stopped);
                    break;
                }
            }
        }
        acted
    }

    /// Writes into the ledger where a host stands on the ladder, if we still lead: what is loosened there rests on it.
    ///
    /// # Errors
    /// When it is not written.
    pub async fn commit(&self, ledger: &Ledger, host: &str, standing: &Standing) -> Result<(), Stopped> {
        let committed = ledger.change(|document| {
            let Some(document) = document.filter(|document| document.lease.holder == self.me) else {
                return Ok(Change::Nothing(document.map(|document| document.lease.holder.clone())));
            };
            let mut document = document.clone();
            document.hosts.entry(host.to_owned()).or_default().ladder = Some(standing.clone());
            Ok(Change::To(document, Some(self.me.clone())))
        });
        match committed.await {
            Ok((_, Some(holder))) if holder == self.me => Ok(()),
            Ok((_, holder)) => Err(Stopped::Deposed(holder.unwrap_or_else(|| "nobody".to_owned()))),
            Err(error) => Err(Stopped::Ledger(error)),
        }
    }

    /// One more look at a host.
    ///
    /// # Errors
    /// Why there is no sample.
    pub async fn look(&self, target: &Target) -> Result<Sample, String> {
        look(target, &self.fleet, self.timeout).await
    }

    /// One call on a host, in the name of `lead`. The connection is kept.
    ///
    /// # Errors
    /// Everything but an answer that says it is done.
    pub async fn order(&self, lead: &Lead, place: &Place, op: &Op) -> Result<Answer, Stopped> {
        match lead {
            Lead::Ledger(ledger) => self.ask(ledger, place, op).await,
            Lead::Last(document) => self.call(place, document, op.clone()).await,
        }
    }

    /// One call on a host, asked again as [`Hand::act`] does, for who needs the answer itself. The connection is kept.
    ///
    /// # Errors
    /// Everything but an answer that says it is done.
    pub async fn ask(&self, ledger: &Ledger, place: &Place, op: &Op) -> Result<Answer, Stopped> {
        let mut tries = 1;
        loop {
            let document = self.document(ledger).await?;
            match self.call(place, &document, op.clone()).await {
                Err(Stopped::Refused(answer)) if answer.word == Word::Fenced && tries < TRIES => {
                    self.raise(ledger, &document, &answer).await?;
                }
                answered => return answered,
            }
            tries += 1;
        }
    }

    /// Lets go of a host's connection.
    pub fn release(&self, place: &Place) {
        self.fleet.release(&place.reach);
    }

    /// The newest document, if we still lead.
    async fn document(&self, ledger: &Ledger) -> Result<Document, Stopped> {
        match ledger.read().await {
            Ok(Some((_, document))) if document.lease.holder == self.me => Ok(document),
            Ok(Some((_, document))) => Err(Stopped::Deposed(document.lease.holder)),
            Ok(None) => Err(Stopped::Ledger(Error::failed("the ledger is gone").help("run `factory run`"))),
            Err(error) => Err(Stopped::Ledger(error)),
        }
    }

    /// Raises our epoch above the one that a host named, if the ledger still names us.
    async fn raise(&self, ledger: &Ledger, old: &Document, answer: &Answer) -> Result<(), Stopped> {
        let seen = answer.fence.as_ref().and_then(|fence| fence.epoch).unwrap_or(0);
        let raised = ledger.change(|document| {
            let Some(document) = document.filter(|document| document.lease.holder == self.me) else {
                return Ok(Change::Nothing(false));
            };
            // Another call of ours may have raised it already.
            if document.lease.epoch > old.lease.epoch.max(seen) {
                return Ok(Change::Nothing(true));
            }
            let mut document = document.clone();
            document.acquire(&self.me, seen)?;
            Ok(Change::To(document, true))
        });
        match raised.await {
            Ok((_, true)) => Ok(()),
            Ok((document, false)) => {
                Err(Stopped::Deposed(document.map_or("nobody".to_owned(), |document| document.lease.holder)))
            }
            Err(error) => Err(Stopped::Ledger(error)),
        }
    }

    async fn take_back(&self, ledger: &Ledger, place: &Place, acted: &mut Acted) -> Result<(), Stopped> {
        let added = acted.done.iter().flat_map(|(op, _)| match op {
            Op::Halt { add, .. } => add.as_slice(),
            _ => &[],
        });
        let added: Vec<_> = added.cloned().collect();
        if added.is_empty() {
            return Ok(());
        }
        let document = self.document(ledger).await?;
        let lifted = |id: &str| document.holds.iter().any(|hold| hold.id == id && hold.ended.is_some());
        let drop: Vec<(HaltFile, Drop)> = added
            .into_iter()
            .filter(|(_, line)| lifted(&line.id))
            .map(|(file, line)| (file, Drop::Line(line.kind, line.id)))
            .collect();
        if drop.is_empty() {
            return Ok(());
        }
        let op = Op::Resume { drop, show: Vec::new() };
        let answer = self.call(place, &document, op.clone()).await?;
        acted.take(op, answer);
        Ok(())
    }
}

impl Acted {
    /// Of a host that must not be changed.
    pub fn barred(why: String) -> Acted {
        Acted { stopped: Some(Stopped::Barred(why)), ..Acted::default() }
    }

    fn take(&mut self, op: Op, answer: Answer) {
        self.degraded |= answer.word == Word::Degraded;
        self.epoch = answer.fence.and_then(|fence| fence.epoch).or(self.epoch);
        self.host_id = answer.host_id.or(self.host_id.take());
        self.done.push((op, answer.word));
    }
}

impl Stopped {
    /// What the verb ends with: 4 where nobody knows or nothing was reached, else 1.
    pub fn exit(&self) -> Exit {
        match self {
            Stopped::NotBegun(failed) => failed.to_error().exit(),
            Stopped::Unknown(_) | Stopped::Silent(_) => Exit::Unreachable,
            Stopped::Deposed(_) => Exit::Locked,
            Stopped::Ledger(error) => error.exit(),
            Stopped::Refused(answer) if answer.word == Word::Held => Exit::Held,
            Stopped::Refused(_) | Stopped::Stale(_) | Stopped::Crontab(_) | Stopped::Barred(_) => Exit::Failed,
        }
    }

    /// What to do about it on `host`.
    pub fn advice(&self, host: &str) -> Option<String> {
        Some(match self {
            Stopped::NotBegun(failed) => return failed.to_error().advice().map(str::to_owned),
            Stopped::Unknown(_) => "the next `factory run` looks and finishes it".to_owned(),
            Stopped::Silent(_) => "`factory run` does it once the host answers".to_owned(),
            Stopped::Deposed(_) => "run it on the machine that leads".to_owned(),
            Stopped::Ledger(error) => return error.advice().map(str::to_owned),
            Stopped::Stale(_) => "the next `factory run` looks again".to_owned(),
            Stopped::Crontab(_) => format!("mend it on {host} with `crontab -e`; the next `factory run` tries again"),
            // It says itself what to do.
            Stopped::Barred(_) => return None,
            Stopped::Refused(answer) => match answer.word {
                Word::Foreign => format!(
                    "if it is yours now: `factory host adopt {host}`; if this machine lost its state: `factory host adopt --all`"
                ),
                Word::Corrupt => format!("`factory host repair {host}`"),
                Word::Fenced => "another supervisor changed this host; look with `factory status` who leads".to_owned(),
                Word::Busy => "another call is changing this host; the next `factory run` tries again".to_owned(),
                Word::Stuck => {
                    format!("a process on {host} holds the lock and does not end: look at ~/.factory/guard.lock there")
                }
                Word::Unfit => format!("`factory inventory check -l {host}` shows what it lacks"),
                Word::Payload => "the connection was cut; the next `factory run` tries again".to_owned(),
                Word::Held => format!("`factory status` shows the hold; `factory resume --host {host}` lifts it"),
                Word::Conflict => "somebody edits this crontab: try again when they are done".to_owned(),
                Word::Unsure => "`factory ps` shows whether it began; the same launch may be tried again".to_owned(),
                Word::Stale => "launch it anew: it gets another token".to_owned(),
                Word::Usage | Word::Failed | Word::Exists | Word::Done | Word::Degraded | Word::Stopping => {
                    return None;
                }
            },
        })
    }
}

/// One line, without the host's name.
impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::NotBegun(failed) => write!(f, "{failed}"),
            Stopped::Unknown(why) => write!(f, "nobody knows whether it was done: {why}"),
            Stopped::Deposed(holder) => write!(f, "`{holder}` leads now"),
            Stopped::Ledger(error) => write!(f, "{}", error.with_causes()),
            Stopped::Crontab(why) => write!(f, "the crontab is left as it is: {why}"),
            Stopped::Barred(why) | Stopped::Silent(why) => f.write_str(why),
            Stopped::Stale(age) => write!(f, "what was seen is {} s old, too old to act on", age.as_secs()),
            Stopped::Refused(answer) => {
                let what = match answer.word {
                    Word::Foreign => "it belongs to another fleet",
                    Word::Corrupt => "its epoch is lost or damaged",
                    Word::Fenced => "it obeys a higher epoch",
                    Word::Busy => "its lock is held",
                    Word::Stuck => "its lock is stuck",
                    Word::Unfit => "it is not fit to be changed",
                    Word::Payload => "what was sent came cut off",
                    Word::Usage => "its guard did not understand the call",
                    Word::Failed => "the change failed",
                    Word::Exists => "that run was launched or cancelled before",
                    Word::Unsure => "the run has not shown itself yet",
                    Word::Held => "it is held there",
                    Word::Stale => "its token is too old to be launched",
                    Word::Conflict => "the crontab was changed by somebody else meanwhile",
                    Word::Done | Word::Degraded | Word::Stopping => "done",
                };
                f.write_str(what)?;
                // The rest only says the same again.
                let more = !matches!(answer.word, Word::Corrupt) && !answer.detail.is_empty();
                if more { write!(f, ": {}", answer.detail) } else { Ok(()) }
            }
        }
    }
}
