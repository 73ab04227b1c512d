//! Our reader of ssh_config against the real `ssh -G`: the same answer for every directive that is used, or unsure.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use factory::ssh::config::reader::{Passwd, Reader};
use factory::ssh::config::{Asker, Config, TIMEOUT, Wanted};
use factory::ssh::{Fleet, Options};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

/// What some caller in `src/ssh` asks an answer for.
const USED: [&str; 28] = [
    "addressfamily",
    "bindaddress",
    "bindinterface",
    "casignaturealgorithms",
    "certificatefile",
    "ciphers",
    "globalknownhostsfile",
    "hashknownhosts",
    "host",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kexalgorithms",
    "knownhostscommand",
    "macs",
    "port",
    "proxycommand",
    "proxyjump",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "remotecommand",
    "requiredrsasize",
    "revokedhostkeys",
    "user",
    "userknownhostsfile",
];

/// Algorithms whose default is ssh's own affair: the reader leaves them out.
const LISTS: [&str; 6] =
    ["casignaturealgorithms", "ciphers", "hostkeyalgorithms", "kexalgorithms", "macs", "pubkeyacceptedalgorithms"];

/// Key files that only some versions look for by default.
const OLD_KEYS: [&str; 2] = ["~/.ssh/id_xmss", "~/.ssh/id_dsa"];

const HOSTS: [&str; 5] = ["web-1", "db.example.com", "Web-1", "10.0.0.5", "fe80::1"];

type Said = BTreeMap<String, Vec<String>>;

fn said(config: &Config) -> Said {
    let also = ["verifyhostkeydns"];
    let values = |name: &&str| (name.to_string(), config.all(name).map(str::to_owned).collect::<Vec<_>>());
    USED.iter().chain(&also).map(values).filter(|(_, values)| !values.is_empty()).collect()
}

/// A home directory in which configurations are compared.
struct Bench {
    home: tempfile::TempDir,
    defaults: Said,
}

