//! YAML files -> a typed, checked model: hosts, groups, patterns, repos, agents, policy.

pub mod agents;
pub mod allow;
pub mod argv;
pub mod cross;
pub mod de;
pub mod hosts;
pub mod locate;
pub mod name;
pub mod policy;
pub mod practices;
pub mod repos;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod starter;
pub mod units;
pub mod url;
pub mod yaml;

use self::hosts::Hosts;
use self::locate::Location;
use self::repos::Repos;
use self::settings::Settings;
use crate::error::Diagnostics;

/// Everything that the files say, checked.
#[derive(Debug)]
pub struct Inventory {
    /// Where it was found.
    pub location: Location,
    /// `hosts.yml` with `group_vars/` and `host_vars/`.
    pub hosts: Hosts,
    /// `factory.yml`; its defaults where there is none.
    pub settings: Settings,
    /// `repos.yml`; none where there is no such file.
    pub repos: Repos,
}

impl Inventory {
    /// Reads the three files. Every problem goes to `problems`; `None` when the hosts or the settings cannot be used.
    /// A broken repo, or a host with a wrong value, is told and left out of what it would take part in.
    pub fn load(location: Location, problems: &mut Diagnostics) -> Option<Inventory> {
        let hosts = Hosts::load(&location.hosts_yml, problems);
        // Read even when it cannot be used, so that repos.yml is checked against it and all is told in one go.
        let (settings, whole) = Settings::read(&location.dir.join("factory.yml"), problems);
        let known = settings.unwrap_or_default();
        let repos = Repos::load(&location.dir.join("repos.yml"), &known, problems).unwrap_or_default();
        let mut inventory = Inventory { location, hosts: hosts?, settings: known, repos };
        let crossed = cross::check(&mut inventory, problems);
        (whole && crossed).then_some(inventory)
    }

    /// What to look for in command lines: `(agent, text)` for every agent that has a `match`.
    pub fn matches(&self) -> Vec<(String, String)> {
        let texts = self.settings.agents.iter();
        texts.filter_map(|(name, agent)| Some((name.clone(), agent.match_text.clone()?))).collect()
    }
}
