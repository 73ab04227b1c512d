//! The lab itself: its hosts are machines apart, can be made to suffer, and leave nothing behind.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Lab, Machine};

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn complained(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Whether root can log in.
fn reached(lab: &Lab, host: &Machine) -> bool {
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
    said(&host.sh_as("factory", &script));
    assert!(host.crontab("factory").unwrap().ends_with(format!(")\n{line}\n").as_bytes()));
    said(&lab.ssh(host, &install("root").1));
    let begun = Instant::now();
    let both = || host.sh("test -s /tmp/ran-root && test -s /tmp/ran-factory").status.success();
    while !both() {
        assert!(begun.elapsed() < Duration::from_secs(90), "cron did not run them");
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
    let mut session = lab.ssh_as("root", host, "sleep 4243").spawn().unwrap();
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
fn a_cut_host_is_away_until_it_is_mended() {
    let Some(lab) = Lab::new(2) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    let call = |from: &Machine, to: &Machine| {
        // The host's own word is enough: without a login, it was heard.
        from.sh(&format!("timeout 3 sh -c 'exec 3<>/dev/tcp/{}/22; read line <&3; echo $line'", to.address)
            .replace("sh -c", "bash -c"))
    };
    assert!(said(&call(two, one)).starts_with("SSH-2.0-"));

    lab.cut(one);
    assert!(!reached(&lab, one));
    assert!(!call(two, one).status.success());
    assert!(reached(&lab, two));
    lab.mend(one);
    assert!(reached(&lab, one));

    lab.cut_replies(one);
    let told = complained(&lab.ssh(one, "true"));
    assert!(told.contains("timed out"), "{told}");
    assert!(said(&call(two, one)).starts_with("SSH-2.0-"), "its other neighbours hear it");
    // What the controller sends does arrive.
    let heard = || host_packets(one);
    let before = heard();
    let _ = lab.ssh(one, "true");
    assert!(heard() > before);
    lab.mend(one);
    assert!(reached(&lab, one));
}

/// How many packets a host has heard.
fn host_packets(host: &Machine) -> u64 {
    host.done("cat /proc/net/dev")
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:")?.split_whitespace().nth(1)?.parse().ok())
        .unwrap()
}

#[test]
fn a_slow_line_is_late_both_ways() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    let late = Duration::from_millis(150);
    let address = lab.delay(host, 150);
    assert_eq!((address.as_str(), host.reach().as_str()), ("10.77.0.201", "10.77.0.201"));
    let first = |address: &str| {
        let address = SocketAddr::new(address.parse().unwrap(), 22);
        lab.on_network(|| {
            let begun = Instant::now();
            let mut line = [0; 8];
            TcpStream::connect(address).unwrap().read_exact(&mut line).unwrap();
            assert_eq!(&line, b"SSH-2.0-");
            begun.elapsed()
        })
    };
    assert!(first(&address) >= late * 2);
    // Key exchange, login, channel and command: five round trips at the very least.
    let begun = Instant::now();
    assert_eq!(said(&lab.ssh(host, "seq 200000 | md5sum; hostname")), said(&host.sh("seq 200000 | md5sum; hostname")));
    assert!(begun.elapsed() >= late * 10, "{:?}", begun.elapsed());
    lab.inventory();
    assert!(std::fs::read_to_string(lab.home().join("inventory/hosts.yml")).unwrap().contains("10.77.0.201"));
    assert_eq!(said(&lab.sh("ssh -o BatchMode=yes 10.77.0.201 hostname")), "h1");

    assert_eq!(lab.delay(host, 0), host.address);
    let refused = lab.on_network(|| TcpStream::connect((address.as_str(), 22)).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    assert!(reached(&lab, host));
}

#[test]
fn a_busy_sshd_refuses_some_of_many_and_a_stopped_one_all() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    host.sshd_config("MaxStartups 3:50:5");
    let address = SocketAddr::new(host.address.parse().unwrap(), 22);
    let mut heard = lab.on_network(|| {
        let calls: Vec<_> = (0..30).map(|_| TcpStream::connect(address)).collect();
        let hear = |call: std::io::Result<TcpStream>| {
            let mut call = call.ok()?;
            call.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut line = [0; 8];
            // Those that were let in stay in until all are counted.
            (call.read_exact(&mut line).is_ok() && &line == b"SSH-2.0-").then_some(call)
        };
        calls.into_iter().map(hear).collect::<Vec<_>>()
    });
    let all = heard.len();
    heard.retain(Option::is_some);
    assert!((3..=5).contains(&heard.len()), "{} of {all} were let in", heard.len());
    drop(heard);

    host.sshd_config("");
    assert!(reached(&lab, host));
    host.sshd_down();
    assert!(complained(&lab.ssh(host, "true")).contains("Connection refused"));
    host.reboot();
    assert!(reached(&lab, host));
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

#[test]
fn no_way_leads_out() {
    let Some(lab) = Lab::new(1) else { return };
    let begun = Instant::now();
    for address in ["192.0.2.1:80", "[2001:db8::1]:80", "203.0.113.7:22"] {
        let address: SocketAddr = address.parse().unwrap();
        let kind = lab.on_network(|| TcpStream::connect(address).unwrap_err().kind());
        assert!(matches!(kind, ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable), "{address}: {kind:?}");
    }
    let told = complained(&lab.host(0).sh("ssh -o BatchMode=yes -o ConnectTimeout=20 192.0.2.1 true"));
    assert!(told.contains("Network is unreachable"), "{told}");
    let told = complained(&lab.host(0).sh("ssh -o BatchMode=yes -o ConnectTimeout=20 example.org true"));
    assert!(told.contains("Could not resolve"), "{told}");
    assert!(begun.elapsed().as_secs() < 20, "it was tried for long");
    let only = lab.host(0).done("ip -o -4 address | tr -s ' ' | cut -d' ' -f2,4; ip route");
    assert_eq!(only.lines().next(), Some("lo 127.0.0.1/8"));
    assert_eq!(only.lines().nth(1), Some("eth0 10.77.0.101/24"));
    assert_eq!(only.lines().count(), 3, "{only}");
}

#[test]
fn labs_side_by_side_do_not_meet() {
    if Lab::new(1).is_none() {
        return;
    }
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let lab = Lab::new(2).unwrap();
                lab.host(1).done(&format!("echo {number} >/etc/lab-number"));
                lab.inventory();
                for _ in 0..3 {
                    assert_eq!(said(&lab.ssh(lab.host(1), "cat /etc/lab-number; hostname")), format!("{number}\nh2"));
                }
                lab.cut(lab.host(0));
                assert!(reached(&lab, lab.host(1)));
            });
        }
    });
}

#[test]
fn without_an_overlay_there_is_a_host_as_well() {
    let Some(lab) = Lab::without_overlay(1) else { return };
    let host = lab.host(0);
    assert_eq!(said(&lab.ssh_as("factory", host, "whoami").output().unwrap()), "factory");
    host.done("echo kept >/etc/kept");
    said(&host.sh_as("factory", "echo '0 0 1 1 * true' | crontab -"));
    host.reboot();
    assert_eq!(said(&lab.ssh(host, "cat /etc/kept; crontab -l -u factory")), "kept\n0 0 1 1 * true");
    assert!(!Path::new("/etc/kept").exists());
    assert!(complained(&host.sh("echo mine >/usr/mine")).contains("Read-only"));
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
