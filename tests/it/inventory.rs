//! `init` and `inventory ...` as a user types them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::Place;
use crate::{repo, sshd};

#[test]
fn init_writes_an_inventory_that_works_and_never_overwrites() {
    let place = Place::new(&[]);
    let check = place.run(&["init", "new", "--check"]).code(0);
    assert!(check.stdout.contains("would write new/hosts.yml"), "{}", check.stdout);
    assert!(!place.path("new").exists());
    let init = place.run(&["init", "new"]).code(0);
    assert!(init.stdout.contains("wrote new/hosts.yml") && init.stderr.contains("next: "), "{}", init.stdout);
    place.run(&["-i", "new", "inventory", "check", "--offline"]).code(0);
    place.run(&["-i", "new", "run"]).code(0);

    fs::write(place.path("new/hosts.yml"), "all: {hosts: {mine: }}\n").unwrap();
    fs::remove_file(place.path("new/repos.yml")).unwrap();
    let again = place.run(&["init", "new"]).code(1);
    assert!(again.stderr.contains("new/hosts.yml"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(place.path("new/hosts.yml")).unwrap(), "all: {hosts: {mine: }}\n");
    assert!(!place.path("new/repos.yml").exists(), "half of it was written all the same");
}

#[test]
fn no_inventory_says_how_to_make_one_and_what_was_looked_for() {
    let place = Place::new(&[]);
    let run = place.run(&["run"]).code(3);
    insta::assert_snapshot!(run.stderr);
    place.run(&["-i", "nowhere", "run"]).code(3);
    place.write("hosts.yml", "all:\n");
    fs::set_permissions(place.path("inventory"), fs::Permissions::from_mode(0o777)).unwrap();
    let open = place.run(&["-i", "inventory", "run"]).code(3);
    assert!(open.stderr.contains("help: chmod o-w inventory"), "{}", open.stderr);
}

#[test]
fn a_typo_is_shown_with_its_place_and_what_was_meant() {
    let place = Place::this_machine();
    place.write("factory.yml", "fleet: home\nwake:\n  mode: gate\n  maximum: 15m\n");
    let run = place.run(&["run"]).code(3);
    insta::assert_snapshot!(run.stderr);
    assert!(!place.path("home/.local").exists(), "nothing ran");
    let check = place.run(&["inventory", "check", "-o", "json"]).code(3).json();
    assert_eq!((&check["problems"][0]["line"], &check["problems"][0]["column"]), (&4.into(), &3.into()));
}

#[test]
fn one_broken_repo_stands_alone() {
    let place = Place::this_machine();
    place.write(
        "repos.yml",
        "defaults: {forge: {kind: forgejo, url: 'http://127.0.0.1:9'}}\nrepos:\n  good: {slug: a/good}\n  bad: {slug: a/bad, brnch: main}\n  lost: {slug: a/lost, hosts: biulders}\n",
    );
    let run = place.run(&["run"]).code(0);
    assert!(run.stdout.contains("this: ") && run.stderr.contains("did you mean `branch`?"), "{}", run.stderr);
    let check = place.run(&["inventory", "check", "-o", "json"]).code(3).json();
    let repos: Vec<&str> =
        check["repos"].as_array().unwrap().iter().map(|repo| repo["repo"].as_str().unwrap()).collect();
    assert_eq!(repos, ["good"]);
    let lines: Vec<&Value> = check["problems"].as_array().unwrap().iter().map(|problem| &problem["line"]).collect();
    assert_eq!(lines, [4, 5], "{check}");
}

#[test]
fn a_host_with_a_wrong_value_stands_alone() {
    let place = Place::this_machine();
    place.write(
        "hosts.yml",
        "all:\n  hosts:\n    this: {ansible_connection: local}\n    bad: {ansible_connection: local, factory_slots: many}\n",
    );
    let run = place.run(&["run", "-o", "json"]).code(0);
    assert!(run.stderr.contains("hosts.yml:4:"), "{}", run.stderr);
    let run = run.json();
    assert!(run["hosts"][0]["level"].as_u64().unwrap() < 4);
    assert!(run["hosts"][1]["verdict"].as_str().unwrap().contains("inventory check"), "{run}");
    place.run(&["inventory", "check"]).code(3);
}

#[test]
fn passwords_are_refused_and_never_shown_and_lists_go_on() {
    let place = Place::this_machine();
    place.write("hosts.yml", "all:\n  hosts:\n    far: {ansible_password: hunter2-secret}\n");
    for args in [&["run"][..], &["inventory", "check", "--offline"], &["inventory", "check", "-o", "json", "--offline"]]
    {
        let ended = place.run(args);
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hunter2"), "{args:?}: {}", ended.stderr);
    }
    let list = place.run(&["inventory", "list", "-o", "json"]).code(0).json();
    assert_eq!(list["_meta"]["hostvars"]["far"]["ansible_password"], "hunter2-secret", "as ansible-inventory shows it");
    place.run(&["inventory", "graph"]).code(0);
}

#[test]
fn tokens_are_looked_for_and_commands_ask_first() {
    let place = Place::this_machine();
    let forge = repo::server(false, |state| (state.slug, state.token) = ("a/one", b"s3cr3t-value".to_vec()));
    place.write(
        "repos.yml",
        &format!(
            "defaults: {{forge: {{kind: forgejo, url: '{}'}}}}\nrepos:\n  one: {{slug: a/one, token: {{env: ONE_TOKEN}}}}\n  \
             two: {{slug: a/two, token: {{command: [touch, ran]}}}}\n",
            forge.address
        ),
    );
    let check = place.run(&["inventory", "check"]).code(1);
    assert!(check.stdout.contains("one: token: the environment variable ONE_TOKEN is not set"), "{}", check.stdout);
    assert!(check.stdout.contains("help: look at the inventory, then allow its commands: factory inventory allow"));
    assert!(!place.path("inventory/ran").exists(), "the command ran unasked");

    place.run(&["inventory", "allow", "inventory", "--check"]).code(0);
    place.run(&["inventory", "check"]);
    assert!(!place.path("inventory/ran").exists(), "--check allowed it");
    place.run(&["inventory", "allow", "inventory"]).code(0);
    let output = place.command(&["inventory", "check"]).env("ONE_TOKEN", "s3cr3t-value").output().unwrap();
    assert!(place.path("inventory/ran").exists(), "allowed, and yet it did not run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("dev-bot") && !text.contains("s3cr3t"), "{text}");
    // Any change asks again: the command itself made one.
    let again = place.run(&["inventory", "check"]).code(1);
    assert!(again.stdout.contains("may not run"), "{}", again.stdout);
    // Named, it is the user's own choice.
    fs::remove_file(place.path("inventory/ran")).unwrap();
    place.run(&["-i", "inventory", "inventory", "check"]);
    assert!(place.path("inventory/ran").exists());
}

#[test]
fn check_tells_what_this_machine_lacks() {
    let place = Place::this_machine();
    // A PATH with everything but flock.
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    for dir in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.file_name() != "flock") {
            let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
        }
    }
    let output = place.command(&["inventory", "check"]).env("PATH", &bin).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("this: `flock` is missing, needed for the guard's lock\n  help: install it there"), "{text}");
    // Where halt files cannot be written, because a file is in the way.
    place.write("host_vars/this.yml", "factory_home: /dev/null/x\n");
    let check = place.run(&["inventory", "check"]).code(1);
    assert!(check.stdout.contains("halt files cannot be written: /dev/null refuses"), "{}", check.stdout);
}

