//! Holds of agents that cron starts: their lines are disabled in real crontabs and come back as they were, to the byte.

use serde_json::Value;

use super::lab::{Lab, Machine};
use super::lab_halt::{factory, held, names, state};
use super::order;
use super::support::nowhere;

/// Agents as the bash factory in the field has them.
pub const SETTINGS: &str = "fleet: lab\nssh: {connect: 15s, command: 30s}\nagents:\n  \
    dev: {start: cron, match: dev-agent.sh, halt: {cron: dev/dev-poll.sh}}\n  \
    review: {start: cron, match: review-pr.sh, halt: {cron: review/review-poll.sh}}\n";

/// Its crontab, and what a person may have beside it: bytes that are no text, blanks at ends, a line disabled by hand.
pub const TABLE: &[u8] = b"# the dark factory\nSHELL=/bin/bash\nFACTORY_ROOT=/root/dark\n\
    */10 * * * * $FACTORY_ROOT/factory/factory-poll.sh\n3,13,23 * * * *\t$FACTORY_ROOT/review/review-poll.sh  \n\n\
    6,16,26 * * * * cd $FACTORY_ROOT && bash dev/dev-poll.sh harb >> /tmp/log 2>&1\n\
    #*/5 * * * * bash dev/dev-poll.sh by-hand\n  @reboot   bash dev/dev-poll.sh quay\n\
    0 3 * * * /bin/backup \"100\\% caf\xe9\"   \n# BEGIN factory elsewhere\n0 4 * * * dev/dev-poll.sh\n# END factory elsewhere\n";

/// A lab of so many hosts with these settings, each of whose root has [`TABLE`].
pub fn lab(count: usize, settings: &str) -> Option<Lab> {
    let lab = Lab::new(count)?;
    lab.inventory();
    std::fs::write(lab.home().join("inventory/factory.yml"), settings).unwrap();
    lab.hosts().iter().for_each(|host| install(host, TABLE));
    Some(lab)
}

pub fn install(host: &Machine, table: &[u8]) {
    host.write("/tmp/table", table);
    host.done("crontab /tmp/table");
}

/// The crontab of root as cron keeps it, without the three lines that Debian's puts first.
#[track_caller]
pub fn spool(host: &Machine) -> Vec<u8> {
    let all = host.crontab("root").unwrap();
    all.splitn(4, |b| *b == b'\n').nth(3).unwrap().to_vec()
}

/// [`TABLE`] with these words before the lines that begin so.
pub fn held_lines(marks: &[(&str, &str)]) -> Vec<u8> {
    let mut table = TABLE.to_vec();
    for (line, key) in marks {
        let at = table.windows(line.len()).position(|part| part == line.as_bytes()).unwrap();
        table.splice(at..at, format!("#factory:{key}# ").into_bytes());
    }
    table
}

const DEV: [(&str, &str); 2] = [("6,16,26 *", "dev"), ("  @reboot", "dev")];

fn run(lab: &Lab) -> Value {
    let (stdout, _) = factory(lab, 0, &["run", "-o", "json"]);
    serde_json::from_str(&stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn same(host: &Machine, want: &[u8]) {
    let now = spool(host);
    assert!(now == want, "{}\nin place of\n{}", text(&now), text(want));
}

#[test]
fn a_hold_disables_the_lines_of_its_agent_and_gives_them_back_to_the_byte() {
    let Some(lab) = lab(2, SETTINGS) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    let (stdout, _) = factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    assert!(stdout.contains("crontab:dev"), "{stdout}");
    same(one, &held_lines(&DEV));
    same(two, TABLE);
    assert_eq!(names(one), ["dev"], "the halt file is there for people");
    // A tick finds all in order.
    let tick = run(&lab);
    assert_eq!(tick["actions"], serde_json::json!([]), "{tick}");
    let found = tick["hosts"][0]["sample"]["found"].as_array().unwrap().clone();
    let cron = |agent: &str| found.iter().find(|one| one["how"] == "cron" && one["agent"] == agent).unwrap().clone();
    let dev = cron("dev");
    assert_eq!(
        (&dev["held"], &dev["by"], &dev["path"], &dev["live"]),
        (&true.into(), &"factory".into(), &"dev".into(), &0.into())
    );
    let review = cron("review");
    assert_eq!((&review["held"], &review["by"], &review["live"]), (&false.into(), &Value::Null, &1.into()));

    // A second hold is held as well, and the first alone is let go.
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "review"]);
    let review = ("3,13,23", "review");
    same(one, &held_lines(&[DEV[0], DEV[1], review]));
    factory(&lab, 0, &["resume", "--host", "h1", "--agent", "dev"]);
    same(one, &held_lines(&[review]));
    factory(&lab, 0, &["resume", "--host", "h1"]);
    same(one, TABLE);
    assert!(names(one).is_empty() && held(&lab).is_empty());

    // What is held is held by the next tick, also where nobody could be told.
    one.sshd_down();
    factory(&lab, 4, &["halt", "--host", "all"]);
    same(two, &held_lines(&[DEV[0], DEV[1], review]));
    same(one, TABLE);
    one.sshd_config("");
    let tick = run(&lab);
    assert!(tick["actions"].to_string().contains("hold crontab lines of dev, review"), "{}", tick["actions"]);
    same(one, &held_lines(&[DEV[0], DEV[1], review]));
    factory(&lab, 0, &["resume", "--host", "all"]);
    same(one, TABLE);
    same(two, TABLE);
    // The time of a hold ends it likewise.
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev", "--for", "1s"]);
    same(one, &held_lines(&DEV));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    run(&lab);
    same(one, TABLE);
    assert!(names(one).is_empty());
}

