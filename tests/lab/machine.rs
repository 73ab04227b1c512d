//! A host of the lab: a machine of its own for whoever comes by ssh, and a few ways to make it suffer.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::delay::{Delay, Network};
use super::freezer::Freezer;
use super::proc::{self, Proc};
use super::space::{PATH, Space, enter};

/// The controller's address, as the hosts see it.
pub const CONTROLLER: &str = "10.77.0.1";

/// sshd's settings on a new host. Logins do not go through PAM, so that this machine's own does not matter.
pub const SSHD: &str = "HostKey /etc/ssh/ssh_host_ed25519_key\nPidFile /run/sshd.pid\nUsePAM no\nUseDNS no\nPermitRootLogin prohibit-password\n\
    PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n";

/// How long a new host has been up, in seconds: a day, so that it is not one that has just come up.
const UP: i64 = 86_400;

/// What the hosts of one lab have in common.
#[derive(Clone)]
pub struct Ground {
    pub dir: PathBuf,
    pub keeper: Arc<Mutex<Space>>,
    pub controller: u32,
    /// Makes a host's root without an overlay, as where that cannot be had.
    pub bound: bool,
}

/// One host. Its methods look from the inside, as its administrator would, and need no ssh.
pub struct Machine {
    /// `h1`, `h2`...
    pub name: String,
    /// Where its sshd listens, at port 22.
    pub address: String,
    number: usize,
    ground: Ground,
    proc: Proc,
    freezer: Freezer,
    frozen: AtomicBool,
    // Ends before the host does, so that its connections are told.
    slow: Mutex<Option<(String, Delay)>>,
    space: Mutex<Space>,
}

impl Machine {
    /// Makes the keys and starts the host; `number` counts from 1.
    pub fn start(number: usize, ground: &Ground, freezer: Freezer) -> Result<Machine, String> {
        let name = format!("h{number}");
        let address = format!("10.77.0.{}", 100 + number);
        let dir = ground.dir.join(&name);
        let proc = Proc::quiet(dir.join("proc"));
        proc.set("sys/kernel/random/boot_id", &std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap());
        keygen(&dir.join("ssh_host_ed25519_key"))?;
        for (file, text) in [("sshd_config", SSHD), ("sshd.sh", include_str!("sshd.sh"))] {
            std::fs::write(dir.join(file), text).map_err(|error| error.to_string())?;
        }
        for (from, to) in [("hosts", "hosts"), ("home/.ssh/id_ed25519.pub", "authorized_keys")] {
            std::fs::copy(ground.dir.join(from), dir.join(to)).map_err(|error| error.to_string())?;
        }
        let space = boot(number, ground, &proc, &freezer, UP)?;
        let (frozen, slow) = (AtomicBool::new(false), Mutex::new(None));
        let ground = ground.clone();
        Ok(Machine { name, address, number, ground, proc, freezer, frozen, slow, space: Mutex::new(space) })
    }

    /// Its first process, as this machine sees it.
    pub fn pid(&self) -> u32 {
        self.space.lock().unwrap().pid
    }

    /// The host's public key, as a line of a known_hosts file has it.
    pub fn key(&self) -> String {
        let file = self.ground.dir.join(&self.name).join("ssh_host_ed25519_key.pub");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Where the controller comes by: its address, or that of its slow line.
    pub fn reach(&self) -> String {
        self.slow.lock().unwrap().as_ref().map_or_else(|| self.address.clone(), |(address, _)| address.clone())
    }

    /// Sets a file under `/proc`, by its path there: `meminfo`, `pressure/memory`, `sys/kernel/random/boot_id`. `uptime`
    /// is the kernel's own until it is set, and again after a reboot.
    pub fn set(&self, name: &str, text: &str) {
        if name == "uptime" && !self.proc.has(name) {
            self.proc.add(name, text);
            self.done("mount --bind /run/lab/proc/uptime /proc/uptime");
        }
        self.proc.set(name, text);
    }

    /// Sets total and available memory, in MiB.
    pub fn set_memory(&self, total: u64, available: u64) {
        self.set("meminfo", &proc::meminfo(total, available));
    }

    /// A command of root's on the host, with nothing in its environment but what a login gives. It is the host's own
    /// process: it freezes with it, and ends with it.
    pub fn command(&self, program: &str) -> Command {
        let flags = ["--mount", "--net", "--ipc", "--uts", "--pid", "--time"];
        let mut inside = enter(self.pid(), &flags);
        // It ends as well when the nsenter before it is killed, which does not hand signals on.
        inside.args(["setpriv", "--pdeathsig", "KILL", "--", program]);
        let mut command = match self.freezer.door() {
            // Whoever looks at a frozen host must not stop with it.
            Some(door) if !self.frozen.load(Ordering::SeqCst) => joined(&door, &inside),
            _ => inside,
        };
        command.env_clear().env("PATH", PATH).env("HOME", "/root").env("USER", "root").env("LOGNAME", "root");
        command.env("SHELL", "/bin/sh").stdin(Stdio::null());
        command
    }

    /// Runs a text in the host's shell as root, standing in its home.
    pub fn sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", &format!("cd\n{script}")]).output().unwrap()
    }

