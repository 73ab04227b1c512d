//! The inventory as `ansible-inventory --graph` prints it.

use super::Hosts;
use super::groups::ALL;

/// How many lines there may be: a group stands below each of its parents, so a few lines of YAML can ask for billions.
const MAX_LINES: usize = 1_000_000;

/// Groups as `@name:` and hosts below them, indented by `  |` and `--`; no line break at the end.
pub(super) fn text(hosts: &Hosts) -> String {
    let mut lines = Vec::new();
    group(hosts, ALL, 0, &mut lines);
    if lines.len() >= MAX_LINES {
        lines.push("...".to_owned());
    }
    lines.join("\n")
}

fn group(hosts: &Hosts, index: usize, depth: usize, lines: &mut Vec<String>) {
    let Some(about) = hosts.groups.groups.get(index).filter(|_| lines.len() < MAX_LINES) else { return };
    lines.push(line(&format!("@{}:", about.name), depth));
    for child in &about.children {
        group(hosts, *child, depth + 1, lines);
    }
    if index != ALL {
        let names = about.hosts.iter().filter_map(|host| hosts.groups.hosts.get(*host));
        lines.extend(names.map(|host| line(&host.name, depth + 1)));
    }
}

fn line(name: &str, depth: usize) -> String {
    if depth == 0 { name.to_owned() } else { format!("{}--{name}", "  |".repeat(depth)) }
}
