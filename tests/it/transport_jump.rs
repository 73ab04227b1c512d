//! Through jump hosts, each verified and logged in to.

use std::collections::HashSet;
use std::path::Path;

use factory::ssh::config::Wanted;
use factory::ssh::{Failed, Reach, Unreached};

use crate::sshd::{self, Sshd};
use crate::transport::{Room, begun, command, shown, wait};

/// Two more servers beside that of the room, each with a key of its own: `outer` and `inner`.
struct Hops {
    room: Room,
    outer: Sshd,
    inner: Sshd,
}

impl Hops {
    fn new(left_out: &str) -> Option<Hops> {
        let room = Room::new(left_out, "")?;
        let [outer, inner] = ["outer", "inner"].map(|name| serve(&room, name, ""));
        let hops = Hops { room, outer, inner };
        hops.know();
        hops.config("ProxyJump outer,inner", "");
        Some(hops)
    }

    /// The true keys of all three.
    fn know(&self) {
        self.room.know("host.pub");
        let mut text = std::fs::read_to_string(self.room.path("known_hosts")).unwrap();
        for (name, server) in [("outer", &self.outer), ("inner", &self.inner)] {
            text.push_str(&line(&self.room.path(name), server.port));
        }
        std::fs::write(self.room.path("known_hosts"), text).unwrap();
    }

    fn config(&self, of_web: &str, of_inner: &str) {
        self.room.config(&format!(
            "Host web-*\n  {of_web}\nHost web-2\n  HostName 127.0.0.1\n  Port {}\nHost outer\n  HostName 127.0.0.1\n  \
             Port {}\nHost inner\n  HostName 127.0.0.1\n  Port {}\n  {of_inner}\n",
            self.room.server.port, self.outer.port, self.inner.port
        ));
    }

    fn ask(&self, name: &str) -> Result<String, Failed> {
        // $SSH_CONNECTION begins with who connected.
        wait(async {
            let output = self.room.fleet().await.exec(&Wanted::named(name), command("echo $SSH_CONNECTION")).await?;
            Ok(String::from_utf8(output.stdout).unwrap())
        })
    }
}

fn serve(room: &Room, name: &str, more: &str) -> Sshd {
    let directory = room.path(&format!("{name}.d"));
    std::fs::create_dir_all(&directory).unwrap();
    sshd::keygen("ed25519", &directory.join("host"));
    std::fs::copy(directory.join("host.pub"), room.path(&format!("{name}.pub"))).unwrap();
    std::fs::copy(room.path("authorized_keys"), directory.join("authorized_keys")).unwrap();
    Sshd::start(&room.program, &sshd::admit(&directory, &["host"], more))
}

fn line(key: &Path, port: u16) -> String {
    format!("[127.0.0.1]:{port} {}\n", sshd::public(&key.with_extension("pub")).to_openssh().unwrap())
}

#[test]
fn two_hops_lead_to_the_host_and_are_shared() {
    let Some(hops) = Hops::new("two jump hosts") else { return };
    assert!(hops.ask("web-1").is_ok_and(|line| line.starts_with("127.0.0.1")));
    // The first hop may have hops of its own, as in ssh.
    hops.config("ProxyJump inner", "ProxyJump outer");
    wait(async {
        let fleet = hops.room.fleet().await;
        let mut running = tokio::task::JoinSet::new();
        for i in 0..12 {
            let fleet = fleet.clone();
            running.spawn(async move {
                let wanted =
                    Wanted { name: format!("n{i}"), host: Some(format!("web-{}", 1 + i % 2)), ..Wanted::default() };
                begun(fleet.exec(&wanted, command("echo $SSH_CONNECTION")).await).stdout
            });
        }
        let lines: HashSet<Vec<u8>> = running.join_all().await.into_iter().collect();
        assert_eq!(lines.len(), 12, "a connection for each host");
        // One connection to each hop: the listener's children, one for each, with what they have below them.
        for (name, server) in [("outer", &hops.outer), ("inner", &hops.inner)] {
            assert_eq!(connections(server.port), 1, "{name}");
        }
        assert_eq!(connections(hops.room.server.port), 12);
        fleet.close().await;
        crate::transport::all_gone().await;
    });
}

#[test]
fn a_hop_that_is_released_carries_who_goes_through_it() {
    let Some(hops) = Hops::new("releasing a jump host") else { return };
    wait(async {
        let fleet = hops.room.fleet().await;
        let [outer, web, other] = ["outer", "web-1", "web-2"].map(Wanted::named);
        let ask = async |wanted: &Wanted| begun(fleet.exec(wanted, command("echo $SSH_CONNECTION")).await).stdout;
        let first = ask(&web).await;
        fleet.release(&Reach::Ssh(outer));
        assert_eq!(ask(&web).await, first, "it still stands");
        fleet.release(&Reach::Ssh(web.clone()));
        ask(&other).await;
        assert_ne!(ask(&web).await, first);
        assert_eq!(connections(hops.outer.port), 1, "the hops stay for the others");
        for wanted in [web, other] {
            fleet.release(&Reach::Ssh(wanted));
        }
        fleet.close().await;
        crate::transport::all_gone().await;
    });
}

/// Established TCP connections that `port` of 127.0.0.1 has taken.
fn connections(port: u16) -> usize {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0100007F:{port:04X}");
    text.lines().filter(|line| line.contains(&format!(": {local} ")) && line.contains(" 01 ")).count()
}

