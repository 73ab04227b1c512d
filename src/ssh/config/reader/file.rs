//! A file of ssh_config with all that it includes.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::criteria::{self, Criterion, Pattern};
use super::directive::{Kind, kind};
use super::glob;
use super::unsure::Unsure;
use super::value::Value;
use super::words::{self, shown};

/// How deep includes may go; ssh takes 16 files below the first.
const MAX_DEPTH: usize = 14;

/// More than any configuration; a device or a log is none.
const MAX_BYTES: u64 = 4 << 20;

/// A file, read.
#[derive(Debug)]
pub(super) struct File {
    /// Its path, for messages.
    pub(super) name: String,
    /// It is the user's, not the system's.
    pub(super) user: bool,
    /// Its lines with their numbers, from 1.
    pub(super) entries: Vec<(usize, Entry)>,
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Entry {
    Host(Vec<Pattern>),
    Match(Vec<Criterion>),
    Include(Vec<Arc<File>>),
    Set(&'static str, Value),
}

/// What a line says, before the files that it names are read.
pub(super) enum Line {
    Host(Vec<Pattern>),
    Match(Vec<Criterion>),
    Include(Vec<String>),
    Set(&'static str, Value),
    /// Nothing that matters here.
    Nothing,
}

impl Line {
    /// Reads `text`, a line of a file or the value of `-o`.
    ///
    /// # Errors
    /// Why ssh would refuse it, or may.
    pub(super) fn read(text: &str) -> Result<Line, String> {
        let Some((keyword, value)) = words::keyword(text)? else { return Ok(Line::Nothing) };
        let of = |problem: String| format!("`{}`: {problem}", shown(text.trim()));
        match kind(&keyword) {
            None => Err(format!("the directive `{keyword}`")),
            Some(Kind::Host) => criteria::host(value).map(Line::Host).map_err(of),
            Some(Kind::Match) => criteria::matching(value).map(Line::Match),
            Some(Kind::Include) => {
                let paths = words::split(value)?;
                if paths.is_empty() || paths.iter().any(String::is_empty) {
                    return Err(of("an empty path".to_owned()));
                }
                Ok(Line::Include(paths))
            }
            Some(Kind::Used(directive, form)) => Ok(Line::Set(directive, Value::read(form, value).map_err(of)?)),
            Some(Kind::Unused(form)) => Value::read(form, value).map(|_| Line::Nothing).map_err(of),
            Some(Kind::Ignored) => words::split(value).map(|_| Line::Nothing).map_err(of),
        }
    }
}

/// Whose files are read, and where relative includes are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// The files are the user's, not the system's.
    pub(super) user: bool,
    /// What `~` stands for.
    pub(super) home: &'a Path,
    /// Where relative includes are.
    pub(super) directory: &'a Path,
}

impl File {
    /// Reads the file at `path`; `None` where there is none. A `guarded` one must be root's or the user's own, and
    /// nobody else's to write.
    ///
    /// # Errors
    /// A line that is not understood, or a file that cannot be read.
    pub(super) fn read(path: &Path, source: Source<'_>, guarded: bool, depth: usize) -> Result<Option<File>, Unsure> {
        let name = path.display().to_string();
        let unsure = |reason: String| Unsure::new(name.clone(), reason);
        if depth > MAX_DEPTH {
            return Err(unsure("includes without end".to_owned()));
        }
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(unsure(format!("cannot be read: {cause}"))),
        };
        let metadata = file.metadata().map_err(|cause| unsure(format!("cannot be read: {cause}")))?;
        let owner = metadata.uid();
        if guarded && ((owner != 0 && owner != rustix::process::getuid().as_raw()) || metadata.mode() & 0o022 != 0) {
            return Err(unsure("others may write it, which ssh does not accept: chmod go-w it".to_owned()));
        }
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(unsure("no file of configuration".to_owned()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|cause| unsure(format!("cannot be read: {cause}")))?;
        let mut entries = Vec::new();
        for (number, line) in text.split('\n').enumerate().map(|(index, line)| (index + 1, line)) {
            let unsure = |reason: String| Unsure::new(format!("{name}:{number}"), reason);
            let entry = match Line::read(line).map_err(unsure)? {
                Line::Nothing => continue,
                Line::Host(patterns) => Entry::Host(patterns),
                Line::Match(criteria) => Entry::Match(criteria),
                Line::Set(directive, value) => Entry::Set(directive, value),
                Line::Include(paths) => Entry::Include(included(&paths, source, depth, &unsure)?),
            };
            entries.push((number, entry));
        }
        Ok(Some(File { name, user: source.user, entries }))
    }
}

fn included(
    paths: &[String],
    source: Source<'_>,
    depth: usize,
    unsure: &dyn Fn(String) -> Unsure,
) -> Result<Vec<Arc<File>>, Unsure> {
    let mut files = Vec::new();
    for path in paths {
        let path: PathBuf = match path.strip_prefix('~') {
            Some(_) if !source.user => return Err(unsure(format!("`Include {}`", shown(path)))),
            Some("") => source.home.to_owned(),
            Some(rest) => match rest.strip_prefix('/') {
                Some(rest) => source.home.join(rest.trim_start_matches('/')),
                None => return Err(unsure(format!("`Include {}`: another user's home", shown(path)))),
            },
            // `join` takes an absolute path as it is.
            None => source.directory.join(path),
        };
        let path = path.to_str().filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| unsure("an `Include` that is no path from the root".to_owned()))?;
        for path in glob::files(path).map_err(unsure)? {
            let file = File::read(&path, source, true, depth + 1)?;
            files.push(Arc::new(file.ok_or_else(|| unsure(format!("{} leads nowhere", path.display())))?));
        }
    }
    Ok(files)
}
