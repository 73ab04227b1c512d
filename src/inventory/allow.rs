//! Which inventories may run commands. One that was found by standing in a directory could be anybody's, so its
//! `{command: ...}` tokens, remedies and alarm commands run only once a person has allowed that very content.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::yaml::MAX_FILE_BYTES;
use crate::error::{Error, Result};

/// How many files an inventory may have, so that hashing one is bounded.
const MAX_FILES: usize = 10_000;

/// The list of allowed inventories: a text file, a line `SHA256 DIRECTORY` each.
#[derive(Clone, Debug)]
pub struct AllowList {
    /// The file.
    pub path: PathBuf,
}

impl AllowList {
    /// The list in `state_home`, the directory that holds every fleet's state.
    pub fn in_state(state_home: &Path) -> AllowList {
        AllowList { path: state_home.join("allowed-inventories") }
    }

    /// Whether `dir` is allowed with the content that it has now.
    ///
    /// # Errors
    /// When the directory or the list cannot be read.
    pub fn allows(&self, dir: &Path) -> Result<bool> {
        let line = line(dir)?;
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.lines().any(|known| known == line)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::failed(format!("cannot read {}", self.path.display())).because(error)),
        }
    }

    /// Allows `dir` with the content that it has now; says whether that is news.
    ///
    /// # Errors
    /// When the directory cannot be read or the list cannot be written.
    pub fn allow(&self, dir: &Path) -> Result<bool> {
        if self.allows(dir)? {
            return Ok(false);
        }
        let line = line(dir)?;
        let cannot = |error| Error::failed(format!("cannot write {}", self.path.display())).because(error);
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(cannot)?;
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path).map_err(cannot)?;
        file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
        Ok(true)
    }
}

/// `SHA256 DIRECTORY`: the hash covers the path, the size and the bytes of every file below the directory.
fn line(dir: &Path) -> Result<String> {
    let cannot = |error| Error::inventory(format!("cannot read {}", dir.display())).because(error);
    let dir = dir.canonicalize().map_err(cannot)?;
    let mut files = Vec::new();
    collect(&dir, &mut files)?;
    files.sort();
    let mut hash = Context::new(&SHA256);
    for path in files {
        let size = fs::metadata(&path).map_err(cannot)?.len();
        if size > MAX_FILE_BYTES {
            return Err(Error::inventory(format!("{} is larger than {} MiB", path.display(), MAX_FILE_BYTES >> 20))
                .help("an inventory is text that people write; move data elsewhere"));
        }
        let bytes = fs::read(&path).map_err(cannot)?;
        let name = path.strip_prefix(&dir).unwrap_or(&path).as_os_str().as_encoded_bytes();
        for part in [name, &bytes] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    // A newline in the path would forge a line of the list.
    Ok(format!("{hex} {}", dir.display().to_string().escape_debug()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let cannot = |error| Error::inventory(format!("cannot read {}", dir.display())).because(error);
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        // A link to a directory is not followed: it could lead round in a circle.
        if entry.file_type().map_err(cannot)?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(Error::inventory(format!("more than {MAX_FILES} files in {}", dir.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_is_allowed_by_its_path_and_content() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        for dir in [&one, &two] {
            fs::create_dir_all(dir.join("group_vars")).unwrap();
            fs::write(dir.join("hosts.yml"), "all:\n").unwrap();
        }
        let list = AllowList::in_state(&root.path().join("state"));
        assert!(!list.allows(&one).unwrap());
        assert!(list.allow(&one).unwrap());
        assert!(!list.allow(&one).unwrap());
        assert!(list.allows(&one).unwrap());
        assert!(!list.allows(&two).unwrap(), "another path");
        fs::write(one.join("group_vars/all.yml"), "x: 1\n").unwrap();
        assert!(!list.allows(&one).unwrap(), "other content");
        fs::remove_file(one.join("group_vars/all.yml")).unwrap();
        assert!(list.allows(&one).unwrap(), "the content that was allowed");
    }
}
