//! The lab itself: its hosts are machines apart, can be made to suffer, and leave nothing behind.

use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Lab, Machine};

/// What a command that succeeded has said.
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What a command that failed has complained of.
pub fn complained(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Whether root can log in.
pub fn reached(lab: &Lab, host: &Machine) -> bool {
    lab.ssh(host, "true").status.success()
}

#[test]
fn hosts_come_up_and_take_logins_of_both_users() {
    let Some(lab) = Lab::new(3) else { return };
    for host in lab.hosts() {
        assert_eq!(said(&lab.ssh(host, "hostname; whoami; pwd")), format!("{}\nroot\n/root", host.name));
        let output = lab.ssh_as("factory", host, "hostname; whoami; pwd").output().unwrap();
        assert_eq!(said(&output), format!("{}\nfactory\n/home/factory", host.name));
        assert_eq!(said(&host.sh_as("factory", "whoami; pwd")), "factory\n/home/factory");
        assert_eq!(said(&host.sh("factory --version")), said(&lab.factory(&["--version"])));
    }
    // Each by its name as well, and each with a key, an id and a terminal of its own.
    lab.inventory();
    assert_eq!(said(&lab.sh("for h in h1 h2 h3; do ssh -o BatchMode=yes $h hostname; done")), "h1\nh2\nh3");
    let own = |what: &dyn Fn(&Machine) -> String| {
        let all: std::collections::BTreeSet<String> = lab.hosts().iter().map(what).collect();
        assert_eq!(all.len(), 3, "{all:?}");
    };
    own(&|host| host.key());
    own(&|host| host.done("cat /etc/machine-id"));
    own(&|host| host.done("cat /proc/sys/kernel/random/boot_id"));
    own(&|host| host.done("cat /etc/hostname"));
    let tty = lab.command("ssh").args(["-tt", "h1", "tty"]).output().unwrap();
    assert_eq!(said(&tty), "/dev/pts/0");
    // From one to the next.
    let output = lab.host(0).sh("ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new h2 true");
    assert!(complained(&output).contains("Permission denied"), "its key is the controller's alone");
}

#[test]
fn a_host_has_its_own_files_and_processes() {
    let Some(lab) = Lab::new(2) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    let place = format!("/etc/lab-{}", std::process::id());
    for dir in ["/etc", "/usr", "/root", "/home", "/tmp", "/var/spool/cron"] {
        let file = format!("{dir}/lab-{}", std::process::id());
        one.done(&format!("echo mine >{file}"));
        assert!(!two.sh(&format!("test -e {file}")).status.success(), "{file}");
        assert!(!Path::new(&file).exists(), "{file} is on the machine under the test");
    }
    one.write(&place, "written\n");
    assert_eq!(said(&lab.ssh(one, &format!("cat {place}"))), "written");
    // A handful: its services and whoever looks.
    let count: usize = one.done("ls -d /proc/[0-9]* | wc -l").trim().parse().unwrap();
    assert!(count < 12, "{count}");
    // None of them is found by the texts that agents are looked for by.
    assert!(!one.done("ps ax -o args").lines().any(|line| line.len() > 120), "{}", one.done("ps ax -o args"));
    assert_eq!(said(&lab.sh("cat /etc/hostname >/dev/null; hostname; ls ~/.ssh | head -1")), "controller\nid_ed25519");
}

#[test]
fn what_is_set_in_proc_is_set_on_that_host_alone() {
    let Some(lab) = Lab::new(2) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    let files =
        ["loadavg", "vmstat", "stat", "uptime", "pressure/memory", "sys/kernel/random/boot_id", "sys/kernel/pid_max"];
    for file in files.into_iter().filter(|file| Path::new("/proc").join(file).exists()) {
        let before = two.done(&format!("cat /proc/{file}"));
        for text in ["first\n", "second, which is longer\n", "3\n"] {
            one.set(file, text);
            assert_eq!(one.done(&format!("cat /proc/{file}")), text);
        }
        let after = two.done(&format!("cat /proc/{file}"));
        assert!(before == after || file == "uptime", "{file}: {before} {after}");
    }
    one.set_memory(8192, 1100);
    let told = lab.ssh(one, "grep MemAvailable /proc/meminfo");
    assert_eq!(said(&told), "MemAvailable:    1126400 kB");
    assert!(two.done("grep MemAvailable /proc/meminfo").contains(" 6291456 kB"));
    let up = |host: &Machine| host.done("cut -d. -f1 /proc/uptime").trim().parse::<u64>().unwrap();
    assert!((86_400..90_000).contains(&up(two)), "{}", up(two));
}

/// The slow one: cron wakes with the minute.
#[test]
fn cron_runs_a_job_within_its_minute() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    assert_eq!(host.crontab("factory"), None);
    let install = |user: &str| {
        let line = format!("* * * * * {{ id -un; pwd; echo $SHELL $PATH; }} >/tmp/ran-{user} 2>&1");
        (line.clone(), format!("echo '{line}' | crontab -"))
    };
    let (line, script) = install("factory");
    // Both while cron does not look, else one of them is seen a minute later.
    super::support::until("the middle of a minute", || {
        let second: u32 = host.done("date +%S").trim().trim_start_matches('0').parse().unwrap_or(0);
        (3..50).contains(&second).then_some(())
    });
    said(&host.sh_as("factory", &script));
    assert!(host.crontab("factory").unwrap().ends_with(format!(")\n{line}\n").as_bytes()));
    said(&lab.ssh(host, &install("root").1));
    let begun = Instant::now();
    let both = || host.sh("test -s /tmp/ran-root && test -s /tmp/ran-factory").status.success();
    while !both() {
        assert!(begun.elapsed() < Duration::from_secs(110), "cron did not run them");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(host.done("cat /tmp/ran-root"), "root\n/root\n/bin/sh /usr/bin:/bin\n");
    assert_eq!(host.done("cat /tmp/ran-factory"), "factory\n/home/factory\n/bin/sh /usr/bin:/bin\n");
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() {
    let Some(lab) = Lab::new(2) else { return };
    let host = lab.host(0);
    host.done("echo kept >/etc/kept; echo kept >/home/factory/kept; setsid sleep 4242 >/dev/null 2>&1 </dev/null &");
    said(&host.sh_as("factory", "echo '0 0 1 1 * true' | crontab -"));
    host.set("uptime", "5.00 5.00\n");
    host.set_memory(8192, 1100);
    let boot_id = || host.done("cat /proc/sys/kernel/random/boot_id");
    let before = boot_id();
    let mut session = lab.ssh_as("root", host, "sleep 4243").stderr(Stdio::null()).spawn().unwrap();
    let sleeps = || host.done("ps ax -o args").lines().filter(|line| line.starts_with("sleep 424")).count();
    let begun = Instant::now();
    while sleeps() < 2 {
        assert!(begun.elapsed().as_secs() < 20, "they have not begun");
    }

    // Twice, the second time out of a freeze: its power fails all the same.
    for frozen in [false, true] {
        if frozen {
            host.freeze();
        }
        host.reboot();
        assert_eq!(sleeps(), 0);
        assert_eq!(host.done("cat /etc/kept /home/factory/kept"), "kept\nkept\n");
        assert!(host.crontab("factory").unwrap().ends_with(b"\n0 0 1 1 * true\n"));
        let up: f64 = host.done("cut -d' ' -f1 /proc/uptime").trim().parse().unwrap();
        assert!(up < 3600.0, "{up}");
        assert!(host.done("grep MemAvailable /proc/meminfo").contains("1126400"));
        assert_eq!(said(&lab.ssh(host, "hostname; pgrep -x cron >/dev/null && echo cron")), "h1\ncron");
        assert_eq!(said(&lab.ssh(lab.host(1), "hostname")), "h2");
    }
    let after = boot_id();
    assert_ne!(before, after);
    assert_eq!(after.trim().len(), 36);
    let _ = session.kill();
    let _ = session.wait();
}

#[test]
fn a_frozen_host_takes_calls_and_says_nothing() {
    let Some(lab) = Lab::new(2) else { return };
    let host = lab.host(0);
    host.done("{ while :; do date +%s.%N >/tmp/beat; sleep 0.02; done; } >/dev/null 2>&1 </dev/null &");
    host.done("until [ -s /tmp/beat ]; do sleep 0.02; done");
    for _ in 0..2 {
        host.freeze();
        let beat = || host.done("cat /tmp/beat");
        let still = beat();
        let told = complained(&lab.ssh(host, "true"));
        assert!(told.contains("banner exchange"), "{told}");
        assert_eq!(beat(), still, "something in it goes on");
        assert!(reached(&lab, lab.host(1)));
        host.thaw();
        assert!(reached(&lab, host));
        let begun = Instant::now();
        while beat() == still {
            assert!(begun.elapsed().as_secs() < 20, "nothing goes on");
        }
    }
}

#[test]
fn a_full_disk_is_full_on_that_host_alone() {
    let Some(lab) = Lab::new(2) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    one.fill_disk("/home/factory");
    for dir in ["/root", "/etc", "/home/factory", "/var/lib"] {
        let told = complained(&one.sh(&format!("echo text >{dir}/file")));
        assert!(told.contains("No space left") || told.contains("I/O error"), "{dir}: {told}");
        said(&two.sh(&format!("echo text >{dir}/file")));
    }
    said(&lab.ssh(one, "true"));
    one.free_disk("/home/factory");
    said(&one.sh("echo text >/etc/file"));

    one.small_disk("/home/factory/.factory", "16k");
    one.done("chown factory: /home/factory/.factory");
    assert!(!one.sh_as("factory", "yes >.factory/file").status.success());
    assert_eq!(said(&one.sh("df -Pk /home/factory/.factory | tail -1 | tr -s ' ' | cut -d' ' -f2,4")), "16 0");
    said(&one.sh_as("factory", "echo text >beside"));
    let owner = one.done("stat -c %U /home/factory/.factory");
    one.small_disk("/home/factory/.factory", "1m");
    assert_eq!(one.done("stat -c %U /home/factory/.factory"), owner);
}

#[test]
fn a_login_can_have_a_shell_of_any_kind_and_a_talkative_one() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    let login = |command: &str| lab.ssh_as("factory", host, command).output().unwrap();
    if Path::new("/bin/bash").exists() {
        host.home_file("factory", ".bashrc", "echo welcome back\n");
        assert_eq!(said(&login("echo mine")), "welcome back\nmine");
        assert_eq!(host.done("stat -c %U ~factory/.bashrc"), "factory\n");
    }
    host.login_shell("factory", "/bin/sh");
    assert_eq!(said(&login("echo $0")), "sh");
    if host.sh("command -v busybox").status.success() {
        host.done("ln -s $(command -v busybox) /bin/ash");
        host.login_shell("factory", "/bin/ash");
        assert!(said(&login("readlink /proc/$$/exe")).ends_with("busybox"));
    }
    host.login_shell("factory", "#!/bin/sh\necho \"I was asked: $*\"\nexit 3\n");
    let output = login("echo mine");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "I was asked: -c echo mine\n");
    host.write("/etc/banner", "Only for members\n");
    host.sshd_config("Banner /etc/banner");
    assert_eq!(said(&lab.ssh(host, "echo mine")), "mine");
    let output = lab.sh("ssh -o StrictHostKeyChecking=accept-new -o BatchMode=yes h1 true 2>&1");
    assert!(said(&output).contains("Only for members"));
}