#[test]
fn a_line_that_a_person_takes_back_is_held_once_more_and_then_left() {
    let Some(lab) = lab(1, SETTINGS) else { return };
    let host = lab.host(0);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    run(&lab);
    // Half of it is enough.
    let take_back = || {
        host.done("crontab -l | sed 's/^#factory:dev# 6,/6,/' >/tmp/edited && crontab /tmp/edited");
        let half = held_lines(&DEV[1..]);
        same(host, &half);
        half
    };
    take_back();
    let (_, stderr) = factory(&lab, 0, &["run"]);
    assert!(stderr.contains("was gone from crontab:dev on h1: it is put back"), "{stderr}");
    same(host, &held_lines(&DEV));
    let half = take_back();
    let (_, stderr) = factory(&lab, 0, &["run"]);
    assert!(stderr.contains("is gone again from crontab:dev on h1: it is left so"), "{stderr}");
    for _ in 0..2 {
        assert_eq!(run(&lab)["actions"], serde_json::json!([]));
        same(host, &half);
    }
    let (events, _) = factory(&lab, 0, &["events"]);
    assert_eq!(events.matches("it is left so").count(), 1, "{events}");
    let (status, _) = factory(&lab, 0, &["status"]);
    assert!(status.contains("somebody keeps taking it away on h1"), "{status}");
    // Another hold leaves it so; the same one again insists.
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "review"]);
    run(&lab);
    assert_eq!(spool(host).windows(14).filter(|part| *part == b"#factory:dev# ").count(), 1);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    assert_eq!(spool(host).windows(14).filter(|part| *part == b"#factory:dev# ").count(), 2);
    factory(&lab, 0, &["resume", "--host", "h1"]);
    same(host, TABLE);
}

#[test]
fn agents_at_one_repo_have_lines_of_their_own_and_lines_that_agents_share_stay_held_for_either() {
    let settings = format!(
        "{SETTINGS}  twin: {{class: dev, start: cron, match: twin.sh, halt: {{cron: bash dev/dev-poll.sh}}}}\n"
    );
    let Some(lab) = lab(1, &settings) else { return };
    let repos = "repos:\n  harb: {slug: a/harb, ci: none, agents: {dev: {halt: {cron: dev-poll.sh harb}}}}\n";
    std::fs::write(lab.home().join("inventory/repos.yml"), nowhere(repos)).unwrap();
    let host = lab.host(0);
    factory(&lab, 0, &["halt", "--repo", "harb", "--agent", "dev"]);
    same(host, &held_lines(&[("6,16,26 *", "dev@harb")]));
    assert_eq!(names(host), ["dev@harb"]);
    run(&lab);
    let (status, _) = factory(&lab, 0, &["status"]);
    assert!(status.contains("harb: merges stand still, since the crontab is held on h1"), "{status}");
    factory(&lab, 0, &["resume", "--repo", "harb"]);
    same(host, TABLE);
    run(&lab);
    assert!(!factory(&lab, 0, &["status"]).0.contains("stand still"));
    factory(&lab, 0, &["halt", "--agent", "twin,dev"]);
    run(&lab);
    factory(&lab, 0, &["resume", "--agent", "twin,dev"]);
    same(host, TABLE);
    factory(&lab, 0, &["halt", "--agent", "dev"]);
    factory(&lab, 0, &["halt", "--agent", "twin"]);
    let live = |table: &[u8]| {
        text(table).lines().filter(|line| line.contains("bash dev/dev-poll.sh") && !line.starts_with('#')).count()
    };
    assert_eq!(live(&spool(host)), 0);
    factory(&lab, 0, &["resume", "--agent", "dev"]);
    run(&lab);
    assert_eq!(live(&spool(host)), 0, "twin is held still: {}", text(&spool(host)));
    factory(&lab, 0, &["resume", "--agent", "twin"]);
    same(host, TABLE);
    // One that is held in another way by now gives its lines back, and stays held.
    factory(&lab, 0, &["halt", "--agent", "twin"]);
    std::fs::write(
        lab.home().join("inventory/factory.yml"),
        settings.replace("{cron: bash dev/dev-poll.sh}", "{file: ~/twin.halt}"),
    )
    .unwrap();
    run(&lab);
    run(&lab);
    assert!(names(host).contains(&"twin".to_owned()) && host.done("cat twin.halt").starts_with("manual "));
    assert_eq!(live(&spool(host)), 0, "a person holds it, so nothing of it starts again");
    factory(&lab, 0, &["resume", "--agent", "twin"]);
    run(&lab);
    same(host, TABLE);
}

