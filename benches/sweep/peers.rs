//! The programs that are measured, each doing the same work: the probe, once, on every host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::answers::Form;
use crate::ground::{Ground, Hosts};

/// Directories that are searched before `$PATH`, such as a virtual environment's `bin`.
pub const PEERS_BIN: &str = "PEERS_BIN";

/// What every ssh gets: nothing but the ground's own keys and files, and no question asked.
const SSH: &str = "-o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o GlobalKnownHostsFile=/dev/null \
                   -o IdentitiesOnly=yes -o IdentityAgent=none -o LogLevel=ERROR -o KexAlgorithms=curve25519-sha256";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Program,
    Xargs,
    Asyncssh,
    ParallelSsh,
    Pssh,
    Pyinfra,
    AnsibleRaw,
    AnsibleSetup,
}

/// A program to measure.
pub struct Peer {
    /// Its name in the table.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// It is so slow that one run must do.
    pub once: bool,
    kind: Kind,
    program: PathBuf,
}

/// Who could be measured here, and one line for each who could not.
pub struct Found {
    /// Who can be.
    pub peers: Vec<Peer>,
    /// The lines about the others.
    pub left_out: Vec<String>,
}

/// This program.
pub const PROGRAM: &str = "factory";
/// The one that all others are compared with.
pub const BASE: &str = "xargs ssh";

/// All names.
pub const NAMES: [&str; 8] =
    [PROGRAM, BASE, "asyncssh", "parallel-ssh", "pssh", "pyinfra", "ansible raw", "ansible setup"];

/// Looks for every peer; `program` is this program, `only` the names to take, all if empty.
pub fn find(ground: &Ground, program: &Path, only: &[String]) -> Found {
    let dirs = dirs();
    let mut found = Found { peers: Vec::new(), left_out: Vec::new() };
    let mut seek = |name: &'static str, kind, once, program: Option<PathBuf>, version: &[&str], help: &str| {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            return;
        }
        let answer = program.ok_or("not installed".to_owned()).and_then(|program| {
            let mut command = ground.command(&program, &dirs);
            let output = command.args(version).output().map_err(|error| error.to_string())?;
            // ssh tells its version on stderr.
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
            if output.status.success() { Ok((program, first.to_owned())) } else { Err(last_line(&text).to_owned()) }
        });
        match answer {
            Ok((program, version)) => found.peers.push(Peer { name, version, once, kind, program }),
            Err(why) => found.left_out.push(format!("left out: {name}: {why} ({help})")),
        }
    };
    let python = |library: &str| {
        format!(
            "import importlib.metadata as m, sys; print('{library}', m.version('{library}'), 'on Python', sys.version.split()[0])"
        )
    };
    let at = |name: &str| which(name, &dirs);
    let at_any = |names: &[&str]| names.iter().find_map(|name| which(name, &dirs));
    let pip = "pip install in a virtual environment, and PEERS_BIN=its bin directory";
    seek(PROGRAM, Kind::Program, false, Some(program.to_owned()), &["--version"], "--program PATH names another one");
    seek(BASE, Kind::Xargs, false, at("ssh").filter(|_| at("xargs").is_some()), &["-V"], "openssh-client, findutils");
    let (asyncssh, pssh) = (python("asyncssh"), python("parallel-ssh"));
    seek("asyncssh", Kind::Asyncssh, false, at("python3"), &["-c", &asyncssh], pip);
    seek("parallel-ssh", Kind::ParallelSsh, false, at("python3"), &["-c", &pssh], pip);
    seek("pssh", Kind::Pssh, false, at_any(&["parallel-ssh", "pssh"]), &["--version"], "Debian: apt-get install pssh");
    seek("pyinfra", Kind::Pyinfra, false, at("pyinfra"), &["--version"], pip);
    seek("ansible raw", Kind::AnsibleRaw, true, at("ansible"), &["--version"], pip);
    seek("ansible setup", Kind::AnsibleSetup, true, at("ansible"), &["--version"], pip);
    found
}

/// The last line that says anything.
pub fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no word of why")
}

fn dirs() -> Vec<PathBuf> {
    std::env::var_os(PEERS_BIN).map(|dirs| std::env::split_paths(&dirs).collect()).unwrap_or_default()
}

fn which(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    dirs.iter().cloned().chain(std::env::split_paths(&usual)).map(|dir| dir.join(name)).find(|path| path.is_file())
}

impl Peer {
    /// The form of its answers.
    pub fn form(&self) -> Form {
        match self.kind {
            Kind::Program => Form::Samples,
            Kind::Xargs | Kind::Asyncssh | Kind::ParallelSsh | Kind::Pssh => Form::Files,
            Kind::Pyinfra => Form::Prefixed,
            Kind::AnsibleRaw => Form::Headed,
            Kind::AnsibleSetup => Form::Facts,
        }
    }

