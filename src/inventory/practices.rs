//! The files of practices: `practices/*.md` of the inventory, and those of a repo.

use std::path::Path;

use super::repos::Repo;
use super::yaml;
use crate::error::{Diagnostic, Diagnostics, Span};

/// The directory below the inventory with what every repo's agents are told.
pub const SHARED: &str = "practices";

/// The largest file of practices that is read, in bytes. Every run is given all of them: what is longer is not read by
/// anybody, whoever it is.
pub const MAX_FILE_BYTES: usize = 256 << 10;

/// How many files of practices there may be in one directory.
pub const MAX_FILES: usize = 256;

/// One file: its name, its path below the inventory, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, by which a repo's own file overrides a shared one: `pull-requests.md`.
    pub name: String,
    /// Its path below the inventory, as people see it: `practices/harb/pull-requests.md`.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// The shared files, by name; none where there is no such directory. Every problem goes to `problems`; `None` when one of
/// them means that a rule could be missed: a file that cannot be read, say.
pub fn shared(dir: &Path, problems: &mut Diagnostics) -> Option<Vec<File>> {
    match dir.join(SHARED).symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        _ => files(dir, SHARED, problems),
    }
}

/// The files of `repo`'s own, as [`shared`] has the others: a directory that it names and that is not there is a problem.
pub fn own(dir: &Path, repo: &Repo, problems: &mut Diagnostics) -> Option<Vec<File>> {
    let clean = |path: &str| path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/");
    match repo.practices.as_deref().map(clean) {
        // The shared ones once more would change nothing.
        None => Some(Vec::new()),
        Some(own) if own == SHARED => Some(Vec::new()),
        Some(own) if !dir.join(&own).is_dir() => {
            let told = format!("`repos.{}.practices`: there is no directory {}", repo.name, dir.join(&own).display());
            let help = format!("make it, with files such as {own}/pull-requests.md, or remove the key");
            problems.push(Diagnostic::error(told).at(&repo.place.source, repo.place.span).help(help));
            None
        }
        Some(own) => files(dir, &own, problems),
    }
}

/// The `*.md` of one directory, by name; those in directories below it are not its own.
fn files(dir: &Path, below: &str, problems: &mut Diagnostics) -> Option<Vec<File>> {
    let path = dir.join(below);
    let cannot =
        |error: std::io::Error| Diagnostic::error(format!("cannot read the directory {}: {error}", path.display()));
    let entries = std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| problems.push(cannot(error))).ok()?;
    let mut names = Vec::new();
    let mut whole = true;
    for entry in entries {
        let name = entry.file_name();
        // `.#tests.md` is what an editor leaves while it has tests.md open.
        let bytes = name.as_encoded_bytes();
        if !bytes.ends_with(b".md") || bytes.starts_with(b".") {
            continue;
        }
        match name.into_string() {
            Ok(name) if !name.chars().any(char::is_control) => names.push(name),
            Ok(name) => odd(&name, &path, problems, &mut whole),
            Err(name) => odd(&name.to_string_lossy(), &path, problems, &mut whole),
        }
    }
    names.sort();
    if names.len() > MAX_FILES {
        problems.push(
            Diagnostic::error(format!(
                "{} has {} files of practices, more than {MAX_FILES}",
                path.display(),
                names.len()
            ))
            .help("every run is given all of them: keep what agents must know"),
        );
        return None;
    }
    let mut files = Vec::new();
    for name in names {
        match read(&path.join(&name)) {
            Ok(text) => files.push(File { path: format!("{below}/{name}"), name, text }),
            Err(problem) => {
                problems.push(problem);
                whole = false;
            }
        }
    }
    whole.then_some(files)
}

fn odd(name: &str, path: &Path, problems: &mut Diagnostics, whole: &mut bool) {
    let shown = name.escape_debug();
    problems.push(Diagnostic::error(format!("{}: `{shown}` is no name for a file", path.display())).help("rename it"));
    *whole = false;
}

/// Reads one file whole.
fn read(path: &Path) -> Result<String, Diagnostic> {
    let source = yaml::read(path)?;
    if source.text.len() > MAX_FILE_BYTES {
        // The first line that is too much.
        let line = source.text.as_bytes().iter().take(MAX_FILE_BYTES).filter(|byte| **byte == b'\n').count() + 1;
        let start = source.text.len();
        let told = format!("{} is larger than {} KiB", path.display(), MAX_FILE_BYTES >> 10);
        return Err(Diagnostic::error(told)
            .at(&source, Span { line, column: 1, start, end: start })
            .help("every run is given all of it: keep what agents must know"));
    }
    Ok(source.text.clone())
}
