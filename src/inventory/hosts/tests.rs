//! What factory reads of hosts, and how mistakes are told.

use super::*;
use crate::inventory::units::Bytes;
use crate::render::diagnostic::{Style, diagnostic};

/// An inventory of several files: `path` and text.
fn load(files: &[(&str, &str)]) -> (Option<Hosts>, Diagnostics, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut problems = Diagnostics::default();
    let hosts = Hosts::load(&folder.path().join("hosts.yml"), &mut problems);
    (hosts, problems, folder)
}

fn hosts(text: &str) -> Hosts {
    let (hosts, problems, _) = load(&[("hosts.yml", text)]);
    hosts.unwrap_or_else(|| panic!("{problems:?}"))
}

/// Every problem of an inventory, as people see it.
fn told(files: &[(&str, &str)]) -> String {
    let (_, problems, folder) = load(files);
    let text: Vec<String> = problems.iter().map(|problem| diagnostic(problem, Style::PLAIN)).collect();
    text.join("").replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn settings_are_read_where_they_are_set_and_have_defaults() {
    let hosts = hosts(
        "all:
  vars: {ansible_user: agent, base: 2200, factory_reserve: 2GiB}
  hosts:
    plain:
    \"[2001:db8::1]:2222\":
    full:
      ansible_host: 192.0.2.1
      ansible_port: \"{{ base + 22 }}\"
      ansible_connection: ansible.builtin.ssh
      ansible_ssh_private_key_file: ~/.ssh/{{ inventory_hostname }}
      ansible_ssh_common_args: -o ProxyJump=bastion
      factory_home: /srv/factory
      factory_slots: 3
      factory_labels: [dev, \"{{ base }}\"]
      factory_reserve: 1073741824
      factory_disks: [/, ~/work]
    old: {ansible_ssh_host: 192.0.2.2, ansible_host: other, ansible_ssh_port: 23, ansible_ssh_user: root}
    here: {ansible_connection: local, factory_labels: one, ansible_user: !unsafe \"{{ x }}\"}
",
    );
    let host = |name: &str| hosts.get(name).unwrap();
    let plain = host("plain");
    assert_eq!((plain.address.as_str(), plain.port, plain.connection), ("plain", None, Connection::Ssh));
    assert_eq!((plain.user.as_deref(), plain.home.as_str(), plain.slots), (Some("agent"), DEFAULT_HOME, None));
    assert_eq!(plain.reserve, Some(Bytes(2 << 30)));
    assert!(plain.labels.is_empty() && plain.disks.is_empty() && plain.key_file.is_none());
    let six = host("2001:db8::1");
    assert_eq!((six.address.as_str(), six.port), ("2001:db8::1", Some(2222)));
    let full = host("full");
    assert_eq!((full.address.as_str(), full.port), ("192.0.2.1", Some(2222)));
    assert_eq!(full.key_file.as_deref(), Some("~/.ssh/full"));
    assert_eq!(full.ssh_common_args.as_deref(), Some("-o ProxyJump=bastion"));
    assert_eq!((full.home.as_str(), full.slots, full.reserve), ("/srv/factory", Some(3), Some(Bytes(1 << 30))));
    assert_eq!((full.labels.join(" "), full.disks.join(" ")), ("dev 2200".to_owned(), "/ ~/work".to_owned()));
    let old = host("old");
    assert_eq!((old.address.as_str(), old.port, old.user.as_deref()), ("192.0.2.2", Some(23), Some("root")));
    let here = host("here");
    assert_eq!((here.connection, here.user.as_deref()), (Connection::Local, Some("{{ x }}")));
    assert_eq!(here.labels, ["one"]);
    assert!(hosts.iter().all(|host| !host.problem));
    assert_eq!(full.place("ansible_port").unwrap().span.line, 8);
}

#[test]
fn what_only_factory_minds_still_leaves_an_inventory_to_list() {
    let text = "all:
  vars: {become_x: 1}
  hosts:
    a: {ansible_password: hunter2}
    b: {factory_slots: many}
    c:
      secret_thing: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162
    d: {ansible_host: \"{{ missing }}\"}
    e: {ansible_become: true}
";
    let (hosts, problems, _) = load(&[("hosts.yml", text)]);
    let hosts = hosts.unwrap();
    let unusable: Vec<&str> = hosts.iter().filter(|host| host.problem).map(|host| host.name.as_str()).collect();
    assert_eq!(unusable, ["a", "b", "c", "d"]);
    assert_eq!(hosts.graph().lines().count(), 7);
    assert!(hosts.list_json()["_meta"]["hostvars"]["c"]["secret_thing"].is_object());
    let levels: Vec<Level> = problems.iter().map(|problem| problem.level).collect();
    assert_eq!(levels.iter().filter(|level| **level == Level::Error).count(), 4);
    assert_eq!(levels.iter().filter(|level| **level == Level::Note).count(), 1);
    let debug = format!("{hosts:?} {:?}", hosts.get("a").unwrap());
    assert!(!debug.contains("hunter2"));
}

#[test]
fn a_problem_of_a_group_is_told_once() {
    let (hosts, problems, _) = load(&[("hosts.yml", "all: {vars: {ansible_port: ssh}, hosts: {\"n[1:50]\": }}")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(hosts.unwrap().iter().all(|host| host.problem));
}

#[test]
fn secrets_are_never_shown() {
    let one = "all:\n  hosts:\n    h:\n      ansible_port: x\n      ansible_password: hunter2\n      factory_slot: 1\n";
    let cut = "all:\n  vars:\n    ansible_ssh_pass: hunter2\n    a: [\n    ansible_become_password: \"hunter2\"\n";
    let twice = "all:\n  vars:\n    a: 1\n    ansible_password: hunter2\n    a: 2\n    api_token: hunter2\n";
    let flow = "all: {vars: {ansible_password: hunter2, factory_slots: x}, hosts: {h: {a: [!vault hunter2]}}}\n";
    let odd = "all:\n  vars: {ansible_password: !hunter2 a, x: {token: !!int hunter2}, b: 0b_}\n";
    let through = "all: {vars: {p_token: hunter2, ansible_port: \"{{ p_token }}\"}, hosts: {h: }}\n";
    let comment = "all:\n  vars:\n    ansible_ssh_pass: #hunter2\n    factory_slot: 1\n    ansible_password: !hunter2\n    factory_hom: 2\n";
    let alias = "all:\n  vars:\n    a: &a hunter2\n    factory_slot: 1\n    x_token: *a\n";
    for text in [one, cut, twice, flow, odd, through, comment, alias] {
        let told = told(&[("hosts.yml", text), ("group_vars/all.yml", "ansible_ssh_pass: hunter2\nfactory_home: 1\n")]);
        assert!(!told.is_empty() && !told.contains("hunter"), "{told}");
    }
}

#[test]
fn mistakes_are_told_with_their_place_and_a_way_out() {
    let cases: [(&str, &[(&str, &str)]); 31] = [
        ("empty file", &[("hosts.yml", "# nothing\n")]),
        ("a list", &[("hosts.yml", "- web1\n- web2\n")]),
        ("a plugin", &[("hosts.yml", "plugin: aws_ec2\nregions: [eu-central-1]\n")]),
        ("hosts as a list", &[("hosts.yml", "all:\n  hosts:\n    - web1\n    - web2\n")]),
        ("a key with a typing error", &[("hosts.yml", "all:\n  host:\n    web1:\n")]),
        ("a host name that is a number", &[("hosts.yml", "all:\n  hosts:\n    1:\n")]),
        ("host variables as text", &[("hosts.yml", "all:\n  hosts:\n    web1: 192.0.2.1\n")]),
        ("a range without an end", &[("hosts.yml", "all:\n  hosts:\n    web[1:]:\n")]),
        ("a range of another length", &[("hosts.yml", "all:\n  hosts:\n    web[01:100]:\n")]),
        ("an empty range", &[("hosts.yml", "all:\n  hosts:\n    web[3:1]:\n")]),
        ("a child that is no group", &[("hosts.yml", "all:\n  children:\n    web: yes\n")]),
        ("an odd group name", &[("hosts.yml", "all:\n  children:\n    my-group:\n")]),
        ("groups in a circle", &[("hosts.yml", "a:\n  children:\n    b:\nb:\n  children:\n    a:\n")]),
        ("a host and a group", &[("hosts.yml", "all:\n  hosts:\n    web:\nweb:\n  hosts:\n    w1:\n")]),
        ("a priority", &[("hosts.yml", "web:\n  vars:\n    ansible_group_priority: high\n")]),
        ("a tab", &[("hosts.yml", "all:\n  hosts:\n\tweb1:\n")]),
        ("an unquoted template", &[("hosts.yml", "all:\n  vars:\n    a: {{ b }}\n")]),
        ("a key twice", &[("hosts.yml", "all:\n  hosts:\n    a:\n    b:\n    a:\n")]),
        ("an unknown tag", &[("hosts.yml", "all:\n  vars:\n    a: !env HOME\n")]),
        ("a date that is none", &[("hosts.yml", "all:\n  vars:\n    a: 2026-02-30\n")]),
        ("a second document", &[("hosts.yml", "all:\n  hosts:\n---\nb:\n")]),
        ("an unknown factory variable", &[("hosts.yml", "all:\n  hosts:\n    h: {factory_slot: 2}\n")]),
        ("a wrong unit", &[("hosts.yml", "all:\n  hosts:\n    h: {factory_reserve: 2 gigs}\n")]),
        ("a wrong connection", &[("hosts.yml", "all:\n  hosts:\n    h: {ansible_connection: winrm}\n")]),
        ("a wrong port", &[("hosts.yml", "all:\n  hosts:\n    h: {ansible_port: 70000}\n")]),
        ("a relative path", &[("hosts.yml", "all:\n  hosts:\n    h: {factory_disks: [/, data]}\n")]),
        (
            "an unknown name in a template",
            &[("hosts.yml", "all:\n  hosts:\n    h: {ansible_host: \"{{ adress }}\"}\n")],
        ),
        ("a password", &[("hosts.yml", "all:\n  hosts:\n    h: {ansible_password: hunter2}\n")]),
        (
            "a vault value",
            &[("hosts.yml", "all:\n  hosts:\n    h:\n      x: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n")],
        ),
        ("become", &[("hosts.yml", "all:\n  hosts:\n    h: {ansible_become: yes}\n")]),
        (
            "variable files",
            &[
                ("hosts.yml", "web: {hosts: {w1: }}\n"),
                ("group_vars/wbe.yml", "a: 1\n"),
                ("group_vars/web.yml", "- a\n"),
                ("host_vars/w1", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
            ],
        ),
    ];
    let text: Vec<String> = cases.iter().map(|(name, files)| format!("### {name}\n{}", told(files))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn no_match_says_what_there_is() {
    let hosts = hosts("all: {children: {builders: {hosts: {\"vps-[1:2]\": }}}}");
    let said = |pattern: &str| {
        let error = hosts.select(pattern).unwrap_err();
        format!("{error}; {}", error.advice().unwrap_or_default())
    };
    assert_eq!(said("bilders"), "no host matches `bilders`; did you mean `builders`?");
    assert_eq!(
        said("zzz"),
        "no host matches `zzz`; the groups are all, ungrouped, builders; `factory inventory graph` shows all hosts"
    );
    assert_eq!(
        said("builders[7]"),
        "the host pattern `builders[7]` counts past the 2 hosts of `builders`; the first is [0], the last [-1]"
    );
    assert!(said("~(").starts_with("the host pattern `~(` is not a regular expression"));
    assert!(said("@/nowhere/at/all").contains("cannot read"));
}

#[test]
fn patterns_are_read_from_files() {
    let (hosts, _, folder) = load(&[("hosts.yml", "all: {hosts: {\"n[1:4]\": }}"), ("some.txt", "n3\n\nn1\n")]);
    let hosts = hosts.unwrap();
    let pattern = format!("@{},!n1", folder.path().join("some.txt").display());
    let names: Vec<&str> = hosts.select(&pattern).unwrap().iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["n3"]);
}
