//! Tokens and certificates: what is sent where, and shown nowhere.

use serde_json::json;

use super::claim::claimable;
use super::forge::label;
use super::forge_server::{Fault, Server};
use super::queue::{Factory, every_call, work};

/// A token with every character that a header can take and a shell, YAML or JSON would trip over.
const AWKWARD: &str = "q\"'`$(touch,x)\\n%41&;|<>{}[]#!*?~=+:@,^-\u{fc}";

#[test]
fn a_token_with_awkward_characters_is_sent_as_it_is_and_shown_nowhere() {
    let factory = Factory::new(&["harb"], "", "merge: factory");
    std::fs::write(factory.place.path("inventory/token"), format!("{AWKWARD}\n")).unwrap();
    for server in [factory.forge("harb"), &factory.cis["harb"]] {
        server.set(|state| state.token = AWKWARD.as_bytes().to_vec());
    }
    factory.forge("harb").set(|state| {
        state.labels = vec![label(5, "backlog")];
        state.issues = vec![work(12, &["backlog"], "")];
    });
    let mut said = String::new();
    let mut run = |args: &[&str], code: i32| {
        let ended = factory.run(args).code(code);
        said += &format!("{}{}", ended.stdout, ended.stderr);
    };
    run(&["run", "-vvv"], 0);
    run(&["queue", "-vvv"], 0);
    run(&["inventory", "check", "-vvv", "-o", "json"], 1);
    let sent: Vec<Vec<u8>> = factory
        .forge("harb")
        .state
        .lock()
        .unwrap()
        .seen
        .iter()
        .map(|call| call.header("authorization").unwrap().to_vec())
        .collect();
    let whole = format!("Bearer {AWKWARD}").into_bytes();
    assert!(!sent.is_empty() && sent.iter().all(|header| *header == whole));
    // While it waits for an answer no process shows it.
    let mut looks = 0;
    // As often as it takes a slow machine to look so often.
    while looks <= 3 {
        factory.forge("harb").fault(Fault::Late(std::time::Duration::from_secs(2)));
        let mut waiting = factory.place.command(&["queue"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        while waiting.try_wait().unwrap().is_none() {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                let shown = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&shown).contains("$(touch,x)"), "{:?}", entry.path());
            }
            looks += 1;
        }
    }
    // A forge that throws it back, in its message.
    let thrown: &'static str =
        Box::leak(json!({"message": format!("bad token {AWKWARD}")}).to_string().into_boxed_str());
    every_call(factory.forge("harb"), &Fault::Status(403, vec![], thrown));
    run(&["queue", "-vvv"], 1);
    run(&["run", "-vvv"], 0);
    run(&["events", "-o", "jsonl"], 0);
    run(&["status", "-o", "json"], 0);
    assert!(said.contains("bad token ***"), "{said}");
    // Two pieces that stay as they are whatever quotes the rest.
    let parts = ["$(touch,x)", "%41&;|<>"];
    assert!(parts.iter().all(|part| !said.contains(part)), "{said}");
    let mut files = vec![factory.place.path("home"), factory.place.state()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
            assert!(parts.iter().all(|part| !text.contains(part)), "{}", path.display());
        }
    }
}

/// A server behind TLS, by a certificate for 127.0.0.1 of an authority of the test's own.
struct Tls {
    child: std::process::Child,
    address: String,
    authority: std::path::PathBuf,
}

impl Tls {
    fn new(factory: &Factory, server: &Server) -> Tls {
        let dir = factory.place.path("tls");
        std::fs::create_dir(&dir).unwrap();
        let sh = |script: &str| {
            let ended = std::process::Command::new("sh").args(["-ec", script]).current_dir(&dir).output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        };
        sh("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign
            openssl req -newkey rsa:2048 -nodes -subj /CN=forge -keyout key.pem -out csr.pem
            echo subjectAltName=IP:127.0.0.1 >ext
            openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem
            cat cert.pem key.pem >both.pem");
        let port = super::sshd::free_port();
        let to = format!("TCP:{}", server.address.trim_start_matches("http://"));
        let listen = format!("OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,cert=both.pem,verify=0");
        let child = std::process::Command::new("socat").args([listen, to]).current_dir(&dir).spawn().unwrap();
        super::support::until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Tls { child, address: format!("https://127.0.0.1:{port}"), authority: dir.join("ca.pem") }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_forge_behind_tls_is_believed_by_its_certificate_alone() {
    let factory = claimable();
    let tls = Tls::new(&factory, factory.forge("harb"));
    let text = std::fs::read_to_string(factory.place.path("inventory/repos.yml")).unwrap();
    let at = |address: &str| {
        let plain = &factory.forge("harb").address;
        factory.place.write("repos.yml", &text.replace(plain.as_str(), address));
    };
    let queue = |authority: bool| {
        let mut command = factory.place.command(&["queue"]);
        if authority {
            command.env("SSL_CERT_FILE", &tls.authority);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    at(&tls.address);
    let (code, stdout, stderr) = queue(true);
    assert!(code == Some(0) && stdout.contains("#12"), "{stderr}");
    // Nobody here knows who made it; and made for another name it is another's.
    for (address, authority) in [(tls.address.clone(), false), (tls.address.replace("127.0.0.1", "localhost"), true)] {
        at(&address);
        let calls = factory.forge("harb").lines().len();
        let (code, _, stderr) = queue(authority);
        assert!(code == Some(4) && stderr.contains("TLS failed") && stderr.contains("certificate"), "{stderr}");
        assert_eq!(factory.forge("harb").lines().len(), calls, "no token goes there");
    }
}
