//! What ssh_config says about a host: as our reader has it, and where that is unsure as `ssh -G` tells it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::known_hosts::PORT;
use super::login::settings::Settings;
use super::target::{Family, Target};
use super::tokens::Tokens;
use crate::error::{Error, Result};
use crate::exit::Exit;

mod home;
pub mod reader;

use home::{Home, Included};
use reader::{Passwd, Reader, Unsure};

/// How long `ssh -G` may take: it does no network, but `Match exec` may run anything.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The system's configuration.
const SYSTEM: &str = "/etc/ssh/ssh_config";

/// Directives that change whom a connection reaches or trusts and that are not honoured, each with the values of
/// `ssh -G` that mean that it is off. What only makes checking looser (`StrictHostKeyChecking no`) is not here: there
/// is no switch that turns checking off.
const UNHONOURED: [(&str, &[&str]); 6] = [
    ("KnownHostsCommand", &["none"]),
    ("RevokedHostKeys", &["none"]),
    ("VerifyHostKeyDNS", &["false", "no"]),
    ("BindAddress", &["none"]),
    ("BindInterface", &["none"]),
    ("RemoteCommand", &["none"]),
];

/// What the inventory says about reaching a host; it goes before anything in ssh_config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The host's name in the inventory.
    pub name: String,
    /// `ansible_host`: what to ask ssh about, instead of the name.
    pub host: Option<String>,
    /// `ansible_port`.
    pub port: Option<u16>,
    /// `ansible_user`.
    pub user: Option<String>,
    /// `ansible_ssh_private_key_file`.
    pub identity: Option<PathBuf>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`, split into words.
    pub args: Vec<String>,
}

impl Wanted {
    /// A host of which the inventory says only the name.
    pub fn named(name: &str) -> Wanted {
        Wanted { name: name.to_owned(), ..Wanted::default() }
    }

    /// The words after `ssh -G`, in which the first value given for a directive wins.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = self.options();
        arguments.extend(["--".to_owned(), self.asked().to_owned()]);
        arguments
    }

    /// Those of them that go before the host's name.
    fn options(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut option = |text: String| arguments.extend(["-o".to_owned(), text]);
        if let Some(port) = self.port {
            option(format!("Port={port}"));
        }
        if let Some(user) = &self.user {
            option(format!("User={}", quote(user)));
        }
        if let Some(identity) = &self.identity {
            option(format!("IdentityFile={}", quote(&identity.display().to_string())));
        }
        arguments.extend(self.args.iter().cloned());
        arguments
    }

    /// The name that ssh is asked about.
    fn asked(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.name)
    }
}

/// The answer of `ssh -G`, or the reader's in its words: directives in lower case with their values, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(Vec<(String, String)>);

impl Config {
    /// Reads the answer. Lines without a value are passed over: an empty value is the same as none.
    pub fn parse(text: &str) -> Config {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(' '));
        Config(lines.map(|(directive, value)| (directive.to_ascii_lowercase(), value.trim().to_owned())).collect())
    }

    /// The first value of `directive` (in any case).
    pub fn get(&self, directive: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have.eq_ignore_ascii_case(directive)).map(|(_, value)| value.as_str())
    }

    /// All values of `directive`, such as each `IdentityFile`.
    pub fn all<'a>(&'a self, directive: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(directive)).map(|(_, value)| value.as_str())
    }

    /// The value of `directive`, unless it is absent or `none`.
    pub fn set(&self, directive: &str) -> Option<&str> {
        self.get(directive).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"))
    }

    /// The paths in the value of `directive`, of which `none` is none.
    ///
    /// ssh prints them with blanks between and without quotes; a word that is no absolute path is taken as the rest of
    /// the path before it (`/Users/x/Application Support/hosts`).
    pub fn paths(&self, directive: &str) -> Vec<PathBuf> {
        let mut paths: Vec<String> = Vec::new();
        for word in self.set(directive).unwrap_or_default().split(' ') {
            match paths.last_mut() {
                Some(last) if !word.starts_with(['/', '~']) => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ if word.is_empty() => {}
                _ => paths.push(word.to_owned()),
            }
        }
        paths.into_iter().map(PathBuf::from).collect()
    }

    /// The first directive that is on and not honoured, with its value.
    pub fn unhonoured(&self) -> Option<(&'static str, &str)> {
        UNHONOURED.into_iter().find_map(|(directive, off)| {
            let value = self.get(directive)?;
            (!off.iter().any(|off| off.eq_ignore_ascii_case(value))).then_some((directive, value))
        })
    }

    /// The target that this answer describes for the host `name`.
    ///
    /// # Errors
    /// What is missing or makes no sense in the answer.
    fn into_target(self, name: &str, home: &Home) -> Result<Target, String> {
        let host = self.set("hostname").ok_or("no HostName")?.to_owned();
        let port = match self.get("port") {
            None => PORT,
            Some(text) => text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(format!("the port `{text}`"))?,
        };
        let family = match self.get("addressfamily") {
            Some("inet") => Family::V4,
            Some("inet6") => Family::V6,
            _ => Family::Any,
        };
        let user = self.set("user").unwrap_or_default().to_owned();
        let asked = self.get("host").unwrap_or(name).to_owned();
        let tokens = Tokens { home: home.path(), host: &host, asked: &asked, port, user: &user };
        let mut login = Settings::read(&self, &tokens, |path| home.translate(path));
        let mut files = |directive: &'static str| -> Vec<PathBuf> {
            let mut files = Vec::new();
            for path in self.paths(directive) {
                match path.to_str().and_then(|text| tokens.expand(text)) {
                    Some(text) => files.push(home.translate(PathBuf::from(text))),
                    None => login.unusable = Some((directive, path.display().to_string())),
                }
            }
            files
        };
        let (user_known_hosts, global_known_hosts) = (files("UserKnownHostsFile"), files("GlobalKnownHostsFile"));
        Ok(Target {
            name: name.to_owned(),
            host: host.clone(),
            port,
            user: user.clone(),
            host_key_alias: self.set("hostkeyalias").map(str::to_owned),
            user_known_hosts,
            global_known_hosts,
            hash_known_hosts: matches!(self.get("hashknownhosts"), Some("yes" | "true")),
            proxy_jump: self.set("proxyjump").map(str::to_owned),
            proxy_command: self.set("proxycommand").map(str::to_owned),
            family,
            login,
            config: self,
        })
    }
}

/// What answers for ssh_config: a [`Reader`] of our own, and where that is unsure the `ssh` program.
///
/// An ordinary configuration starts no process, and its hosts are reached where there is no `ssh`.
#[derive(Debug)]
pub struct Asker {
    program: PathBuf,
    home: Option<PathBuf>,
    timeout: Duration,
    reader: OnceCell<(Reader, Home)>,
    /// The homes of `ssh -G`, and the file for its `-F`.
    told: OnceCell<(Home, Option<Included>)>,
}

impl Asker {
    /// The `ssh` of `$PATH` and the user's `$HOME`.
    ///
    /// # Errors
    /// None today: nothing is read or run before the first host.
    pub async fn new() -> Result<Asker> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Asker::with(Path::new("ssh"), home, TIMEOUT).await
    }

    /// The same with another program, `$HOME` and time-out.
    ///
    /// # Errors
    /// As [`Asker::new`].
    pub async fn with(program: &Path, home: Option<PathBuf>, timeout: Duration) -> Result<Asker> {
        Ok(Asker { program: program.to_owned(), home, timeout, reader: OnceCell::new(), told: OnceCell::new() })
    }

    /// Asks how the host is reached.
    ///
    /// # Errors
    /// ssh does not take its configuration, the name or an argument, or does not answer in time; or the reader is
    /// unsure of them and there is no `ssh` ([`Exit::Unreachable`]: the other hosts can go on).
    pub async fn ask(&self, wanted: &Wanted) -> Result<Target> {
        if wanted.asked().is_empty() {
            return Err(Error::new(Exit::Unreachable, format!("host `{}` has an empty ansible_host", wanted.name)));
        }
        let (reader, home) = self.reader.get_or_init(|| self.begin()).await;
        let asked = async || {
            let answer = match reader.read(wanted) {
                Ok(config) => return Ok((config, home)),
                Err(unsure) => self.answer(wanted).await.map_err(|failed| failed.explain(&wanted.name, &unsure))?,
            };
            Ok::<_, Error>((Config::parse(&answer.0), answer.1))
        };
        let (config, home) = asked().await?;
        config.into_target(&wanted.name, home).map_err(|problem| {
            Error::new(Exit::Unreachable, format!("host `{}`: its ssh configuration has {problem}", wanted.name))
                .help(format!("look at it: ssh -G {}", wanted.asked()))
        })
    }

    /// The reader, and the homes that go with its answers.
    async fn begin(&self) -> (Reader, Home) {
        let passwd = match Passwd::own() {
            Some(passwd) => Some(passwd),
            // Users may come from elsewhere than the file; ssh asks the system.
            None => self.passwd().await.ok(),
        };
        let other = passwd.as_ref().map(|passwd| passwd.home.clone());
        let home = match self.home.clone().or_else(|| other.clone()) {
            Some(home) => Home::new(home, other),
            None => Home::default(),
        };
        (Reader::new(self.home.clone(), passwd, PathBuf::from(SYSTEM)), home)
    }

    /// The user's name and home directory, as ssh takes them.
    async fn passwd(&self) -> Result<Passwd, NoAnswer> {
        // ssh takes the home directory from passwd and never from $HOME; its own answer shows which one that is.
        let answer = self.run("localhost", ["-F", "/dev/null", "--", "localhost"].map(str::to_owned).to_vec()).await?;
        let config = Config::parse(&answer);
        let first = config.paths("userknownhostsfile").into_iter().next();
        let home = first.and_then(|file| Some(file.parent()?.parent()?.to_owned()));
        match (config.set("user"), home) {
            (Some(name), Some(home)) => Ok(Passwd { name: name.to_owned(), home }),
            _ => Err(Error::new(Exit::Unreachable, "`ssh -G` does not tell the user's name and home").into()),
        }
    }

    /// What `ssh -G` says about the host.
    async fn answer(&self, wanted: &Wanted) -> Result<(String, &Home), NoAnswer> {
        let told = self.told.get_or_try_init(async || {
            let Some(home) = self.home.clone() else { return Ok((Home::default(), None)) };
            let home = Home::new(home, Some(self.passwd().await?.home));
            let included = home.include()?;
            Ok::<_, NoAnswer>((home, included))
        });
        let (home, included) = told.await?;
        let mut arguments = Vec::new();
        if let Some(config) = included {
            arguments.extend(["-F".to_owned(), config.path().display().to_string()]);
        }
        arguments.extend(wanted.arguments());
        Ok((self.run(&wanted.name, arguments).await?, home))
    }

    async fn run(&self, host: &str, arguments: Vec<String>) -> Result<String, NoAnswer> {
        let mut command = tokio::process::Command::new(&self.program);
        // `-T`: without it ssh complains that it has no terminal.
        command.args(["-G", "-T"]).args(&arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(self.timeout, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(cause)) if cause.kind() == ErrorKind::NotFound => return Err(NoAnswer::NoProgram(cause)),
            Ok(Err(cause)) => {
                return Err(Error::new(Exit::Unreachable, "cannot run the `ssh` program").because(cause).into());
            }
            Err(_) => {
                return Err(Error::new(
                    Exit::Unreachable,
                    format!("host `{host}`: `ssh -G` did not answer within {:?}", self.timeout),
                )
                .help("look for a `Match exec` or an `Include` that hangs in ~/.ssh/config")
                .into());
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
            return Err(Error::new(
                Exit::Unreachable,
                format!("host `{host}`: ssh does not accept its configuration: {}", said.join("; ")),
            )
            .help("mend ~/.ssh/config, or the host's ansible_ssh_* values in the inventory")
            .into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Why `ssh -G` gave no answer.
enum NoAnswer {
    /// There is no such program.
    NoProgram(std::io::Error),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for NoAnswer {
    fn from(error: Error) -> NoAnswer {
        NoAnswer::Failed(error)
    }
}

impl NoAnswer {
    /// The error for the host `name`, of which our reader was `unsure`.
    fn explain(self, name: &str, unsure: &Unsure) -> Error {
        match self {
            NoAnswer::Failed(error) => error,
            NoAnswer::NoProgram(cause) => Error::new(
                Exit::Unreachable,
                format!("host `{name}`: only ssh itself knows what this means, and it is not installed: {unsure}"),
            )
            .because(cause)
            .help("install OpenSSH's client (on Debian: apt-get install openssh-client), or take that out"),
        }
    }
}

/// `text` as one value in an ssh_config line.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
