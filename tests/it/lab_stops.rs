//! The look just before an agent is stopped: what it asks for, and what becomes of the pace when nobody is stopped.

use super::lab::Machine;
use super::lab_halt::factory;
use super::lab_pressure::{Place, lives, modes, until};

/// Writes so many KiB more into the small disk.
fn fill(host: &Machine, kib: u32) {
    host.done(&format!("head -c {kib}k /dev/zero >>/srv/log"));
}

#[test]
fn who_fills_a_disk_is_stopped_though_nothing_is_written_just_then() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    host.small_disk("/srv", "16m");
    let hosts = place.lab.home().join("inventory/hosts.yml");
    let text = std::fs::read_to_string(&hosts).unwrap();
    std::fs::write(&hosts, format!("{text}  vars: {{factory_disks: [/srv]}}\n")).unwrap();
    fill(host, 15_600);
    // Full, and no fuller than it was: that holds, and stops nobody.
    let told: Vec<String> = (0..3).map(|_| modes(&place.tick(60), 0)).collect();
    assert_eq!(told, ["RUN RUN", "HOLD RUN", "HOLD HOLD"]);
    // Now it is being filled, in bursts: between the look that finds it out and the one just before the stop is none.
    fill(host, 100);
    assert_eq!(modes(&place.tick(60), 0), "STOP HOLD");
    until("it is stopped", || lives(host, "dev") == 0);
}

#[test]
fn a_kill_for_want_of_memory_just_seen_still_asks_for_a_stop() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    let killed = |times: u32| host.set("vmstat", &format!("pswpin 0\npgmajfault 7\noom_kill {times}\n"));
    // Each tick sees another kill; none comes between a tick's two looks.
    killed(1);
    assert_eq!(place.look(60, 1100), "HOLD RUN");
    killed(2);
    assert_eq!(place.look(60, 1100), "STOP RUN");
    until("it is stopped", || lives(host, "dev") == 0);
}

#[test]
fn a_stop_that_was_not_begun_does_not_use_up_the_minute() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    // Where /root/fail is, the second command from then on fails, once.
    host.login_shell(
        "root",
        "#!/bin/sh\nif [ -e /root/fail ]; then if [ -e /root/first ]; then rm /root/fail /root/first; exit 1; fi; : >/root/first; fi\n\
         exec /bin/sh \"$@\"\n",
    );
    assert_eq!(place.look(60, 250), "HOLD RUN");
    host.done(": >/root/fail");
    host.set_memory(8192, 250);
    place.wait(20);
    factory(&place.lab, 0, &["run"]);
    assert!(lives(host, "dev") >= 2);
    let (told, _) = factory(&place.lab, 0, &["events", "-o", "jsonl"]);
    assert!(told.contains("no agent is stopped: the look just before failed"), "{told}");
    assert!(place.look(20, 250).starts_with("STOP"));
    until("it is stopped 20 s later", || lives(host, "dev") == 0);
}
