//! Our reading of known_hosts beside that of ssh-keygen and ssh.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use factory::ssh::known_hosts::{BadCertificate, fingerprint, text};
use factory::ssh::{KnownHosts, Verdict};
use russh::keys::{Certificate, PublicKey};

use crate::sshd;

/// A small generator of its own, so that each run tries the same files.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

const PATTERNS: [&str; 19] = [
    "web-1",
    "WEB-1",
    "web-?",
    "web-1,10.0.0.1",
    "*.example.com",
    "!db.example.com,*.example.com",
    "*.example.com,!db.example.com",
    "db.*,!*.com",
    "[web-1]:2222",
    "[*]:2222",
    "[*.example.com]:*",
    "*",
    "*,![*",
    "!web-1",
    ",,web-1,",
    "w**1",
    "[web-1]:22",
    "10.0.0.?",
    "unrelated",
];
const NAMES: [&str; 6] = ["web-1", "web-2", "db.example.com", "a.example.com", "10.0.0.1", "[web-1]"];
const MARKERS: [&str; 6] = ["", "", "", "", "@revoked ", "@cert-authority "];

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/known_hosts").join(name);
    std::fs::read_to_string(path).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn load(path: &Path) -> KnownHosts {
    KnownHosts::load(&[path.to_owned()]).unwrap()
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Known { .. } => "known",
        Verdict::Unknown => "unknown",
        Verdict::Changed { .. } => "changed",
        Verdict::Revoked { .. } => "revoked",
    }
}

#[test]
fn the_lines_found_are_those_that_ssh_keygen_finds() {
    if !sshd::has_keygen("the lines of known_hosts beside those of ssh-keygen") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    let keys = [fixture("a.pub"), fixture("ecdsa.pub"), fixture("rsa.pub")];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let authority = fixture("ca.pub");
    let foreign = PublicKey::from_openssh(&fixture("b.pub")).unwrap();
    let mut dice = Dice(1);
    let (mut found, mut hashed) = (0, 0);
    for round in 0..60 {
        let mut lines = String::new();
        for _ in 0..6 {
            let (marker, pattern, key) = (dice.pick(&MARKERS), dice.pick(&PATTERNS), dice.pick(&keys));
            // An authority of its own, since one that is revoked counts for nothing.
            let key = if marker.starts_with("@cert") { authority.as_str() } else { key };
            lines.push_str(&format!("{marker}{pattern} {key}{}\n", dice.pick(&["", " a comment", "\t# b"])));
            lines.push_str(dice.pick(&["", "", "\n", "  # a note\n"]));
        }
        std::fs::write(&file, &lines).unwrap();
        if round % 2 == 1 {
            // -H hashes the lines without marker and wildcard, one line for each name of a list.
            assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap().status.success());
            lines = std::fs::read_to_string(&file).unwrap();
            hashed += lines.matches("|1|").count();
        }
        let known = load(&file);
        assert_eq!(known.notes(), [], "{lines}");
        for (name, port) in NAMES.iter().flat_map(|name| [(*name, 22), (*name, 2222)]) {
            let asked = if port == 22 { name.to_owned() } else { format!("[{name}]:{port}") };
            let output = Command::new("ssh-keygen").arg("-F").arg(&asked).arg("-f").arg(&file).output().unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            // "# Host web-1 found: line 3 REVOKED"
            let theirs: BTreeSet<(usize, &str)> = output
                .lines()
                .filter_map(|line| line.strip_prefix("# Host ")?.split_once(" found: line "))
                .map(|(_, rest)| rest.split_once(' ').unwrap_or((rest, "")))
                .map(|(line, marker)| (line.parse().unwrap(), marker.trim()))
                .collect();
            // ssh-keygen looks at neither keys nor the bare name of a host with a port: a key that no line holds
            // shows all lines of the name itself, and each key shows the lines that revoke it.
            let mut ours = BTreeSet::new();
            if let Verdict::Changed { lines } = known.lookup(name, port, &foreign) {
                ours.extend(lines.iter().map(|held| (held.line, "")));
            }
            for key in &keys {
                if let Verdict::Revoked { lines, .. } = known.lookup(name, port, &PublicKey::from_openssh(key).unwrap())
                {
                    ours.extend(lines.iter().map(|held| (held.line, "REVOKED")));
                }
            }
            let own: BTreeSet<_> = theirs.iter().copied().filter(|(_, marker)| *marker != "CA").collect();
            // Under the bare name a revocation counts too; ssh-keygen was not asked about it.
            let bare_revoked = port != 22 && !own.iter().any(|(_, marker)| marker.is_empty());
            if bare_revoked {
                ours.retain(|line| line.1.is_empty() || own.contains(line));
            }
            assert_eq!(ours, own, "{asked} in:\n{lines}");
            let authority = theirs.iter().any(|(_, marker)| *marker == "CA");
            assert!(!authority || known.holdings(name, port).authority, "{asked} in:\n{lines}");
            found += theirs.len();
        }
    }
    assert!(found > 400 && hashed > 30, "the files say too little: {found} {hashed}");
}

