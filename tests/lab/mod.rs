//! The lab: hosts whose memory, load, pressure, clock of boot and disks a test can set, each in namespaces of its own.
//!
//! It needs root and `unshare`. Where it cannot be had, [`host`] says so in one line and the test is left out; with
//! `LAB=must` in the environment that is a failure instead.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use factory::remote::probe::{self, Report, Request};

/// A quiet machine with 8 GiB, 4 times as much as it needs, that has been up for a day. Unset files would show those of
/// the machine under the test, which the test beside it moves.
const QUIET: [(&str, &str); 9] = [
    ("meminfo", MEMINFO),
    ("loadavg", "0.10 0.20 0.30 1/100 4242\n"),
    (
        "stat",
        "cpu  1000 0 500 98000 100 0 0 0 0 0\ncpu0 1000 0 500 98000 100 0 0 0 0 0\nctxt 1\nbtime 1700000000\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
    ),
    ("vmstat", "pswpin 0\nallocstall_normal 0\npgmajfault 7\noom_kill 0\n"),
    ("uptime", "86400.50 86000.00\n"),
    ("pressure/cpu", PRESSURE),
    ("pressure/memory", PRESSURE),
    ("pressure/io", PRESSURE),
    ("sys/kernel/random/boot_id", "11111111-2222-4333-8444-555555555555\n"),
];

const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree:         6291456 kB\nMemAvailable:    6291456 kB\nBuffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n";
const PRESSURE: &str =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

/// The init of a host: makes its mounts, then lives until the test lets go of its standard input.
const INIT: &str = r#"
set -e
read -r pid rest </proc/self/stat
mount -t proc proc /proc
for file in $FILES; do mount --bind "$DIR/proc/$file" "/proc/$file"; done
mount -t tmpfs tmpfs /mnt
ip link set lo up 2>/dev/null || :
echo "up $pid"
exec cat
"#;

/// One machine of the lab: own mounts, processes, an empty network (loopback only), home directory and `/proc`.
/// It ends with this value.
pub struct Host {
    dir: tempfile::TempDir,
    init: Child,
    stdin: Option<ChildStdin>,
    /// The init's process id, seen from the machine under the test.
    pid: String,
}

/// Starts a host, or says in one line why there is none.
pub fn host() -> Option<Host> {
    match Host::start() {
        Ok(host) => Some(host),
        Err(why) => {
            let test = std::thread::current().name().unwrap_or("a lab test").to_owned();
            let told = format!("left out: {test}: {why}; to run it: sudo -E cargo test --test it {test}");
            assert!(std::env::var_os("LAB").is_none_or(|lab| lab != "must"), "{told}");
            // Not by a macro of the test harness, which would keep it to itself.
            let _ = writeln!(std::io::stderr(), "{told}");
            None
        }
    }
}

impl Host {
    fn start() -> Result<Host, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut names = Vec::new();
        for (name, text) in QUIET {
            // A kernel without one of them cannot have it set.
            if Path::new("/proc").join(name).exists() {
                let file = dir.path().join("proc").join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
                names.push(name);
            }
        }
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let mut init = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", INIT])
            .env("FILES", names.join(" "))
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
        Ok(Host { dir, init, stdin, pid })
    }

    /// Sets a file under `/proc`, by its path there: `meminfo`, `pressure/memory`, `sys/kernel/random/boot_id`.
    pub fn set(&self, name: &str, text: &str) {
        let file = self.dir.path().join("proc").join(name);
        assert!(file.exists(), "the lab does not set /proc/{name}");
        // In place: a bind mount goes on showing a file that was replaced.
        std::fs::write(file, text).unwrap();
    }

    /// Sets total and available memory, in MiB.
    pub fn set_memory(&self, total: u64, available: u64) {
        let line = |name: &str, mib: u64| format!("{:<16}{:>8} kB\n", format!("{name}:"), mib * 1024);
        let rest = MEMINFO.split_once("Buffers").unwrap().1;
        let lines = [line("MemTotal", total), line("MemFree", available), line("MemAvailable", available)].concat();
        self.set("meminfo", &format!("{lines}Buffers{rest}"));
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

    /// A command inside the host, with nothing in its environment but what cron would give.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--mount", "--net", "--ipc", "--uts", "--pid", "--wd=/", "--"]);
        command.arg(program);
        command.env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("LOGNAME", "root").env("SHELL", "/bin/sh").stdin(Stdio::null());
        command
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
        let mut command = self.command("/bin/sh");
        command.arg("-c").arg(probe::script()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&request.stdin().unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
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
