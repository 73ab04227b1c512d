//! What a tick makes of launches that were cut off, where something else happened meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use factory::ledger::{Change, Document, Ledger};

use super::launch::{Works, left_behind};
use super::support::{nowhere, until};

impl Works {
    /// Changes the ledger, as another process does it.
    fn change(&self, to: impl Fn(&mut Document)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ledger = Ledger::open(&self.0.state()).unwrap();
        let change = ledger.change(|old| {
            let mut document = old.cloned().unwrap();
            to(&mut document);
            Ok(Change::To(document, ()))
        });
        runtime.block_on(change).unwrap();
    }

    /// One tick, in the middle of which, while it looks at the host, `meanwhile` happens.
    fn tick_while(&self, meanwhile: impl FnOnce()) {
        let (bin, looking, go) = (self.0.path("bin"), self.0.path("looking"), self.0.path("go"));
        fs::create_dir_all(&bin).unwrap();
        let waits = format!(
            "#!/bin/sh\n: >'{}'\nuntil [ -e '{}' ]; do sleep 0.05; done\necho 4\n",
            looking.display(),
            go.display()
        );
        fs::write(bin.join("nproc"), waits).unwrap();
        fs::set_permissions(bin.join("nproc"), fs::Permissions::from_mode(0o755)).unwrap();
        let inventory = self.0.path("inventory").display().to_string();
        let mut run = self.0.command(&["-i", &inventory, "run", "-q", "-l", "one"]);
        run.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        let mut run = run.stdout(Stdio::null()).spawn().unwrap();
        until("the look", || looking.exists().then_some(()));
        meanwhile();
        fs::write(&go, "").unwrap();
        assert!(run.wait().unwrap().success());
    }
}

#[test]
fn a_launch_that_was_given_up_while_a_tick_looked_at_its_host_is_not_begun() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(7, false);
    works.claim(&task, &made);
    works.tick_while(|| works.change(|document| _ = document.claims.remove(&task)));
    assert!(works.began().is_empty(), "{:?}", works.began());
    // Nor where its task is another run's by now.
    let (_, other) = left_behind(8, true);
    works.claim(&task, &made);
    works.tick_while(|| works.change(|document| _ = document.claims.insert(task.clone(), other.clone())));
    assert!(works.began().is_empty(), "{:?}", works.began());
    assert_eq!(works.document().claims[&task].token, other.token);
}

#[test]
fn a_cut_off_launch_waits_for_room_and_is_told_of_once() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(7, false);
    works.claim(&task, &made);
    let hosts = |more: &str| format!("all: {{hosts: {{one: {{ansible_connection: local{more}}}}}}}\n");
    works.0.write("hosts.yml", &hosts(", factory_slots: 0"));
    for _ in 0..2 {
        works.run(&["run"]).code(0);
        assert!(works.began().is_empty() && works.document().claims.contains_key(&task));
    }
    assert_eq!(works.events().matches("waits to be begun until one has room for it").count(), 1, "{}", works.events());
    works.0.write("hosts.yml", &hosts(""));
    works.run(&["run"]).code(0);
    let line = until("the run", || works.began().pop());
    assert!(line.starts_with(&made.token), "{line}");
}

#[test]
fn a_new_ledger_lets_no_issue_be_begun_until_every_host_was_looked_at() {
    let works = Works::new();
    let issue = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "5"];
    let lost = || fs::remove_file(works.0.state().join("ledger.db")).unwrap();
    let token = works.launch(&["--agent", "dev", "--issue", "5"]);
    until("the run", || works.began().pop());
    // It was lost, and its fleet taken up again: what runs there is known at once.
    lost();
    let hosts = "all: {hosts: {one: {ansible_connection: local}}}\n";
    works.0.write("hosts.yml", hosts);
    works.0.write("repos.yml", &nowhere("repos: {harb: {slug: a/harb, ci: none}}\n"));
    works.run(&["host", "adopt", "--all", "-y"]).code(0);
    assert_eq!(works.document().claims["harb#5"].token, token);
    assert!(works.run(&issue).code(1).stderr.contains("worked on already"));
    // It came back older than the run.
    works.change(|document| document.claims.clear());
    let refused = works.run(&issue).code(1).stderr;
    assert!(refused.contains(&format!("harb#5 is worked on already: run {token} on one")), "{refused}");
    assert_eq!(works.began().len(), 1);
    // A host of the repo's that nobody looked at may have such a run.
    works.0.write("hosts.yml", "all: {hosts: {one: {ansible_connection: local}, far: {ansible_host: 192.0.2.1}}}\n");
    works.change(|document| {
        document.young = true;
        document.hosts.values_mut().for_each(|entry| entry.heard = false);
    });
    let other = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "6"];
    let refused = works.run(&other).code(4).stderr;
    assert!(refused.contains("nobody knows yet whether a run works on harb#6 on far: the ledger is new"), "{refused}");
    works.0.write("hosts.yml", hosts);
    works.run(&["run"]).code(0);
    assert!(!works.document().young);
    works.0.write("hosts.yml", "all: {hosts: {one: {ansible_connection: local}, far: {ansible_host: 192.0.2.1}}}\n");
    works.run(&other).code(0);
}

#[test]
fn a_machine_in_the_place_of_another_frees_no_task_of_it() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let token = works.launch(&["--agent", "dev", "--issue", "5"]);
    until("the run", || works.began().pop());
    works.run(&["run", "-l", "one"]).code(0);
    // Its records are gone while it lives.
    let (runs, aside) = (works.0.path("home/.factory/runs"), works.0.path("aside"));
    fs::rename(&runs, &aside).unwrap();
    let refused = works.run(&["stop", &token, "--host", "one"]);
    assert!(refused.code != Some(0), "{}", refused.stdout);
    let told = format!("{}{}", refused.stdout, refused.stderr);
    assert!(told.contains(&format!("something of run {token} lives")), "{told}");
    assert!(works.document().claims.contains_key("harb#5"));
    // Another machine answers at its address.
    fs::write(works.0.path("home/.factory/host-id"), "00000000-1111-2222-3333-444444444444\n").unwrap();
    let refused = works.run(&["stop", &token, "--host", "one"]).code(1).stderr;
    assert!(refused.contains("one is not the machine that it was"), "{refused}");
    works.run(&["run", "-l", "one"]);
    assert_eq!(works.document().claims["harb#5"].token, token);
    let left_out = works.run(&["stop", &token, "--host", "far"]).code(4).stderr;
    assert!(left_out.contains("far did not"), "{left_out}");
}

#[test]
fn a_call_that_failed_makes_no_doubt_of_who_a_host_is() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    works.launch(&["--agent", "dev", "--", "quick"]);
    works.run(&["run", "-l", "one"]).code(0);
    let id = works.document().hosts["one"].id.clone();
    assert!(id.is_some());
    works.change(|document| document.hosts.get_mut("one").unwrap().barred = Some("its guard was busy".to_owned()));
    fs::write(works.0.path("home/.factory/host-id"), "00000000-1111-2222-3333-444444444444\n").unwrap();
    works.run(&["run", "-l", "one"]);
    let entry = works.document().hosts["one"].clone();
    assert_eq!((entry.id, entry.quarantined.is_some()), (id, true));
}
