//! `group_vars/` and `host_vars/` beside `hosts.yml`: a file or a directory per group or host.

use std::path::{Path, PathBuf};

use super::vars::{self, VarSet};
use crate::error::{Diagnostic, Diagnostics};
use crate::inventory::yaml;

/// The endings that Ansible looks for, in its order; a name without ending comes first.
const ENDINGS: [&str; 3] = [".yml", ".yaml", ".json"];

/// How many files one name may have, and how deep its directories may nest: links can make a circle.
const MAX_FILES: usize = 1000;
const MAX_DEPTH: usize = 16;

/// The variables that the files of `name` in `folder` set, the later file over the earlier; empty when there is none.
/// A file that cannot be read goes to `problems`, one that is encrypted to `secrets`.
pub(super) fn read(folder: &Path, name: &str, problems: &mut Diagnostics, secrets: &mut Diagnostics) -> VarSet {
    let mut set = VarSet::default();
    // A name such as `/srv/chroot` or `../x` is a path: Ansible skips the first kind, and the second leads out.
    if name.starts_with('/') || name.split('/').any(|part| part == "..") || name.contains('\0') {
        return set;
    }
    for path in find(folder, name) {
        if let Err(problem) = read_file(&path, &mut set, problems, secrets) {
            problems.push(problem);
        }
    }
    set
}

fn read_file(
    path: &Path,
    set: &mut VarSet,
    problems: &mut Diagnostics,
    secrets: &mut Diagnostics,
) -> Result<(), Diagnostic> {
    let source = yaml::read(path)?;
    if source.text.starts_with("$ANSIBLE_VAULT") {
        let span = crate::error::Span { line: 1, column: 1, start: 0, end: source.text.len() };
        secrets.push(super::check::vault(&crate::error::Place { source, span }));
        return Ok(());
    }
    let Some(root) = yaml::parse_ansible(&source)? else { return Ok(()) };
    let source = yaml::masked(&source, &root);
    let Some(entries) = root.as_mapping() else {
        if vars::is_falsy(&root) {
            return Ok(());
        }
        return Err(Diagnostic::error(format!("expected variables, found {}", root.kind()))
            .at(&source, root.span)
            .help("write `name: value` lines"));
    };
    for entry in entries {
        match vars::read(entry, &source) {
            Ok((name, var)) => set.set(&name, var.into()),
            Err(refusal) => problems.push(
                Diagnostic::error(refusal.message)
                    .at(&source, refusal.span)
                    .help("write it as Ansible reads it, or quote it to make it text"),
            ),
        }
    }
    Ok(())
}

/// The files of `name`: of `name`, `name.yml`, `name.yaml` and `name.json` the first that is there, and when it is a
/// directory what lies in it.
fn find(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let candidates = std::iter::once(String::new()).chain(ENDINGS.map(str::to_owned));
    for ending in candidates {
        let path = folder.join(format!("{name}{ending}"));
        let Ok(about) = std::fs::metadata(&path) else { continue };
        if about.is_dir() {
            list(&path, 0, &mut found);
        } else {
            found.push(path);
        }
        break;
    }
    found
}

/// The files below `folder` in Ansible's order: by name, directories where they stand, hidden files and backups left
/// out, as are files of other endings and directories with one.
fn list(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    for name in names {
        if name.starts_with('.') || name.ends_with('~') || found.len() >= MAX_FILES {
            continue;
        }
        let path = folder.join(&name);
        let ending = name.rfind('.').and_then(|at| name.get(at..)).unwrap_or_default();
        let Ok(about) = std::fs::metadata(&path) else { continue };
        if about.is_dir() {
            if ending.is_empty() && depth < MAX_DEPTH {
                list(&path, depth + 1, found);
            }
        } else if about.is_file() && (ending.is_empty() || ENDINGS.contains(&ending)) {
            found.push(path);
        }
    }
}

/// Names in `folder` that fit none of `known`, with the path: a file that nobody reads is mostly a typing error.
pub(super) fn strangers(folder: &Path, known: impl Fn(&str) -> bool) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
        .into_iter()
        .filter(|name| !name.starts_with('.') && !name.ends_with('~'))
        .filter_map(|name| {
            let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
            // A directory of this name may be part of a host's name with a `/`; those are rare enough to leave out.
            (!known(&name) && !known(stem)).then(|| (stem.to_owned(), folder.join(&name)))
        })
        .collect()
}
