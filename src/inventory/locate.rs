//! Which inventory is meant: a flag, a variable, the directory one stands in, or the user's and the machine's own.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, stat};

use crate::error::{Error, Result};

/// How an inventory was found. It decides whether its commands may run unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Named by `-i` or by `FACTORY_INVENTORY`.
    Named,
    /// `./inventory`: found by standing beside it, as in a clone of somebody else's repository.
    Here,
    /// In the user's or the machine's configuration directory.
    Configured,
}

/// Where an inventory is and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The directory that holds `hosts.yml`.
    pub dir: PathBuf,
    /// The hosts file: `hosts.yml` in `dir` unless a file was named.
    pub hosts_yml: PathBuf,
    /// How it was found.
    pub found: Found,
}

/// What the search looks at, apart from the file system.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `-i/--inventory` or `$FACTORY_INVENTORY`: a directory, or the hosts file in it.
    pub named: Option<PathBuf>,
    /// The working directory: `.`, which is also how messages show it best.
    pub here: PathBuf,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `/etc`.
    pub etc: PathBuf,
}

/// Finds the inventory in the order of the manual: named, `./inventory` if it has a `factory.yml`, the user's
/// configuration, `/etc/factory`.
///
/// # Errors
/// Exit 3 when a named one is not there, when none is found, and when its directory may be written by everybody.
pub fn locate(search: &Search) -> Result<Location> {
    let location = find(search)?;
    refuse_world_writable(&location.dir)?;
    Ok(location)
}

fn find(search: &Search) -> Result<Location> {
    if let Some(named) = &search.named {
        let shown = named.display();
        return if named.is_dir() {
            Ok(in_dir(named.clone(), Found::Named))
        } else if named.is_file() {
            let parent = named.parent().filter(|parent| !parent.as_os_str().is_empty());
            let dir = parent.unwrap_or(Path::new(".")).to_path_buf();
            Ok(Location { dir, hosts_yml: named.clone(), found: Found::Named })
        } else {
            Err(Error::inventory(format!("there is no inventory at {shown}"))
                .help(format!("`factory init {shown}` writes one to start from")))
        };
    }
    let here = search.here.join("inventory");
    if here.join("factory.yml").is_file() {
        return Ok(in_dir(here, Found::Here));
    }
    let places = [
        search.config_home.as_ref().map(|home| home.join("factory/inventory")),
        Some(search.etc.join("factory/inventory")),
    ];
    if let Some(dir) = places.iter().flatten().find(|dir| dir.is_dir()) {
        return Ok(in_dir(dir.clone(), Found::Configured));
    }
    let looked: Vec<String> =
        std::iter::once(&here).chain(places.iter().flatten()).map(|dir| dir.display().to_string()).collect();
    Err(Error::inventory(format!("no inventory found; looked for {}", looked.join(", ")))
        .help("`factory init` writes one to start from; `-i DIR` or FACTORY_INVENTORY names one"))
}

fn in_dir(dir: PathBuf, found: Found) -> Location {
    let hosts_yml = dir.join("hosts.yml");
    Location { dir, hosts_yml, found }
}

/// Whoever can write the inventory can run commands on every host as this user.
fn refuse_world_writable(dir: &Path) -> Result<()> {
    let shown = dir.display();
    let mode = stat(dir).map_err(|error| Error::inventory(format!("cannot look at {shown}")).because(error))?.st_mode;
    if Mode::from_raw_mode(mode).contains(Mode::WOTH) {
        return Err(Error::inventory(format!("everybody may write to {shown}, so it is not trusted"))
            .help(format!("chmod o-w {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exit::Exit;

    fn search(root: &Path) -> Search {
        Search { named: None, here: root.join("here"), config_home: Some(root.join("config")), etc: root.join("etc") }
    }

    fn make(dir: &Path, file: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(file), "").unwrap();
    }

    #[test]
    fn the_order_is_the_documented_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let mut search = search(root);
        let error = locate(&search).unwrap_err();
        assert_eq!(error.exit(), Exit::Inventory);
        assert!(error.advice().unwrap().contains("factory init"));

        make(&root.join("etc/factory/inventory"), "hosts.yml");
        assert_eq!(locate(&search).unwrap().dir, root.join("etc/factory/inventory"));
        make(&root.join("config/factory/inventory"), "hosts.yml");
        assert_eq!(locate(&search).unwrap().dir, root.join("config/factory/inventory"));
        // Without a factory.yml a directory of that name is somebody's Ansible inventory, not ours.
        make(&root.join("here/inventory"), "hosts.yml");
        assert_eq!(locate(&search).unwrap().found, Found::Configured);
        make(&root.join("here/inventory"), "factory.yml");
        assert_eq!(locate(&search).unwrap().found, Found::Here);
        make(&root.join("named"), "prod.yml");
        search.named = Some(root.join("named/prod.yml"));
        let location = locate(&search).unwrap();
        assert_eq!((location.found, location.hosts_yml), (Found::Named, root.join("named/prod.yml")));
        search.named = Some("nowhere".into());
        assert!(locate(&search).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_world_writable_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("named");
        make(&dir, "hosts.yml");
        let search = Search { named: Some(dir.clone()), ..search(root.path()) };
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let error = locate(&search).unwrap_err();
        assert_eq!(error.exit(), Exit::Inventory);
        assert!(error.advice().unwrap().starts_with("chmod o-w "));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(locate(&search).is_ok());
    }
}
