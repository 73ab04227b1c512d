//! Logging in to a real sshd, verifying it, and what is said where either fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use factory::exit::Exit;
use factory::ssh::config::Wanted;
use factory::ssh::exec::Ended;
use factory::ssh::{Failed, Fleet, Options};
use secrecy::SecretString;

use crate::sshd::{self, Sshd};
use crate::transport::{Room, begun, command, sh, shown, wait, web};

/// An ssh-agent of the test's own.
struct Agent(Child);

impl Agent {
    fn start(room: &Room) -> Agent {
        let socket = room.path("agent.sock");
        let mut command = Command::new("ssh-agent");
        let child = command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let agent = Agent(child.unwrap());
        for _ in 0..500 {
            if socket.exists() {
                return agent;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("ssh-agent does not start");
    }

    fn add(room: &Room, file: &str) {
        let mut command = Command::new("ssh-add");
        let status = command.arg("-q").arg(room.path(file)).env("SSH_AUTH_SOCK", room.path("agent.sock")).status();
        assert!(status.unwrap().success());
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).arg(self.0.id().to_string()).status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn keygen(args: &[&str]) {
    let output = Command::new("ssh-keygen").arg("-q").args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Only the key `file` is let in.
fn authorize(room: &Room, file: &str) {
    std::fs::copy(room.path(file), room.path("authorized_keys")).unwrap();
}

/// ssh_config with these lines for `web-1`, which go before what all hosts get.
fn configure(room: &Room, lines: &str) {
    room.config(&format!("Host web-1\n{lines}\n"));
}

#[track_caller]
fn goes_in(room: &Room) {
    assert_eq!(begun(room.sh("exit 7")).ended, Ended::Exited(7));
}

#[test]
fn each_kind_of_key_file_logs_in() {
    let Some(room) = Room::new("logging in by each kind of key", "") else { return };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        sshd::keygen(kind, &room.path("id"));
        authorize(&room, "id.pub");
        // Without the public half beside it, too.
        std::fs::remove_file(room.path("id.pub")).unwrap();
        goes_in(&room);
    }
    // The old PEM form of an RSA key.
    let id = text(&room.path("id"));
    std::fs::remove_file(&id).unwrap();
    keygen(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", &id]);
    authorize(&room, "id.pub");
    goes_in(&room);
    // The inventory's file goes before that of ssh_config, and RSA never signs with SHA-1.
    let more = room.path("more");
    sshd::keygen("rsa", &more);
    authorize(&room, "more.pub");
    let wanted = Wanted { identity: Some(more), ..web() };
    let output = wait(async { room.fleet().await.exec(&wanted, command("true")).await });
    assert!(begun(output).succeeded());
}

#[test]
fn an_encrypted_key_is_asked_for_once_and_only_where_the_host_would_take_it() {
    for form in [&["-t", "ed25519"][..], &["-t", "rsa", "-b", "2048", "-m", "PEM"]] {
        let Some(room) = Room::new("logging in by an encrypted key", "") else { return };
        let id = text(&room.path("id"));
        std::fs::remove_file(&id).unwrap();
        keygen(&[form, &["-N", "open sesame", "-f", &id]].concat());
        authorize(&room, "id.pub");

        let failed = room.sh("true").unwrap_err();
        assert!(matches!(failed, Failed::Refused(_)), "{failed:?}");
        assert!(
            shown(&failed).contains(&format!("is encrypted and nobody gave its passphrase; load it: ssh-add {id}"))
        );

        let asked = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&asked);
        let expected = room.path("id");
        let ask = move |path: &Path| {
            assert_eq!(path, expected);
            let word = ["wrong", "open sesame"][counting.fetch_add(1, Ordering::SeqCst).min(1)];
            Some(SecretString::from(word))
        };
        let options =
            Options { ask_passphrase: Some(Arc::new(ask)), connect: Duration::from_secs(60), ..room.options() };
        wait(async {
            let fleet = Fleet::new(options.clone()).await.unwrap();
            assert!(begun(sh(&fleet, "true").await).succeeded());
            // Another host of the same key asks nobody.
            let again = Wanted { name: "again".into(), host: Some("web-1".into()), ..web() };
            assert!(begun(fleet.exec(&again, command("true")).await).succeeded());
            assert_eq!(asked.load(Ordering::SeqCst), 2);
        });

        // A host that would not take it costs nobody a passphrase.
        sshd::keygen("ed25519", &room.path("other"));
        authorize(&room, "other.pub");
        let failed = wait(async { sh(&Fleet::new(options.clone()).await.unwrap(), "true").await }).unwrap_err();
        assert!(matches!(failed, Failed::Refused(_)), "{failed:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);

        // Nobody wants to give it.
        authorize(&room, "id.pub");
        let options = Options { ask_passphrase: Some(Arc::new(|_: &Path| None)), ..options };
        let failed = wait(async { sh(&Fleet::new(options).await.unwrap(), "true").await }).unwrap_err();
        assert!(shown(&failed).contains("nobody gave its passphrase"), "{}", shown(&failed));
    }
}

#[test]
fn the_agent_signs_with_its_keys_and_certificates() {
    let Some(room) = Room::new("logging in through ssh-agent", "") else { return };
    let agent = Agent::start(&room);
    let socket = text(&room.path("agent.sock"));
    for kind in ["ed25519", "rsa"] {
        sshd::keygen(kind, &room.path("held"));
        Agent::add(&room, "held");
        authorize(&room, "held.pub");
        std::fs::remove_file(room.path("held")).unwrap();
        configure(&room, &format!("  IdentityAgent {socket}\n  IdentityFile none"));
        goes_in(&room);
        // A public key picks one of the agent's, and alone.
        configure(
            &room,
            &format!("  IdentityAgent {socket}\n  IdentitiesOnly yes\n  IdentityFile {}", text(&room.path("held.pub"))),
        );
        goes_in(&room);
        // Other keys of the agent are not offered then.
        configure(
            &room,
            &format!("  IdentityAgent {socket}\n  IdentitiesOnly yes\n  IdentityFile {}", text(&room.path("id"))),
        );
        let failed = room.sh("true").unwrap_err();
        let Failed::Refused(refused) = &failed else { panic!("{failed:?}") };
        assert_eq!(refused.offered.len(), 1, "{refused:?}");
    }
    // A certificate that only the agent holds.
    keygen(&["-t", "ed25519", "-N", "", "-f", &text(&room.path("ca"))]);
    keygen(&["-t", "ed25519", "-N", "", "-f", &text(&room.path("certified"))]);
    let ca = text(&room.path("ca"));
    keygen(&["-s", &ca, "-I", "x", "-n", &sshd::user(), "-V", "-1m:+1h", &text(&room.path("certified.pub"))]);
    Agent::add(&room, "certified");
    let public = std::fs::read_to_string(room.path("ca.pub")).unwrap();
    std::fs::write(room.path("authorized_keys"), format!("cert-authority {public}")).unwrap();
    configure(&room, &format!("  IdentityAgent {socket}\n  IdentityFile none"));
    goes_in(&room);

    // An agent that does not answer is told, and the key files are used.
    agent.signal("-STOP");
    authorize(&room, "id.pub");
    configure(&room, &format!("  IdentityAgent {socket}"));
    let options = Options { connect: Duration::from_secs(30), ..room.options() };
    let output = wait(async { sh(&Fleet::new(options).await.unwrap(), "true").await });
    assert!(begun(output).succeeded());
    agent.signal("-CONT");
}

#[test]
fn a_users_certificate_logs_in_from_files() {
    let Some(room) = Room::new("logging in by a user certificate", "") else { return };
    for (kind, how) in [("ed25519", &[][..]), ("rsa", &["-t", "rsa-sha2-512"])] {
        let ca = text(&room.path("ca"));
        sshd::keygen(kind, &room.path("ca"));
        sshd::keygen(kind, &room.path("id"));
        let public = text(&room.path("id.pub"));
        keygen(&[&["-s", &ca][..], how, &["-I", "x", "-n", &sshd::user(), "-V", "-1m:+1h", &public]].concat());
        let line = format!("cert-authority {}", std::fs::read_to_string(room.path("ca.pub")).unwrap());
        std::fs::write(room.path("authorized_keys"), line).unwrap();
        configure(&room, "");
        goes_in(&room);
        // Elsewhere, by CertificateFile.
        std::fs::rename(room.path("id-cert.pub"), room.path("elsewhere.pub")).unwrap();
        room.sh("true").unwrap_err();
        configure(&room, &format!("  CertificateFile {}", text(&room.path("elsewhere.pub"))));
        goes_in(&room);
    }
}

#[test]
fn a_refused_login_says_what_was_tried_and_is_tried_once() {
    let Some(room) = Room::new("a refused login", "") else { return };
    std::fs::write(room.path("authorized_keys"), "").unwrap();
    let fingerprint = sshd::public(&room.path("id.pub")).fingerprint(Default::default()).to_string();
    let (failed, id, other) = wait(async {
        let fleet = room.fleet().await;
        let failed = sh(&fleet, "true").await.unwrap_err();
        let id = fleet.login_id(&web()).await.unwrap();
        let other = fleet.login_id(&Wanted { user: Some("somebody".into()), ..web() }).await.unwrap();
        (failed, id, other)
    });
    let Failed::Refused(refused) = &failed else { panic!("{failed:?}") };
    assert_eq!(
        (refused.user.as_str(), refused.methods.as_slice()),
        (sshd::user().as_str(), &["publickey".to_owned()][..])
    );
    assert_eq!(refused.offered.len(), 1);
    assert_eq!(refused.offered[0].fingerprint, fingerprint);
    assert_eq!(refused.id, id, "the same before and after");
    assert_ne!(id, other);
    let shown = shown(&failed);
    for part in [&*fingerprint, "ssh-ed25519", &text(&room.path("id")), "authorized_keys", "it takes publickey"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(failed.to_error().exit(), Exit::Unreachable);
    assert!(!failed.to_string().contains('\n'));

    // A new key changes the name of the attempt.
    sshd::keygen("ed25519", &room.path("id"));
    assert_ne!(wait(async { room.fleet().await.login_id(&web()).await.unwrap() }), id);

    // Keys that cannot be used are told, and why.
    Command::new("chmod").arg("644").arg(room.path("id")).status().unwrap();
    let failed = room.sh("true").unwrap_err();
    let told = self::shown(&failed);
    assert!(told.contains("others may read it (mode 644); chmod 600"), "{told}");
    assert!(told.contains("no key was offered"), "{told}");
    Command::new("chmod").arg("600").arg(room.path("id")).status().unwrap();
    std::fs::write(room.path("id"), "-----BEGIN OPENSSH PRIVATE KEY-----\nnonsense\n").unwrap();
    let told = self::shown(&room.sh("true").unwrap_err());
    assert!(told.contains("no private key that is understood"), "{told}");
    std::fs::remove_file(room.path("id")).unwrap();
    std::fs::remove_file(room.path("id.pub")).unwrap();
    let told = self::shown(&room.sh("true").unwrap_err());
    assert!(told.contains("is not there"), "{told}");
    configure(&room, "  PubkeyAuthentication no");
    assert!(self::shown(&room.sh("true").unwrap_err()).contains("PubkeyAuthentication no"));
}

#[test]
fn too_many_keys_are_refused_in_the_hosts_words() {
    let Some(room) = Room::new("a login that ends after MaxAuthTries", "MaxAuthTries 2") else { return };
    let mut lines = String::new();
    for i in 0..4 {
        sshd::keygen("ed25519", &room.path(&format!("k{i}")));
        lines.push_str(&format!("  IdentityFile {}\n", text(&room.path(&format!("k{i}")))));
    }
    configure(&room, &lines);
    let failed = room.sh("true").unwrap_err();
    let Failed::Refused(refused) = &failed else { panic!("{failed:?}") };
    assert_eq!(refused.said.as_deref(), Some("Too many authentication failures"), "{refused:?}");
}

#[test]
fn an_unknown_a_changed_and_a_revoked_key_are_three_refusals() {
    let Some(room) = Room::new("verifying a host", "") else { return };
    goes_in(&room);
    let file = room.path("known_hosts");
    let known = std::fs::read_to_string(&file).unwrap();
    let fingerprint = sshd::public(&room.path("host.pub")).fingerprint(Default::default()).to_string();

    std::fs::write(&file, "").unwrap();
    let failed = room.sh("true").unwrap_err();
    assert!(matches!(failed, Failed::Unverified(_)), "{failed:?}");
    let told = shown(&failed);
    assert!(told.contains("is not known") && told.contains(&fingerprint), "{told}");
    assert!(told.contains("factory inventory trust web-1"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "nothing is added by itself");

    sshd::keygen("ed25519", &room.path("new"));
    room.know("new.pub");
    let told = shown(&room.sh("true").unwrap_err());
    assert!(told.contains("has changed") && told.contains(&fingerprint), "{told}");
    let removal = format!("ssh-keygen -R '[127.0.0.1]:{}' -f {}", room.server.port, file.display());
    assert!(told.contains(&removal), "{told}");

    let key = sshd::public(&room.path("host.pub")).to_openssh().unwrap();
    std::fs::write(&file, format!("{known}@revoked * {key}\n")).unwrap();
    let told = shown(&room.sh("true").unwrap_err());
    assert!(told.contains("is revoked"), "{told}");

    // A file that cannot be read is no first visit.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let failed = room.sh("true").unwrap_err();
    assert!(matches!(failed, Failed::Unverified(_)), "{failed:?}");
    assert!(shown(&failed).contains("cannot read the known host keys"));
}

#[test]
fn accepting_new_keys_is_explicit_reported_and_never_for_changed_ones() {
    let Some(room) = Room::new("taking in new host keys", "") else { return };
    let file = room.path("known_hosts");
    std::fs::write(&file, "").unwrap();
    wait(async {
        let fleet = Fleet::new(Options { accept_new: true, ..room.options() }).await.unwrap();
        assert!(begun(sh(&fleet, "true").await).succeeded());
        let accepted = fleet.accepted();
        assert_eq!((accepted.len(), accepted[0].host.as_str(), accepted[0].added.line), (1, "web-1", 1));
    });
    goes_in(&room);
    assert_eq!(sshd::judged(&sshd::ssh(&file, &["-p", &room.server.port.to_string(), "nobody@127.0.0.1"])), "known");
    sshd::keygen("ed25519", &room.path("new"));
    room.know("new.pub");
    wait(async {
        let fleet = Fleet::new(Options { accept_new: true, ..room.options() }).await.unwrap();
        assert!(matches!(sh(&fleet, "true").await, Err(Failed::Unverified(_))));
        assert_eq!(fleet.accepted(), []);
    });
}

#[test]
fn of_several_host_keys_the_known_one_is_asked_for() {
    let Some(room) = Room::new("a host with several keys", "") else { return };
    for kind in ["rsa", "ecdsa"] {
        sshd::keygen(kind, &room.path(kind));
    }
    let config = sshd::admit(room.directory.path(), &["host", "rsa", "ecdsa"], "");
    let server = Sshd::start(&room.program, &config);
    let room = Room { server, ..room };
    room.config("");
    for kind in ["rsa.pub", "ecdsa.pub", "host.pub"] {
        room.know(kind);
        goes_in(&room);
    }
    // What ssh_config leaves out is not asked for.
    room.know("rsa.pub");
    configure(&room, "  HostKeyAlgorithms ssh-ed25519");
    assert!(shown(&room.sh("true").unwrap_err()).contains("has changed"));
}

#[test]
fn a_host_certificate_stands_for_the_host_by_its_authority_alone() {
    let Some(room) = Room::new("host certificates", "") else { return };
    let ca = text(&room.path("ca"));
    sshd::keygen("ed25519", &room.path("ca"));
    let authority = std::fs::read_to_string(room.path("ca.pub")).unwrap();
    let file = room.path("known_hosts");
    let public = text(&room.path("host.pub"));
    let certificate = room.path("host-cert.pub");
    let more = format!("HostCertificate {}", certificate.display());
    let mut room = room;
    for (how, told) in [
        (&["-h", "-n", "127.0.0.1", "-V", "-1m:+1h"][..], None),
        (&["-h", "-n", "other", "-V", "-1m:+1h"], Some("it is for other hosts (other)")),
        (&["-h", "-n", "127.0.0.1", "-V", "-2h:-1h"], Some("it has expired")),
    ] {
        keygen(&[&["-s", &ca, "-I", "x"][..], how, &[&public]].concat());
        let config = sshd::admit(room.directory.path(), &["host"], &more);
        room = Room { server: Sshd::start(&room.program, &config), ..room };
        room.config("");
        std::fs::write(&file, format!("@cert-authority 127.0.0.1,[127.0.0.1]:* {authority}")).unwrap();
        match told {
            None => goes_in(&room),
            Some(part) => {
                let failed = room.sh("true").unwrap_err();
                assert!(matches!(failed, Failed::Unverified(_)), "{failed:?}");
                assert!(shown(&failed).contains(part), "{}", shown(&failed));
            }
        }
        // Whoever knows the bare key needs no authority.
        room.know("host.pub");
        goes_in(&room);
    }
    // The authority of other hosts stands for nobody here.
    std::fs::write(&file, format!("@cert-authority *.example.com {authority}")).unwrap();
    assert!(matches!(room.sh("true").unwrap_err(), Failed::Unverified(_)));
}