    /// Runs a text in the host's shell as another user, standing in that one's home.
    pub fn sh_as(&self, user: &str, script: &str) -> Output {
        let mut command = self.command("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups", "--reset-env", "--"]);
        command.args(["sh", "-c", &format!("cd\n{script}")]).output().unwrap()
    }

    /// Runs a text in the host's shell as root that must succeed; gives its standard output.
    pub fn done(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(output.status.success(), "{}: {script}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file of root's.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let mut child =
            self.command("sh").args(["-c", "cat >\"$1\"", "sh", path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_ref()).unwrap();
        assert!(child.wait().unwrap().success(), "{}: cannot write {path}", self.name);
    }

    /// A user's crontab as cron keeps it, to the byte, so with the three lines that Debian's puts first and `crontab -l`
    /// leaves out; none if there is none.
    pub fn crontab(&self, user: &str) -> Option<Vec<u8>> {
        let output = self.sh(&format!("cat /var/spool/cron/crontabs/{user}"));
        output.status.success().then_some(output.stdout)
    }

    /// The power fails and comes back: the same disk, another boot id, an uptime from 0, no process left. What was set in
    /// `/proc` stays so, but for those two.
    pub fn reboot(&self) {
        let mut space = self.space.lock().unwrap();
        self.freezer.set(false, space.pid);
        self.frozen.store(false, Ordering::SeqCst);
        space.end();
        self.proc.forget("uptime");
        self.proc.set("sys/kernel/random/boot_id", &std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap());
        *space = boot(self.number, &self.ground, &self.proc, &self.freezer, 0).unwrap();
    }

    /// Stops every process at once: its kernel goes on accepting TCP, and nothing answers.
    pub fn freeze(&self) {
        let space = self.space.lock().unwrap();
        self.frozen.store(true, Ordering::SeqCst);
        if self.freezer.door().is_none() {
            self.ground.keeper.lock().unwrap().tell(&space.pid.to_string());
        }
        self.freezer.set(true, space.pid);
    }

    /// Lets all go on.
    pub fn thaw(&self) {
        let space = self.space.lock().unwrap();
        self.freezer.set(false, space.pid);
        self.frozen.store(false, Ordering::SeqCst);
    }

    /// Fills the file system that holds the directory `path`, to its last byte.
    pub fn fill_disk(&self, path: &str) {
        let file = quoted(&format!("{path}/filler"));
        self.sh(&format!("cat /dev/zero >{file}"));
        assert!(!self.sh(&format!("echo more >>{file}")).status.success(), "{}: {path} is not full", self.name);
    }

    /// Takes away what `fill_disk` has put there.
    pub fn free_disk(&self, path: &str) {
        self.done(&format!("rm {}", quoted(&format!("{path}/filler"))));
    }

    /// Lays a file system of this size (`16k`, `4m`) over the directory `path`, which keeps its owner; until a reboot.
    pub fn small_disk(&self, path: &str, size: &str) {
        let path = quoted(path);
        self.done(&format!(
            "mkdir -p {path} && mount -t tmpfs -o \"size={size},mode=$(stat -c %a {path}),uid=$(stat -c %u {path}),gid=$(stat -c %g {path})\" tmpfs {path}"
        ));
    }

    /// Starts sshd anew with these lines before its own: of each setting it takes the first.
    pub fn sshd_config(&self, lines: &str) {
        self.write("/etc/ssh/sshd_config", format!("{lines}\n{SSHD}"));
        self.done("sh /run/lab/sshd.sh");
    }

    /// Stops sshd, so that connections are refused; sessions go on. `sshd_config("")` brings it back, as a reboot does.
    pub fn sshd_down(&self) {
        self.done("sh /run/lab/sshd.sh stop");
    }

    /// Gives a user a program as login shell: a path, or the text of a script.
    pub fn login_shell(&self, user: &str, shell: &str) {
        let path = if shell.starts_with("#!") {
            let path = format!("/etc/shell-of-{user}");
            self.write(&path, shell);
            self.done(&format!("chmod 755 {path}"));
            path
        } else {
            shell.to_owned()
        };
        self.done(&format!("sed -i 's|^\\({user}:.*:\\).*|\\1{path}|' /etc/passwd"));
    }

    /// Writes a file of a user's own into that one's home: `.bashrc`, `.profile`.
    pub fn home_file(&self, user: &str, name: &str, text: &str) {
        let path = self.done(&format!("echo ~{user}/{name}"));
        self.write(path.trim(), text);
        self.done(&format!("chown {user}: ~{user}/{name}"));
    }

    /// The address of its slow line, whether there is one now or not.
    pub(super) fn slow_address(&self) -> String {
        format!("10.77.0.{}", 200 + self.number)
    }

    /// Puts a slow line before the host, or takes it away; the address by which the controller comes now.
    pub(super) fn delay(&self, late: Duration) -> String {
        let mut slow = self.slow.lock().unwrap();
        let address = self.slow_address();
        // The old one lets go of the address first.
        drop(slow.take());
        if !late.is_zero() {
            let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 22);
            let line = Delay::start(Network(self.ground.controller), at(&address), at(&self.address), late);
            *slow = Some((address, line));
        }
        drop(slow);
        self.reach()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What is frozen does not even die.
        if self.frozen.load(Ordering::SeqCst)
            && let Ok(space) = self.space.lock()
        {
            self.freezer.set(false, space.pid);
        }
    }
}

