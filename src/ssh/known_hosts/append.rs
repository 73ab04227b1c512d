//! Adding a host key to a known_hosts file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::line::{Line, Marker};
use super::names::Names;
use super::{PORT, fingerprint, host_name};
use crate::error::{Error, Result};

/// What ssh never writes into a file, since it has a meaning there, with what would end the field or the list.
const NOT_IN_NAMES: &str = "@?*#[]|'\"\\!,";

/// A key that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key's fingerprint, `SHA256:...`.
    pub fingerprint: String,
}

/// The line that holds `key` for `name` and `port`, without its line feed; with `salt` the name is hashed.
///
/// # Errors
/// A name that means something else in that file: empty, with blanks, or with one of `@?*#[]|'"\!,`.
pub fn text(name: &str, port: u16, key: &PublicKey, salt: Option<[u8; 20]>) -> Result<String> {
    let plain = inner(name, port);
    if plain.is_empty() || plain.chars().any(|c| NOT_IN_NAMES.contains(c) || c.is_whitespace() || c.is_control()) {
        return Err(Error::failed(format!(
            "the host name `{}` cannot stand in a known_hosts file",
            name.escape_debug()
        ))
        .help("give the host a plain name by `HostKeyAlias` in ~/.ssh/config"));
    }
    let host = host_name(name, port);
    let names = match salt {
        None => Names::Patterns(host.into_bytes()),
        Some(salt) => Names::hashed(&host, salt),
    };
    Line { marker: Marker::None, names, key: key.clone() }
        .to_text()
        .ok_or_else(|| Error::failed(format!("the host key {} cannot be written", fingerprint(key))))
}

/// `name` without the brackets and port that a HostKeyAlias may bring along.
fn inner(name: &str, port: u16) -> &str {
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    match bracketed {
        Some((host, digits)) if port == PORT && digits.parse::<u16>().is_ok() => host,
        _ => name,
    }
}

/// Adds `key` for the host `name` to `file`, as its last line; with `hash` the name is hashed, as for `HashKnownHosts`.
///
/// Nobody's lines are lost: the file has no lock that ssh would take, so one whole line is appended in one write (after
/// a line feed, where the last line lacks one), synced and read back; where the file was replaced meanwhile (as
/// `ssh-keygen -R` does), it is added to the new one. A missing directory is made with mode 0700, a missing file with
/// 0600.
///
/// # Errors
/// A name that cannot stand there, or a file that cannot be written.
pub fn add(file: &Path, name: &str, port: u16, key: &PublicKey, hash: bool) -> Result<Added> {
    let failed = |cause: std::io::Error| {
        Error::failed(format!("cannot add the host key to `{}`", file.display()))
            .because(cause)
            .help("check that you may write to that file and that the disk is not full")
    };
    let salt = if hash { Some(salt()?) } else { None };
    let line = text(name, port, key, salt)?;
    if let Some(directory) = file.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    // Three replacements of the file within a few milliseconds are not bad luck.
    for _ in 0..3 {
        append(file, &line).map_err(failed)?;
        if let Some(number) = find(file, &line).map_err(failed)? {
            return Ok(Added { file: file.to_owned(), line: number, fingerprint: fingerprint(key) });
        }
    }
    Err(Error::failed(format!("the host key does not stay in `{}`", file.display()))
        .help("another program keeps replacing that file; stop it and try again"))
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut text = String::with_capacity(line.len() + 2);
    if ends_in_mid_line(&mut file)? {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // A new file is there after a power cut only if its directory was synced too.
    if file.metadata()?.len() == text.len() as u64
        && let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
    {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn ends_in_mid_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.size() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// The number of the last line of `path` that is `line`.
fn find(path: &Path, line: &str) -> std::io::Result<Option<usize>> {
    let bytes = std::fs::read(path)?;
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    Ok(lines.iter().rposition(|have| *have == line.as_bytes()).map(|index| index + 1))
}

fn salt() -> Result<[u8; 20]> {
    let mut salt = [0; 20];
    aws_lc_rs::rand::fill(&mut salt)
        .map_err(|_| Error::failed("the system gives no random bytes for a hashed host name"))?;
    Ok(salt)
}
