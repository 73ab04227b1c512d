//! What a host lacks: the script that looks, the parser of its answer, and the advice.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The POSIX shell program that looks, for a host whose `factory_home` is `home`. It reads no input, which would cost a
/// round trip more.
///
/// # Errors
/// A NUL in `home`.
pub fn script(home: &str) -> Result<String> {
    let home = shlex::try_quote(home)
        .map_err(|_| Error::inventory(format!("the factory_home {home:?} holds a NUL")).help("write it without"))?;
    Ok(format!("{}\n{{ check {home}; }}\n", include_str!("check.sh")))
}

/// Less free space than this in `factory_home` and the guard's next write may be its last, in KiB.
const LITTLE_KIB: u64 = 50 << 10;

/// A clock this many seconds off makes logs misleading and certificates fail.
const SKEW_S: i64 = 30;

/// The tools that a host must have, each with what it is for. A checksum tool goes by the name `sha256sum`.
const TOOLS: [(&str, &str, bool); 6] = [
    ("flock", "the guard's lock", true),
    ("setsid", "agent runs", true),
    ("timeout", "the guard and the probe", true),
    ("sha256sum", "whole payloads", true),
    ("crontab", "halting agents that cron starts", true),
    ("git", "agents' work trees", false),
];

/// What the script found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The login's name.
    pub user: Option<String>,
    /// Its number; 0 is root.
    pub uid: Option<u64>,
    /// The host's clock, in seconds since 1970.
    pub clock: Option<i64>,
    /// Its main memory, in KiB.
    pub mem_total_kib: Option<u64>,
    /// The state directory with `~` expanded.
    pub home: Option<String>,
    /// Which tools are there.
    pub tools: BTreeMap<String, bool>,
    /// Whether the crontab may be read; the text of the refusal if not.
    pub crontab: Option<std::result::Result<(), String>>,
    /// Whether halt files can be written; the directory that refuses if not.
    pub halt: Option<std::result::Result<(), String>>,
    /// The kind of file system that the state directory is on, as `stat -f` names it.
    pub home_fs: Option<String>,
    /// What is free on it, in KiB.
    pub home_free_kib: Option<u64>,
}

/// Something that a host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Without it the host cannot be supervised; otherwise it is only worth knowing.
    pub fatal: bool,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Reads the script's answer; `None` when it did not come whole.
pub fn parse(output: &[u8]) -> Option<Found> {
    let text = String::from_utf8_lossy(output);
    let mut lines = text.lines().skip_while(|line| *line != "begin factory-check 1").skip(1);
    let mut found = Found::default();
    for line in lines.by_ref() {
        if line == "end" {
            return text.ends_with('\n').then_some(found);
        }
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "user" => found.user = Some(value.to_owned()),
            "uid" => found.uid = value.parse().ok(),
            "clock" => found.clock = value.parse().ok(),
            "mem_total_kib" => found.mem_total_kib = value.parse().ok(),
            "home" => found.home = Some(value.to_owned()),
            "tool" => {
                if let Some((tool, there)) = value.split_once(' ') {
                    found.tools.insert(tool.to_owned(), there == "yes");
                }
            }
            "crontab" => found.crontab = Some(crontab(value)),
            "halt" => {
                found.halt = match value.split_once(' ') {
                    None if value == "writable" => Some(Ok(())),
                    Some(("refused", dir)) => Some(Err(dir.to_owned())),
                    _ => None,
                }
            }
            "home_fs" => found.home_fs = Some(value.to_owned()),
            "home_free_kib" => found.home_free_kib = value.parse().ok(),
            _ => {}
        }
    }
    None
}

/// `crontab -l` exits with 1 for "no crontab" too, and BusyBox says that in other words.
fn crontab(value: &str) -> std::result::Result<(), String> {
    let Some(text) = value.strip_prefix("failed") else { return Ok(()) };
    let text = text.trim();
    let none = text.starts_with("no crontab for") || (text.contains("can't open") && text.contains("No such file"));
    if none { Ok(()) } else { Err(text.to_owned()) }
}

impl Found {
    /// How far the host's clock is ahead of `now` (seconds since 1970).
    pub fn clock_ahead(&self, now: i64) -> Option<i64> {
        self.clock.map(|clock| clock.saturating_sub(now))
    }

