//! Deciding about the keys that a host has shown, and taking the new ones in.

use std::path::{Path, PathBuf};

use russh::keys::Algorithm;

use super::known_hosts::{self, Added, Held, KnownHosts, Verdict, removal};
use super::scan::HostKey;
use super::target::Target;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// What is to be done about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is known already.
    Already {
        /// The lines that hold it.
        lines: Vec<Held>,
    },
    /// It can be added: nothing is held for the host, or its other keys are held and this one is of a further type.
    New,
    /// Other keys of the host are held: the host was installed anew, or it is another machine.
    Changed {
        /// The lines that hold them.
        lines: Vec<Held>,
    },
    /// It is revoked.
    Revoked {
        /// The lines that say so.
        lines: Vec<Held>,
        /// The lines that hold keys of the host.
        held: Vec<Held>,
    },
}

/// A key that the host has shown, with what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The key.
    pub key: HostKey,
    /// What is to be done.
    pub trust: Trust,
}

/// Decides about each of `keys`, in their order.
///
/// ssh calls a host changed as soon as it shows a key that is not held while another, even of another type, is. Here
/// the host has shown all its keys: one that is held vouches for those of types of which none is held.
pub fn judge(known: &KnownHosts, target: &Target, keys: &[HostKey]) -> Vec<Judgement> {
    let (name, port) = target.known_as();
    let verdicts: Vec<Verdict> = keys.iter().map(|key| known.lookup(name, port, &key.key)).collect();
    let vouched = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Known { .. }));
    let judge = |(key, verdict): (&HostKey, Verdict)| {
        let trust = match verdict {
            Verdict::Known { lines, .. } => Trust::Already { lines },
            Verdict::Unknown => Trust::New,
            Verdict::Revoked { lines, held } => Trust::Revoked { lines, held },
            Verdict::Changed { lines } => {
                let same: Vec<Held> =
                    lines.iter().filter(|held| held.algorithm == key.key.algorithm()).cloned().collect();
                match (vouched, same.is_empty()) {
                    (true, true) => Trust::New,
                    (true, false) => Trust::Changed { lines: same },
                    (false, _) => Trust::Changed { lines },
                }
            }
        };
        Judgement { key: key.clone(), trust }
    };
    let mut judgements: Vec<Judgement> = keys.iter().zip(verdicts).map(judge).collect();
    // Once one key stands under `[host]:port`, those under the bare name do not count any more (see
    // `KnownHosts::lookup`): they go along, or the host would count as changed.
    if judgements.iter().any(|judgement| judgement.trust == Trust::New) {
        let host = known_hosts::host_name(name, port);
        for judgement in &mut judgements {
            let already = matches!(judgement.trust, Trust::Already { .. });
            if already && known.verdict(&host, &judgement.key.key) == Verdict::Unknown {
                judgement.trust = Trust::New;
            }
        }
    }
    judgements
}

/// The refusal that `judgements` call for: a revoked key, else a changed one; `None` if all keys are known or new.
///
/// It shows the key, the lines that speak against it and the very command that takes them out.
/// [`Exit::Unreachable`]: the host is not verified.
pub fn refusal(target: &Target, judgements: &[Judgement]) -> Option<Error> {
    let revoked = judgements.iter().find_map(|judgement| match &judgement.trust {
        Trust::Revoked { lines, held } => Some(revoked(target, &judgement.key, lines, held)),
        _ => None,
    });
    revoked.or_else(|| {
        let mut all = Vec::new();
        let mut first = None;
        for judgement in judgements {
            if let Trust::Changed { lines } = &judgement.trust {
                first.get_or_insert(&judgement.key);
                all.extend(lines.iter().filter(|held| !all.contains(*held)).cloned().collect::<Vec<_>>());
            }
        }
        first.map(|key| changed(target, key, &all))
    })
}

