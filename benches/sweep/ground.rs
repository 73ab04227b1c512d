//! The ground on which all peers run: one real sshd on the loopback address, with keys of its own, and the files in
//! which each peer reads the same hosts.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use factory::remote::probe::Request;
use factory::ssh::exec;

/// On how many ports the sshd listens. The program counts unfinished logins per address and port, 8 at a time, since
/// real hosts each have an sshd of their own; behind one port all hosts would share that bound.
pub const PORTS: usize = 8;

/// One sshd, until this value goes.
pub struct Ground {
    dir: tempfile::TempDir,
    sshd: Child,
    /// Where it listens.
    pub ports: Vec<u16>,
    /// Who logs in.
    pub user: String,
}

/// Some hosts of the ground, and the directory that holds the files about them.
pub struct Hosts {
    /// The directory.
    pub dir: PathBuf,
    /// Inventory names and ports.
    pub names: Vec<(String, u16)>,
}

fn told(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(told(path.display()))
}

impl Ground {
    /// Makes the keys and starts the sshd.
    ///
    /// # Errors
    /// sshd or ssh-keygen is not installed or does not start; each with what it said.
    pub fn start() -> Result<Ground, String> {
        let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
        let program = places.iter().find(|path| Path::new(path).is_file());
        let program = program.ok_or("sshd is not installed (Debian: apt-get install openssh-server)")?;
        let dir = tempfile::Builder::new().prefix("sweep").tempdir().map_err(told("a directory to work in"))?;
        fs::create_dir_all(dir.path().join("home/.ssh")).map_err(told("a home directory"))?;
        if rustix::process::geteuid().is_root() {
            // sshd separates its privileges into this directory, which only the service's start makes.
            fs::create_dir_all("/run/sshd").map_err(told("/run/sshd"))?;
        }
        for name in ["host_key", "key"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-C", "", "-t", "ed25519", "-f"])
                .arg(dir.path().join(name)))?;
        }
        let user = run(Command::new("id").arg("-un"))?.trim().to_owned();
        // Another program may take a port before sshd does: then others.
        let started = (0..5).find_map(|_| start(program, dir.path()).ok());
        let (sshd, ports) = match started {
            Some(started) => started,
            None => start(program, dir.path())?,
        };
        let ground = Ground { dir, sshd, ports, user };
        ground.trust(&ground.ports)?;
        Ok(ground)
    }

    /// The directory that everything is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The key that logs in.
    pub fn key(&self) -> PathBuf {
        self.dir().join("key")
    }

    /// The file of host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir().join("home/.ssh/known_hosts")
    }

    /// Takes the sshd's host key in for these ports of the loopback address.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn trust(&self, ports: &[u16]) -> Result<(), String> {
        let key = fs::read_to_string(self.dir().join("host_key.pub")).map_err(told("host_key.pub"))?;
        let mut text = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        for port in ports {
            let _ = writeln!(text, "[127.0.0.1]:{port} {}", key.trim());
        }
        write(&self.known_hosts(), &text)
    }

    /// A command in whose environment there is nothing but what each peer needs: `paths` before the usual ones.
    pub fn command(&self, program: &Path, paths: &[PathBuf]) -> Command {
        let mut command = Command::new(program);
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(paths.iter().cloned().chain(std::env::split_paths(&usual))).unwrap_or(usual);
        command.env_clear().env("PATH", path).env("HOME", self.dir().join("home"));
        command.env("USER", &self.user).env("LOGNAME", &self.user).env("LANG", "C.UTF-8").env("NO_COLOR", "1");
        command.current_dir(self.dir());
        command
    }

    /// What every host is asked to run, which is what this program has it run; it reads no input.
    pub fn asked() -> Result<String, String> {
        let program = Request::default().program().map_err(|error| error.to_string())?;
        let line = exec::line(program.script.as_bytes()).map_err(|error| error.to_string())?;
        String::from_utf8(line).map_err(|error| error.to_string())
    }

    /// Writes the files about `count` hosts, in turn at one of `ports`, in a directory called `name`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn hosts(&self, name: &str, count: usize, ports: &[u16]) -> Result<Hosts, String> {
        let dir = self.dir().join(name);
        fs::create_dir_all(dir.join("inventory")).map_err(told(dir.display()))?;
        let names: Vec<(String, u16)> =
            ports.iter().cycle().take(count).enumerate().map(|(at, port)| (format!("h{:04}", at + 1), *port)).collect();
        let (mut inventory, mut ansible, mut pairs) = (String::new(), String::new(), String::new());
        for text in [&mut inventory, &mut ansible] {
            let _ = writeln!(
                text,
                "all:\n  vars:\n    ansible_host: 127.0.0.1\n    ansible_user: {}\n    ansible_ssh_private_key_file: {}\n  hosts:",
                self.user,
                self.key().display()
            );
        }
        for (host, port) in &names {
            let _ = writeln!(inventory, "    {host}: {{ansible_port: {port}}}");
            // Ansible names its shared connections by address and port, so that hosts here would share theirs.
            let _ = writeln!(
                ansible,
                "    {host}: {{ansible_port: {port}, ansible_control_path: \"%(directory)s/{host}\"}}"
            );
            let _ = writeln!(pairs, "{host} {port}");
        }
        write(&dir.join("inventory/hosts.yml"), &inventory)?;
        write(&dir.join("inventory/factory.yml"), "{}\n")?;
        write(&dir.join("ansible.yml"), &ansible)?;
        write(&dir.join("hosts.txt"), &pairs)?;
        write(&dir.join("asked"), &Ground::asked()?)?;
        Ok(Hosts { dir, names })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

/// Runs a command to its end and gives its output.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(told(&name))?;
    if !output.status.success() {
        return Err(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts an sshd on free ports and waits until it answers on each.
///
/// Its sessions begin at shell level 1, since bash takes a session of sshd at level 0 for one that wants `~/.bashrc`: a
/// developer's can cost ten times what the probe does, and would drown every difference.
fn start(program: &str, dir: &Path) -> Result<(Child, Vec<u16>), String> {
    let ports = free_ports()?;
    let mut config = format!(
        "PidFile none\nUsePAM no\nUseDNS no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         LogLevel ERROR\nMaxStartups 2000:30:2000\nMaxSessions 100\nPrintMotd no\nSubsystem sftp internal-sftp\n\
         PermitUserRC no\nSetEnv SHLVL=1\n\
         HostKey {0}/host_key\nAuthorizedKeysFile {0}/key.pub\n",
        dir.display()
    );
    for port in &ports {
        let _ = writeln!(config, "ListenAddress 127.0.0.1:{port}");
    }
    let (path, log) = (dir.join("sshd_config"), dir.join("sshd.log"));
    write(&path, &config)?;
    let log_file = fs::File::create(&log).map_err(told("sshd.log"))?;
    let mut sshd = Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_file)
        .spawn()
        .map_err(told(program))?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) && matches!(sshd.try_wait(), Ok(None)) {
        if ports.iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            return Ok((sshd, ports));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = (sshd.kill(), sshd.wait());
    Err(format!("sshd does not start: {}", fs::read_to_string(&log).unwrap_or_default().trim()))
}

fn free_ports() -> Result<Vec<u16>, String> {
    let listeners: Result<Vec<_>, _> = (0..PORTS).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    let listeners = listeners.map_err(told("a free port"))?;
    listeners.iter().map(|listener| listener.local_addr().map(|a| a.port()).map_err(told("a free port"))).collect()
}
