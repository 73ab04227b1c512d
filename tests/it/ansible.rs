//! Our answers against ansible-core's own, over every inventory in tests/it/ansible. Its `VERSION` says which
//! ansible-core; `regenerate.sh` there asks it again.

use std::path::{Path, PathBuf};

use factory::error::Diagnostics;
use factory::exit::Exit;
use factory::inventory::hosts::Hosts;
use serde_json::Value;

fn inventories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ansible");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn load(inventory: &Path) -> Hosts {
    let mut problems = Diagnostics::default();
    Hosts::load(&inventory.join("hosts.yml"), &mut problems)
        .unwrap_or_else(|| panic!("{}: {:?}", inventory.display(), messages(&problems)))
}

fn messages(problems: &Diagnostics) -> Vec<&str> {
    problems.iter().map(|problem| problem.message.as_str()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_answers_say_who_gave_them() {
    let version = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ansible/VERSION"));
    assert!(version.starts_with("ansible-core 2."), "{version}");
}

#[test]
fn lists_equal_those_of_ansible_inventory() {
    let inventories = inventories();
    assert!(inventories.len() >= 30);
    let mut wrong = Vec::new();
    for inventory in inventories {
        let mut want: Value = serde_json::from_str(&read(&inventory.join("expected-list.json"))).unwrap();
        want["_meta"].as_object_mut().unwrap().remove("profile");
        let got = load(&inventory).list_json();
        if got != want {
            wrong.push(difference(&inventory.display().to_string(), &want, &got));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn limited_lists_equal_those_of_ansible_inventory() {
    let mut checked = 0;
    for inventory in inventories().into_iter().filter(|inventory| inventory.join("limit.txt").exists()) {
        let mut want: Value = serde_json::from_str(&read(&inventory.join("expected-limited.json"))).unwrap();
        want["_meta"].as_object_mut().unwrap().remove("profile");
        let got = load(&inventory).list_json_of(read(&inventory.join("limit.txt")).trim()).unwrap();
        assert!(got == want, "{}", difference(&inventory.display().to_string(), &want, &got));
        checked += 1;
    }
    assert!(checked >= 4);
}

/// The same through the binary, as a user gets it: one that prints nothing else on stdout, and ends with 0 or 3.
#[test]
fn the_verbs_print_what_ansible_prints() {
    let factory = |inventory: &Path, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_factory"));
        command.args(["-q", "-i"]).arg(inventory.join("hosts.yml")).arg("inventory").args(args);
        let output = command.env_clear().output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let mut patterns = 0;
    for inventory in inventories() {
        let (code, list) = factory(&inventory, &["list", "-o", "json"]);
        let mut want: Value = serde_json::from_str(&read(&inventory.join("expected-list.json"))).unwrap();
        want["_meta"].as_object_mut().unwrap().remove("profile");
        assert_eq!((code, serde_json::from_str::<Value>(&list).unwrap()), (Some(0), want), "{}", inventory.display());
        let graph = read(&inventory.join("expected-graph.txt"));
        assert_eq!(factory(&inventory, &["graph"]).1.trim_end(), graph.trim_end(), "{}", inventory.display());
        let Ok(expected) = std::fs::read_to_string(inventory.join("expected-hosts.txt")) else { continue };
        for line in expected.lines() {
            let (pattern, hosts) = line.rsplit_once('\t').unwrap();
            let (code, list) = factory(&inventory, &["list", &format!("--limit={pattern}")]);
            let got: Vec<&str> = list.lines().skip(1).filter_map(|row| row.split("  ").next()).collect();
            match hosts {
                "none" | "error" => assert_eq!(code, Some(3), "{}: {pattern}", inventory.display()),
                // Ansible makes up a `localhost` that is not in the inventory; factory does not.
                "localhost" | "127.0.0.1" | "::1" if code == Some(3) => {}
                hosts => assert_eq!(got.join(" "), hosts, "{}: {pattern}", inventory.display()),
            }
            patterns += 1;
        }
    }
    assert!(patterns >= 100, "{patterns}");
}

/// Where two values differ first.
fn difference(at: &str, want: &Value, got: &Value) -> String {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for key in want.keys().chain(got.keys()) {
                let (a, b) = (want.get(key).unwrap_or(&Value::Null), got.get(key).unwrap_or(&Value::Null));
                if a != b || want.contains_key(key) != got.contains_key(key) {
                    return difference(&format!("{at} > {key}"), a, b);
                }
            }
            at.to_owned()
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            let index = want.iter().zip(got).position(|(a, b)| a != b).unwrap_or(0);
            difference(&format!("{at} > {index}"), &want[index], &got[index])
        }
        _ => format!("{at}: want {want}, got {got}"),
    }
}

#[test]
fn graphs_equal_those_of_ansible_inventory() {
    for inventory in inventories() {
        let want = read(&inventory.join("expected-graph.txt"));
        assert_eq!(load(&inventory).graph(), want.trim_end_matches('\n'), "{}", inventory.display());
    }
}

#[test]
fn patterns_select_what_ansible_lists() {
    let (mut count, mut wrong) = (0, Vec::new());
    for inventory in inventories() {
        let file = inventory.join("expected-hosts.txt");
        if !file.exists() {
            continue;
        }
        let hosts = load(&inventory);
        for line in read(&file).lines() {
            let (pattern, want) = line.split_once('\t').unwrap();
            count += 1;
            let got = match hosts.select(pattern) {
                Ok(found) => found.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" "),
                Err(error) => {
                    assert_eq!(error.exit(), Exit::Inventory);
                    assert!(error.advice().is_some(), "{pattern}: no hint");
                    "none".to_owned()
                }
            };
            // Ansible has two ways to say that nothing matched, and makes up a host for three names of this machine.
            let made_up = ["localhost", "127.0.0.1", "::1"].contains(&want) && hosts.get(want).is_none();
            let want = if want == "error" || made_up { "none" } else { want };
            if got != want {
                wrong.push(format!("{}: `{pattern}`: want {want}, got {got}", inventory.display()));
            }
        }
    }
    assert!(count >= 90, "only {count} patterns");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