#[test]
fn a_crontab_that_may_not_be_used_is_told_and_the_halt_file_holds() {
    let Some(lab) = lab(1, SETTINGS) else { return };
    let host = lab.host(0);
    lab.inventory_as("factory");
    std::fs::write(lab.home().join("inventory/factory.yml"), SETTINGS).unwrap();
    host.home_file("factory", "table", std::str::from_utf8(&TABLE[..60]).unwrap());
    host.write("/etc/cron.deny", "factory\n");
    let (stdout, _) = factory(&lab, 1, &["halt", "--host", "h1"]);
    assert!(stdout.contains("not allowed to use this program"), "{stdout}");
    assert_eq!(host.done("ls /home/factory/.factory/halt"), "dev\nreview\n");
    // What cannot be read is unknown: nobody acts on it, nor forgets.
    let tick = run(&lab);
    let found = tick["hosts"][0]["sample"]["found"].as_array().unwrap();
    assert!(found.len() == 2 && found.iter().all(|one| one["how"] == "file"), "{found:?}");
    assert_eq!(tick["actions"], serde_json::json!([]));
    factory(&lab, 0, &["resume", "--host", "h1"]);
    assert_eq!(host.done("ls /home/factory/.factory/halt"), "");
}

#[test]
fn a_hold_by_hand_leaves_crontabs_alone_and_says_so() {
    let Some(lab) = lab(1, SETTINGS) else { return };
    std::fs::create_dir_all(state(&lab)).unwrap();
    std::fs::create_dir(state(&lab).join("ledger.db")).unwrap();
    let (_, stderr) = factory(&lab, 1, &["halt", "--host", "h1", "--agent", "dev"]);
    assert!(stderr.contains("the crontab lines of dev are left as they are") && stderr.contains("on h1"), "{stderr}");
    same(lab.host(0), TABLE);
    assert_eq!(names(lab.host(0)), ["dev"]);
    // Whoever leads finds it, and disables them.
    std::fs::remove_dir(state(&lab).join("ledger.db")).unwrap();
    run(&lab);
    run(&lab);
    same(lab.host(0), &held_lines(&DEV));
    assert_eq!(order::holds(&state(&lab)).len(), 1);
    factory(&lab, 0, &["resume", "--host", "h1"]);
    same(lab.host(0), TABLE);
}

#[test]
fn the_crontabs_of_the_system_that_are_a_factory_s_count_where_the_login_is_root() {
    let Some(lab) = lab(1, SETTINGS) else { return };
    let host = lab.host(0);
    let table = "PATH=/bin\n7 * * * * root bash /srv/dev/dev-poll.sh\n8 * * * * root true\n";
    for file in ["factory-dark", "factory-dark.bak", "other"] {
        host.write(&format!("/etc/cron.d/{file}"), table);
    }
    let read = |file: &str| host.done(&format!("cat /etc/cron.d/{file}"));
    let sample = run(&lab)["hosts"][0]["sample"]["found"].clone();
    let dev = sample.as_array().unwrap().iter().find(|one| one["agent"] == "dev").unwrap().clone();
    assert_eq!(dev["live"], 3, "{sample}");
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    let held = table.replace("7 *", "#factory:dev# 7 *");
    assert_eq!(
        (read("factory-dark"), read("factory-dark.bak"), read("other")),
        (held.clone(), table.to_owned(), table.to_owned())
    );
    same(host, &held_lines(&DEV));
    assert_eq!(run(&lab)["actions"], serde_json::json!([]));
    let (shown, _) = factory(&lab, 0, &["cron", "show", "h1"]);
    let backup = shown
        .lines()
        .find_map(|line| line.split_whitespace().find(|word| word.ends_with(".factory-dark.first")))
        .unwrap()
        .to_owned();
    factory(&lab, 0, &["cron", "restore", "h1", &backup, "--yes"]);
    assert_eq!(read("factory-dark"), table);
    factory(&lab, 0, &["run"]);
    assert_eq!(read("factory-dark"), held, "a wanted hold is put back");
    factory(&lab, 0, &["resume", "--host", "h1"]);
    assert_eq!(read("factory-dark"), table);
    same(host, TABLE);
}
