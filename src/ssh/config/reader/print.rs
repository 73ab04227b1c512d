//! An answer as `ssh -G` prints it: with tokens filled in, and ssh's defaults.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Config;
use super::answer::Answer;
use super::unsure::Unsure;
use super::words::shown;
use crate::ssh::tokens::expand;

/// The key files of OpenSSH 10; older ones also look for two kinds of key that nothing uses any more.
const IDENTITIES: [&str; 5] =
    ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk"];

/// Directives that ssh prints with this value where nothing is said.
const DEFAULTS: [(&str, &str); 6] = [
    ("addressfamily", "any"),
    ("hashknownhosts", "no"),
    ("identitiesonly", "no"),
    ("pubkeyauthentication", "true"),
    ("requiredrsasize", "1024"),
    ("verifyhostkeydns", "false"),
];

/// Directives that are printed as they were given.
const PLAIN: [&str; 12] = [
    "bindaddress",
    "bindinterface",
    "casignaturealgorithms",
    "ciphers",
    "hostkeyalgorithms",
    "kexalgorithms",
    "macs",
    "proxyjump",
    "pubkeyacceptedalgorithms",
    "proxycommand",
    "knownhostscommand",
    "revokedhostkeys",
];

/// Directives of [`PLAIN`] that are not printed where they are `none`.
const UNSET: [&str; 4] = ["proxyjump", "proxycommand", "knownhostscommand", "revokedhostkeys"];

