//! Crontabs to look at: what they are now, and what the guard kept of what they were. Nothing is changed; who edits them
//! goes through the guard, which reads them to the byte.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::remote::form::{number, printable};
use crate::remote::guard::Table;

/// The crontabs of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crontabs {
    /// Each as `crontab -l` shows it; one that is not there is empty.
    pub tables: Vec<(Table, Vec<u8>)>,
    /// Why the login's own cannot be read, if it cannot.
    pub refused: Option<String>,
    /// What the guard kept, the oldest first.
    pub backups: Vec<Backup>,
    /// The bytes of the backup that was asked for.
    pub backup: Option<Vec<u8>>,
}

/// A crontab as it was before the guard changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The file's name in `cron/` of the home: `YYYYMMDDThhmmssZ.user`, with `.first` behind the first of all.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

impl Backup {
    /// Which table it was.
    pub fn table(&self) -> Table {
        let name = self.name.split_once('.').map_or("", |(_, name)| name);
        match name.strip_suffix(".first").unwrap_or(name) {
            "user" => Table::User,
            other => Table::System(other.to_owned()),
        }
    }

    /// When it was made, for people.
    pub fn time(&self) -> String {
        let stamp = self.name.split_once('.').map_or("", |(stamp, _)| stamp);
        let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", stamp);
        at.map_or_else(|_| stamp.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
    }
}

impl Crontabs {
    /// The login's own.
    pub fn user(&self) -> &[u8] {
        let own = self.tables.iter().find(|(table, _)| *table == Table::User);
        own.map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }
}

/// The POSIX shell program that shows them, for a host whose `factory_home` is `home`, with the bytes of one backup.
///
/// # Errors
/// A NUL in `home`; a backup with a name that none can have.
pub fn script(home: &str, backup: Option<&str>) -> Result<String> {
    let plain =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let name = backup.unwrap_or_default();
    if backup.is_some() && !plain(&name) {
        return Err(Error::usage(format!("{name:?} is no backup")).help("`factory cron show HOST` lists them"));
    }
    let home = shlex::try_quote(home)
        .map_err(|_| Error::inventory(format!("the factory_home {home:?} holds a NUL")).help("write it without"))?;
    Ok(format!("{}\n{{ tables {home} '{name}'; }}\n", include_str!("read.sh")))
}

/// Reads the program's answer; `None` when it did not come whole.
pub fn parse(output: &[u8]) -> Option<Crontabs> {
    let end = output.windows(5).position(|part| part == b"\nend\n")?;
    let (head, mut bytes) = output.split_at_checked(end + 5)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines().skip_while(|line| *line != "begin factory-crontabs 1");
    lines.next()?;
    let mut found = Crontabs::default();
    let mut names = BTreeMap::new();
    for line in lines {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "end" => {
                found.backups = names.into_values().collect();
                return Some(found);
            }
            "refused" => found.refused = Some(printable(value, 200)),
            "backup" => {
                let (size, name) = value.split_once(' ')?;
                names.insert(name.to_owned(), Backup { name: name.to_owned(), size: number(size)? });
            }
            "table" => {
                let (size, word) = value.split_once(' ')?;
                let (table, rest) = bytes.split_at_checked(usize::try_from(number(size)?).ok()?)?;
                bytes = rest;
                match word {
                    "backup" => found.backup = Some(table.to_vec()),
                    "user" => found.tables.push((Table::User, table.to_vec())),
                    path => {
                        let name = path.strip_prefix("/etc/cron.d/")?;
                        found.tables.push((Table::System(name.to_owned()), table.to_vec()));
                    }
                }
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ask(dir: &std::path::Path, crontab: &str, backup: Option<&str>) -> Vec<u8> {
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        // Written by a process of its own: a program that another thread's child holds open for writing cannot be run.
        let text = format!("#!/bin/sh\n{crontab}\n");
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(bin.join("crontab")).arg(text).status().unwrap();
        assert!(written.success());
        let script = script("~/h o", backup).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", &script]).env("HOME", dir).env("PATH", path).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        output.stdout
    }

    #[test]
    fn tables_and_backups_are_read_and_a_cut_answer_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("h o/cron")).unwrap();
        let first = "20260312T131847Z.user.first";
        let old = b"0 * * * * \xff x\n\n\nend\nno end";
        for (name, bytes) in [(first, old.as_slice()), ("20260313T000000Z.factory-x", b"y\n"), ("written", b"1\n")] {
            std::fs::write(dir.path().join("h o/cron").join(name), bytes).unwrap();
        }
        let output = ask(dir.path(), r"printf '@daily a\n\nend\n  \n\n'", Some(first));
        let found = parse(&output).unwrap();
        assert_eq!(found.user(), b"@daily a\n\nend\n  \n\n");
        assert_eq!(found.backup.as_deref(), Some(old.as_slice()));
        let told: Vec<String> =
            found.backups.iter().map(|one| format!("{} {} {}", one.table().word(), one.size, one.time())).collect();
        assert_eq!(told, ["user 26 2026-03-12 13:18:47 UTC", "/etc/cron.d/factory-x 2 2026-03-13 00:00:00 UTC"]);
        // What Debian puts first is cron's own.
        let head =
            "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (x installed on y)\n# (Cron version 3)\n";
        let own = parse(&ask(dir.path(), &format!("cat <<'E'\n{head}# mine\n@daily a\nE"), None)).unwrap();
        assert_eq!(own.user(), b"# mine\n@daily a\n");
        for cut in 0..output.len() {
            assert_eq!(parse(&output[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn no_crontab_is_an_empty_one_and_a_refusal_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let none = parse(&ask(dir.path(), "echo no crontab for me >&2; exit 1", None)).unwrap();
        assert_eq!((none.user(), &none.refused), (b"".as_slice(), &None));
        let refused = parse(&ask(dir.path(), "echo You may not >&2; exit 1", None)).unwrap();
        assert_eq!(refused.refused.as_deref(), Some("crontab -l: You may not"));
        assert!(script("~", Some("../x")).is_err() && script("~", Some("")).is_err());
    }
}
