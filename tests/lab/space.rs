//! A process tree in namespaces of its own. It ends with its value, also when the test's process is killed: its first
//! process reads its standard input, and that ends then.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What every program of the lab finds in PATH, before the lab's own directory with the binary under test.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Such a tree, with its first process.
pub struct Space {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The first process's id, seen from the machine under the test.
    pub pid: u32,
    complaints: PathBuf,
}

impl Space {
    /// Runs a command whose shell first says `up PID`, with its id as this machine sees it. What it complains of goes
    /// to the file `complaints`: a pipe would be kept open by whatever it leaves running.
    pub fn start(mut command: Command, complaints: &Path) -> Result<Space, String> {
        let file = std::fs::File::create(complaints).map_err(|error| error.to_string())?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut space = Space { child, stdin, stdout, pid: 0, complaints: complaints.to_owned() };
        let pid = space.hear("up ")?;
        space.pid = pid.parse().map_err(|_| format!("its id is {pid:?}"))?;
        Ok(space)
    }

    /// Waits for a line that begins so, and gives the rest of it.
    pub fn hear(&mut self, start: &str) -> Result<String, String> {
        let mut line = String::new();
        let _ = self.stdout.read_line(&mut line);
        line.trim_end().strip_prefix(start).map(str::to_owned).ok_or_else(|| {
            let said = std::fs::read_to_string(&self.complaints).unwrap_or_default();
            format!("{} {}", line.trim(), said.trim()).trim().to_owned()
        })
    }

    /// Sends its first process a line.
    pub fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// Ends its first process, and with it every process and mount inside, at once.
    pub fn end(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command that runs `program` in the namespaces of the process `pid` named by nsenter's `flags`, with nothing in its
/// environment but PATH.
pub fn enter(pid: u32, flags: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string()]).args(flags).arg("--");
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    command
}
