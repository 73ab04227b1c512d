//! The files that an `Include` names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::pattern;

/// The files that `path` stands for, in the order in which ssh reads them; it is absolute.
///
/// # Errors
/// What the reader does not know, in words: brackets and backslashes, and directories that cannot be read.
pub(super) fn files(path: &str) -> Result<Vec<PathBuf>, String> {
    if path.contains(['[', '\\']) {
        return Err(format!("brackets or backslashes in the path `{path}`"));
    }
    let mut found = vec![PathBuf::from("/")];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let wild = part.contains(['*', '?']);
        let mut next = Vec::new();
        for directory in found {
            if wild {
                matching(&directory, part, &mut next)?;
            } else {
                next.push(directory.join(part));
            }
        }
        found = next;
    }
    let mut there = Vec::new();
    for file in found {
        match std::fs::symlink_metadata(&file) {
            Ok(_) => there.push(file),
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(cause) => return Err(format!("cannot look at {}: {cause}", file.display())),
        }
    }
    there.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(there)
}

fn matching(directory: &Path, part: &str, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |cause: std::io::Error| format!("cannot read the directory {}: {cause}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".") && !part.starts_with('.');
        if !hidden && pattern::matches(name.as_encoded_bytes(), part.as_bytes()) {
            found.push(directory.join(name));
        }
    }
    Ok(())
}