impl Bench {
    /// `None`, with one line, where there is no ssh or no user.
    fn new(what: &str) -> Option<(Bench, Passwd)> {
        let there = Command::new("ssh").arg("-V").output().is_ok();
        let (true, Some(passwd)) = (there, Passwd::own()) else {
            println!("left out: {what}; needs ssh (apt-get install openssh-client) and a user in /etc/passwd");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".ssh/conf.d")).unwrap();
        let mut bench = Bench { home, defaults: Said::new() };
        bench.defaults = bench.ssh(&["-F".into(), "/dev/null".into()], "h").unwrap();
        Some((bench, passwd))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(".ssh").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// What `ssh -G` says; its complaint where it says nothing.
    fn ssh(&self, arguments: &[String], host: &str) -> Result<Said, String> {
        let mut command = Command::new("ssh");
        command.args(["-G", "-T"]).args(arguments).args(["--", host]).env("HOME", self.home.path());
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(said(&Config::parse(&String::from_utf8_lossy(&output.stdout)))),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Compares for one host; whether the reader was sure.
    fn compare(&self, reader: &Reader, arguments: &[String], host: &str, shown: &str) -> Result<bool, String> {
        let wanted = Wanted { args: arguments.to_vec(), ..Wanted::named(host) };
        let Ok(ours) = reader.read(&wanted) else { return Ok(false) };
        let mut ours = said(&ours);
        let mut theirs = self
            .ssh(arguments, host)
            .map_err(|said| format!("ssh refuses what the reader takes: {said}\nhost {host} of {shown}"))?;
        for list in LISTS {
            if let (None, Some(default)) = (ours.get(list), self.defaults.get(list)) {
                ours.insert(list.to_owned(), default.clone());
            }
        }
        if theirs.get("identityfile") == self.defaults.get("identityfile")
            && let Some(files) = theirs.get_mut("identityfile")
        {
            files.retain(|file| !OLD_KEYS.contains(&file.as_str()));
        }
        if ours == theirs {
            return Ok(true);
        }
        let differs: Vec<_> =
            ours.keys().chain(theirs.keys()).filter(|name| ours.get(*name) != theirs.get(*name)).collect();
        let lines: Vec<_> =
            differs.iter().map(|name| format!("{name}: {:?}, ssh: {:?}", ours.get(*name), theirs.get(*name))).collect();
        Err(format!("{}\nhost {host} of {shown}", lines.join("\n")))
    }

    fn reader(&self, passwd: &Passwd) -> Reader {
        Reader::new(Some(self.home.path().to_owned()), Some(passwd.clone()), "/no/such/file".into())
    }
}

fn words(text: &str) -> Vec<String> {
    shlex::split(text).unwrap()
}

/// The configurations in the fixture: each after a line `=== sure|unsure|refused [arguments]`. `sure`: the reader
/// answers for each host; `unsure`: for at least one it does not; `refused`: ssh takes it for none, nor do we.
#[test]
fn our_reader_says_what_ssh_says() {
    let Some((bench, passwd)) = Bench::new("our reader of ssh_config against ssh -G") else { return };
    bench.write("conf.d/10-a.conf", "Host web-*\n  Port 1010\n  User from-a\nHost *\n  IdentityFile ~/.ssh/included\n");
    bench.write("conf.d/20-b.conf", "Match user from-a\n  HostKeyAlias B\nMatch all\n  Port 2020\n");
    bench.write("conf.d/.hidden.conf", "Port 9\n");
    bench.write("plain", "User plain\nPort 3030\n");
    bench.write("loop", "Include loop\n");
    bench.write("open", "Port 4040\n");
    std::fs::set_permissions(bench.home.path().join(".ssh/open"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let fixture = include_str!("fixtures/ssh_config/cases.txt");
    let cases: Vec<&str> = fixture.split("=== ").skip(1).collect();
    assert!(cases.len() >= 60, "{} configurations", cases.len());
    for (number, case) in cases.iter().enumerate() {
        let (head, config) = case.split_once('\n').unwrap();
        let (expected, arguments) = head.split_once(' ').unwrap_or((head, ""));
        let path =
            bench.write(&format!("case-{number}"), &config.replace("@HOME@", &bench.home.path().display().to_string()));
        let mut all = vec!["-F".to_owned(), path.display().to_string()];
        all.extend(words(arguments));
        let reader = bench.reader(&passwd);
        let sure: Vec<bool> = HOSTS
            .iter()
            .map(|host| bench.compare(&reader, &all, host, case).unwrap_or_else(|text| panic!("{text}")))
            .collect();
        match expected {
            "sure" => assert!(sure.iter().all(|sure| *sure), "{sure:?}: {:?}\n{case}", reasons(&reader, &all)),
            "unsure" => assert!(sure.iter().any(|sure| !sure), "{case}"),
            "refused" => {
                assert!(sure.iter().all(|sure| !sure), "{case}");
                bench.ssh(&all, "web-1").unwrap_err();
            }
            other => panic!("{other}"),
        }
    }
}

fn reasons(reader: &Reader, arguments: &[String]) -> Vec<String> {
    let wanted = |host: &&str| Wanted { args: arguments.to_vec(), ..Wanted::named(host) };
    HOSTS.iter().filter_map(|host| reader.read(&wanted(host)).err()).map(|unsure| unsure.to_string()).collect()
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "web-1",
        "Web-1",
        "web-*",
        "*",
        "!web-1",
        "!*",
        "*.example.com",
        "db.?xample.com",
        "10.*",
        "db*",
        "!10.0.0.5",
        "\"web-1\"",
        "fe80::*",
        "x",
    ])
    .prop_map(str::to_owned)
}

fn list() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join(","))
}

