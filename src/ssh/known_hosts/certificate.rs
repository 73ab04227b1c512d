//! Host certificates: what must hold before one stands for a host.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

/// Why a certificate does not stand for a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// No `@cert-authority` line for the host holds the key that signed it.
    #[error("no @cert-authority line for this host holds the key that signed it ({fingerprint})")]
    UnknownAuthority {
        /// The signer's fingerprint, `SHA256:...`.
        fingerprint: String,
    },
    /// The signature does not hold.
    #[error("its signature does not hold")]
    Signature,
    /// It is signed with SHA-1 or DSA.
    #[error("it is signed with {0}, which is not accepted")]
    WeakSignature(String),
    /// It is a user's certificate.
    #[error("it is not a host certificate")]
    NotHost,
    /// Its time has not begun.
    #[error("it is not yet valid")]
    NotYetValid,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It names no host at all.
    #[error("it names no host")]
    NoPrincipals,
    /// It is for other hosts.
    #[error("it is for other hosts ({})", .0.join(", "))]
    OtherHost(Vec<String>),
    /// It holds a critical option; none is defined for hosts.
    #[error("it holds the unknown critical option `{0}`")]
    CriticalOption(String),
}

/// Checks everything about `certificate` but who signed it: that it is a host's, for `host` (lower case, without a
/// port), valid at `now` (seconds since 1970), without critical options, and properly signed.
///
/// Accepted is what every OpenSSH accepts: versions differ on a certificate without principals (9.2 takes it for any
/// host, newer ones refuse) and on wildcards in principals (newer ones take them), so neither is taken here.
///
/// # Errors
/// The first thing that does not hold.
pub fn check(certificate: &Certificate, host: &str, now: u64) -> Result<(), BadCertificate> {
    if certificate.cert_type() != CertType::Host {
        return Err(BadCertificate::NotHost);
    }
    if now < certificate.valid_after() {
        return Err(BadCertificate::NotYetValid);
    }
    if now >= certificate.valid_before() {
        return Err(BadCertificate::Expired);
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(BadCertificate::NoPrincipals);
    }
    if !principals.iter().any(|principal| principal == host) {
        return Err(BadCertificate::OtherHost(principals.to_vec()));
    }
    if let Some(option) = certificate.critical_options().keys().next() {
        return Err(BadCertificate::CriticalOption(option.clone()));
    }
    let algorithm = certificate.signature().algorithm();
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(BadCertificate::WeakSignature(algorithm.to_string()));
    }
    let fingerprint = certificate.signature_key().fingerprint(HashAlg::Sha256);
    // The fingerprint is its own: who may sign is asked elsewhere, this checks time once more and the signature.
    certificate.validate_at(now, [&fingerprint]).map_err(|_| BadCertificate::Signature)
}
