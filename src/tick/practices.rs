//! The practices of a repo as its runs are given them: read, merged, and within their bound.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Diagnostic, Diagnostics, Error, Result, SourceFile, Span};
use crate::inventory::Inventory;
use crate::inventory::practices::{File, own, shared};
use crate::inventory::repos::Repo;
use crate::inventory::units::Bytes;
use crate::policy::practices::{MAX_BYTES, Practice, merge, text};

/// The merged practices of `repo` in the inventory's directory `dir`; of no repo: the shared ones alone.
///
/// # Errors
/// Exit 3, with the problems: a file cannot be read, a directory that the repo names is not there, or all of it together
/// is larger than [`MAX_BYTES`]. An agent that misses a rule in silence is worse than one that waits.
pub fn practices(dir: &Path, repo: Option<&Repo>) -> Result<Vec<Practice>> {
    let mut problems = Diagnostics::default();
    let shared = shared(dir, &mut problems);
    let merged = merged(dir, shared.as_deref(), repo, &mut problems);
    merged.filter(|_| !problems.has_errors()).ok_or_else(|| {
        let whose = repo.map_or("the shared practices".to_owned(), |repo| format!("the practices of `{}`", repo.name));
        // Where only one line is told, in an event say, it names the file too.
        let first = problems.iter().next().map(|problem| match &problem.place {
            Some(place) => format!(": {place}: {}", problem.message),
            None => format!(": {}", problem.message),
        });
        Error::inventory(format!("{whose} cannot be used{}", first.unwrap_or_default()))
            .help("mend that, then `factory inventory check --offline` tells whether all is well")
            .with(problems)
    })
}

/// What is wrong with the practices of any repo, each problem once.
pub fn check(inventory: &Inventory) -> Vec<Diagnostic> {
    let dir = &inventory.location.dir;
    let mut problems = Diagnostics::default();
    let shared = shared(dir, &mut problems);
    // A repo that has none of its own has the shared ones.
    let own = inventory.repos.repos.iter().filter(|repo| repo.practices.is_some());
    for repo in std::iter::once(None).chain(own.map(Some)) {
        merged(dir, shared.as_deref(), repo, &mut problems);
    }
    let mut once: Vec<Diagnostic> = Vec::new();
    for problem in problems {
        if !once.contains(&problem) {
            once.push(problem);
        }
    }
    once
}

/// Merges, and measures. Without the shared ones only the repo's own are looked at.
fn merged(
    dir: &Path,
    shared: Option<&[File]>,
    repo: Option<&Repo>,
    problems: &mut Diagnostics,
) -> Option<Vec<Practice>> {
    let own = match repo {
        Some(repo) => own(dir, repo, problems)?,
        None => Vec::new(),
    };
    let merged = merge(shared?, &own);
    let size = text(&merged, false).len();
    if size > MAX_BYTES {
        let longest = shared?.iter().chain(&own).min_by_key(|file| Reverse(file.text.len()));
        problems.push(too_large(dir, size, repo, longest));
        return None;
    }
    Some(merged)
}

fn too_large(dir: &Path, size: usize, repo: Option<&Repo>, longest: Option<&File>) -> Diagnostic {
    let whose = repo.map_or("the shared practices".to_owned(), |repo| format!("the practices of `{}`", repo.name));
    let bytes = |bytes: usize| Bytes(bytes as u64);
    let told = format!("{whose} are {} together, more than {}", bytes(size), bytes(MAX_BYTES));
    let problem = Diagnostic::error(told).help("every run is given all of it: keep what agents must know");
    let Some(file) = longest else { return problem };
    let source = SourceFile { path: dir.join(&file.path), text: file.text.clone() };
    let span = Span { line: 1, column: 1, start: 0, end: 0 };
    problem.at(&Arc::new(source), span).label(format!("the longest of its files, with {}", bytes(file.text.len())))
}
