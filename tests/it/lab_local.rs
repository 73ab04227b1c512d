//! The probe on machines of the lab: what is set there is what the sample says, to the byte.

use factory::inventory::policy::Policy;
use factory::policy::severity::{Latches, Level, Signal, update, verdict};
use factory::remote::probe::{Report, Request};
use factory::remote::sample::{Heard, Sample, Swap};

use super::lab;

const MIB: u64 = 1 << 20;

fn sample(report: Report) -> Sample {
    let now = "2026-03-12T13:18:47Z".parse().unwrap();
    Sample::from_report("lab", Heard { sent: now, received: now, rtt: std::time::Duration::ZERO }, report)
}

#[test]
fn memory_and_load_are_those_that_were_set() {
    let Some(host) = lab::host() else { return };
    let quiet = host.probe(&Request::default());
    assert_eq!(quiet.mem.unwrap().available, Some(6144 * MIB));
    assert_eq!(quiet.swap, Some(Swap { total: Some(0), free: Some(0) }));
    assert_eq!((quiet.load, quiet.uptime_s), (Some([0.1, 0.2, 0.3]), Some(86400.5)));
    assert_eq!(quiet.pids.unwrap().used, Some(100));

    host.set_memory(8192, 1100);
    host.set("loadavg", "7.50 6.00 5.00 9/321 4242\n");
    host.set(
        "pressure/memory",
        "some avg10=9.00 avg60=1.00 avg300=0.00 total=5\nfull avg10=6.25 avg60=1.00 avg300=0.00 total=5\n",
    );
    host.set("vmstat", "pswpin 12\nallocstall_dma 3\nallocstall_normal 4\npgmajfault 99\noom_kill 2\n");
    host.set("stat", "cpu  10 1 20 300 5 1 2 40 10 0\n");
    let report = host.probe(&Request::default());
    let mem = report.mem.unwrap();
    assert_eq!((mem.total, mem.available), (Some(8192 * MIB), Some(1100 * MIB)));
    assert_eq!((report.load, report.pids.unwrap().used), (Some([7.5, 6.0, 5.0]), Some(321)));
    let psi = report.psi.unwrap();
    assert_eq!((psi.memory_some_avg10, psi.memory_full_avg10), (Some(9.0), Some(6.25)));
    let vm = report.vm.unwrap();
    assert_eq!((vm.oom_kill, vm.pswpin, vm.pgmajfault, report.allocstall), (Some(2), Some(12), Some(99), Some(7)));
    let ticks = report.cpu_ticks.unwrap();
    assert_eq!((ticks.total, ticks.steal), (Some(379), Some(40)));
}

#[test]
fn a_shortage_on_a_host_is_seen_and_told() {
    let Some(host) = lab::host() else { return };
    let policy = Policy::default();
    let mut latches = Latches::default();
    let mut look = |available| {
        host.set_memory(8192, available);
        let severities = update(&mut latches, &policy, &sample(host.probe(&Request::default())));
        (severities.level(Signal::Mem).unwrap(), verdict(&severities))
    };
    // Of 8 GiB: soft below 15 % (1228.8 MiB), hard below 8 % (655.4), out of soft above 25 % (2048).
    assert_eq!(look(1300).0, Level::Ok);
    let (level, told) = look(1100);
    assert_eq!(level, Level::Soft);
    assert!(told.starts_with("soft: memory 1.1GiB free, below 1.2GiB"), "{told}");
    assert_eq!(look(600).0, Level::Hard);
    assert_eq!(look(2000).0, Level::Soft);
    assert_eq!(look(2100).0, Level::Ok);
}

#[test]
fn a_kernel_without_psi_has_none_and_goes_by_load() {
    let Some(host) = lab::host() else { return };
    host.without_psi();
    let cores = host.probe(&Request::default()).cores.unwrap();
    host.set("loadavg", &format!("{}.50 1.00 1.00 1/100 4242\n", cores * 2));
    let report = host.probe(&Request::default());
    assert_eq!(report.psi, None);
    let severities = update(&mut Latches::default(), &Policy::default(), &sample(report));
    assert!(severities.whole);
    assert_eq!(severities.level(Signal::Load), Some(Level::Soft));
    assert_eq!(severities.level(Signal::PsiMem), None);
}

