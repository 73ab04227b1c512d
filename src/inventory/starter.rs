//! The inventory that `factory init` writes: commented, valid as it is, with this machine as its one host.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Each file's path below the directory, and its text.
pub const FILES: [(&str, &str); 4] = [
    ("hosts.yml", include_str!("starter/hosts.yml")),
    ("repos.yml", include_str!("starter/repos.yml")),
    ("factory.yml", include_str!("starter/factory.yml")),
    ("practices/pull-requests.md", include_str!("starter/practices/pull-requests.md")),
];

/// The files that [`write`] would make in `dir`.
///
/// # Errors
/// Exit 1: one of them is there already.
pub fn plan(dir: &Path) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = FILES.iter().map(|(name, _)| dir.join(name)).collect();
    // A dangling link counts as there: writing through it would make a file elsewhere.
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Error::failed(format!("{} is there already; nothing was written", there.display()))
            .help("name another directory, or move the file away: init never overwrites"));
    }
    Ok(paths)
}

/// Writes the starter inventory into `dir`, which is made if need be, and says which files it wrote.
///
/// # Errors
/// Exit 1: one of the files is there already, or cannot be written. Then none is written.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>> {
    let paths = plan(dir)?;
    let mut written: Vec<PathBuf> = Vec::new();
    for ((_, text), path) in FILES.iter().zip(&paths) {
        if let Err(error) = create(path, text) {
            // Only what this call made: `create` never opens a file that was there.
            for path in &written {
                let _ = std::fs::remove_file(path);
            }
            return Err(Error::failed(format!("cannot write {}; nothing was written", path.display())).because(error));
        }
        written.push(path.clone());
    }
    Ok(written)
}

/// Makes one file that is not there.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if done.is_err() {
        let _ = std::fs::remove_file(path);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_every_file_and_a_second_time_none() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b");
        let written = write(&target).unwrap();
        assert_eq!(written.len(), FILES.len());
        for ((name, text), path) in FILES.iter().zip(&written) {
            assert_eq!(path, &target.join(name));
            assert_eq!(&std::fs::read_to_string(path).unwrap(), text);
        }
        std::fs::write(target.join("hosts.yml"), "mine").unwrap();
        let error = write(&target).unwrap_err();
        assert!(error.to_string().contains("hosts.yml"), "{error}");
        assert_eq!(std::fs::read_to_string(target.join("hosts.yml")).unwrap(), "mine");
    }

    #[test]
    fn one_file_that_is_there_stops_all() {
        for (name, _) in FILES {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // A link to nowhere is a file that is there.
            std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
            assert!(write(dir.path()).unwrap_err().to_string().contains(name));
            let files = FILES.iter().filter(|(name, _)| dir.path().join(name).exists()).count();
            assert_eq!(files, 0);
            assert!(!dir.path().join("elsewhere").exists());
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // `practices` is a file, so the last one fails.
        std::fs::write(dir.path().join("practices"), "").unwrap();
        assert!(write(dir.path()).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
