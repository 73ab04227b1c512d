//! Fetching host keys from real servers and from things that are none, and taking them in so that ssh agrees.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use factory::error::Error;
use factory::exit::Exit;
use factory::render::diagnostic::{Style, error};
use factory::ssh::config::{Asker, Wanted};
use factory::ssh::scan::{HostKey, fetch};
use factory::ssh::trust::{accept, judge, refusal};
use factory::ssh::{Target, Trust, Unreached, scan};

use crate::sshd::{self, Sshd};

const TIMEOUT: Duration = Duration::from_secs(10);

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

fn keys(target: &Target) -> Vec<HostKey> {
    wait(scan(target, TIMEOUT)).unwrap_or_else(|problem| panic!("{}", error(&problem, Style::PLAIN)))
}

fn target(port: u16, known_hosts: &Path) -> Target {
    Target { user_known_hosts: vec![known_hosts.to_owned()], ..Target::bare("web-1", "127.0.0.1", port) }
}

/// A server's whole host-key set in a directory of its own.
fn serve(program: &Path, kinds: &[&str]) -> (tempfile::TempDir, Sshd) {
    let directory = tempfile::tempdir().unwrap();
    for kind in kinds {
        sshd::keygen(kind, &directory.path().join(kind));
    }
    let config = sshd::configure(directory.path(), kinds, "");
    let server = Sshd::start(program, &config);
    (directory, server)
}

fn ssh(known_hosts: &Path, port: u16) -> std::process::Output {
    sshd::ssh(known_hosts, &["-p", &port.to_string(), "nobody@127.0.0.1"])
}

#[test]
fn a_scan_shows_the_keys_that_ssh_keyscan_shows() {
    let Some(program) = sshd::program("scanning a real sshd") else { return };
    for kinds in [&["rsa", "ed25519", "ecdsa"][..], &["ecdsa"], &["rsa"]] {
        let (directory, server) = serve(&program, kinds);
        let target = target(server.port, &directory.path().join("known_hosts"));
        let ours: BTreeSet<String> = keys(&target).iter().map(|key| key.key.to_openssh().unwrap()).collect();
        let output = Command::new("ssh-keyscan").args(["-p", &server.port.to_string(), "127.0.0.1"]).output().unwrap();
        let theirs: BTreeSet<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect();
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), kinds.len());
        // Where this name has an IPv6 address too, nobody listens there, and the next one counts.
        let by_name = Target { host: "localhost".into(), ..target };
        assert_eq!(keys(&by_name).len(), kinds.len());
    }
}

#[test]
fn after_trust_ssh_goes_on_and_after_a_swap_both_refuse() {
    let Some(program) = sshd::program("trusting a real sshd") else { return };
    for hash in [false, true] {
        let (directory, server) = serve(&program, &["ed25519", "ecdsa", "rsa"]);
        let file = directory.path().join("fresh/known_hosts");
        let target = Target { hash_known_hosts: hash, ..target(server.port, &file) };
        assert_eq!(sshd::judged(&ssh(&file, server.port)), "unknown");

        let shown = keys(&target);
        let judged = judge(&target.known_hosts().unwrap(), &target, &shown);
        assert!(judged.iter().all(|judgement| judgement.trust == Trust::New), "{judged:?}");
        let added = accept(&target, &judged).unwrap();
        assert_eq!(added.iter().map(|added| added.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(std::fs::read_to_string(&file).unwrap().contains("127.0.0.1"), !hash);
        for algorithm in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256"] {
            let algorithm = format!("HostKeyAlgorithms={algorithm}");
            let port = server.port.to_string();
            let output = sshd::ssh(&file, &["-o", &algorithm, "-p", &port, "nobody@127.0.0.1"]);
            assert_eq!(sshd::judged(&output), "known", "{algorithm} {output:?}");
        }
        let again = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
        assert!(again.iter().all(|judgement| matches!(judgement.trust, Trust::Already { .. })), "{again:?}");
        assert_eq!(accept(&target, &again).unwrap(), []);
        let port = server.port;
        drop(server);

        // The machine was installed anew, or another one answers: on the same port.
        for kind in ["ed25519", "ecdsa", "rsa"] {
            sshd::keygen(kind, &directory.path().join(kind));
        }
        let server = Sshd::start_on(&program, &directory.path().join("sshd_config"), port).unwrap();
        let before = std::fs::read(&file).unwrap();
        let judged = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
        assert!(judged.iter().all(|judgement| matches!(judgement.trust, Trust::Changed { .. })), "{judged:?}");
        assert_eq!(sshd::judged(&ssh(&file, server.port)), "changed");
        let problem = accept(&target, &judged).unwrap_err();
        assert_eq!(problem.exit(), Exit::Unreachable);
        assert_eq!(std::fs::read(&file).unwrap(), before, "a refusal writes nothing");

        // The message's own command makes way, and then both go on.
        let shown = error(&problem, Style::PLAIN);
        let removal = format!("ssh-keygen -R '[127.0.0.1]:{}' -f {}", server.port, file.display());
        assert!(shown.contains(&removal), "{shown}");
        assert!(shown.contains(&format!("{}:2 holds ecdsa-sha2-nistp256 SHA256:", file.display())), "{shown}");
        assert!(Command::new("sh").args(["-c", &removal]).output().unwrap().status.success());
        let judged = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
        assert_eq!(accept(&target, &judged).unwrap().len(), 3);
        assert_eq!(sshd::judged(&ssh(&file, server.port)), "known");

        // A key that is revoked is refused even though it is known.
        let key = sshd::public(&directory.path().join("ed25519.pub")).to_openssh().unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&format!("@revoked * {key}\n"));
        std::fs::write(&file, text).unwrap();
        let judged = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
        let shown = error(&refusal(&target, &judged).unwrap(), Style::PLAIN);
        assert!(shown.contains("is revoked") && shown.contains(&format!("{}:4 revokes it", file.display())), "{shown}");
        // ssh would go round it by another key of the host, unless told to look at this one.
        let port = server.port.to_string();
        let ed25519 = ["-o", "HostKeyAlgorithms=ssh-ed25519", "-p", &port, "nobody@127.0.0.1"];
        assert_eq!(sshd::judged(&sshd::ssh(&file, &ed25519)), "revoked");
    }
}