impl Answer<'_> {
    /// The answer, whole.
    ///
    /// # Errors
    /// What is not known here about a value that counts.
    pub(super) fn print(&self) -> Result<Config, Unsure> {
        let host = self.canonical_host()?;
        let user = self.login()?;
        let port = self.word("port").unwrap_or("22").to_owned();
        self.check_loop(&host, &user, &port)?;
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut line = |directive: &str, value: &str| {
            // What follows a directive is read without the blanks round it, and an empty value as none.
            if !value.trim().is_empty() {
                lines.push((directive.to_owned(), value.trim().to_owned()));
            }
        };
        line("host", self.asked);
        line("user", &user);
        line("hostname", &host);
        line("port", &port);
        for (directive, default) in DEFAULTS {
            line(directive, self.word(directive).unwrap_or(default));
        }
        for directive in PLAIN {
            let unset = |value: &&str| !UNSET.contains(&directive) || !value.eq_ignore_ascii_case("none");
            line(directive, self.word(directive).filter(unset).unwrap_or_default());
        }
        line("hostkeyalias", &self.word("hostkeyalias").unwrap_or_default().to_ascii_lowercase());
        if let Some(command) = self.word("remotecommand").filter(|command| !command.eq_ignore_ascii_case("none")) {
            if command.contains('%') {
                return Err(self.unsure("remotecommand", "a token in a `RemoteCommand`".to_owned()));
            }
            line("remotecommand", command);
        }
        let filled = |directive: &'static str, path: &str| self.fill(directive, path, &host, &user, &port);
        if let Some(agent) = self.word("identityagent") {
            line("identityagent", &filled("identityagent", agent)?);
        }
        let [identities, certificates] = self.files();
        for path in if identities.is_empty() { IDENTITIES.to_vec() } else { identities } {
            line("identityfile", path);
        }
        for path in certificates {
            line("certificatefile", path);
        }
        let global = self.words("globalknownhostsfile").map(<[String]>::to_vec);
        let global = global
            .unwrap_or_else(|| ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(str::to_owned).to_vec());
        line("globalknownhostsfile", &one_line(&global));
        let own = self.words("userknownhostsfile").map(<[String]>::to_vec);
        let own = own.unwrap_or_else(|| ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"].map(str::to_owned).to_vec());
        let own: Result<Vec<String>, Unsure> = match one_line(&own).as_str() {
            "none" => Ok(vec!["none".to_owned()]),
            _ => own.iter().map(|path| filled("userknownhostsfile", path)).collect(),
        };
        line("userknownhostsfile", &one_line(&own?));
        Ok(Config(lines))
    }

    /// The name or address to connect to, in the one way of writing it.
    fn canonical_host(&self) -> Result<String, Unsure> {
        let host = self.host()?;
        let odd = || self.unsure("hostname", format!("the name `{}`", shown(&host)));
        let family = self.word("addressfamily").unwrap_or("any");
        if host.contains(':') {
            // Other ways to write an address depend on the system: a scope, or an IPv4 address within.
            let address = host.parse::<Ipv6Addr>().ok().filter(|address| {
                let [first, second, third, fourth, fifth, sixth, ..] = address.segments();
                [first, second, third, fourth, fifth, sixth].iter().any(|part| *part != 0)
                    || *address == Ipv6Addr::LOCALHOST
            });
            return address.filter(|_| family != "inet").map(|address| address.to_string()).ok_or_else(odd);
        }
        if host.parse::<Ipv4Addr>().is_ok() {
            return if family == "inet6" { Err(odd()) } else { Ok(host) };
        }
        let numeric = |part: &str| part.is_empty() || part.starts_with(|c: char| c.is_ascii_digit());
        if !is_name(&host) || host.rsplit('.').next().is_none_or(numeric) {
            // `127.1` and `0x7f.1` are addresses to some systems.
            let digits = |part: &str| {
                let part = part.strip_prefix("0x").or(part.strip_prefix("0X")).unwrap_or(part);
                part.bytes().all(|c| c.is_ascii_hexdigit())
            };
            if !is_name(&host) || host.split('.').all(digits) {
                return Err(odd());
            }
        }
        Ok(host.to_ascii_lowercase())
    }

    /// The user over there.
    fn login(&self) -> Result<String, Unsure> {
        let Some(user) = self.word("user") else {
            return self.local().map(str::to_owned);
        };
        let mut characters = user.chars().peekable();
        let mut harmless = !user.starts_with('-') && !user.ends_with('\\');
        while let Some(c) = characters.next() {
            let begins_flag = c.is_whitespace() && characters.peek() == Some(&'-');
            harmless &= !begins_flag && !"'`\"$;&<>|(){}%".contains(c);
        }
        match harmless {
            true => Ok(user.to_owned()),
            false => Err(self.unsure("user", format!("the user `{}`", shown(user)))),
        }
    }

    fn local(&self) -> Result<&str, Unsure> {
        let name = self.passwd.map(|passwd| passwd.name.as_str());
        name.ok_or_else(|| Unsure::new("/etc/passwd", "the user who runs this is not in it"))
    }

    /// A path as ssh opens it.
    fn fill(&self, directive: &'static str, path: &str, host: &str, user: &str, port: &str) -> Result<String, Unsure> {
        let odd = || self.unsure(directive, format!("`{directive} {}`", shown(path)));
        let home = || {
            let home = self.passwd.and_then(|passwd| passwd.home.to_str());
            home.ok_or_else(|| Unsure::new("/etc/passwd", "the user who runs this is not in it"))
        };
        let path = match path.strip_prefix('~') {
            None => path.to_owned(),
            Some(rest) if rest.starts_with('/') && !rest.starts_with("//") => {
                format!("{}{rest}", home()?.trim_end_matches('/'))
            }
            Some(_) => return Err(odd()),
        };
        let home = home().ok();
        let meaning = |token| match token {
            'd' => home.map(str::to_owned),
            'h' => Some(host.to_owned()),
            'n' => Some(self.asked.to_owned()),
            'p' => Some(port.to_owned()),
            'r' => Some(user.to_owned()),
            'u' => self.local().ok().map(str::to_owned),
            'i' => Some(rustix::process::getuid().as_raw().to_string()),
            _ => None,
        };
        expand(&path, meaning, |_| None).ok_or_else(odd)
    }

    /// That the last jump host is not the host itself, which ssh refuses.
    fn check_loop(&self, host: &str, user: &str, port: &str) -> Result<(), Unsure> {
        let Some(hop) = self.word("proxyjump").and_then(|hops| hops.rsplit(',').next()) else { return Ok(()) };
        let (jumper, rest) = hop.rsplit_once('@').unwrap_or((user, hop));
        let (jump, at) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or((rest, ""), |(host, port)| (host, port)),
            None => rest.find(':').map_or((rest, ""), |colon| rest.split_at(colon)),
        };
        let at = at.strip_prefix(':').unwrap_or("22");
        if (jump, jumper, at) == (host, user, port) {
            return Err(self.unsure("proxyjump", format!("the host `{host}` would be reached through itself")));
        }
        Ok(())
    }
}

fn one_line(paths: &[String]) -> String {
    match paths {
        [none] if none.eq_ignore_ascii_case("none") => "none".to_owned(),
        paths => paths.join(" "),
    }
}

/// Whether all versions of ssh take `text` for a host's name.
pub(super) fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(known)
}
