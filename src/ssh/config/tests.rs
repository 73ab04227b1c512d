use super::*;

/// What OpenSSH 9.2 answers, shortened to the lines that matter and a few that do not.
const ANSWER: &str = "host web-1\nuser deploy\nhostname 10.0.0.5\nport 2222\naddressfamily inet6\nbatchmode no\n\
    hashknownhosts yes\nverifyhostkeydns false\nhostkeyalias web-one\nidentityfile ~/.ssh/id_rsa\n\
    identityfile ~/.ssh/id_ed25519\nglobalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n\
    userknownhostsfile /home/x/.ssh/known_hosts /home/x/Application Support/hosts\nproxyjump none\nrekeylimit 0 0\n\
    loglevel\n";

fn ask(home: &Path, wanted: &Wanted) -> Result<Target> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asker = Asker::with(Path::new("ssh"), Some(home.to_owned()), TIMEOUT).await?;
        asker.ask(wanted).await
    })
}

/// A home directory with this `~/.ssh/config`; `None`, with one line, where there is no ssh.
fn home(config: &str) -> Option<tempfile::TempDir> {
    if std::process::Command::new("ssh").arg("-V").output().is_err() {
        println!("left out: what the real `ssh -G` answers; needs ssh (apt-get install openssh-client)");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    std::fs::write(home.path().join(".ssh/config"), config).unwrap();
    Some(home)
}

#[test]
fn an_answer_becomes_a_target() {
    let config = Config::parse(ANSWER);
    assert_eq!(config.all("IdentityFile").collect::<Vec<_>>(), ["~/.ssh/id_rsa", "~/.ssh/id_ed25519"]);
    let target = config.into_target("web", &Home::default()).unwrap();
    assert_eq!(
        (target.name.as_str(), target.host.as_str(), target.port, target.user.as_str()),
        ("web", "10.0.0.5", 2222, "deploy")
    );
    assert_eq!(target.known_as(), ("web-one", 22));
    assert_eq!(target.family, Family::V6);
    assert!(target.hash_known_hosts && target.proxy_jump.is_none() && target.check_directives().is_ok());
    assert_eq!(
        target.user_known_hosts,
        [Path::new("/home/x/.ssh/known_hosts"), Path::new("/home/x/Application Support/hosts")]
    );
    assert_eq!(target.known_hosts_files().len(), 4);
}

#[test]
fn nonsense_in_an_answer_is_an_error() {
    for text in ["", "hostname none\n", "hostname h\nport 0\n", "hostname h\nport 65536\n", "hostname h\nport x\n"] {
        Config::parse(text).into_target("h", &Home::default()).unwrap_err();
    }
}

#[test]
fn what_is_not_honoured_is_an_error_when_connecting() {
    for line in [
        "proxyjump bastion",
        "proxycommand nc %h %p",
        "revokedhostkeys /etc/krl",
        "knownhostscommand /bin/x",
        "verifyhostkeydns true",
    ] {
        let target = Config::parse(&format!("hostname h\n{line}\n")).into_target("h", &Home::default()).unwrap();
        let error = target.check_directives().unwrap_err();
        let (directive, value) = line.split_once(' ').unwrap();
        let shown = error.to_string().to_lowercase();
        assert!(shown.contains(&format!("`{directive} {value}`")), "{shown}");
        assert!(error.advice().is_some());
    }
}

/// Without ssh: the reader itself must see each of them.
#[test]
fn the_reader_sees_all_that_is_not_honoured() {
    let passwd = Passwd { name: "me".into(), home: "/home/me".into() };
    for (directive, off) in UNHONOURED {
        let read = |value: &str| {
            let reader = Reader::new(Some("/no/such/home".into()), Some(passwd.clone()), "/no/such/file".into());
            reader.read(&Wanted { args: vec![format!("-o{directive}={value}")], ..Wanted::named("h") }).unwrap()
        };
        for off in off {
            assert_eq!(read(off).unhonoured(), None, "{directive} {off}");
        }
        let on = if off.contains(&"no") { "yes" } else { "x" };
        assert_eq!(read(on).unhonoured().map(|(directive, _)| directive), Some(directive));
    }
}

#[test]
fn the_inventory_goes_before_ssh_config() {
    let Some(home) =
        home("Host *\n  User config\n  Port 3333\n  IdentityFile ~/.ssh/config_key\n  HashKnownHosts yes\n")
    else {
        return;
    };
    let wanted = Wanted {
        host: Some("Real.Example.com".into()),
        port: Some(4444),
        user: Some("inventory user".into()),
        identity: Some("/a b/key".into()),
        args: vec!["-o".into(), "HashKnownHosts=no".into()],
        ..Wanted::named("web-1")
    };
    let target = ask(home.path(), &wanted).unwrap();
    assert_eq!((target.host.as_str(), target.port), ("real.example.com", 4444));
    assert_eq!(target.user, "inventory user");
    assert!(!target.hash_known_hosts);
    let identities: Vec<&str> = target.config.all("identityfile").collect();
    assert_eq!(identities, ["/a b/key", "~/.ssh/config_key"]);
    let bare = ask(home.path(), &Wanted::named("web-1")).unwrap();
    assert_eq!((bare.host.as_str(), bare.port, bare.user.as_str()), ("web-1", 3333, "config"));
}

#[test]
fn home_is_that_of_the_environment() {
    let Some(home) =
        home("Host a\n  UserKnownHostsFile ~/other\nHost b\n  HostName %h.example.com\n  HostKeyAlias Bee\n")
    else {
        return;
    };
    let [a, b] = ["a", "b"].map(|name| ask(home.path(), &Wanted::named(name)).unwrap());
    assert_eq!(a.user_known_hosts, [home.path().join("other")]);
    assert_eq!(b.user_known_hosts[0], home.path().join(".ssh/known_hosts"));
    assert_eq!((b.host.as_str(), b.known_as()), ("b.example.com", ("bee", 22)));
    let left: Vec<_> = std::fs::read_dir(std::env::temp_dir())
        .unwrap()
        .flatten()
        .filter(|entry| {
            std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains(&*home.path().to_string_lossy()))
        })
        .collect();
    assert!(left.is_empty(), "a temporary file is left: {left:?}");
}