fn setting() -> impl Strategy<Value = (String, String)> {
    let of = |keyword: &'static str, values: &'static [&'static str]| {
        prop::sample::select(values.to_vec()).prop_map(move |value| (keyword.to_owned(), value.to_owned())).boxed()
    };
    let flag: &[&str] = &["yes", "no", "True", "false", "\"yes\"", "maybe"];
    prop::strategy::Union::new(vec![
        of(
            "HostName",
            &[
                "%h.example.org",
                "Real.Example.com",
                "10.1.2.3",
                "\"h%%x\"",
                "%n",
                "::1",
                "FE80::0001",
                "127.1",
                "a b",
                "0xab",
            ],
        ),
        of("Port", &["22", "0022", "2222", "\"33\"", "0", "ssh", "65536", "22 # c"]),
        of("User", &["deploy", "\"a b\"", "'q'", "a\\ b", "root", "from-a", "D\\u", "%r", "ünicode", "\"\""]),
        of("AddressFamily", &["any", "inet", "INET6", "inet4"]),
        of("HostKeyAlias", &["Alias", "%h", "\"a b\"", "none"]),
        of("HashKnownHosts", flag),
        of("IdentitiesOnly", flag),
        of(
            "UserKnownHostsFile",
            &[
                "~/kh",
                "none",
                "~/a /b",
                "\"~/a b\" /c",
                "/x/%h-%p-%r-%n-%u-%i-%d-%%",
                "/%C",
                "${HOME}/x",
                "none /a",
                "~root/x",
                "NONE",
                "~",
            ],
        ),
        of("GlobalKnownHostsFile", &["/etc/a", "none", "/a /b", "~/g", "/%h"]),
        of(
            "ProxyJump",
            &[
                "bastion",
                "none",
                "u@a:22,b",
                "10.0.0.1",
                "[fe80::1]:24",
                "ssh://a",
                "a, b",
                "None",
                "web-1",
                "a:0",
                "\"a\"",
                "a # c",
            ],
        ),
        of("ProxyCommand", &["nc %h %p", "none", "ssh \"a b\" -W %h:%p x # y", "= x", "None", "a 'b"]),
        of(
            "IdentityFile",
            &["~/.ssh/id_ed25519", "/k/%h_%p", "none", "\"~/a b\"", "'/x'", "${HOME}/k", "~/.ssh/id_rsa"],
        ),
        of("CertificateFile", &["~/c-cert.pub", "/c/%n", "none"]),
        of(
            "IdentityAgent",
            &["none", "SSH_AUTH_SOCK", "$MY_SOCK", "~/agent-%r.sock", "${X}", "$", "/a/%L", "\"/a b\""],
        ),
        of("PubkeyAuthentication", &["yes", "no", "unbound", "host-bound", "true", "perhaps"]),
        of("PubkeyAcceptedAlgorithms", &["ssh-ed25519,rsa-sha2-512", "+ssh-rsa", "ssh-*", "ssh-ed25519"]),
        of("HostKeyAlgorithms", &["ssh-ed25519", "^ssh-ed25519", "rsa-sha2-256,ssh-rsa,rsa-sha2-256", "x"]),
        of("CASignatureAlgorithms", &["ssh-ed25519", "-ssh-rsa", "ssh-ed25519-cert-v01@openssh.com"]),
        of("KexAlgorithms", &["curve25519-sha256", "+diffie-hellman-group1-sha1", "nope", "curve25519-sha256,,x"]),
        of("Ciphers", &["aes256-gcm@openssh.com,aes128-ctr", "-*cbc", "aes128-ctr,aes128-ctr"]),
        of("MACs", &["hmac-sha2-256", "hmac-sha2-512-etm@openssh.com,umac-64@openssh.com"]),
        of("RequiredRSASize", &["2048", "0", "-1", "x", "03072"]),
        of("KnownHostsCommand", &["/bin/x %H", "none", "x \"y\""]),
        of("RevokedHostKeys", &["/etc/krl", "none", "~/krl"]),
        of("VerifyHostKeyDNS", &["yes", "no", "ask", "true"]),
        of("BindAddress", &["10.0.0.9", "none", "\"\""]),
        of("BindInterface", &["eth0", "none"]),
        of("RemoteCommand", &["uptime", "none", "echo %h"]),
        of("CanonicalizeHostname", &["no", "false", "yes", "none"]),
        of("StrictHostKeyChecking", &["no", "accept-new", "ask", "off"]),
        of("ServerAliveInterval", &["15", "1m", "x"]),
        of("SendEnv", &["LANG LC_*"]),
        of("ForwardAgent", &["yes", "no"]),
        of("ControlPath", &["~/.ssh/cm-%r@%h:%p", "none"]),
        of("ControlPersist", &["60s", "yes"]),
        of("LogLevel", &["ERROR"]),
        of("IgnoreUnknown", &["UseKeychain,Nope"]),
        of("UseKeychain", &["yes"]),
        of("GSSAPIAuthentication", &["no"]),
        of("Protocol", &["2"]),
    ])
}