#[test]
fn a_reboot_is_another_boot_id() {
    let Some(host) = lab::host() else { return };
    let boot = |id: &str| {
        host.set("sys/kernel/random/boot_id", &format!("{id}\n"));
        host.probe(&Request::default()).boot_id
    };
    for id in ["aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"] {
        assert_eq!(boot(id).as_deref(), Some(id));
    }
    assert_eq!(boot("aaaaaaaa-0000-4000-8000"), None, "cut short, it is none");
}

#[test]
fn a_full_disk_is_full_and_swap_that_is_gone_is_zero() {
    let Some(host) = lab::host() else { return };
    host.done("mkdir '/mnt/a full disk' && mount -t tmpfs -o size=16k,nr_inodes=12 'no device' '/mnt/a full disk'");
    assert!(!host.sh("yes >'/mnt/a full disk/file'").status.success());
    let disks = vec!["/".into(), "/mnt/a full disk".into(), "/mnt/none".into()];
    let report = host.probe(&Request { disks, ..Request::default() });
    let disks = report.disks.unwrap();
    let full = &disks[1];
    assert_eq!((full.path.as_str(), full.total, full.free), ("/mnt/a full disk", Some(16 << 10), Some(0)));
    assert_eq!((full.inodes_total, full.inodes_free), (Some(12), Some(10)));
    assert_eq!((disks[2].total, disks[2].free), (None, None));
    assert_eq!(report.swap, Some(Swap { total: Some(0), free: Some(0) }));
}

#[test]
fn a_home_on_a_disk_of_its_own_is_watched_too() {
    let Some(host) = lab::host() else { return };
    let paths = |host: &lab::Host| {
        let disks = host.probe(&Request::default()).disks.unwrap();
        disks.into_iter().map(|disk| (disk.path, disk.total)).collect::<Vec<_>>()
    };
    host.done("mkdir ~/.factory && mount -t tmpfs -o size=1m tmpfs ~/.factory");
    let home = host.home().join(".factory").to_str().unwrap().to_owned();
    let seen = paths(&host);
    assert_eq!((seen.len(), seen[0].0.as_str(), &seen[1]), (2, "/", &(home, Some(MIB))));
}

#[test]
fn a_host_with_busybox_alone_is_seen_as_well() {
    let Some(host) = lab::host() else { return };
    if !host.busybox_only() {
        return;
    }
    assert!(!host.sh("command -v flock || command -v getconf || command -v bash").status.success());
    host.set_memory(8192, 1100);
    let request = Request { matches: vec![("dev".into(), "sleep 55".into())], ..Request::default() };
    host.done("setsid sleep 55 >/dev/null 2>&1 </dev/null &");
    let report = host.probe(&request);
    let mem = report.mem.unwrap();
    assert_eq!((mem.total, mem.available), (Some(8192 * MIB), Some(1100 * MIB)));
    assert_eq!(report.running.as_ref().unwrap()["dev"], 1);
    assert!(report.disks.as_ref().unwrap()[0].free.is_some());
    assert!(sample(report).is_whole());
    // Without MemAvailable its `free` would say 0: that is not known, not nothing.
    host.set("meminfo", "MemTotal:        8388608 kB\nMemFree:         6291456 kB\n");
    let report = host.probe(&request);
    assert_eq!(report.mem.unwrap().available, None);
    assert!(!sample(report).is_whole());
}

#[test]
fn a_process_with_a_terminal_is_a_persons_own() {
    let Some(host) = lab::host() else { return };
    if !host.sh("command -v script").status.success() {
        return;
    }
    let request = Request { matches: vec![("dev".into(), "sleep 54".into())], ..Request::default() };
    // The terminal's own process does not name it, so that the text stands in the person's program alone.
    host.done("printf '#!/bin/sh\nexec sleep 54\n' >/mnt/mine && chmod +x /mnt/mine");
    let mut person = host.command("script");
    person.args(["-qc", "/mnt/mine", "/dev/null"]).stdout(std::process::Stdio::null());
    let mut person = person.spawn().unwrap();
    let begun = std::time::Instant::now();
    while !host.sh("ps -eo tty,args | grep '^pts.*[s]leep 54'").status.success() {
        assert!(begun.elapsed().as_secs() < 10, "it has not begun");
    }
    assert_eq!(host.probe(&request).running.unwrap()["dev"], 0);
    host.done("setsid sleep 54 >/dev/null 2>&1 </dev/null &");
    assert_eq!(host.probe(&request).running.unwrap()["dev"], 1);
    drop(host);
    let _ = person.wait();
}

#[test]
fn the_binary_runs_there() {
    let Some(host) = lab::host() else { return };
    let output = host.factory(&["--version"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