/// Starts a host from its disk and waits until it can be logged in to; it will seem to have been `up` for so long.
fn boot(number: usize, ground: &Ground, proc: &Proc, freezer: &Freezer, up: i64) -> Result<Space, String> {
    let name = format!("h{number}");
    let offset = |clock| (up - clock_gettime(clock).tv_sec).to_string();
    let mut command = enter(ground.keeper.lock().unwrap().pid, &["--mount"]);
    command.args(["unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--time"]);
    command.args(["--boottime", &offset(ClockId::Boottime), "--monotonic", &offset(ClockId::Monotonic)]);
    command.arg("sh").arg(ground.dir.join("machine.sh"));
    let mut command = match freezer.door() {
        Some(door) => joined(&door, &command),
        None => command,
    };
    let shell = if Path::new("/bin/bash").exists() { "bash" } else { "sh" };
    command.env_clear().env("PATH", PATH).env("DIR", &ground.dir).env("NAME", &name).env("FILES", proc.names());
    command.env("ROOT", if ground.bound { "bound" } else { "overlay" }).env("SHELL_NAME", shell);
    command.env("ADDRESS", format!("10.77.0.{}", 100 + number));
    let mut space = Space::start(command, &ground.dir.join(&name).join("log"))?;
    // The cable. The same hardware address at each start, else its neighbours would go on calling the old one.
    let lay = format!(
        "link add {name} type veth peer name eth0 address 02:77:00:00:00:{number:02x} netns {}\n\
         link set {name} master lab up\n",
        space.pid
    );
    // That of the last start goes by itself, but later.
    let _ = ip(ground.controller, &format!("link del {name}\n"));
    ip(ground.controller, &lay)?;
    space.tell("go");
    space.hear("ready").map_err(|why| format!("{name}: {why}"))?;
    Ok(space)
}

/// Runs lines of `ip` in a process's network.
pub fn ip(pid: u32, lines: &str) -> Result<(), String> {
    let mut command = enter(pid, &["--net"]);
    command.args(["ip", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    child.stdin.take().unwrap().write_all(lines.as_bytes()).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Makes a key pair without a passphrase.
pub fn keygen(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path.parent().unwrap()).map_err(|error| error.to_string())?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-N", "", "-C", "lab", "-t", "ed25519", "-f"]).arg(path).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("ssh-keygen: {error}"))?;
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The command, run by a process that has joined a control group.
fn joined(door: &Path, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo 0 >\"$0\" && exec \"$@\""]).arg(door).arg(command.get_program()).args(command.get_args());
    shell
}

fn quoted(text: &str) -> String {
    shlex::try_quote(text).unwrap().into_owned()
}