/// As where neither overlays nor control groups can be had.
#[test]
fn a_lab_by_simpler_means_does_the_same() {
    let Some(lab) = Lab::plain(2) else { return };
    let host = lab.host(0);
    assert_eq!(said(&lab.ssh_as("factory", host, "whoami").output().unwrap()), "factory");
    host.done("echo kept >/etc/kept");
    said(&host.sh_as("factory", "echo '0 0 1 1 * true' | crontab -"));
    host.reboot();
    assert_eq!(said(&lab.ssh(host, "cat /etc/kept; crontab -l -u factory")), "kept\n0 0 1 1 * true");
    assert!(!Path::new("/etc/kept").exists());
    assert!(complained(&host.sh("echo mine >/usr/mine")).contains("Read-only"));

    host.freeze();
    let told = complained(&lab.ssh(host, "true"));
    assert!(told.contains("banner exchange"), "{told}");
    assert!(reached(&lab, lab.host(1)));
    assert_eq!(host.done("cat /etc/kept"), "kept\n");
    host.thaw();
    assert!(reached(&lab, host));
    host.freeze();
    host.reboot();
    assert!(reached(&lab, host));
}

#[test]
fn the_binary_works_from_the_controller_and_can_be_signalled() {
    let Some(lab) = Lab::new(1) else { return };
    lab.inventory_as("factory");
    let graph = said(&lab.factory(&["inventory", "graph"]));
    assert!(graph.contains("h1"), "{graph}");
    let mut child = lab
        .command("sh")
        .args(["-c", "trap 'exit 7' INT; echo on; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut on = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut on).unwrap();
    lab.signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    // To kill the command is to kill the program.
    let mut child = lab.command("sleep").arg("4244").spawn().unwrap();
    let running = || lab.sh("pgrep -fx 'sleep 4244'").status.success();
    let begun = Instant::now();
    while !running() {
        assert!(begun.elapsed().as_secs() < 20, "it has not begun");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while running() {
        assert!(begun.elapsed().as_secs() < 20, "it lives on");
    }
}