#[test]
fn one_known_key_vouches_for_the_types_of_which_none_is_known() {
    let Some(program) = sshd::program("adding the keys that are missing") else { return };
    let (directory, server) = serve(&program, &["ed25519", "ecdsa"]);
    let file = directory.path().join("known_hosts");
    let target = target(server.port, &file);
    let ed25519 = sshd::public(&directory.path().join("ed25519.pub"));
    factory::ssh::known_hosts::add(&file, "127.0.0.1", server.port, &ed25519, false).unwrap();
    let judged = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
    assert!(matches!(judged[0].trust, Trust::Already { .. }), "{judged:?}");
    assert_eq!(judged[1].trust, Trust::New);
    assert_eq!(accept(&target, &judged).unwrap().len(), 1);
}

/// A listener that does `answer` to each connection, until the test ends.
fn listen(answer: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port
}

fn failure(port: u16, timeout: Duration) -> (Unreached, Error) {
    let target = Target::bare("web-1", "127.0.0.1", port);
    let unreached = wait(fetch(&target, timeout)).unwrap_err();
    let error = unreached.to_error(&target);
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.advice().is_some());
    (unreached, error)
}

#[test]
fn who_says_nothing_costs_the_time_out_and_no_more() {
    let held = std::sync::Mutex::new(Vec::new());
    let port = listen(move |stream| held.lock().unwrap().push(stream));
    let begun = Instant::now();
    let (unreached, error) = failure(port, Duration::from_secs(3));
    assert!(matches!(unreached, Unreached::TimedOut { .. }), "{unreached:?}");
    assert!((Duration::from_millis(2900)..Duration::from_secs(30)).contains(&begun.elapsed()));
    assert!(error.to_string().contains("before it said anything"), "{error}");
    // The same after a banner: frozen in the key exchange.
    let held = std::sync::Mutex::new(Vec::new());
    let port = listen(move |mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").unwrap();
        held.lock().unwrap().push(stream);
    });
    let (unreached, error) = failure(port, Duration::from_secs(3));
    assert!(matches!(unreached, Unreached::TimedOut { .. }), "{unreached:?}");
    assert!(error.to_string().contains("during the key exchange"), "{error}");
}

