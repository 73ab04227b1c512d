//! What verbs share: the flags, the door to the terminal, the inventory and the state directory.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::global::Global;
use super::inventory::may_run_commands;
use crate::error::{Diagnostic, Diagnostics, Error, Level, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::hosts::{Connection, Host};
use crate::inventory::locate::{Found, Location, Search, locate};
use crate::inventory::policy::Policy;
use crate::inventory::repos;
use crate::inventory::secret::Access;
use crate::inventory::settings::Settings;
use crate::journal::{Event, HostRecord, Journal};
use crate::policy::hold::Model;
use crate::remote::probe::Request;
use crate::render::Ui;
use crate::ssh::config::Wanted;
use crate::ssh::fleet::Ask;
use crate::ssh::{Fleet, Options, Reach};
use crate::tick::backlog;
use crate::tick::hand::Hand;
use crate::tick::manual::Order;
use crate::tick::observe::{Bounds, Target};

/// What every verb is given.
pub(super) struct Context {
    /// The global flags.
    pub global: Global,
    /// The door to the terminal.
    pub ui: Ui,
}

impl Context {
    /// Where the inventory is. One that was found by standing beside it is named on stderr.
    pub fn locate(&self) -> Result<Location> {
        let location = self.find()?;
        if location.found == Found::Here {
            self.ui.note(&format!("using {}", location.dir.display()));
        }
        Ok(location)
    }

    fn find(&self) -> Result<Location> {
        let config_home = variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
        let (named, here) = (self.global.inventory.clone(), PathBuf::from("."));
        locate(&Search { named, here, config_home, etc: "/etc".into() })
    }

    /// Reads the inventory and shows its problems.
    ///
    /// # Errors
    /// Exit 3 when the hosts or the settings cannot be used. A broken repo or a host with a wrong value is only told:
    /// the others go on without it.
    pub fn inventory(&self) -> Result<Inventory> {
        let location = self.locate()?;
        let mut problems = Diagnostics::default();
        let inventory = Inventory::load(location, &mut problems);
        let count = problems.iter().filter(|problem| problem.level == Level::Error).count();
        match inventory {
            Some(inventory) => {
                // Notes are for `inventory check`: a tick each minute need not repeat them.
                let worth = |problem: &Diagnostic| problem.level > Level::Note || self.global.verbose > 0;
                let mut shown = Diagnostics::default();
                shown.extend(problems.into_iter().filter(worth));
                self.ui.diagnostics(&shown);
                Ok(inventory)
            }
            None => {
                let told = crate::render::table::count(count, "error");
                Err(Error::inventory(format!("the inventory cannot be used: {told}"))
                    .with(problems)
                    .help("`factory inventory check --offline` looks at the files alone"))
            }
        }
    }

    /// Who this machine is: `--as`, else the host that showed this machine's host-id, else the one host of the inventory
    /// that is reached without SSH, else `solo`.
    ///
    /// # Errors
    /// Exit 3 when `--as` names no host, exit 1 when the journal that would tell cannot be read.
    pub fn own_name(&self, inventory: &Inventory) -> Result<String> {
        if let Some(name) = &self.global.as_name {
            return match inventory.hosts.get(name) {
                Some(host) => Ok(host.name.clone()),
                None => Err(Error::inventory(format!("--as names `{name}`, which is no host of the inventory"))
                    .help("`factory inventory list` shows the hosts")),
            };
        }
        let known = self.by_host_id(inventory);
        if let Ok(Some(name)) = known {
            return Ok(name);
        }
        let mut local = inventory.hosts.iter().filter(|host| host.connection == Connection::Local);
        match (local.next(), local.next(), known) {
            (Some(host), None, _) => Ok(host.name.clone()),
            // Under another name it would take the lease from itself.
            (.., Err(error)) => Err(unnamed(&error)),
            _ => Ok("solo".to_owned()),
        }
    }

    /// The host of the inventory whose last sample showed the host-id of this machine.
    ///
    /// # Errors
    /// When the journal, which has the samples, cannot be read.
    fn by_host_id(&self, inventory: &Inventory) -> Result<Option<String>> {
        let Some(id) = own_host_id() else { return Ok(None) };
        let Some(journal) = Journal::open_to_read(&self.state_dir(&inventory.settings.fleet)?)? else {
            return Ok(None);
        };
        let hosts = journal.hosts()?;
        let same = |record: &&HostRecord| record.sample.host_id.as_deref() == Some(&id);
        let mut same = hosts.iter().filter(same).filter(|record| inventory.hosts.get(&record.host).is_some());
        Ok(match (same.next(), same.next()) {
            (Some(record), None) => Some(record.host.clone()),
            _ => None,
        })
    }

    /// The name under which this machine leads.
    ///
    /// # Errors
    /// Exit 5 when it is none of the candidates; whatever [`Context::own_name`] fails with.
    pub fn leads(&self, inventory: &Inventory) -> Result<String> {
        let me = self.own_name(inventory)?;
        match inventory.settings.candidates.iter().any(|candidate| candidate.value == me) {
            false if !inventory.settings.candidates.is_empty() => {
                let names: Vec<&str> = inventory.settings.candidates.iter().map(|name| name.value.as_str()).collect();
                Err(Error::new(
                    Exit::Locked,
                    format!("this machine may not lead: the candidates are {}", names.join(", ")),
                )
                .help("run it there; if this machine is one of them, say so with `--as NAME`"))
            }
            _ => Ok(me),
        }
    }

    /// The hosts that `--limit` leaves, all of them without it.
    pub fn hosts<'a>(&self, inventory: &'a Inventory) -> Result<Vec<&'a Host>> {
        match &self.global.limit {
            Some(pattern) => inventory.hosts.select(pattern),
            None => Ok(inventory.hosts.iter().collect()),
        }
    }

    /// The state directory, and the hosts that `--limit` leaves, for verbs that read local state alone: they also work
    /// when the inventory is broken or away, as long as it is clear which state is meant.
    pub fn state_and_hosts(&self) -> Result<(PathBuf, Option<Vec<String>>)> {
        if let (Some(state), None) = (&self.global.state, &self.global.limit) {
            return Ok((state.clone(), None));
        }
        let mut problems = Diagnostics::default();
        let inventory = match self.locate() {
            Ok(location) => Inventory::load(location, &mut problems).ok_or_else(|| {
                Error::inventory("the inventory cannot be used")
                    .with(problems)
                    .help("`--state DIR` names the state to read")
            }),
            Err(error) => Err(error),
        };
        match inventory {
            Ok(inventory) => {
                let names = || self.hosts(&inventory).map(|hosts| hosts.iter().map(|host| host.name.clone()).collect());
                let hosts = self.global.limit.as_ref().map(|_| names()).transpose()?;
                Ok((self.state_dir(&inventory.settings.fleet)?, hosts))
            }
            Err(error) if self.global.limit.is_some() => Err(error),
            Err(error) => {
                let fleets = std::fs::read_dir(self.state_home()?).into_iter().flatten().flatten();
                let states: Vec<PathBuf> =
                    fleets.map(|entry| entry.path()).filter(|path| path.join("journal.db").is_file()).collect();
                let [only] = states.as_slice() else { return Err(error) };
                self.ui.warn(&format!("{error}; showing the only state there is, {}", only.display()));
                Ok((only.clone(), None))
            }
        }
    }

    /// The numbers, agents and repos of the inventory, or the defaults where it cannot be read: only for who explains, not
    /// for who decides.
    pub fn numbers(&self) -> (Policy, Model, Vec<repos::Repo>) {
        match self.readable() {
            Some(Inventory { settings, repos, .. }) => {
                let model = Model::of(&settings, &repos);
                (settings.policy, model, repos.repos)
            }
            None => (Policy::default(), Model::of(&Settings::default(), &repos::Repos::default()), Vec::new()),
        }
    }

    /// The inventory, if it can be read, for who can do without: nothing is told.
    pub fn readable(&self) -> Option<Inventory> {
        self.find().ok().and_then(|location| Inventory::load(location, &mut Diagnostics::default()))
    }

    /// The directory that holds every fleet's state.
    pub fn state_home(&self) -> Result<PathBuf> {
        variable("XDG_STATE_HOME")
            .or_else(|| Some(home()?.join(".local/state")))
            .map(|dir| dir.join("factory"))
            .ok_or_else(|| Error::usage("HOME is not set").help("set HOME, or name a state directory with --state"))
    }

    /// The state directory of `fleet`, which may not exist yet.
    pub fn state_dir(&self, fleet: &str) -> Result<PathBuf> {
        match &self.global.state {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.state_home()?.join(fleet)),
        }
    }

    /// The way to the hosts, as `ssh:` of factory.yml and the flags have it. On a terminal it asks for passphrases.
    pub async fn fleet(&self, settings: &Settings) -> Result<Fleet> {
        let ssh = &settings.ssh;
        let ui = self.ui.clone();
        let ask = move |file: &Path| ui.ask_secret(&format!("Passphrase of {}:", file.display()));
        Fleet::new(Options {
            connect: ssh.connect.0,
            keepalive: ssh.keepalive.0,
            keepalive_max: ssh.keepalive_misses as usize,
            forks: self.global.forks.into(),
            per_sshd: ssh.logins as usize,
            retries: ssh.retries,
            channels: ssh.channels as usize,
            max_command: usize::try_from(ssh.max_command.0).unwrap_or(usize::MAX),
            ask_passphrase: self.ui.can_ask().then(|| Arc::new(ask) as Ask),
            ..Options::default()
        })
        .await
    }

    /// What an order by hand needs to be carried out by `me`, who leads.
    ///
    /// # Errors
    /// When the state directory cannot be made.
    pub fn order<'a>(&self, inventory: &Inventory, fleet: &'a Fleet, me: &str) -> Result<Order<'a>> {
        let state = self.state_dir(&inventory.settings.fleet)?;
        if !self.global.check {
            make_private(&state)?;
        }
        let bounds = self.bounds(&inventory.settings);
        Ok(Order {
            state,
            fleet,
            hand: Hand::new(fleet, &inventory.settings.guard, bounds.command, me),
            model: Arc::new(Model::of(&inventory.settings, &inventory.repos)),
            targets: targets(inventory, &inventory.hosts.iter().collect::<Vec<_>>()),
            bounds,
            me: me.to_owned(),
        })
    }

    /// What may be used to read the inventory's secrets. Where nobody can tell whether its commands may run, they may
    /// not.
    pub fn access(&self, inventory: &Inventory) -> Access {
        Access {
            dir: inventory.location.dir.clone(),
            commands: may_run_commands(&inventory.location, self).unwrap_or(false),
            time_limit: self.bounds(&inventory.settings).command,
        }
    }

    /// The repos of the inventory, to be looked at.
    pub fn repos(&self, inventory: &Inventory) -> backlog::Repos {
        let numbers = inventory.settings.forges.clone();
        // Three tokens at most, one after the other, and time to call the servers.
        let access = Access { time_limit: numbers.look.0 / 4, ..self.access(inventory) };
        backlog::Repos { repos: inventory.repos.repos.clone(), access, numbers, wake: inventory.settings.wake.clone() }
    }

    /// Writes `events` into the journal. What was done is done: a journal that cannot be written is only told.
    pub fn remember(&self, inventory: &Inventory, events: &[Event]) {
        let told = self
            .state_dir(&inventory.settings.fleet)
            .and_then(|state| Journal::open(&state))
            .and_then(|(mut journal, _)| journal.tell(events));
        if let Err(error) = told {
            self.ui.warn(&format!("it is done, but not in the journal: {}", error.with_causes()));
        }
    }

    /// The bounds of a sweep, from the flags and `ssh:` of factory.yml.
    pub fn bounds(&self, settings: &Settings) -> Bounds {
        let command = self.global.timeout.unwrap_or(settings.ssh.command).0;
        Bounds { forks: self.global.forks.into(), command, sweep: settings.ssh.sweep.0 }
    }
}

