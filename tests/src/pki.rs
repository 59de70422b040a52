//! Authorities, chains and keys, right ones and wrong ones.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Root, intermediate 1 under it, intermediate 2 under that. Clients are signed by intermediate 2, servers by
/// intermediate 1.
pub struct Pki {
    organization: String,
    root: Issuer,
    intermediate_1: Issuer,
    intermediate_2: Issuer,
}

/// Certificates to show, the own one first, and a key.
pub struct Credentials {
    /// DER, in the order in which they are sent.
    pub chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// Where [`Credentials::write`] put them.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM, readable by its owner only.
    pub key: PathBuf,
}

impl Pki {
    /// A new PKI; subjects are `CN=…, O=organization`.
    pub fn new(organization: &str) -> Pki {
        let ca = |name: &str| {
            let mut params = parameters(organization, &format!("{organization} {name}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let root = Issuer::self_signed(ca("Root"), new_key()).unwrap();
        let intermediate_1 = Issuer::signed_by(ca("Intermediate 1"), new_key(), &root).unwrap();
        let intermediate_2 = Issuer::signed_by(ca("Intermediate 2"), new_key(), &intermediate_1).unwrap();
        Pki { organization: organization.into(), root, intermediate_1, intermediate_2 }
    }

    /// The trust anchor.
    pub fn root(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// The trust anchor's SubjectPublicKeyInfo, DER.
    pub fn root_key_info(&self) -> Vec<u8> {
        self.root.key().subject_public_key_info()
    }

    /// The trust anchor, PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A server for `localhost` and `127.0.0.1`; two certificates are sent.
    pub fn server(&self) -> Credentials {
        self.server_for(&["localhost", "127.0.0.1"])
    }

    /// A server for these names.
    pub fn server_for(&self, names: &[&str]) -> Credentials {
        self.server_with(names, |_| {})
    }

    /// A server for these names whose certificate is as `change` makes it.
    pub fn server_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Credentials {
        let mut params = parameters(&self.organization, names[0]);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = new_key();
        let leaf = params.signed_by(&key, &self.intermediate_1).unwrap();
        Credentials { chain: vec![leaf.der().clone(), self.intermediate_1.der().clone()], key }
    }

    /// A client with this common name. Three certificates are sent: its own, intermediate 2, intermediate 1.
    pub fn client(&self, name: &str) -> Credentials {
        self.client_with(name, |_| {})
    }

    /// A client whose certificate ended in 2001.
    pub fn expired_client(&self, name: &str) -> Credentials {
        self.client_with(name, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// A client whose certificate is as `change` makes it.
    pub fn client_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
        let mut params = parameters(&self.organization, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = new_key();
        let leaf = params.signed_by(&key, &self.intermediate_2).unwrap();
        let chain = vec![leaf.der().clone(), self.intermediate_2.der().clone(), self.intermediate_1.der().clone()];
        Credentials { chain, key }
    }

    /// Lists of all three authorities, PEM, of which intermediate 2's names the own certificates of `revoked`. They are of now for an
    /// hour, or, if not `of_now`, were an hour ago.
    pub fn lists(&self, revoked: &[&Credentials], of_now: bool) -> String {
        [&self.root, &self.intermediate_1].map(|issuer| list(issuer, &[], of_now)).concat()
            + &list(&self.intermediate_2, revoked, of_now)
    }

    /// As [`Pki::lists`] of now, without that of intermediate 1.
    pub fn lists_with_a_gap(&self) -> String {
        list(&self.root, &[], true) + &list(&self.intermediate_2, &[], true)
    }

    /// As [`Pki::lists`] of now, of which the root's names intermediate 1.
    pub fn lists_of_a_revoked_authority(&self) -> String {
        let authority = Credentials { chain: vec![self.intermediate_1.der().clone()], key: new_key() };
        list(&self.root, &[&authority], true)
            + &list(&self.intermediate_1, &[], true)
            + &list(&self.intermediate_2, &[], true)
    }

    /// Writes the root into `dir` and gives its path.
    pub fn write_root(&self, dir: &Path) -> PathBuf {
        let file = dir.join(format!("{}-root.crt", self.organization.to_lowercase()));
        fs::write(&file, self.root_pem()).unwrap();
        file
    }
}

impl Credentials {
    /// Out of PEM files: the chain, and its key.
    pub fn read(certificate: &Path, key: &Path) -> Credentials {
        let text = |file: &Path| fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Credentials { chain: from_pem(&text(certificate)), key: KeyPair::from_pem(&text(key)).unwrap() }
    }

    /// The same certificates with another key: somebody who has seen them.
    pub fn stolen(&self) -> Credentials {
        Credentials { chain: self.chain.clone(), key: new_key() }
    }

    /// The key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// The key's SubjectPublicKeyInfo, DER.
    pub fn key_info(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// Writes all but the own certificate into `dir`, as `name-intermediates.crt`, for programs that want them apart.
    pub fn write_intermediates(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}-intermediates.crt")), to_pem(&self.chain[1..])).unwrap();
    }

    /// Writes `name.crt` and `name.key` into `dir`.
    pub fn write(&self, dir: &Path, name: &str) -> Files {
        let files = Files { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) };
        fs::write(&files.certificate, to_pem(&self.chain)).unwrap();
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&files.key).unwrap();
        std::io::Write::write_all(&mut file, self.key.serialize_pem().as_bytes()).unwrap();
        files
    }
}

/// Certificates out of PEM text, in its order.
///
/// # Panics
/// On text that is not PEM.
pub fn from_pem(text: &str) -> Vec<CertificateDer<'static>> {
    let blocks = pem::parse_many(text).expect("PEM");
    blocks.into_iter().map(|block| block.into_contents().into()).collect()
}

fn list(issuer: &Issuer, revoked: &[&Credentials], of_now: bool) -> String {
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    let (this_update, next_update) = if of_now { (now - hour, now + hour) } else { (now - 2 * hour, now - hour) };
    let revoked_certs = revoked.iter().map(|of| RevokedCertParams {
        serial_number: serial_number(&of.chain[0]),
        revocation_time: this_update.into(),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: this_update.into(),
        next_update: next_update.into(),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

/// Where DER has it: in the first sequence of the sequence, behind the version.
fn serial_number(certificate: &CertificateDer<'_>) -> SerialNumber {
    let value = |bytes: &[u8]| -> (usize, usize) {
        match bytes[1] {
            short @ ..0x80 => (2, short.into()),
            long => {
                let bytes_of_len = usize::from(long & 0x7f);
                let len = bytes[2..2 + bytes_of_len].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
                (2 + bytes_of_len, len)
            }
        }
    };
    let certificate = &certificate[value(certificate).0..];
    let tbs = &certificate[value(certificate).0..];
    let (head, len) = value(tbs);
    let number = &tbs[head + len..];
    let (head, len) = value(number);
    assert_eq!((tbs[0], number[0]), (0xa0, 0x02), "a version, then a number");
    SerialNumber::from_slice(&number[head..head + len])
}

fn to_pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()))).collect()
}

fn parameters(organization: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.use_authority_key_identifier_extension = true;
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().unwrap()
}
