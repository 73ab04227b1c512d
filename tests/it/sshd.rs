//! A real sshd on the loopback address, with keys of its own, and the real ssh against it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use russh::keys::PublicKey;

/// Whether ssh-keygen is there; if not, one line says what is left out.
pub fn has_keygen(left_out: &str) -> bool {
    let there = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !there {
        println!("left out: {left_out}; needs ssh-keygen (apt-get install openssh-client, as `make test` does)");
    }
    there
}

/// The sshd to run, or `None` after one line that says what is left out.
pub fn program(left_out: &str) -> Option<PathBuf> {
    let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    let found = places.iter().map(PathBuf::from).find(|path| path.is_file());
    if found.is_none() || Command::new("ssh").arg("-V").output().is_err() {
        println!(
            "left out: {left_out}; needs sshd and ssh (apt-get install openssh-server openssh-client, as `make test` does)"
        );
        return None;
    }
    if rustix::process::geteuid().is_root() {
        // sshd separates its privileges into this directory, which only the service's start makes.
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    found
}

/// Makes a key pair of `kind` at `path` and returns the public key.
pub fn keygen(kind: &str, path: &Path) -> PublicKey {
    let _ = std::fs::remove_file(path);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", "", "-t", kind]);
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    assert!(command.arg("-f").arg(path).status().unwrap().success());
    public(&path.with_extension("pub"))
}

/// The public key in `path`.
pub fn public(path: &Path) -> PublicKey {
    PublicKey::from_openssh(std::fs::read_to_string(path).unwrap().trim()).unwrap()
}

/// An sshd's configuration: the keys `names` in `directory`, nobody can log in.
pub fn configure(directory: &Path, names: &[&str], more: &str) -> PathBuf {
    let mut text = String::from(
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         AuthorizedKeysFile none\nLogLevel ERROR\n",
    );
    for name in names {
        text.push_str(&format!("HostKey {}\n", directory.join(name).display()));
    }
    text.push_str(more);
    let path = directory.join("sshd_config");
    std::fs::write(&path, text).unwrap();
    path
}

/// An sshd's configuration that lets this user in by the keys and certificates in `directory`; `more` goes first, and in
/// sshd_config the first value wins.
///
/// Whoever logs in has the directory as a home: the user's own shell files may be slow, and a test that kills a shell
/// in the middle of them would leave their locks behind.
pub fn admit(directory: &Path, names: &[&str], more: &str) -> PathBuf {
    let keys = directory.join("authorized_keys");
    let text = format!(
        "{more}\nPermitRootLogin yes\nAuthorizedKeysFile {}\nMaxStartups 200\nSetEnv HOME={}\n",
        keys.display(),
        directory.display()
    );
    configure(directory, names, "");
    let path = directory.join("sshd_config");
    let rest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + &rest).unwrap();
    path
}

/// The name of the user that runs the tests.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// All processes below `pid`, nearest first.
pub fn below(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // After the name, which may hold anything: state, parent.
            Some((pid, stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// An sshd that listens on 127.0.0.1 until it is dropped.
pub struct Sshd {
    child: Child,
    pub port: u16,
}

impl Sshd {
    pub fn start(program: &Path, config: &Path) -> Sshd {
        // Another program may take the port before sshd does: then another one.
        let server = (0..5).find_map(|_| Sshd::start_on(program, config, free_port()));
        server.expect("sshd does not start")
    }

    /// On a port of the caller's choice; `None` if it does not come up there.
    pub fn start_on(program: &Path, config: &Path, port: u16) -> Option<Sshd> {
        let child = Command::new(program)
            .args(["-D", "-e", "-o", "ListenAddress=127.0.0.1", "-p", &port.to_string(), "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Sshd { child, port };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) && server.child.try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Sshd {
    /// The process that listens.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` (`STOP`, `CONT`, `KILL`) to every process below it: the connections, not the listener.
    pub fn signal_sessions(&self, signal: &str) {
        let pids: Vec<String> = below(self.pid()).iter().map(ToString::to_string).collect();
        let _ = Command::new("kill").arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.signal_sessions("KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port on which nobody listens for as long as the socket is kept.
pub fn closed_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A port on which nobody listens now, for a program that is about to. What another thread is just starting keeps the socket
/// for a moment longer: one that never listened is in nobody's way.
pub fn free_port() -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket.local_addr().unwrap().port()
}

/// The real ssh with strict checking against the host keys in `known_hosts` alone; no key to log in with.
pub fn ssh(known_hosts: &Path, more: &[&str]) -> Output {
    Command::new("ssh")
        .args(["-F", "none", "-T", "-n", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "IdentityFile=none", "-o", "IdentityAgent=none"])
        .args(["-o", "UpdateHostKeys=no", "-o", "ConnectTimeout=20"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What the real ssh made of the host's key, read from its last words.
pub fn judged(output: &Output) -> &'static str {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Permission denied") {
        "known"
    } else if said.contains("REVOKED HOST KEY") {
        "revoked"
    } else if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        "changed"
    } else if said.contains("host key is known for") || said.contains("Host key verification failed") {
        "unknown"
    } else {
        panic!("ssh said something else: {said}");
    }
}
