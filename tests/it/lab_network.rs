//! The lab's network: it leads nowhere else, and can be cut, slowed down and crowded.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::lab::{Lab, Machine};
use super::lab_hosts::{complained, reached, said};

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
fn no_way_leads_out() {
    let Some(lab) = Lab::new(1) else { return };
    let begun = Instant::now();
    for address in ["192.0.2.1:80", "[2001:db8::1]:80", "203.0.113.7:22"] {
        let address: SocketAddr = address.parse().unwrap();
        let kind = lab.on_network(|| TcpStream::connect(address).unwrap_err().kind());
        assert!(matches!(kind, ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable), "{address}: {kind:?}");
    }
    let told = complained(&lab.host(0).sh("ssh -o BatchMode=yes -o ConnectTimeout=60 192.0.2.1 true"));
    assert!(told.contains("Network is unreachable"), "{told}");
    let told = complained(&lab.host(0).sh("ssh -o BatchMode=yes -o ConnectTimeout=60 example.org true"));
    assert!(told.contains("Could not resolve"), "{told}");
    assert!(begun.elapsed().as_secs() < 60, "it was tried for long");
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