/// Makes the state directory, for this user alone.
pub(super) fn make_private(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Error::failed(format!("cannot make the state directory {}", dir.display()))
            .because(error)
            .help("`--state DIR` uses another one")
    })
}

/// A variable that holds an absolute path; anything else counts as not set, as the XDG specification says.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The host-id of this machine, if it is a host.
fn own_host_id() -> Option<String> {
    let id = std::fs::read_to_string(home()?.join(".factory/host-id")).ok()?;
    let id = id.lines().next().filter(|id| !id.is_empty())?;
    // A disk that was copied has the id of another machine.
    let machine = std::fs::read_to_string("/etc/machine-id").ok().map(|machine| machine.trim().to_owned());
    let written = id.split(' ').nth(1).filter(|written| *written != "-");
    match machine.is_some_and(|machine| written.is_some_and(|written| written != machine)) {
        true => None,
        false => Some(id.to_owned()),
    }
}

/// Why nobody can tell who this machine is.
fn unnamed(error: &Error) -> Error {
    Error::failed(format!("cannot tell which host of the inventory this machine is: {}", error.with_causes())).help(
        "say it with `--as NAME`; `factory run --as NAME` also moves a damaged journal aside, and knows it again from then on",
    )
}

fn home() -> Option<PathBuf> {
    variable("HOME")
}

