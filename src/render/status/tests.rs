use std::collections::BTreeSet;

use super::*;
use crate::journal::Controller;
use crate::policy::hold::{Pick, Scope};

const NOW: &str = "2026-03-12T03:10:00Z";

fn before(seconds: i64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() - jiff::SignedDuration::from_secs(seconds)
}

fn host(name: &str, level: u8, verdict: &str, modes: [Option<Mode>; 2], ladder: LadderStatus) -> HostStatus {
    HostStatus {
        host: name.to_owned(),
        level,
        since: before(120),
        at: before(20),
        seen: Some(before(20)),
        verdict: verdict.to_owned(),
        severities: None,
        modes: Modes { dev: modes[0], review: modes[1] },
        ladder: Some(ladder),
    }
}

fn ladder(dev: Mode, review: Mode, next: Option<&str>) -> LadderStatus {
    let held = |at, why: &str| Held { since: before(300), at: before(at), why: why.to_owned() };
    let mut all = BTreeMap::new();
    if dev > Mode::Run {
        all.insert(Class::Dev, held(60, "hard: memory 600MiB free, below 655.4MiB"));
    }
    if review > Mode::Run {
        all.insert(Class::Review, held(300, "soft: memory 1.1GiB free, below 1.2GiB"));
    }
    LadderStatus {
        dev,
        review,
        survive: false,
        unreachable: false,
        waiting: false,
        held: all,
        next: next.map(str::to_owned),
        stopping: Vec::new(),
        given_up: Vec::new(),
    }
}

fn silent(disabled: bool) -> RepoStatus {
    let (why, help) =
        ("GET https://codeberg.org/x: no answer: status 502".to_owned(), "look whether it runs".to_owned());
    let silent =
        Silent { since: before(720), help, disabled, busy: false, cause: why.clone(), why, told: BTreeSet::new() };
    let (seen, unmerged) = (Some(before(780)), if disabled { Vec::new() } else { vec!["theirs".to_owned()] });
    RepoStatus { seen, silent: Some(silent), ci_silent: None, unmerged }
}

fn status() -> Status {
    let calm = || ladder(Mode::Run, Mode::Run, None);
    let mut short = ladder(Mode::Stop, Mode::Hold, Some("dev back to HOLD after 1m more below hard"));
    (short.stopping, short.given_up) = (vec!["20260312-0a1b".to_owned()], vec!["dev".to_owned()]);
    let new = |next| LadderStatus { waiting: true, held: BTreeMap::new(), ..ladder(Mode::Hold, Mode::Run, Some(next)) };
    let (run, hold, stop) = (Some(Mode::Run), Some(Mode::Hold), Some(Mode::Stop));
    let scope = Scope { hosts: Pick::one("beefy-1"), repo: Pick::All, agent: Pick::one("dev"), supervisor: false };
    let (id, by, reason) = ("07b0b67f".to_owned(), "anna@vps-1".to_owned(), Some("upgrade".to_owned()));
    let hold_of = Hold { id, scope, by, since: before(600), until: None, reason, found: None, ended: None };
    Status {
        tick: TickRecord {
            began: before(20),
            seconds: 0.31,
            by: "vps-1".to_owned(),
            inventory: "/i".to_owned(),
            hosts: 6,
            missed: 1,
            controller: Controller { pid: 7, rss: 30 << 20, cpu_s: 0.05 },
        },
        running: None,
        hosts: vec![
            host("beefy-1", 2, "hard: memory 600MiB free, below 655.4MiB", [stop, hold], short),
            host("calm", 0, "ok: 5.9GiB of 8GiB free, load 0.1", [run, run], calm()),
            host("gone", 4, "unknown: timed out", [None, None], LadderStatus { unreachable: true, ..calm() }),
            host("new-1", 0, "ok: 5.9GiB of 8GiB free", [None, run], new("dev back to RUN after 2m more")),
            host("new-10", 0, "ok: 5.9GiB of 8GiB free", [None, run], new("dev back to RUN after 1m more")),
            host("theirs", 1, "soft: load", [None, None], ladder(Mode::Hold, Mode::Run, Some("no matter"))),
        ],
        holds: vec![HoldStatus { hold: hold_of, pending: Vec::new(), given_up: Vec::new() }],
        quarantined: Vec::new(),
        left: Vec::new(),
        barred: BTreeMap::from([("theirs".to_owned(), "it belongs to another fleet".to_owned())]),
        ci: BTreeMap::new(),
        repos: BTreeMap::from([("harb".to_owned(), silent(false)), ("web".to_owned(), silent(true))]),
        lease: None,
        ledger: None,
    }
}

#[test]
fn each_thing_is_told_once_and_what_is_not_known_is_not_told() {
    insta::assert_snapshot!(text(&status(), NOW.parse().unwrap(), Style::PLAIN));
}

#[test]
fn without_a_ledger_no_mode_is_known() {
    let mut status = status();
    status.ledger = Some("it is damaged".to_owned());
    status.hosts.iter_mut().for_each(|host| (host.ladder, host.modes) = (None, Modes::default()));
    status.holds.clear();
    let text = text(&status, NOW.parse().unwrap(), Style::PLAIN);
    assert_eq!(text.matches("?     ?").count() + text.matches("?    ?").count(), 6, "{text}");
    assert!(text.contains("what is held is not known: it is damaged"), "{text}");
}
