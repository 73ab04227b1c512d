//! What ssh_config says about logging in.

use std::path::PathBuf;

use super::super::config::Config;
use super::super::tokens::Tokens;

/// With which keys, and through which agent, to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The key files, the first one first (`IdentityFile`).
    pub identities: Vec<PathBuf>,
    /// Somebody chose them; they are not only ssh's defaults, most of which are absent on any machine.
    pub chosen: bool,
    /// Further certificates (`CertificateFile`), besides each `KEY-cert.pub`.
    pub certificates: Vec<PathBuf>,
    /// Only the keys named here, also of those in the agent (`IdentitiesOnly`).
    pub only: bool,
    /// Where the agent listens; `None`: there is none.
    pub agent: Option<PathBuf>,
    /// Signature algorithms that may be used to log in (`PubkeyAcceptedAlgorithms`); empty: all that are known here.
    pub algorithms: Vec<String>,
    /// Login by key is switched off (`PubkeyAuthentication no`).
    pub off: bool,
    /// A value that cannot be understood, with its directive.
    pub unusable: Option<(&'static str, String)>,
}

impl Settings {
    /// Reads them from an answer of `ssh -G`; `translate` makes a path one under the user's home.
    pub(crate) fn read(config: &Config, tokens: &Tokens<'_>, translate: impl Fn(PathBuf) -> PathBuf) -> Settings {
        let mut settings = Settings::default();
        let mut files = |directive: &'static str| -> Vec<PathBuf> {
            let mut paths = Vec::new();
            for text in config.all(directive).filter(|text| !text.eq_ignore_ascii_case("none")) {
                match tokens.expand(text) {
                    Some(path) => paths.push(translate(PathBuf::from(path))),
                    None => settings.unusable = Some((directive, text.to_owned())),
                }
            }
            paths
        };
        let (identities, certificates) = (files("IdentityFile"), files("CertificateFile"));
        settings.identities = identities;
        settings.certificates = certificates;
        let names: Vec<&str> = config.all("IdentityFile").collect();
        let defaults = names.len() > 3
            && ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"].iter().all(|name| names.contains(name))
            && names.iter().all(|name| name.starts_with("~/.ssh/id_"));
        settings.chosen = !defaults;
        settings.only = is_on(config.get("IdentitiesOnly"));
        settings.off = matches!(config.get("PubkeyAuthentication"), Some("no" | "false"));
        settings.algorithms = list(config.get("PubkeyAcceptedAlgorithms"));
        let environment = || std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
        settings.agent = match config.get("IdentityAgent") {
            None | Some("SSH_AUTH_SOCK") => environment(),
            Some(none) if none.eq_ignore_ascii_case("none") => None,
            Some(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => std::env::var_os(name).map(PathBuf::from),
                None => {
                    let path = tokens.expand(text);
                    if path.is_none() {
                        settings.unusable = Some(("IdentityAgent", text.to_owned()));
                    }
                    path.map(|path| translate(PathBuf::from(path)))
                }
            },
        };
        settings
    }

    /// Whether the signature algorithm `name` may be used.
    pub(crate) fn allows(&self, name: &str) -> bool {
        self.algorithms.is_empty() || self.algorithms.iter().any(|allowed| allowed == name)
    }
}

/// A comma list as it stands in ssh's answer; empty where there is none.
pub(crate) fn list(value: Option<&str>) -> Vec<String> {
    let words = value.unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty() && *word != "none").map(str::to_owned).collect()
}

fn is_on(value: Option<&str>) -> bool {
    matches!(value, Some("yes" | "true"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(answer: &str) -> Settings {
        let tokens =
            Tokens { home: Some(Path::new("/home/x")), host: "10.0.0.5", asked: "web-1", port: 2222, user: "deploy" };
        Settings::read(&Config::parse(answer), &tokens, |path| match path.strip_prefix("~") {
            Ok(rest) => Path::new("/home/x").join(rest),
            Err(_) => path,
        })
    }

    #[test]
    fn paths_are_expanded_as_ssh_does() {
        let settings = read(
            "identityfile ~/.ssh/%h_%p\nidentityfile %d/keys/%n-%r-%%\nidentityfile none\ncertificatefile ~/c.pub\n\
             identitiesonly yes\nidentityagent ~/agent.sock\npubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-512\n",
        );
        let paths = ["/home/x/.ssh/10.0.0.5_2222", "/home/x/keys/web-1-deploy-%"].map(PathBuf::from);
        assert_eq!(settings.identities, paths);
        assert_eq!(settings.certificates, [PathBuf::from("/home/x/c.pub")]);
        assert_eq!(settings.agent, Some("/home/x/agent.sock".into()));
        assert!(settings.only && settings.chosen && !settings.off && settings.unusable.is_none());
        assert!(settings.allows("ssh-ed25519") && !settings.allows("ecdsa-sha2-nistp256"));
    }

    #[test]
    fn what_is_not_understood_is_kept_for_the_message() {
        let settings = read("identityfile ~/.ssh/%C\n");
        assert_eq!(settings.unusable, Some(("IdentityFile", "~/.ssh/%C".to_owned())));
        assert!(read("identityagent /run/%C\n").unusable.is_some());
        assert_eq!(read("identityagent none\n").agent, None);
        assert_eq!(read("identityagent $NO_SUCH_VARIABLE_IN_ANY_TEST\n").agent, None);
        assert!(read("pubkeyauthentication false\n").off);
    }

    #[test]
    fn the_defaults_of_ssh_are_not_a_choice() {
        let defaults = "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\nidentityfile ~/.ssh/id_ecdsa_sk\n\
                        identityfile ~/.ssh/id_ed25519\nidentityfile ~/.ssh/id_ed25519_sk\n";
        assert!(!read(defaults).chosen);
        assert!(read(&format!("identityfile /k\n{defaults}")).chosen);
        assert!(read("identityfile ~/.ssh/id_ed25519\n").chosen);
    }
}
