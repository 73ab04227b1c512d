//! Which keys are held for a host, and so which to ask it for.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};

use super::line::{Line, Marker};

/// The signature algorithms of host keys that are accepted, most wanted first, in OpenSSH's order. SHA-1 and DSA are
/// not among them.
pub const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What is held for a host: from this the host-key algorithms to ask for follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The types of the keys held and not revoked, in the order of their lines, each once. RSA is
    /// `Rsa { hash: None }`, whatever hash it signs with.
    pub types: Vec<Algorithm>,
    /// A certificate authority is trusted for the host: ask for certificates first.
    pub authority: bool,
}

impl Holdings {
    /// Of the lines that stand for one host.
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a Line>) -> Holdings {
        let lines: Vec<&Line> = lines.collect();
        let revoked = |line: &&&Line| {
            let same = |other: &&Line| other.marker == Marker::Revoked && other.key.key_data() == line.key.key_data();
            lines.iter().any(same)
        };
        let mut holdings = Holdings::default();
        for line in lines.iter().filter(|line| !revoked(line)) {
            match line.marker {
                Marker::Authority => holdings.authority = true,
                Marker::None if !holdings.types.contains(&line.key.algorithm()) => {
                    holdings.types.push(line.key.algorithm());
                }
                Marker::None | Marker::Revoked => {}
            }
        }
        holdings
    }

    /// [`ALGORITHMS`] with those first of which a key is held: a server that has several keys then shows one that is
    /// known, instead of one that would count as changed.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let held = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => self.types.iter().any(|held| matches!(held, Algorithm::Rsa { .. })),
            algorithm => self.types.contains(algorithm),
        };
        let (mut first, rest): (Vec<Algorithm>, Vec<Algorithm>) = ALGORITHMS.into_iter().partition(held);
        first.extend(rest);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(types: Vec<Algorithm>) -> Vec<String> {
        Holdings { types, authority: false }.algorithms().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn held_types_come_first_in_our_order() {
        let all = [
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "rsa-sha2-512",
            "rsa-sha2-256",
        ];
        assert_eq!(order(vec![]), all);
        assert_eq!(order(vec![Algorithm::Ed25519]), all);
        let rsa = order(vec![Algorithm::Rsa { hash: None }, Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }]);
        assert_eq!(rsa[..3], ["ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"]);
        assert_eq!(rsa.len(), 6);
        // A type that is not accepted here changes nothing.
        assert_eq!(order(vec![Algorithm::Dsa]), all);
    }
}