#[test]
fn trust_shows_and_adds_keys_and_check_sees_them() {
    let Some(program) = sshd::program("`inventory trust` against a real sshd") else { return };
    let keys = tempfile::tempdir().unwrap();
    sshd::keygen("ed25519", &keys.path().join("one"));
    sshd::keygen("ed25519", &keys.path().join("two"));
    let server = sshd::Sshd::start(&program, &sshd::configure(keys.path(), &["one"], ""));
    let place = Place::new(&[("factory.yml", "{}\n")]);
    place.write(
        "hosts.yml",
        &format!("all: {{hosts: {{far: {{ansible_host: 127.0.0.1, ansible_port: {}}}}}}}\n", server.port),
    );
    let known_hosts = place.path("home/.ssh/known_hosts");
    let port = server.port;

    let check = place.run(&["inventory", "check"]).code(1);
    assert!(check.stdout.contains("then: factory inventory trust far"), "{}", check.stdout);
    let asked = place.run(&["inventory", "trust", "far"]).code(2);
    assert!(asked.stderr.contains("there is nobody to ask"), "{}", asked.stderr);
    place.run(&["inventory", "trust", "far", "--check", "--yes"]).code(0);
    assert!(!known_hosts.exists(), "nothing is added unasked");

    let trust = place.run(&["inventory", "trust", "far", "--yes", "--diff"]).code(0);
    // Debian's ssh_config has names hashed; ssh-keygen finds the line all the same.
    let text = fs::read_to_string(&known_hosts).unwrap();
    let name = format!("[127.0.0.1]:{port}");
    let found = std::process::Command::new("ssh-keygen").args(["-F", &name, "-f"]).arg(&known_hosts).output().unwrap();
    let public = fs::read_to_string(keys.path().join("one.pub")).unwrap();
    let key = public.split_whitespace().nth(1).unwrap();
    assert!(String::from_utf8_lossy(&found.stdout).trim_end().ends_with(&format!("ssh-ed25519 {key}")), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert!(trust.stderr.contains(&format!("+{name} ssh-ed25519 {key}")), "{}", trust.stderr);
    let again = place.run(&["inventory", "trust", "far"]).code(0);
    assert!(again.stdout.contains("known"), "{}", again.stdout);
    assert!(place.run(&["inventory", "check"]).stdout.contains("known"));

    // Another key on the same port: refused, with the very command to type, and the file is as it was.
    drop(server);
    let config = sshd::configure(keys.path(), &["two"], "");
    let Some(_server) = sshd::Sshd::start_on(&program, &config, port) else { return };
    for args in [&["inventory", "trust", "far", "--yes"][..], &["inventory", "check"]] {
        let ended = place.run(args);
        let text = ended.stdout + &ended.stderr;
        assert!(text.contains(&format!("ssh-keygen -R '[127.0.0.1]:{port}'")), "{text}");
    }
    place.run(&["inventory", "trust", "far", "--yes"]).code(4);
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), text);
}

#[test]
fn schemas_manuals_and_completions_are_generated() {
    let place = Place::new(&[]);
    for kind in ["factory", "repos", "host-vars"] {
        let schema = place.run(&["inventory", "schema", kind]).code(0).json();
        assert!(schema["$schema"].as_str().unwrap().contains("2020-12"), "{kind}");
    }
    assert!(place.run(&["completions", "bash"]).code(0).stdout.contains("complete -F _factory"));
    place.run(&["man", "pages"]).code(0);
    let page = fs::read_to_string(place.path("pages/factory-run.1")).unwrap();
    assert!(page.contains("One tick"), "{page}");
    assert!(place.path("pages/factory-inventory-trust.1").exists());
    for (args, code) in
        [(&["rnu"][..], 2), (&["run", "--forks", "0"], 2), (&["run", "-T", "soon"], 2), (&["--version"], 0), (&[], 2)]
    {
        place.run(args).code(code);
    }
    let bad = place.run(&["run", "-T", "soon"]).stderr;
    assert!(bad.contains("is not a length of time"), "{bad}");
}