/// How each of `hosts` is reached and what is asked of it.
pub(super) fn targets(inventory: &Inventory, hosts: &[&Host]) -> Vec<Target> {
    let model = Model::of(&inventory.settings, &inventory.repos);
    let (means, crons) = (model.means(), model.crons());
    hosts
        .iter()
        .map(|host| Target {
            name: host.name.clone(),
            reach: reach(host),
            request: Request {
                home: host.home.clone(),
                disks: host.disks.clone(),
                matches: inventory.matches(),
                means: means.clone(),
                crons: crons.clone(),
                critical: inventory.settings.policy.critical.0,
                ..Request::default()
            },
            barred: None,
        })
        .collect()
}

/// Which way leads to `host`.
pub(super) fn reach(host: &Host) -> Reach {
    match host.connection {
        _ if host.problem => {
            Reach::Not("its entry in the inventory has errors: `factory inventory check --offline`".into())
        }
        Connection::Local => Reach::Local,
        Connection::Ssh => wanted(host).map_or_else(|error| Reach::Not(error.to_string()), Reach::Ssh),
    }
}

/// What the inventory says about reaching `host`, to go before the ssh configuration.
///
/// # Errors
/// Exit 3 for `ansible_ssh_common_args` or `ansible_ssh_extra_args` that no shell could split into words.
pub(super) fn wanted(host: &Host) -> Result<Wanted> {
    let mut args = Vec::new();
    for text in [&host.ssh_common_args, &host.ssh_extra_args].into_iter().flatten() {
        args.extend(shlex::split(text).ok_or_else(|| {
            Error::inventory(format!("{}: the ssh arguments `{text}` have an open quote", host.name))
        })?);
    }
    Ok(Wanted {
        name: host.name.clone(),
        host: Some(host.address.clone()),
        port: host.port,
        user: host.user.clone(),
        identity: host.key_file.clone().map(Into::into),
        args,
    })
}
