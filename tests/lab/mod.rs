//! The lab: hosts of its own in namespaces of this machine.
//!
//! [`host`] is one machine without a network, for what is looked at in place. [`Lab`] is a small network: hosts with
//! sshd and cron, and a controller, where the binary runs. Both need root. Where they cannot be had, one line says what
//! is left out and which command runs it; with `LAB=must` in the environment that is a failure instead.

mod delay;
mod freezer;
mod local;
mod machine;
mod proc;
mod space;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freezer::Freezer;
use machine::{CONTROLLER, Ground, ip, keygen};
use space::{PATH, Space, enter};

pub use local::Host;
pub use machine::Machine;

/// How large a host's disk is: large enough for a test, and filled in no time.
const DISK: &str = "128m";

/// The first processes of a lab's parts.
const SCRIPTS: [(&str, &str); 3] = [
    ("keeper.sh", include_str!("keeper.sh")),
    ("controller.sh", include_str!("controller.sh")),
    ("machine.sh", include_str!("machine.sh")),
];

/// The programs that make a lab.
const TOOLS: [&str; 13] = [
    "unshare",
    "nsenter",
    "mount",
    "pivot_root",
    "ip",
    "setpriv",
    "sshd",
    "ssh",
    "ssh-keygen",
    "cron",
    "crontab",
    "sed",
    "cp",
];

/// Starts a machine without a network, or says in one line why there is none.
pub fn host() -> Option<Host> {
    or_told(Host::start())
}

/// Hosts and a controller, on a network that leads nowhere else. It ends with this value, whatever else happens.
pub struct Lab {
    hosts: Vec<Machine>,
    controller: Space,
    ground: Ground,
    // The last to go.
    _dir: tempfile::TempDir,
}

impl Lab {
    /// Makes a lab of so many hosts, 1 to 50, or says in one line why there is none.
    pub fn new(count: usize) -> Option<Lab> {
        or_told(Lab::start(count, false))
    }

    /// As `new`, by the ways that are taken where neither overlays nor control groups can be had.
    pub fn plain(count: usize) -> Option<Lab> {
        or_told(Lab::start(count, true))
    }