#[test]
fn each_way_not_to_be_an_ssh_server_has_its_name() {
    let (_kept, port) = sshd::closed_port();
    let (unreached, error) = failure(port, TIMEOUT);
    assert!(matches!(unreached, Unreached::Refused { .. }), "{unreached:?}");
    assert!(error.advice().unwrap().contains("check that sshd runs there"));

    let http = listen(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nServer: x\x1b[31m\r\n\r\n");
    });
    let (unreached, error) = failure(http, TIMEOUT);
    assert!(matches!(&unreached, Unreached::NotSsh { said } if said == "HTTP/1.1 400 Bad Request"), "{unreached:?}");
    assert!(error.advice().unwrap().contains("another program"));

    // A mail server greets and then waits.
    let held = std::sync::Mutex::new(Vec::new());
    let mail = listen(move |mut stream| {
        stream.write_all(b"220 mail\x1b[2J ESMTP\r\n").unwrap();
        held.lock().unwrap().push(stream);
    });
    let (unreached, _) = failure(mail, Duration::from_secs(3));
    assert!(matches!(&unreached, Unreached::NotSsh { said } if said == "220 mail.[2J ESMTP"), "{unreached:?}");

    // What was sent and never read makes the kernel answer a close with a reset.
    let reset = listen(|mut stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let (unreached, _) = failure(reset, TIMEOUT);
    assert!(matches!(unreached, Unreached::Reset { .. }), "{unreached:?}");
    assert!(unreached.transient());

    let closed = listen(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
    });
    let (unreached, _) = failure(closed, TIMEOUT);
    assert!(matches!(unreached, Unreached::Closed { .. }), "{unreached:?}");

    let busy = listen(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"Exceeded MaxStartups\r\n");
    });
    let (unreached, _) = failure(busy, TIMEOUT);
    assert!(matches!(unreached, Unreached::Busy { .. }), "{unreached:?}");
    assert!(unreached.transient());

    let garbage = listen(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff");
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.read(&mut [0; 4096]);
    });
    let (unreached, _) = failure(garbage, TIMEOUT);
    assert!(matches!(unreached, Unreached::Protocol { .. } | Unreached::Closed { .. }), "{unreached:?}");

    let unknown = Target::bare("web-1", "no-such-host.invalid", 22);
    let unreached = wait(fetch(&unknown, TIMEOUT)).unwrap_err();
    assert!(
        matches!(unreached, Unreached::Unresolved { .. } | Unreached::TimedOut { .. }),
        "a resolver that cannot be reached may take its time: {unreached:?}"
    );
}

#[test]
fn a_server_without_an_acceptable_key_says_so() {
    let Some(program) = sshd::program("a server with SHA-1 alone") else { return };
    let directory = tempfile::tempdir().unwrap();
    sshd::keygen("rsa", &directory.path().join("rsa"));
    let config = sshd::configure(directory.path(), &["rsa"], "HostKeyAlgorithms ssh-rsa\n");
    let server = Sshd::start(&program, &config);
    let (unreached, error) = failure(server.port, TIMEOUT);
    assert!(matches!(&unreached, Unreached::NoCommon { theirs, .. } if theirs == &["ssh-rsa"]), "{unreached:?}");
    assert!(error.to_string().contains("no acceptable host key type (it has ssh-rsa)"), "{error}");
}

#[test]
fn from_the_inventory_through_ssh_config_to_the_key() {
    let Some(program) = sshd::program("reaching a host through ssh_config") else { return };
    let (directory, server) = serve(&program, &["ed25519"]);
    let home = directory.path().join("home");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    let config = format!(
        "Host web-1\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias Web-One\n  HashKnownHosts yes\nHost hop\n  ProxyJump web-1\n",
        server.port
    );
    std::fs::write(home.join(".ssh/config"), config).unwrap();
    let (target, hop) = wait(async {
        let asker = Asker::with(Path::new("ssh"), Some(home.clone()), TIMEOUT).await.unwrap();
        (asker.ask(&Wanted::named("web-1")).await.unwrap(), asker.ask(&Wanted::named("hop")).await.unwrap())
    });
    let file = home.join(".ssh/known_hosts");
    assert_eq!((target.host.as_str(), target.port, target.known_as()), ("127.0.0.1", server.port, ("web-one", 22)));
    assert_eq!(target.user_known_hosts[0], file, "under $HOME, which ssh itself does not look at");
    let target = Target { global_known_hosts: Vec::new(), ..target };
    let judged = judge(&target.known_hosts().unwrap(), &target, &keys(&target));
    accept(&target, &judged).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("|1|"));
    let port = server.port.to_string();
    let output = sshd::ssh(&file, &["-o", "HostKeyAlias=web-one", "-p", &port, "127.0.0.1"]);
    assert_eq!(sshd::judged(&output), "known", "{output:?}");

    let problem = wait(scan(&hop, TIMEOUT)).unwrap_err();
    assert_eq!(problem.exit(), Exit::Unreachable);
    assert!(problem.to_string().contains("`ProxyJump web-1`"), "{problem}");
}