fn line() -> impl Strategy<Value = String> {
    let spacing = prop::sample::select(vec![" ", "  ", "\t", "=", " = ", " =", "= ", "=="]);
    let indent = prop::sample::select(vec!["", "  ", "\t", " \t "]);
    let end = prop::sample::select(vec!["", "", "", " ", "\t", "\r", " # end", " extra"]);
    let case = 0..3;
    let parts = (prop::bool::weighted(0.95), 0..1000, spacing.clone(), indent, end, case);
    let setting =
        (setting(), parts).prop_filter_map("", |((keyword, value), (kept, often, spacing, indent, end, case))| {
            let keyword = match case {
                0 => keyword,
                1 => keyword.to_lowercase(),
                _ => keyword.to_uppercase(),
            };
            // Mostly lines that ssh takes.
            let (spacing, end) =
                if often < 850 { (if spacing == "==" { " " } else { spacing }, "") } else { (spacing, end) };
            kept.then(|| format!("{indent}{keyword}{spacing}{value}{end}"))
        });
    let host = (prop::collection::vec(name(), 1..4), spacing)
        .prop_map(|(names, space)| format!("Host{}{}", space.replace("==", "="), names.join(" ")));
    let criterion = prop_oneof![
        6 => (prop::sample::select(vec!["host", "originalhost", "user", "localuser", "!host", "!user", "Host"]), prop_oneof![list(), Just("root".to_owned()), Just("from-a,deploy".to_owned()), Just("!root,*".to_owned())])
            .prop_map(|(what, list)| format!("{what} {list}")),
        1 => Just("exec \"true\"".to_owned()),
        1 => Just("canonical".to_owned()),
    ];
    let matching = prop_oneof![
        4 => prop::collection::vec(criterion, 1..3).prop_map(|criteria| format!("Match {}", criteria.join(" "))),
        1 => Just("Match all".to_owned()),
        1 => Just("Match !all".to_owned()),
    ];
    let include = prop::sample::select(vec![
        "conf.d/*.conf",
        "~/.ssh/plain",
        "plain",
        "nothing/here",
        "conf.d/?0-*",
        "plain conf.d/10-a.conf",
    ])
    .prop_map(|path| format!("Include {path}"));
    prop_oneof![20 => setting, 5 => host, 3 => matching, 1 => include, 1 => Just("# comment".to_owned()), 1 => Just(String::new())]
}

/// Arguments as an inventory may hold them.
fn arguments() -> impl Strategy<Value = Vec<String>> {
    let one = prop::sample::select(vec![
        "-o 'StrictHostKeyChecking no'",
        "-o Port=7070",
        "-p 7071",
        "-p7072",
        "-l argued",
        "-oUser=opt",
        "-J jump:2022",
        "-J none",
        "-o ProxyJump=none",
        "-o 'ProxyCommand=ssh -W %h:%p gw'",
        "-4",
        "-6C",
        "-i /etc/passwd",
        "-i /no/such/key",
        "-i ~/.ssh/no",
        "-vvv",
        "-o IdentitiesOnly=yes",
        "-o 'IdentityFile \"a b\"'",
        "-q -T",
        "-b 10.0.0.1",
        "-L 1:a:2",
        "-o Host=x",
    ]);
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(one, 1..4).prop_map(|all| all.iter().flat_map(|text| words(text)).collect())]
}

