//! Real certificate chains, made for a test, and what a listener would tell a plugin of them.

use gatemq_types::{Anchor, Connect, Der, Tls, Transport};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

pub use rcgen;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A certification authority: a root, and an intermediate that signs clients.
pub struct Authority {
    organization: String,
    root: Issuer,
    intermediate: Issuer,
}

/// A client's certificates, as a listener got them.
#[derive(Clone, Debug)]
pub struct Chain {
    /// DER, leaf first, without the root.
    pub certificates: Vec<Der>,
    anchor: Anchor,
}

impl Authority {
    /// A new one, with keys of its own; subjects are `CN=…, O=organization`.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn new(organization: &str) -> Authority {
        let authority = |name: &str| {
            let mut params = parameters(organization, &format!("{organization} {name}"));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let root = sound(Issuer::self_signed(authority("Root"), new_key()));
        let intermediate = sound(Issuer::signed_by(authority("Intermediate"), new_key(), &root));
        Authority { organization: organization.into(), root, intermediate }
    }

    /// The root, PEM: what a plugin's configuration names as a trust anchor.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The root's subject and key, as [`Tls::anchor`] has them.
    pub fn anchor(&self) -> Anchor {
        let subject = format!("CN={0} Root, O={0}", self.organization);
        Anchor { subject, spki_sha256: Sha256::digest(self.root.key().subject_public_key_info()).into() }
    }

    /// A client of this common name.
    pub fn client(&self, common_name: &str) -> Chain {
        self.client_with(common_name, |_| {})
    }

    /// A client whose certificate is as `change` makes it: other names, another validity.
    ///
    /// # Panics
    /// When that cannot be a certificate.
    pub fn client_with(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Chain {
        let mut params = parameters(&self.organization, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let leaf = sound(params.signed_by(&new_key(), &self.intermediate));
        let certificates = vec![Der::new(leaf.der()), Der::new(self.intermediate.der())];
        Chain { certificates, anchor: self.anchor() }
    }
}

impl Chain {
    /// Shown in a handshake of TLS 1.3, whose listener trusts the authority: verified, with path and anchor.
    pub fn tls(&self) -> Tls {
        Tls {
            verified: true,
            path: (0..).zip(&self.certificates).map(|(n, _)| n).collect(),
            anchor: Some(self.anchor.clone()),
            ..self.unverified()
        }
    }

    /// Shown to a listener that could not verify it (`client_certificate = "optional"`): only what somebody sent.
    pub fn unverified(&self) -> Tls {
        Tls {
            version: 0x0304,
            cipher: "TLS13_AES_128_GCM_SHA256".into(),
            server_name: Some("broker.example".into()),
            alpn: None,
            resumed: false,
            leaf_sha256: self.certificates.first().map(|leaf| Sha256::digest(leaf.as_bytes()).into()),
            chain: self.certificates.clone(),
            verified: false,
            path: Vec::new(),
            anchor: None,
        }
    }

    /// The client, over TLS with this chain.
    pub fn shown_by(&self, connect: Connect) -> Connect {
        Connect { transport: Transport::Tls, listener: "tls".into(), tls: Some(self.tls()), ..connect }
    }
}

fn parameters(organization: &str, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.use_authority_key_identifier_extension = true;
    params
}

fn new_key() -> KeyPair {
    sound(KeyPair::generate())
}

fn sound<T>(made: Result<T, rcgen::Error>) -> T {
    made.unwrap_or_else(|e| panic!("a certificate cannot be made: {e}"))
}