#[test]
fn what_we_write_hashed_ssh_keygen_finds() {
    if !sshd::has_keygen("hashed names beside those of ssh-keygen") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    let key = PublicKey::from_openssh(&fixture("a.pub")).unwrap();
    for (name, port) in [("Web-1", 22), ("web-1", 2222), ("fe80::1", 22), ("2001:db8::7", 2222)] {
        factory::ssh::known_hosts::add(&file, name, port, &key, true).unwrap();
        let asked = factory::ssh::known_hosts::host_name(name, port);
        let output = Command::new("ssh-keygen").args(["-l", "-F", &asked, "-f"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{asked}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(&fingerprint(&key)));
    }
    // And it removes it again by the very command that our messages give.
    let removal = factory::ssh::known_hosts::removal("web-1", 2222, &file);
    assert!(Command::new("sh").args(["-c", &removal]).output().unwrap().status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    let output = Command::new("ssh-keygen").args(["-F", "[web-1]:2222", "-f"]).arg(&file).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(matches!(load(&file).lookup("web-1", 22, &key), Verdict::Known { .. }));
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    if !sshd::has_keygen("fingerprints beside those of ssh-keygen") {
        return;
    }
    for name in ["a.pub", "ecdsa.pub", "rsa.pub"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/known_hosts").join(name);
        let output = Command::new("ssh-keygen").arg("-lf").arg(&path).output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(theirs.split(' ').nth(1), Some(fingerprint(&sshd::public(&path)).as_str()));
    }
}

/// `sshd -i` behind ssh's ProxyCommand: any host name, any port, and no network.
struct Behind {
    directory: tempfile::TempDir,
    proxy: String,
}

impl Behind {
    fn new(program: &Path, more: &str) -> Behind {
        let directory = tempfile::tempdir().unwrap();
        sshd::keygen("ed25519", &directory.path().join("host"));
        let config = sshd::configure(directory.path(), &["host"], more);
        let proxy = format!("ProxyCommand={} -i -f {}", program.display(), config.display());
        Behind { directory, proxy }
    }

    fn ssh(&self, known_hosts: &Path, algorithms: &str, name: &str, port: u16) -> std::process::Output {
        let algorithms = format!("HostKeyAlgorithms={algorithms}");
        sshd::ssh(known_hosts, &["-o", &self.proxy, "-o", &algorithms, "-p", &port.to_string(), name])
    }
}

#[test]
fn ssh_itself_comes_to_the_same_verdict() {
    let Some(program) = sshd::program("the verdicts on host keys beside those of ssh") else { return };
    let behind = Behind::new(&program, "");
    let host = sshd::public(&behind.directory.path().join("host.pub"));
    let own = host.to_openssh().unwrap().trim().to_owned();
    let (a, ecdsa, rsa) = (fixture("a.pub"), fixture("ecdsa.pub"), fixture("rsa.pub"));
    let hashed = |name: &str, port: u16| text(name, port, &host, Some([5; 20])).unwrap();
    let blob = own.split(' ').nth(1).unwrap().to_owned();
    let mut cases: Vec<(String, &str, u16)> = vec![
        (String::new(), "web-1", 22),
        (format!("web-1 {own}"), "web-1", 22),
        (format!("web-1 {own}"), "Web-1", 22),
        (format!("web-1 {a}\nweb-1 {own}"), "web-1", 22),
        (format!("web-1 {a}\nweb-1 {ecdsa}"), "web-1", 22),
        (format!("web-1 {rsa}"), "web-1", 22),
        (format!("web-2 {own}"), "web-1", 22),
        (hashed("web-1", 22), "web-1", 22),
        (hashed("web-1", 2222), "web-1", 2222),
        (hashed("web-1", 22), "web-1", 2222),
        (format!("{},web-1", hashed("x", 22)), "web-1", 22),
        (format!("[web-1]:2222 {own}"), "web-1", 22),
        (format!("[web-1]:22 {own}"), "web-1", 22),
        (format!("web-1 {own}"), "web-1", 2222),
        (format!("web-1 {a}"), "web-1", 2222),
        (format!("[web-1]:2222 {a}\nweb-1 {own}"), "web-1", 2222),
        (format!("@cert-authority [web-1]:2222 {a}\nweb-1 {own}"), "web-1", 2222),
        (format!("@revoked web-1 {own}\nweb-1 {own}"), "web-1", 22),
        (format!("web-1 {own}\n@revoked * {own}"), "web-1", 22),
        (format!("@revoked * {own}"), "web-1", 22),
        (format!("@revoked * {a}\nweb-1 {own}"), "web-1", 22),
        (format!("@revoked web-1 {own}\n[web-1]:2222 {own}"), "web-1", 2222),
        (format!("@revoked web-1 {own}"), "web-1", 2222),
        (format!("@cert-authority * {own}"), "web-1", 22),
        (format!("@cert-authority\tweb-1 {own}"), "web-1", 22),
        (format!("@moon web-1 {own}"), "web-1", 22),
        (format!("@revoked @cert-authority web-1 {own}\nweb-1 {own}"), "web-1", 22),
        (format!("web-1 {own} trailing words # here\r"), "web-1", 22),
        (format!("web-1 {own}\r\n"), "web-1", 22),
        (format!("\t web-1 \t{own}"), "web-1", 22),
        (format!("# web-1 {own}"), "web-1", 22),
        (format!("web-1 ssh-rsa {blob}"), "web-1", 22),
        (format!("web-1 {}", &own[..own.len() - 4]), "web-1", 22),
        (format!("web-1 {own}AAAA"), "web-1", 22),
        (format!("web-1 {own}=="), "web-1", 22),
        (format!("web-1 # {own}"), "web-1", 22),
        (format!("|1|bad|worse {own}\nweb-1 {own}"), "web-1", 22),
        (format!("web-1 ssh-moon AAAA\nweb-1 {own}"), "web-1", 22),
        (format!("web-1\0,x {own}"), "web-1", 22),
        (format!("{},web-1 {own}", "x".repeat(1022)), "web-1", 22),
        (format!("{},web-1 {own}", "x".repeat(1023)), "web-1", 22),
        (format!("web-1,{} {own}", "x".repeat(1023)), "web-1", 22),
    ];
    let mut dice = Dice(7);
    for _ in 0..24 {
        let mut lines = String::new();
        for _ in 0..4 {
            let key = dice.pick(&[own.as_str(), own.as_str(), a.as_str(), ecdsa.as_str()]);
            lines.push_str(&format!("{}{} {key}\n", dice.pick(&MARKERS), dice.pick(&PATTERNS)));
        }
        cases.push((lines, NAMES[dice.roll(5)], if dice.roll(3) == 0 { 2222 } else { 22 }));
    }
    let run = |half: &[(String, &str, u16)], index: usize| -> Vec<&'static str> {
        let file = behind.directory.path().join(format!("known_hosts-{index}"));
        let check = |(lines, name, port): &(String, &str, u16)| {
            std::fs::write(&file, lines).unwrap();
            let output = behind.ssh(&file, "ssh-ed25519", name, *port);
            let theirs = sshd::judged(&output);
            let verdict = load(&file).lookup(name, *port, &host);
            assert_eq!(kind(&verdict), theirs, "{name} {port} in:\n{lines}\nssh: {output:?}");
            if let Verdict::Changed { lines: held } = &verdict {
                // ssh names one offending line, the last; ours are all.
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(said.contains(&format!(" key in {}", held.last().unwrap().place())), "{said}");
            }
            theirs
        };
        half.iter().map(check).collect()
    };
    // Two at a time: each is a process pair with a key exchange.
    let (first, second) = cases.split_at(cases.len() / 2);
    let seen: BTreeSet<&str> = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(second, 1));
        run(first, 0).into_iter().chain(other.join().unwrap()).collect()
    });
    assert_eq!(seen, BTreeSet::from(["known", "unknown", "changed", "revoked"]));
}