    fn start(count: usize, plain: bool) -> Result<Lab, String> {
        static LABS: AtomicU32 = AtomicU32::new(1);
        assert!((1..=50).contains(&count), "a lab has 1 to 50 hosts");
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        if let Some(lacking) = TOOLS.iter().find(|tool| !PATH.split(':').any(|dir| Path::new(dir).join(tool).exists()))
        {
            return Err(format!("it needs {lacking} (sh tests/install-tools.sh installs it)"));
        }
        let name = format!("lab-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir().map_err(|error| error.to_string())?;
        let dir = made.path().to_owned();
        let names: Vec<String> = (1..=count).map(|number| format!("h{number}")).collect();
        for sub in ["bin", "disks", "ssh", "home/.ssh"] {
            std::fs::create_dir_all(dir.join(sub)).map_err(|error| error.to_string())?;
        }
        let _ = std::fs::set_permissions(dir.join("home/.ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let hosts: String = (1..=count).map(|number| format!("10.77.0.{} h{number}\n", 100 + number)).collect();
        let hosts = format!("127.0.0.1 localhost\n{CONTROLLER} controller\n{hosts}");
        std::fs::write(dir.join("hosts"), hosts).map_err(|error| error.to_string())?;
        // As files: a probe that looks for a text among command lines must not find it in these.
        for (file, text) in SCRIPTS {
            std::fs::write(dir.join(file), text).map_err(|error| error.to_string())?;
        }
        keygen(&dir.join("home/.ssh/id_ed25519"))?;
        let freezer = if plain { None } else { Freezer::directory(&name) };

        let mut keep = Command::new("unshare");
        keep.args(["--mount", "sh"]).arg(dir.join("keeper.sh")).env_clear().env("PATH", PATH);
        keep.env("DIR", &dir).env("NAMES", names.join(" ")).env("DISK", DISK);
        keep.env("BINARY", env!("CARGO_BIN_EXE_factory"));
        keep.env("FREEZER", freezer.as_deref().unwrap_or(Path::new("")));
        let keeper = Space::start(keep, &dir.join("keeper.log"))?;

        let mut lead = enter(keeper.pid, &["--mount"]);
        lead.args(["unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]);
        lead.arg("sh").arg(dir.join("controller.sh")).env("DIR", &dir).env("ADDRESS", CONTROLLER);
        let controller = Space::start(lead, &dir.join("controller.log"))?;

        let keeper = Arc::new(Mutex::new(keeper));
        let ground = Ground { dir, keeper, controller: controller.pid, bound: plain };
        let start = |number: usize| {
            let freezer = Freezer::new(freezer.as_deref(), &format!("h{number}"));
            Machine::start(number, &ground, freezer)
        };
        let hosts: Result<Vec<Machine>, String> = std::thread::scope(|scope| {
            let start = &start;
            let starting: Vec<_> = (1..=count).map(|number| scope.spawn(move || start(number))).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let lab = Lab { hosts: hosts?, controller, ground, _dir: made };
        std::fs::write(lab.ground.dir.join("ssh/lab_hosts"), lab.known_hosts()).map_err(|error| error.to_string())?;
        Ok(lab)
    }

    /// A host, counted from 0.
    pub fn host(&self, index: usize) -> &Machine {
        &self.hosts[index]
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Machine] {
        &self.hosts
    }

    /// The first process of the controller, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.controller.pid
    }

    /// The directory that is `/root` on the controller, as a test outside sees it.
    pub fn home(&self) -> PathBuf {
        self.ground.dir.join("home")
    }

    /// A command on the controller, standing in `/root`, with what cron gives in its environment; `factory` is in PATH.
    /// To kill the command started from it is to kill the program itself; for other signals see [`Lab::signal`].
    pub fn command(&self, program: &str) -> Command {
        let mut command = enter(self.controller.pid, &["--mount", "--net", "--ipc", "--uts", "--pid"]);
        command.args(["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", "cd && exec \"$@\"", "sh", program]);
        let path = format!("{}:{PATH}", self.ground.dir.join("bin").display());
        command.env("PATH", path).env("HOME", "/root").env("LOGNAME", "root").env("SHELL", "/bin/sh");
        command
    }

    /// Runs a text in the controller's shell.
    pub fn sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().unwrap()
    }

    /// Tells a person what there is, and gives that one a shell on the controller until it is left.
    pub fn shell(&self) {
        self.inventory();
        let mut told = String::from("\n");
        for host in &self.hosts {
            told.push_str(&format!("{}  {}  ssh {}, ssh factory@{}\n", host.name, host.address, host.name, host.name));
        }
        told.push_str("This shell is on the controller: `factory` knows these hosts. `exit` removes everything.\n");
        let _ = std::io::stdout().write_all(told.as_bytes());
        let mut shell = if Path::new("/bin/bash").exists() {
            let mut bash = self.command("bash");
            bash.arg("--norc");
            bash
        } else {
            self.command("sh")
        };
        let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
        shell.env("TERM", term).env("PS1", "controller:\\w\\$ ").env("LAB_DIR", &self.ground.dir);
        let _ = shell.env("FACTORY_INVENTORY", "/root/inventory").stdin(Stdio::inherit()).status();
    }

    /// Runs the binary on the controller, with the inventory that [`Lab::inventory`] writes.
    pub fn factory(&self, args: &[&str]) -> Output {
        self.command("factory").args(args).env("FACTORY_INVENTORY", "/root/inventory").output().unwrap()
    }

    /// Sends a signal, by its name (`INT`), to the program of a command of the lab's that was spawned.
    pub fn signal(&self, child: &std::process::Child, name: &str) {
        let id = child.id();
        let inner = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        assert!(Command::new("kill").args(["-s", name, inner.trim()]).status().unwrap().success());
    }

    /// Runs a function of the test's in the controller's network.
    pub fn on_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        delay::Network(self.controller.pid).run(work)
    }

    /// Writes `~/inventory/hosts.yml` and `factory.yml` for the hosts as they are reached now, with root as user.
    pub fn inventory(&self) -> PathBuf {
        self.inventory_as("root")
    }

    /// As `inventory`, with another user, and all host keys to `~/.ssh/known_hosts`.
    pub fn inventory_as(&self, user: &str) -> PathBuf {
        let line = |host: &Machine| {
            format!(
                "    {}: {{ansible_host: {}, ansible_user: {user}, ansible_ssh_private_key_file: /root/.ssh/id_ed25519}}\n",
                host.name,
                host.reach()
            )
        };
        let hosts: String = self.hosts.iter().map(line).collect();
        let dir = self.home().join("inventory");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("hosts.yml"), format!("all:\n  hosts:\n{hosts}")).unwrap();
        std::fs::write(dir.join("factory.yml"), "fleet: lab\n").unwrap();
        std::fs::write(self.home().join(".ssh/known_hosts"), self.known_hosts()).unwrap();
        dir
    }

    /// A line for each host with its key, under its name, its address and that of its slow line.
    pub fn known_hosts(&self) -> String {
        let line = |host: &Machine| format!("{},{},{} {}\n", host.name, host.address, host.slow_address(), host.key());
        self.hosts.iter().map(line).collect()
    }

    /// Runs a command on a host as root through the real ssh, which knows the host's key, whatever `~/.ssh` says.
    pub fn ssh(&self, host: &Machine, command: &str) -> Output {
        self.ssh_as("root", host, command).output().unwrap()
    }

    /// The real ssh as another user.
    pub fn ssh_as(&self, user: &str, host: &Machine, command: &str) -> Command {
        let mut ssh = self.command("ssh");
        ssh.args(["-F", "none", "-T", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]);
        ssh.args([
            "-o",
            "UserKnownHostsFile=/etc/ssh/lab_hosts",
            "-o",
            "GlobalKnownHostsFile=none",
            "-o",
            "LogLevel=ERROR",
        ]);
        ssh.args(["-l", user, &host.reach(), command]);
        ssh
    }

    /// Cuts a host off from everybody, both ways.
    pub fn cut(&self, host: &Machine) {
        ip(self.controller.pid, &format!("link set {} down\n", host.name)).unwrap();
    }

    /// Cuts one way: the host hears the controller, and its answers are lost.
    pub fn cut_replies(&self, host: &Machine) {
        ip(host.pid(), &format!("route replace blackhole {CONTROLLER}/32\n")).unwrap();
    }

    /// Ends either cut.
    pub fn mend(&self, host: &Machine) {
        ip(self.controller.pid, &format!("link set {} up\n", host.name)).unwrap();
        let _ = ip(host.pid(), &format!("route del blackhole {CONTROLLER}/32\n"));
    }

    /// Puts a line before a host that takes so many milliseconds each way, with an address of its own, which it gives;
    /// 0 takes it away. From then on `ssh` and the next `inventory` go that way. It reaches the host as the controller.
    pub fn delay(&self, host: &Machine, milliseconds: u64) -> String {
        let address = host.slow_address();
        let _ = ip(self.controller.pid, &format!("address add {address}/24 dev lab\n"));
        host.delay(Duration::from_millis(milliseconds))
    }
}

/// What there is, or `None` after one line that says why not: one for all tests, since the reason is the same.
fn or_told<T>(made: Result<T, String>) -> Option<T> {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    made.map_err(|why| {
        let test = std::thread::current().name().unwrap_or("a lab test").to_owned();
        assert!(std::env::var_os("LAB").is_none_or(|lab| lab != "must"), "{test}: no lab: {why}");
        if TOLD.lock().unwrap().insert(why.clone()) {
            // Not by a macro of the test harness, which would keep it to itself.
            let told =
                format!("left out: every test that needs the lab, as {test}: {why}; to run them: sudo -E make test");
            let _ = writeln!(std::io::stderr(), "{told}");
        }
    })
    .ok()
}
