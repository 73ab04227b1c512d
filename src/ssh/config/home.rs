//! Two home directories: that of `$HOME`, which people and tools mean, and that of passwd, which ssh takes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The user's home directory, and that which ssh takes for it.
#[derive(Debug, Default)]
pub(super) struct Home {
    home: Option<PathBuf>,
    /// Passwd's home, where the two differ.
    other: Option<PathBuf>,
}

/// A configuration file that includes the user's and the system's; removed with this value.
#[derive(Debug)]
pub(super) struct Included(PathBuf);

impl Drop for Included {
    fn drop(&mut self) {
        // A file left in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Home {
    /// `home` is `$HOME`, `passwd` what ssh takes for it.
    pub(super) fn new(home: PathBuf, passwd: Option<PathBuf>) -> Home {
        let other = passwd.filter(|passwd| *passwd != home);
        Home { home: Some(home), other }
    }

    /// The home directory itself.
    pub(super) fn path(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The file that ssh must read instead of its own, where it would read another user's home.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn include(&self) -> Result<Option<Included>> {
        match (&self.home, &self.other) {
            (Some(home), Some(_)) => Included::write(home).map(Some),
            _ => Ok(None),
        }
    }

    /// A path from ssh's answer as the user means it: `~` and passwd's home are `$HOME`.
    pub(super) fn translate(&self, path: PathBuf) -> PathBuf {
        let Some(home) = &self.home else { return path };
        if let Ok(rest) = path.strip_prefix("~") {
            return home.join(rest);
        }
        match self.other.as_ref().and_then(|passwd| path.strip_prefix(passwd).ok()) {
            Some(rest) => home.join(rest),
            None => path,
        }
    }
}

impl Included {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn write(home: &Path) -> Result<Included> {
        let failed = |cause: std::io::Error| {
            Error::failed("cannot write a temporary file for `ssh -G`")
                .because(cause)
                .help("$HOME differs from the home directory in passwd, so ssh needs to be told of it; check TMPDIR")
        };
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::failed("the system gives no random bytes"))?;
        let name = format!("factory-ssh-{:016x}.conf", u64::from_ne_bytes(random));
        let included = Included(std::env::temp_dir().join(name));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&included.0).map_err(failed)?;
        let user = pattern(&home.join(".ssh/config").display().to_string());
        file.write_all(format!("Include \"{user}\"\nInclude /etc/ssh/ssh_config\n").as_bytes()).map_err(failed)?;
        Ok(included)
    }
}

/// `path` as a quoted `Include` argument that stands for that one file: it is unquoted first and then read as a glob.
fn pattern(path: &str) -> String {
    let glob: String = path.chars().flat_map(|c| if "*?[\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
    glob.replace('\\', "\\\\").replace('"', "\\\"")
}