#[test]
fn a_home_with_strange_characters_is_that_one_directory() {
    let Some(outer) = home("") else { return };
    let strange = outer.path().join("a \"b\" [c]*\\d");
    std::fs::create_dir_all(strange.join(".ssh")).unwrap();
    std::fs::write(strange.join(".ssh/config"), "Host *\n  Port 7777\n").unwrap();
    assert_eq!(ask(&strange, &Wanted::named("web-1")).unwrap().port, 7777);
}

#[test]
fn what_ssh_does_not_take_is_told_in_its_words() {
    let Some(home) = home("Host web-1\n  Portt 22\n") else { return };
    let error = ask(home.path(), &Wanted::named("web-1")).unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.to_string().contains("Bad configuration option: portt"), "{error}");
    let Some(home) = self::home("") else { return };
    ask(home.path(), &Wanted::named("-oProxyCommand=true")).unwrap_err();
    ask(home.path(), &Wanted::named("")).unwrap_err();
}

#[test]
fn no_ssh_and_a_hanging_ssh_are_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(".ssh")).unwrap();
    std::fs::write(directory.path().join(".ssh/config"), "Port 7\nMatch originalhost x exec true\n").unwrap();
    let home = directory.path().to_owned();
    let asked = |program: &Path, name: &str| {
        runtime.block_on(async {
            let asker = Asker::with(program, Some(home.clone()), Duration::from_millis(200)).await?;
            asker.ask(&Wanted::named(name)).await
        })
    };
    assert_eq!(asked(Path::new("/no/such/ssh"), "web-1").unwrap().port, 7, "nobody needs ssh for that");
    let ask = |program: &Path| asked(program, "x").unwrap_err();
    let absent = ask(Path::new("/no/such/ssh"));
    assert_eq!(absent.exit(), Exit::Unreachable);
    let shown = absent.to_string();
    assert!(shown.contains("not installed") && shown.ends_with("/.ssh/config:2: `Match exec`"), "{shown}");
    assert!(absent.advice().unwrap().contains("openssh-client"));
    let slow = directory.path().join("slow");
    // Written by a process of its own: a child that another test's thread forks would hold it open for writing, and a
    // program that is open for writing cannot be run.
    let script = "printf '#!/bin/sh\\nexec sleep 60\\n' >\"$0\" && chmod 755 \"$0\"";
    assert!(std::process::Command::new("sh").args(["-c", script]).arg(&slow).status().unwrap().success());
    let begun = std::time::Instant::now();
    let hangs = ask(&slow);
    assert!(hangs.to_string().contains("did not answer within 200ms"), "{hangs}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
