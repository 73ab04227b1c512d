//! A tick under pressure that dies, wherever it dies: the next one goes on. What was held stays held until it has been well
//! for long enough, no agent is stopped for nothing, and nothing is left behind once all is well.

use std::fs;

use factory::policy::ladder::Mode;

use super::kill::{CALLS, every, killed_at, next, strace};
use super::order;
use super::support::{Place, until};

const AGENTS: &str = "agents: {dev: {command: [sleep, '1234'], needs: {memory: 1MiB}}}\nguard: {kill_after: 2s}\n";

/// By these numbers every machine is short of memory, or none is.
fn numbers(short: bool) -> String {
    let room = |gib: u64| format!("{{percent: 100%, bytes: {gib}GiB}}");
    let steps = |gib: [u64; 3]| format!("{{soft: {}, hard: {}, crit: {}}}", room(gib[0]), room(gib[1]), room(gib[2]));
    let mem = match short {
        true => format!("enter: {}, leave: {}", steps([90_000; 3]), steps([90_000; 3])),
        false => format!("enter: {}, leave: {}", steps([0; 3]), steps([0; 3])),
    };
    let calm = "psi_cpu: {enter: {waiting: 100%, load: 1000}}, load: {enter: {soft: 1000, hard: 2000}}";
    format!("policy: {{{calm}, pace: 0s, stop_pace: 0s, calm: 0s, dwell: {{base: 0s}}, mem: {{{mem}}}}}\n{AGENTS}")
}

fn place() -> Place {
    let place = Place::new(&[("factory.yml", &numbers(false))]);
    let home = place.path("one").display().to_string();
    place
        .write("hosts.yml", &format!("all: {{hosts: {{one: {{ansible_connection: local, factory_home: {home}}}}}}}\n"));
    place
}

fn dev(place: &Place) -> Option<Mode> {
    let document = order::document(&place.state())?;
    Some(document.hosts.get("one")?.ladder.as_ref()?.rung().dev)
}

#[test]
fn a_tick_that_dies_between_deciding_and_acting_is_gone_on_with() {
    if !strace() {
        return;
    }
    let place = place();
    let halt = || fs::read_to_string(place.path("one/halt/dev")).unwrap_or_default();
    let (mut turns, mut early, mut late) = (0, 0, 0);
    for calls in CALLS {
        let mut when = 1;
        loop {
            turns += 1;
            place.write("factory.yml", &numbers(false));
            place.run(&["run"]).code(0);
            place.run(&["run"]).code(0);
            assert_eq!((dev(&place), halt()), (Some(Mode::Run), String::new()), "before {calls} {when}");
            let token = place.run(&["launch", "--host", "one", "--agent", "dev"]).code(0).stdout.trim().to_owned();
            let stopping = || place.path(&format!("one/runs/{token}/stop")).exists();

            place.write("factory.yml", &numbers(true));
            let killed = killed_at(&place, &["run"], calls, when);
            let after = format!("killed at {calls} {when}");
            let held = !halt().is_empty();
            early += usize::from(!held);
            late += usize::from(held && dev(&place) == Some(Mode::Run));
            // What it had come to stands, also while nobody is short any more: one good look ends no hold that was shown.
            place.run(&["run"]).code(0);
            assert!(dev(&place) >= Some(Mode::Hold), "{after}");
            let lines = halt();
            assert!(lines.lines().count() == 1 && lines.starts_with("auto ladder-dev "), "{after}: {lines}");
            until("the agent is told to stop", || {
                place.run(&["run"]).code(0);
                stopping().then_some(())
            });
            // All is well again.
            place.write("factory.yml", &numbers(false));
            until("nothing is held", || {
                place.run(&["run"]).code(0);
                (dev(&place) == Some(Mode::Run) && halt().is_empty()).then_some(())
            });
            until("the agent is gone", || {
                place.run(&["run"]).code(0);
                order::document(&place.state()).unwrap().claims.is_empty().then_some(())
            });
            if !killed {
                break;
            }
            when = if every() { when + 1 } else { next(when).max(2 * when) };
        }
    }
    assert!(turns > 15 && early > 0, "{turns} turns, {early} before the file, {late} between file and ledger");
}
