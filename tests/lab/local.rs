//! A machine for what needs no network: its memory, load, pressure, clock of boot and disks are the test's, and the rest
//! is this machine's.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use factory::remote::probe::{self, Report, Request};

use super::proc::{self, Proc};

/// The init of a host: makes its mounts, then lives until the test lets go of its standard input.
const INIT: &str = r#"
set -e
read -r pid rest </proc/self/stat
mount -t proc proc /proc
for file in $FILES; do mount --bind "$DIR/proc/$file" "/proc/$file"; done
mount -t tmpfs tmpfs /mnt
ip link set lo up 2>/dev/null || :
echo "up $pid"
# Whoever has lost its parent becomes this one's child, and is buried by its wait.
exec 3<&0
cat >/dev/null <&3 &
wait $!
"#;

/// One machine of the lab: own mounts, processes, an empty network (loopback only), home directory and `/proc`.
/// It ends with this value.
pub struct Host {
    dir: tempfile::TempDir,
    proc: Proc,
    init: Child,
    stdin: Option<ChildStdin>,
    /// The init's process id, seen from the machine under the test.
    pid: String,
}

impl Host {
    /// Starts one; only root can.
    pub fn start() -> Result<Host, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let proc = Proc::quiet(dir.path().join("proc"));
        // Up for a day: here nothing looks at the clock of boot beside it.
        proc.add("uptime", "86400.50 86000.00\n");
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let mut init = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", INIT])
            .env("FILES", format!("{} uptime", proc.names()))
            .env("DIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let _ = BufReader::new(init.stdout.take().unwrap()).read_line(&mut line);
        let Some(pid) = line.trim().strip_prefix("up ") else {
            let _ = init.kill();
            let output = init.wait_with_output().unwrap();
            return Err(format!("unshare: {}", String::from_utf8_lossy(&output.stderr).trim()));
        };
        let pid = pid.to_owned();
        let stdin = init.stdin.take();
        Ok(Host { dir, proc, init, stdin, pid })
    }

    /// Sets a file under `/proc`, by its path there: `meminfo`, `pressure/memory`, `sys/kernel/random/boot_id`.
    pub fn set(&self, name: &str, text: &str) {
        self.proc.set(name, text);
    }

    /// Sets total and available memory, in MiB.
    pub fn set_memory(&self, total: u64, available: u64) {
        self.set("meminfo", &proc::meminfo(total, available));
    }

    /// Takes pressure stall information away, as on a kernel built without it.
    pub fn without_psi(&self) {
        self.done("mkdir -p /mnt/none && mount --bind /mnt/none /proc/pressure");
    }

    /// Leaves BusyBox's applets as the only programs. False, with a line that says so, where BusyBox is not installed.
    pub fn busybox_only(&self) -> bool {
        let there = self.sh("command -v busybox").status.success();
        if there {
            self.done(
                "mkdir /mnt/bin /mnt/no && cp $(command -v busybox) /mnt/bin/busybox && cd /mnt/bin && \
                 for a in $(./busybox --list); do [ $a = busybox ] || ln -s busybox $a; done && \
                 for d in /usr/local/sbin /usr/local/bin /usr/sbin; do mount --bind /mnt/no $d; done && \
                 { [ -h /bin ] || mount --bind /mnt/bin /bin; } && mount --bind /mnt/bin /usr/bin",
            );
        } else {
            let _ = writeln!(std::io::stderr(), "left out: a host with BusyBox alone, since busybox is not installed");
        }
        there
    }

    /// The home directory of its user, as seen inside and outside.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What stands before a command to run it inside the host.
    pub fn entry(&self) -> [&str; 9] {
        ["nsenter", "--target", &self.pid, "--mount", "--net", "--ipc", "--uts", "--pid", "--"]
    }

    /// A command inside the host, with nothing in its environment but what cron would give.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(&self.entry()[1..8]).args(["--wd=/", "--"]);
        command.arg(program);
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("LOGNAME", "root").env("SHELL", "/bin/sh").stdin(Stdio::null());
        command
    }

    /// Writes a file, as it is.
    pub fn write(&self, path: &str, text: &[u8]) {
        let mut child =
            self.command("sh").args(["-c", "cat >\"$1\"", "sh", path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        assert!(child.wait().unwrap().success(), "cannot write {path}");
    }

    /// Runs a text in the host's shell.
    pub fn sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().unwrap()
    }

    /// Runs a text in the host's shell that must succeed; gives its standard output.
    pub fn done(&self, script: &str) -> String {
        let output = self.sh(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the binary on the host, as its user would.
    pub fn factory(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_factory")).args(args).output().unwrap()
    }

    /// Runs the probe on the host and reads its answer.
    pub fn probe(&self, request: &Request) -> Report {
        self.probe_by(self.command("/bin/sh"), request)
    }

    /// The same under a shell of the host's, by the words that run a program text: `["busybox", "sh", "-c"]`.
    pub fn probe_under(&self, shell: &[&str], request: &Request) -> Report {
        let mut command = self.command(shell[0]);
        command.args(&shell[1..shell.len() - 1]);
        self.probe_by(command, request)
    }

    /// Runs the probe as a user without any rights.
    pub fn probe_as_nobody(&self, request: &Request) -> Report {
        let mut command = self.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh"]);
        self.probe_by(command, request)
    }

    fn probe_by(&self, mut shell: Command, request: &Request) -> Report {
        let program = request.program().unwrap();
        assert!(program.stdin.is_empty(), "a question for a test host is short");
        let output = shell.arg("-c").arg(program.script).stdin(Stdio::null()).output().unwrap();
        probe::parse(&output.stdout).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its init ends with its input, and with the init every process and mount inside.
        drop(self.stdin.take());
        let _ = self.init.wait();
    }
}