/// How many random configurations: few in a test, more by `FACTORY_SSH_CONFIG_CASES`.
fn cases() -> u32 {
    std::env::var("FACTORY_SSH_CONFIG_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

#[test]
fn our_reader_says_what_ssh_says_of_anything() {
    let Some((bench, passwd)) = Bench::new("our reader of ssh_config against ssh -G, at random") else { return };
    bench.write("conf.d/10-a.conf", "Host web-*\n  Port 1010\n  User from-a\nHost *\n  IdentityFile ~/.ssh/included\n");
    bench.write("conf.d/20-b.conf", "Match user from-a\n  HostKeyAlias B\nMatch all\n  Port 2020\n");
    bench.write("plain", "User plain\nPort 3030\n");
    let mut runner = TestRunner::new(Runs { cases: cases(), failure_persistence: None, ..Runs::default() });
    let calm = prop::bool::weighted(0.8);
    let strategy = (prop::collection::vec(line(), 1..14), arguments(), prop::sample::select(HOSTS.to_vec()), calm);
    let sure = std::cell::Cell::new((0, 0));
    let path = bench.home.path().join(".ssh/random");
    let alone = |line: &String| {
        let path = bench.write("alone", line).display().to_string();
        bench.reader(&passwd).read(&Wanted { args: vec!["-F".into(), path], ..Wanted::named("x") }).is_ok()
    };
    let result = runner.run(&strategy, |(mut lines, arguments, host, calm)| {
        // Among twelve lines there is mostly one that leaves the reader unsure; without those there is more to compare.
        lines.retain(|line| !calm || alone(line));
        let text = lines.join("\n");
        bench.write("random", &text);
        let mut all = vec!["-F".to_owned(), path.display().to_string()];
        all.extend(arguments);
        let shown = format!("{all:?}\n{text}");
        let was = bench.compare(&bench.reader(&passwd), &all, host, &shown).map_err(TestCaseError::fail)?;
        let (yes, no) = sure.get();
        sure.set(if was { (yes + 1, no) } else { (yes, no + 1) });
        Ok(())
    });
    let (yes, no) = sure.get();
    println!("sure {yes}, unsure {no}");
    result.unwrap();
    assert!(yes > 0, "sure of none, unsure of {no}");
}

/// The user's file goes before the system's, of which relative includes are beside it.
#[test]
fn the_users_file_goes_before_the_systems() {
    let home = tempfile::tempdir().unwrap();
    let system = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::create_dir(system.path().join("d")).unwrap();
    std::fs::write(home.path().join(".ssh/config"), "Host a\n  Port 1\n  IdentityFile /k\n").unwrap();
    std::fs::write(system.path().join("ssh_config"), "Include d/*.conf\nPort 2\nHost *\n  IdentityFile /k\n").unwrap();
    std::fs::write(system.path().join("d/x.conf"), "User system\n").unwrap();
    let passwd = Passwd { name: "me".into(), home: home.path().to_owned() };
    let reader = |passwd| Reader::new(Some(home.path().to_owned()), passwd, system.path().join("ssh_config"));
    let said = |name: &str| reader(Some(passwd.clone())).read(&Wanted::named(name)).unwrap();
    let (a, b) = (said("a"), said("b"));
    assert_eq!((a.get("port"), a.get("user"), b.get("port")), (Some("1"), Some("system"), Some("2")));
    assert_eq!(a.all("identityfile").collect::<Vec<_>>(), ["/k", "/k"], "as ssh does");
    let known = home.path().join(".ssh/known_hosts").display().to_string();
    assert!(b.get("userknownhostsfile").unwrap().starts_with(&known));
    let unsure = reader(None).read(&Wanted::named("a")).unwrap_err();
    assert!(unsure.to_string().contains("/etc/passwd"), "{unsure}");
}

/// A program in the place of ssh that leaves a trace when it is run; what it prints is no answer.
fn trap(directory: &Path) -> PathBuf {
    let program = directory.join("ssh");
    super::support::program_file(&program, "#!/bin/sh\necho run >>\"$0.trace\"\nexit 1\n");
    program
}

#[test]
fn an_ordinary_configuration_starts_no_process() {
    if Passwd::own().is_none() {
        println!("left out: a configuration that starts no process; needs a user in /etc/passwd");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = trap(directory.path());
    let home = directory.path().join("home");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    let config = "Host web-*\n  User deploy\n  ProxyJump bastion\nHost db\n  Port 2222\nHost odd\n  Port 3\n\
                  Match originalhost odd exec true\n  Port 4\n";
    std::fs::write(home.join(".ssh/config"), config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let trace = directory.path().join("ssh.trace");
    runtime.block_on(async {
        let asker = Asker::with(&program, Some(home.clone()), TIMEOUT).await.unwrap();
        for number in 0..50 {
            let target = asker.ask(&Wanted::named(&format!("web-{number}"))).await.unwrap();
            assert_eq!((target.user.as_str(), target.proxy_jump.as_deref()), ("deploy", Some("bastion")));
        }
        assert_eq!(asker.ask(&Wanted::named("db")).await.unwrap().port, 2222);
        assert!(!trace.exists(), "ssh was run for an ordinary host");
        asker.ask(&Wanted::named("odd")).await.unwrap_err();
        assert!(trace.exists(), "`Match exec` is ssh's to answer");
        let fleet = Fleet::new(Options { home: Some(home.clone()), ..Options::default() }).await.unwrap();
        assert_eq!(fleet.target(&Wanted::named("web-1")).await.unwrap().user, "deploy");
    });
}