    /// The command that sweeps `hosts`, `forks` at once, with its answers in `out`, an empty directory.
    ///
    /// # Errors
    /// A file that it needs cannot be written.
    pub fn command(&self, ground: &Ground, hosts: &Hosts, forks: usize, out: &Path) -> Result<Command, String> {
        let answers = out.join("answers");
        fs::create_dir_all(&answers).map_err(|error| error.to_string())?;
        let text = |path: PathBuf| path.display().to_string();
        let (key, known_hosts) = (text(ground.key()), text(ground.known_hosts()));
        let forks_text = forks.to_string();
        let dirs = dirs();
        let mut command = ground.command(&self.program, &dirs);
        match self.kind {
            Kind::Program => {
                command
                    .args(["probe", "--quiet", "-o", "jsonl", "-f", &forks_text, "-i"])
                    .arg(hosts.dir.join("inventory"));
            }
            Kind::Xargs => {
                // The shell only opens the file, then it is ssh.
                let line = format!(
                    "exec ssh -F none -n -T {SSH} -o UserKnownHostsFile='{known_hosts}' -i '{key}' -l '{}' -p \"$2\" 127.0.0.1 \
                     \"$ASKED\" >\"$OUT/$1\"",
                    ground.user
                );
                command = ground.command(Path::new("xargs"), &dirs);
                command.arg("-a").arg(hosts.dir.join("hosts.txt")).args(["-P", &forks_text, "-n", "2", "sh", "-c"]);
                command.args([line.as_str(), "sh"]).env("ASKED", Ground::asked()?).env("OUT", &answers);
                command.current_dir(&hosts.dir);
            }
            Kind::Asyncssh | Kind::ParallelSsh => {
                let program = match self.kind {
                    Kind::Asyncssh => include_str!("peers/asyncssh.py"),
                    _ => include_str!("peers/parallel_ssh.py"),
                };
                // Not under the name of the library that it imports.
                command.arg(put(ground, "sweep_peer.py", program)?).arg(&hosts.dir).arg(&answers);
                command.args([&ground.user, &key, &known_hosts, &forks_text]);
            }
            Kind::Pssh => {
                let line = |(_, port): &(String, u16)| format!("{}@127.0.0.1:{port}\n", ground.user);
                let file = hosts.dir.join("pssh.txt");
                fs::write(&file, hosts.names.iter().map(line).collect::<String>())
                    .map_err(|error| error.to_string())?;
                let line = "exec \"$0\" -h \"$1\" -o \"$2\" -p \"$3\" -x \"$4\" -t 60 \"$ASKED\"";
                let options = format!("-F none {SSH} -o UserKnownHostsFile={known_hosts} -i {key}");
                command = ground.command(Path::new("sh"), &dirs);
                command.args(["-c", line]).arg(&self.program).arg(file).arg(&answers).args([&forks_text, &options]);
                command.env("ASKED", Ground::asked()?).current_dir(&hosts.dir);
            }
            Kind::Pyinfra => {
                command.arg("-vvv").args(["-y", "--parallel", &forks_text]);
                command.arg(put(ground, "inventory.py", include_str!("peers/pyinfra_inventory.py"))?);
                command.arg(put(ground, "deploy.py", include_str!("peers/pyinfra_deploy.py"))?);
                command.env("SWEEP_HOSTS", &hosts.dir).env("SWEEP_USER", &ground.user);
                command.env("SWEEP_KEY", &key).env("SWEEP_KNOWN_HOSTS", &known_hosts);
            }
            Kind::AnsibleRaw | Kind::AnsibleSetup => {
                command.args(["all", "-f", &forks_text, "-i"]).arg(hosts.dir.join("ansible.yml"));
                if self.kind == Kind::AnsibleRaw {
                    let asked = serde_json::json!({ "_raw_params": Ground::asked()? }).to_string();
                    command.args(["-m", "raw", "-a", &asked]);
                } else {
                    command.args(["-m", "setup"]);
                    // The system's own: what is found first in a login's path may be a version manager's stand-in.
                    if Path::new("/usr/bin/python3").exists() {
                        command.args(["-e", "ansible_python_interpreter=/usr/bin/python3"]);
                    }
                }
                // As it comes, but each run begins without connections, and they end soon after the run.
                let own = format!(
                    "-F none -C -o ControlMaster=auto -o ControlPersist=5s {SSH} -o UserKnownHostsFile={known_hosts}"
                );
                command.env("ANSIBLE_SSH_ARGS", own).env("ANSIBLE_SSH_CONTROL_PATH_DIR", out.join("c"));
            }
        }
        Ok(command)
    }
}

/// A file of the bench's own on the ground, in a directory of its own.
fn put(ground: &Ground, name: &str, text: &str) -> Result<PathBuf, String> {
    let dir = ground.dir().join("peers");
    let told = |error: std::io::Error| format!("{name}: {error}");
    fs::create_dir_all(&dir).map_err(told)?;
    fs::write(dir.join(name), text).map_err(told)?;
    Ok(dir.join(name))
}

/// The machine in a line: what the figures depend on, and nothing that names it.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory: u64 =
        value(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    // Two numbers: the rest may name who built it.
    let kernel: Vec<&str> = kernel.trim().split(['.', '-']).take(2).collect();
    format!(
        "{cores} cores ({}), {:.0} GB of memory, Linux {}",
        value(&read("/proc/cpuinfo"), "model name"),
        memory as f64 * 1024.0 / 1e9,
        kernel.join(".")
    )
}