#[test]
fn a_revocation_counts_where_ssh_overlooks_it() {
    let Some(program) = sshd::program("a revocation that ssh overlooks") else { return };
    let behind = Behind::new(&program, "");
    let host = sshd::public(&behind.directory.path().join("host.pub"));
    let own = host.to_openssh().unwrap().trim().to_owned();
    let file = behind.directory.path().join("known_hosts");
    std::fs::write(&file, format!("web-1 {own}\n@revoked\t* {own}\n")).unwrap();
    assert_eq!(kind(&load(&file).lookup("web-1", 22, &host)), "revoked");
    // Whatever this ssh makes of the tab: never stricter than we are.
    sshd::judged(&behind.ssh(&file, "ssh-ed25519", "web-1", 22));
}

#[test]
fn ssh_accepts_the_certificates_that_we_accept() {
    let Some(program) = sshd::program("the verdicts on host certificates beside those of ssh") else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca");
    let authority = sshd::keygen("ed25519", &ca).to_openssh().unwrap();
    let cases: [(&[&str], &str, u16, bool); 8] = [
        (&["-h", "-n", "web-1"], "web-1", 22, true),
        (&["-h", "-n", "web-1"], "WEB-1", 2222, true),
        (&["-h", "-n", "web-1,web-2", "-V", "-1d:+1d"], "web-2", 22, true),
        (&["-h", "-n", "web-1"], "web-2", 22, false),
        (&["-h", "-n", "web-1", "-V", "-2d:-1d"], "web-1", 22, false),
        (&["-h", "-n", "web-1", "-V", "+1d:+2d"], "web-1", 22, false),
        (&["-h", "-n", "web-1", "-O", "critical:moon=full"], "web-1", 22, false),
        (&["-n", "web-1"], "web-1", 22, false),
    ];
    for (arguments, name, port, accepted) in cases {
        let behind = Behind::new(&program, "");
        let host = behind.directory.path().join("host");
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", "it", "-s"]).arg(&ca).args(arguments).arg(host.with_extension("pub"));
        assert!(sign.output().unwrap().status.success());
        let certified = behind.directory.path().join("host-cert.pub");
        sshd::configure(behind.directory.path(), &["host"], &format!("HostCertificate {}\n", certified.display()));
        let certificate = Certificate::from_openssh(&std::fs::read_to_string(certified).unwrap()).unwrap();
        let file = behind.directory.path().join("known_hosts");
        std::fs::write(&file, format!("@cert-authority web-*,[WEB-1]:* {authority}\n")).unwrap();
        let (verdict, problem) = load(&file).lookup_certificate(name, port, &certificate, now);
        assert_eq!(matches!(verdict, Verdict::Known { .. }), accepted, "{arguments:?} {problem:?}");
        // sshd itself does not serve a certificate that is no host's; there is nothing to compare then.
        if problem == Some(BadCertificate::NotHost) {
            continue;
        }
        let output = behind.ssh(&file, "ssh-ed25519-cert-v01@openssh.com", name, port);
        assert_eq!(sshd::judged(&output) == "known", accepted, "{arguments:?} {output:?}");
    }
}
