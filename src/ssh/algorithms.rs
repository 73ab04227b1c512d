//! Which algorithms are offered to a host: those of this program that ssh_config allows.

use std::borrow::Cow;

use russh::keys::Algorithm;
use russh::{Preferred, compression, kex};

use super::known_hosts::Holdings;
use super::login::settings::list;
use super::target::Target;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// What goes with the key exchanges and is none itself: extensions, and the strict key exchange.
const EXTENSIONS: [kex::Name; 4] = [
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// The algorithms for `target`, whose keys known_hosts `holds`.
///
/// Host keys come in the order of what is held, so that a server with several keys shows one that is known;
/// certificates come first where an authority is trusted. Everything else is in ssh_config's order. Nothing with SHA-1.
///
/// # Errors
/// ssh_config leaves nothing that is known here.
pub(crate) fn preferred(target: &Target, holds: &Holdings) -> Result<Preferred> {
    let hosts = list(target.config.get("HostKeyAlgorithms"));
    let allowed = |name: &str| hosts.is_empty() || hosts.iter().any(|have| have == name);
    let all = holds.algorithms();
    let key: Vec<Algorithm> = all.iter().filter(|algorithm| allowed(algorithm.as_str())).cloned().collect();
    let certificates: Vec<Algorithm> = match holds.authority {
        true => all.iter().filter(|algorithm| allowed(&algorithm.to_certificate_type())).cloned().collect(),
        false => Vec::new(),
    };
    if key.is_empty() && certificates.is_empty() {
        return Err(none(target, "HostKeyAlgorithms"));
    }
    let defaults = Preferred::DEFAULT;
    let exchanges: Vec<kex::Name> = defaults.kex.iter().filter(|name| !EXTENSIONS.contains(name)).copied().collect();
    let mut kex = chosen(target, "KexAlgorithms", &exchanges)?;
    kex.extend(EXTENSIONS);
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(key),
        host_key_certificates: Cow::Owned(certificates),
        cipher: Cow::Owned(chosen(target, "Ciphers", &defaults.cipher)?),
        mac: Cow::Owned(chosen(target, "MACs", &defaults.mac)?),
        // To decompress what has not been verified yet is more risk than it is worth.
        compression: Cow::Borrowed(&[compression::NONE]),
    })
}

/// Those of `known` that `directive` names, in its order; all of them where it says nothing.
fn chosen<N: AsRef<str> + Copy>(target: &Target, directive: &'static str, known: &[N]) -> Result<Vec<N>> {
    let wanted = list(target.config.get(directive));
    if wanted.is_empty() {
        return Ok(known.to_vec());
    }
    let chosen: Vec<N> =
        wanted.iter().filter_map(|name| known.iter().find(|have| have.as_ref() == name)).copied().collect();
    if chosen.is_empty() { Err(none(target, directive)) } else { Ok(chosen) }
}

fn none(target: &Target, directive: &'static str) -> Error {
    Error::new(
        Exit::Unreachable,
        format!(
            "host `{}`: `{directive}` in its ssh configuration leaves nothing that this program can do",
            target.name
        ),
    )
    .help(format!("take `{directive}` out for this host in ~/.ssh/config, or add to it by `{directive} +NAME`"))
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::*;

    fn names(answer: &str, holds: &Holdings) -> Result<Preferred> {
        preferred(&Target { config: Config::parse(answer), ..Target::bare("web-1", "h", 22) }, holds)
    }

    #[test]
    fn ssh_config_narrows_and_orders() {
        let preferred = names(
            "ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,3des-cbc\nkexalgorithms sntrup761x25519-sha512,\
             curve25519-sha256\nhostkeyalgorithms rsa-sha2-256,ssh-ed25519,ssh-rsa\nmacs hmac-sha1,hmac-sha2-256\n",
            &Holdings::default(),
        )
        .unwrap();
        let text = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            preferred.cipher.iter().map(|name| name.as_ref().to_owned()).collect::<Vec<_>>(),
            text(&["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"])
        );
        assert_eq!(preferred.kex[0], kex::CURVE25519);
        assert_eq!(preferred.kex.len(), 1 + EXTENSIONS.len());
        assert_eq!(
            preferred.key.iter().map(|name| name.to_string()).collect::<Vec<_>>(),
            text(&["ssh-ed25519", "rsa-sha2-256"]),
            "SHA-1 is never offered"
        );
        assert_eq!(preferred.mac.len(), 1);
        for answer in ["ciphers 3des-cbc\n", "macs hmac-sha1\n", "hostkeyalgorithms ssh-rsa\n", "kexalgorithms x\n"] {
            assert!(names(answer, &Holdings::default()).unwrap_err().advice().is_some());
        }
    }

    #[test]
    fn what_is_held_comes_first_and_certificates_only_with_an_authority() {
        let holds = Holdings { types: vec![Algorithm::Rsa { hash: None }], authority: false };
        let preferred = names("", &holds).unwrap();
        assert_eq!(preferred.key[0].to_string(), "rsa-sha2-512");
        assert!(preferred.host_key_certificates.is_empty());
        let preferred = names("", &Holdings { authority: true, ..holds }).unwrap();
        assert_eq!(preferred.host_key_certificates.len(), 6);
    }
}