/// The error for a host of which no key is known, and which shows `key`.
pub fn unknown(target: &Target, key: &HostKey) -> Error {
    Error::new(
        Exit::Unreachable,
        format!("host `{}`: its host key is not known: it shows {} {}", target.name, key.kind(), key.fingerprint),
    )
    .help(format!(
        "compare it with the host's own (on it: ssh-keygen -l -f /etc/ssh/ssh_host_{}_key.pub), then: factory inventory \
         trust {}",
        match key.key.algorithm() {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Ecdsa { .. } => "ecdsa",
            _ => "rsa",
        },
        target.name
    ))
}

/// The error for a host that shows `key` while `lines` hold others for it.
pub fn changed(target: &Target, key: &HostKey, lines: &[Held]) -> Error {
    let mut error = Error::new(
        Exit::Unreachable,
        format!(
            "host `{}`: its host key has changed: it shows {} {}, which is not the one that is known",
            target.name,
            key.kind(),
            key.fingerprint
        ),
    );
    for held in lines {
        error = error.because(Line(format!("{} holds {} {}", held.place(), held.algorithm, held.fingerprint)));
    }
    let mut help = format!(
        "somebody may be in between. If you know that the host was installed anew, take its old keys out by: {}",
        commands(target, lines)
    );
    let shared: Vec<String> = lines.iter().filter(|held| held.shared).map(Held::place).collect();
    if !shared.is_empty() {
        help.push_str(&format!(" (mind that {} also stands for other hosts, which lose it too)", shared.join(" and ")));
    }
    error.help(format!("{help}; then: factory inventory trust {}", target.name))
}

/// The error for a host that shows `key` while `lines` revoke it and `held` hold keys of it.
pub fn revoked(target: &Target, key: &HostKey, lines: &[Held], held: &[Held]) -> Error {
    let mut error = Error::new(
        Exit::Unreachable,
        format!("host `{}`: its host key {} {} is revoked", target.name, key.kind(), key.fingerprint),
    );
    for line in lines {
        error = error.because(Line(format!("{} revokes it", line.place())));
    }
    // ssh-keygen leaves `@revoked` lines, as it should; without a line of the host there is nothing to take out.
    let commands = match held {
        [] => String::new(),
        held => format!(", take its old one out here by: {}", commands(target, held)),
    };
    error.help(format!(
        "whoever has that key can pose as the host. Give the host a new key{commands}; then: factory inventory trust {}",
        target.name
    ))
}

/// The exact commands that take the host out of each file, in the order of `lines`.
fn commands(target: &Target, lines: &[Held]) -> String {
    let (name, port) = target.known_as();
    let mut files: Vec<&Path> = Vec::new();
    for held in lines {
        if !files.contains(&held.file.as_path()) {
            files.push(&held.file);
        }
    }
    let commands: Vec<String> = files.iter().map(|file| removal(name, port, file)).collect();
    commands.join(" && ")
}

/// Adds the new ones of `judgements` to the user's first file of host keys; [`KnownHosts::lookup`] then knows them.
///
/// # Errors
/// A refusal ([`refusal`]), in which case nothing is added; no file to add to; or it cannot be written.
pub fn accept(target: &Target, judgements: &[Judgement]) -> Result<Vec<Added>> {
    if let Some(error) = refusal(target, judgements) {
        return Err(error);
    }
    let (name, port) = target.known_as();
    let file = writable(target)?;
    let new = judgements.iter().filter(|judgement| judgement.trust == Trust::New);
    new.map(|judgement| known_hosts::add(&file, name, port, &judgement.key.key, target.hash_known_hosts)).collect()
}

pub(crate) fn writable(target: &Target) -> Result<PathBuf> {
    target.user_known_hosts.first().cloned().filter(|file| file != Path::new("/dev/null")).ok_or_else(|| {
        Error::failed(format!("host `{}` has no file for host keys: its UserKnownHostsFile is `none`", target.name))
            .help("name a file by `UserKnownHostsFile` in ~/.ssh/config")
    })
}

/// A line of a file as a cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Line(String);

#[cfg(test)]
mod tests;
