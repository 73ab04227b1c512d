//! Whether a host shows what the ledger says is held there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use factory::ledger::{Document, Ledger};
use factory::policy::hold::{Hold, Pick};

/// Agents as the inventories of these tests have them, and whether each is of class supervisor.
pub const AGENTS: [(&str, bool); 3] = [("dev", false), ("review", false), ("supervisor", true)];

/// Halt files and what is in them.
pub type Files = BTreeMap<String, String>;

/// The ledger of a state directory; `None` when there is none.
pub fn document(state: &Path) -> Option<Document> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ledger = Ledger::open_to_read(state).unwrap()?;
    runtime.block_on(ledger.read()).unwrap().map(|(_, document)| document)
}

/// The holds that are not over.
pub fn holds(state: &Path) -> Vec<Hold> {
    let holds = document(state).map(|document| document.holds).unwrap_or_default();
    holds.into_iter().filter(|hold| hold.ended.is_none()).collect()
}

/// The halt files in `home`, a factory's home on this machine. A name with a leading dot is none: it is what a guard that
/// still works is about to bring into place; and what goes while we look is gone.
pub fn files(home: &Path) -> Files {
    let Ok(entries) = std::fs::read_dir(home.join("halt")) else { return Files::new() };
    let text = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            return None;
        }
        match std::fs::read(entry.path()) {
            Ok(bytes) => Some((name, String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("{name}: {error}"),
        }
    };
    entries.filter_map(|entry| text(entry.unwrap())).collect()
}

/// What `host` must show, worked out anew, so that it is no echo of the program: by file, the holds.
fn wanted<'a>(holds: &'a [Hold], host: &str) -> BTreeMap<String, Vec<&'a Hold>> {
    let mut wanted: BTreeMap<String, Vec<&Hold>> = BTreeMap::new();
    for hold in holds.iter().filter(|hold| hold.scope.hosts.has(host)) {
        let agents: Vec<&str> = match &hold.scope.agent {
            Pick::All => {
                AGENTS.iter().filter(|(_, top)| !top || hold.scope.supervisor).map(|(name, _)| *name).collect()
            }
            Pick::Names(names) => names.iter().map(String::as_str).collect(),
        };
        for agent in agents {
            let names: Vec<String> = match &hold.scope.repo {
                Pick::All => vec![agent.to_owned()],
                Pick::Names(repos) => repos.iter().map(|repo| format!("{agent}@{repo}")).collect(),
            };
            names.into_iter().for_each(|name| wanted.entry(name).or_default().push(hold));
        }
    }
    wanted
}

/// What is out of order between `holds` and the `files` of `host`; nothing when all is in order.
pub fn out_of_order(holds: &[Hold], host: &str, files: &Files) -> Vec<String> {
    let wanted = wanted(holds, host);
    let mut wrong = Vec::new();
    let surplus = files.keys().filter(|file| !wanted.contains_key(*file));
    wrong.extend(surplus.map(|file| format!("{host} shows {file}, and nothing holds it: {:?}", files[file])));
    for (file, holds) in wanted {
        let Some(text) = files.get(&file) else {
            wrong.push(format!("{host} does not show {file}: {holds:?}"));
            continue;
        };
        let mut lines = BTreeSet::new();
        let mut foreign = text.is_empty();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["manual", id, _, _, _, _, _] => _ = lines.insert(*id),
                _ => foreign = true,
            }
        }
        for hold in holds {
            // What was found there stands for itself: as a text, or as the line of somebody's.
            let own: Vec<&str> = hold.found.iter().flat_map(|found| &found.lines).map(String::as_str).collect();
            let shown = lines.remove(hold.id.as_str());
            let shown = own.iter().fold(shown, |shown, id| lines.remove(id) || shown);
            let by_hand = hold.found.is_some() && foreign;
            if !shown && !by_hand {
                wrong.push(format!("{file} on {host} does not show {hold:?}: {text:?}"));
            }
        }
        wrong.extend(lines.iter().map(|id| format!("{file} on {host} shows {id}, which holds nothing: {text:?}")));
    }
    wrong
}

/// Fails unless each host shows what the ledger in `state` says.
#[track_caller]
pub fn assert_in_order<'a>(state: &Path, hosts: impl IntoIterator<Item = (&'a str, Files)>) {
    let holds = holds(state);
    let wrong: Vec<String> = hosts.into_iter().flat_map(|(host, files)| out_of_order(&holds, host, &files)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\nof {holds:#?}");
}