    /// What is wrong with the host, worst first. `now` is the controller's clock in seconds since 1970.
    pub fn lacks(&self, now: i64) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let mut lack = |fatal, message: String, help: String| lacks.push(Lack { fatal, message, help });
        for (tool, purpose, fatal) in TOOLS {
            if self.tools.get(tool) != Some(&true) {
                let package = if matches!(tool, "flock" | "setsid") { "util-linux" } else { package(tool) };
                lack(
                    fatal,
                    format!("`{tool}` is missing, needed for {purpose}"),
                    format!("install it there, on Debian: apt-get install {package}"),
                );
            }
        }
        if let Some(Err(text)) = &self.crontab {
            let user = self.user.as_deref().unwrap_or("the login");
            lack(
                true,
                format!("the crontab may not be used: {text}"),
                format!("allow {user} in /etc/cron.allow, or take it out of /etc/cron.deny"),
            );
        }
        if let Some(Err(dir)) = &self.halt {
            let user = self.user.as_deref().unwrap_or("the login");
            lack(
                true,
                format!("halt files cannot be written: {dir} refuses"),
                format!("give {dir} to {user}, or set factory_home to a directory of its own"),
            );
        }
        if let Some(kind) = self.home_fs.as_deref().filter(|kind| is_remote(kind)) {
            lack(
                true,
                format!("the state directory is on {kind}, where locks do not hold"),
                "set factory_home to a local disk".to_owned(),
            );
        }
        if let Some(free) = self.home_free_kib.filter(|free| *free < LITTLE_KIB) {
            lack(
                false,
                format!("only {} MiB free where the state directory is", free >> 10),
                "make room on that disk".to_owned(),
            );
        }
        if let Some(ahead) = self.clock_ahead(now).filter(|ahead| ahead.abs() > SKEW_S) {
            let which = if ahead > 0 { "ahead of" } else { "behind" };
            lack(
                false,
                format!("its clock is {} s {which} this machine's", ahead.abs()),
                "run an NTP client there (systemd-timesyncd, chrony)".to_owned(),
            );
        }
        lacks.sort_by_key(|lack| !lack.fatal);
        lacks
    }
}

fn package(tool: &str) -> &str {
    match tool {
        "crontab" => "cron",
        "timeout" | "sha256sum" => "coreutils",
        other => other,
    }
}

/// File systems on which `flock`, `O_EXCL` or `rename` do not mean what the guard needs.
fn is_remote(kind: &str) -> bool {
    ["nfs", "cifs", "smb", "9p", "v9fs", "fuse"].iter().any(|bad| kind.starts_with(bad))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Welcome!\nbegin factory-check 1\nuser ada\nuid 1000\nclock 1000\nmem_total_kib 8388608\nhome /home/ada/.factory\n\
        tool flock yes\ntool setsid yes\ntool timeout yes\ntool crontab yes\ntool git yes\ntool sha256sum yes\n\
        crontab failed no crontab for ada\nhalt writable\nhome_fs ext2/ext3\nhome_free_kib 1000000\nend\n";

    #[test]
    fn a_good_host_lacks_nothing_and_a_banner_is_passed_over() {
        let found = parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(found.lacks(1000), []);
        assert_eq!((found.home.as_deref(), found.mem_total_kib), (Some("/home/ada/.factory"), Some(8 << 20)));
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_no_answer() {
        for cut in 0..WHOLE.len() {
            assert_eq!(parse(&WHOLE.as_bytes()[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn each_lack_is_told_with_what_to_do() {
        let bad = WHOLE
            .replace("tool flock yes", "tool flock no")
            .replace("no crontab for ada", "You (ada) are not allowed to use this program (crontab)")
            .replace("halt writable", "halt refused /home/ada")
            .replace("ext2/ext3", "nfs")
            .replace("1000000", "100")
            .replace("tool git yes", "tool git no");
        let lacks = parse(bad.as_bytes()).unwrap().lacks(2000);
        let text: Vec<String> = lacks.iter().map(|lack| format!("{} -> {}", lack.message, lack.help)).collect();
        insta::assert_snapshot!(text.join("\n"));
        assert_eq!(lacks.iter().filter(|lack| lack.fatal).count(), 4);
    }

    #[test]
    fn only_a_refusal_is_a_refusal() {
        for fine in ["ok", "failed no crontab for root", "failed crontab: can't open 'root': No such file or directory"]
        {
            assert_eq!(crontab(fine), Ok(()), "{fine}");
        }
        for refused in [
            "failed You (x) are not allowed to use this program (crontab)",
            "failed crontab: can't open 'x': Permission denied",
            "failed ",
        ] {
            assert!(crontab(refused).is_err(), "{refused}");
        }
    }
}