#[test]
fn a_wrong_key_on_any_hop_refuses_and_names_it() {
    let Some(hops) = Hops::new("verifying each hop") else { return };
    sshd::keygen("ed25519", &hops.room.path("wrong"));
    let file = hops.room.path("known_hosts");
    for (name, port) in [("outer", hops.outer.port), ("inner", hops.inner.port), ("web-1", hops.room.server.port)] {
        hops.know();
        let text = std::fs::read_to_string(&file).unwrap();
        let text: String =
            text.lines().filter(|line| !line.contains(&format!(":{port} "))).map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, text.clone() + &line(&hops.room.path("wrong"), port)).unwrap();
        let failed = hops.ask("web-1").unwrap_err();
        assert!(matches!(failed, Failed::Unverified(_)), "{failed:?}");
        let told = shown(&failed);
        assert!(told.contains(&format!("host `{name}`: its host key has changed")), "{told}");
        assert_eq!(told.contains("on the way to `web-1`"), name != "web-1", "{told}");
        // And an unknown one.
        std::fs::write(&file, text).unwrap();
        let told = shown(&hops.ask("web-1").unwrap_err());
        assert!(told.contains(&format!("host `{name}`: its host key is not known")), "{told}");
    }
}

#[test]
fn a_host_behind_jump_hosts_can_be_trusted() {
    let Some(hops) = Hops::new("trusting a host behind jump hosts") else { return };
    let file = hops.room.path("known_hosts");
    let text = std::fs::read_to_string(&file).unwrap();
    let web = format!("[127.0.0.1]:{} ", hops.room.server.port);
    std::fs::write(&file, text.lines().filter(|line| !line.starts_with(&web)).collect::<Vec<_>>().join("\n")).unwrap();
    hops.ask("web-1").unwrap_err();
    let (target, keys) = wait(async { hops.room.fleet().await.scan(&Wanted::named("web-1")).await }).unwrap();
    assert_eq!(keys[0].key.key_data(), sshd::public(&hops.room.path("host.pub")).key_data());
    let judged = factory::ssh::trust::judge(&target.known_hosts().unwrap(), &target, &keys);
    assert_eq!(factory::ssh::trust::accept(&target, &judged).unwrap().len(), 1);
    assert!(hops.ask("web-1").is_ok());
}

#[test]
fn a_hop_that_fails_says_so_for_the_host_behind_it() {
    let Some(hops) = Hops::new("failing jump hosts") else { return };
    // The login.
    std::fs::write(hops.room.path("inner.d/authorized_keys"), "").unwrap();
    let failed = hops.ask("web-1").unwrap_err();
    let Failed::Refused(refused) = &failed else { panic!("{failed:?}") };
    assert_eq!((refused.host.as_str(), refused.towards.as_deref()), ("inner", Some("web-1")));
    std::fs::copy(hops.room.path("authorized_keys"), hops.room.path("inner.d/authorized_keys")).unwrap();

    // Nobody listens behind it.
    let (_kept, port) = sshd::closed_port();
    hops.room.config(&format!(
        "Host web-1\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump outer\nHost outer\n  HostName 127.0.0.1\n  Port {}\n",
        port, hops.outer.port
    ));
    let failed = hops.ask("web-1").unwrap_err();
    assert!(matches!(&failed, Failed::Unreached(at) if matches!(at.why, Unreached::NotPassedOn { .. })), "{failed:?}");
    assert!(shown(&failed).contains("jump host `outer` does not reach it"), "{}", shown(&failed));

    // It does not forward.
    let closed = serve(&hops.room, "closed", "AllowTcpForwarding no");
    let mut text = std::fs::read_to_string(hops.room.path("known_hosts")).unwrap();
    text.push_str(&line(&hops.room.path("closed"), closed.port));
    std::fs::write(hops.room.path("known_hosts"), text).unwrap();
    hops.room.config(&format!(
        "Host web-1\n  ProxyJump closed\nHost closed\n  HostName 127.0.0.1\n  Port {}\n",
        closed.port
    ));
    let told = shown(&hops.ask("web-1").unwrap_err());
    assert!(told.contains("not allowed") && told.contains("AllowTcpForwarding"), "{told}");

    // It is not there: all hosts behind it get the one failure.
    hops.room.config(&format!("Host web-*\n  ProxyJump gone\nHost gone\n  HostName 127.0.0.1\n  Port {}\n", port));
    let failed = hops.ask("web-2").unwrap_err();
    assert!(shown(&failed).contains("host `gone`") && shown(&failed).contains("on the way to `web-2`"));
    assert!(failed.to_string().contains("jump host `gone`"), "{failed}");
}

#[test]
fn circles_and_other_proxies_are_told_before_anything_is_reached() {
    let Some(hops) = Hops::new("jump hosts in a circle") else { return };
    hops.room.config("Host *\n  ProxyJump outer\nHost outer\n  HostName 127.0.0.1\n");
    let failed = hops.ask("web-1").unwrap_err();
    assert!(matches!(failed, Failed::Config(_)), "{failed:?}");
    assert!(shown(&failed).contains("circle"), "{}", shown(&failed));
    for line in
        ["ProxyCommand nc %h %p", "KnownHostsCommand /bin/true", "RevokedHostKeys /etc/krl", "VerifyHostKeyDNS yes"]
    {
        hops.config(line, "");
        let failed = hops.ask("web-1").unwrap_err();
        assert!(matches!(failed, Failed::Config(_)), "{failed:?}");
        assert!(shown(&failed).contains("not honoured here"), "{}", shown(&failed));
    }
    hops.config("ProxyJump a:b", "");
    assert!(matches!(hops.ask("web-1").unwrap_err(), Failed::Config(_)));
}
