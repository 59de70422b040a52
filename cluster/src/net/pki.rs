//! A certificate authority for a cluster, and certificates for its nodes, for those who have none.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{TlsFiles, platform};
use crate::core::{Name, SpiffeId};

/// Days that an authority is valid.
pub const CA_DAYS: u32 = 3650;
/// Days that a node's certificate can be valid.
pub const NODE_DAYS_MAX: u32 = 1825;
/// Certificates are valid from this long before they are made, for clocks that are behind.
const BEFORE: Duration = Duration::from_secs(3600);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Days out of bounds.
    #[error("a node's certificate is valid for 1 to {NODE_DAYS_MAX} days, not {0}")]
    Days(u32),
    /// The authority's files are not one.
    #[error("{}: {problem}", file.display())]
    Authority {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be read or written. None is overwritten.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes an authority: `ca.pem`, which every node gets as `ca_file`, and `ca.key` (mode 0600), which should stay where
/// certificates are made. `directory` is made if it is not there.
///
/// # Errors
/// A file that is there already or cannot be written.
pub fn make_ca(directory: &Path, environment: &Name, cluster: &Name) -> Result<(), PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("GateMQ cluster {cluster} of {environment}"));
    // It signs nodes and no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, CA_DAYS);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    std::fs::create_dir_all(directory).map_err(|error| PkiError::File { file: directory.to_owned(), error })?;
    write(&directory.join("ca.key"), &key.serialize_pem(), 0o600)?;
    write(&directory.join("ca.pem"), &certificate.pem(), 0o644)
}

/// Makes the certificate of `identity`: `NODE.pem` and `NODE.key` (mode 0600) in `out`, signed by the authority in
/// `ca`, valid for `days`. Returns the files as a node wants them.
///
/// # Errors
/// Days out of bounds, no authority, or a file that is there already or cannot be written.
pub fn make_node(ca: &Path, out: &Path, identity: &SpiffeId, days: u32) -> Result<TlsFiles, PkiError> {
    if !(1..=NODE_DAYS_MAX).contains(&days) {
        return Err(PkiError::Days(days));
    }
    let (ca_file, ca_key) = (ca.join("ca.pem"), ca.join("ca.key"));
    let read =
        |file: &Path| std::fs::read_to_string(file).map_err(|error| PkiError::File { file: file.to_owned(), error });
    let wrong = |file: &Path, e: rcgen::Error| PkiError::Authority {
        file: file.to_owned(),
        problem: format!("is not an authority's ({e}); make one with `gatemq pki ca`"),
    };
    let key = KeyPair::from_pem(&read(&ca_key)?).map_err(|e| wrong(&ca_key, e))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&ca_file)?, key).map_err(|e| wrong(&ca_file, e))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, identity.node.as_str());
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(identity.to_string())?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node is both ends of TLS.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, days);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    std::fs::create_dir_all(out).map_err(|error| PkiError::File { file: out.to_owned(), error })?;
    let files = TlsFiles {
        certificate_file: out.join(format!("{}.pem", identity.node)),
        private_key_file: out.join(format!("{}.key", identity.node)),
        ca_file,
        crl_file: None,
    };
    write(&files.private_key_file, &key.serialize_pem(), 0o600)?;
    write(&files.certificate_file, &certificate.pem(), 0o644)?;
    Ok(files)
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + Duration::from_secs(u64::from(days) * 86_400)).into();
}

/// Writes a new file; one that is there is kept.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let written =
        platform::with_mode(&mut options, mode).open(file).and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| PkiError::File { file: file.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are for their owner only, nothing is overwritten, and days have bounds.
    #[cfg(unix)]
    #[test]
    fn keys_are_private_and_files_are_kept() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let name = |text| Name::new(text).unwrap();
        make_ca(dir.path(), &name("prod"), &name("east")).unwrap();
        let identity = SpiffeId { environment: name("prod"), cluster: name("east"), node: name("n1") };
        let out = dir.path().join("n1");
        let files = make_node(dir.path(), &out, &identity, 30).unwrap();
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.private_key_file), 0o600);
        assert_eq!(mode(&dir.path().join("ca.key")), 0o600);
        assert!(matches!(make_ca(dir.path(), &name("prod"), &name("east")), Err(PkiError::File { .. })));
        assert!(matches!(make_node(dir.path(), &out, &identity, 30), Err(PkiError::File { .. })));
        for days in [0, NODE_DAYS_MAX + 1] {
            assert!(matches!(make_node(dir.path(), &out, &identity, days), Err(PkiError::Days(_))));
        }
        std::fs::write(dir.path().join("ca.pem"), "nothing").unwrap();
        let error = make_node(dir.path(), &dir.path().join("n2"), &identity, 30).unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains("gatemq pki ca"), "{error}");
    }
}
