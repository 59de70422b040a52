//! What rustls asks about one connection's client certificate.

use std::sync::Arc;

use gatemq_types::Der;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::error::VerifyError;
use super::trust::{self, Trust, Verified};

/// Verifies the peer of one connection and keeps what it learns. Never share one between connections.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    trust: Arc<Trust>,
    required: bool,
    record: Mutex<Record>,
}

/// What became known of the peer in a full handshake. Nothing in a resumed one: rustls asks no verifier then.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Every certificate that the peer sent, leaf first, byte for byte.
    pub(crate) chain: Vec<Der>,
    /// Path and anchor, or why there is none; `None` as long as the peer sent no certificate.
    pub(crate) verified: Option<Result<Verified, VerifyError>>,
    /// Whether CertificateVerify proved that the peer holds the leaf's key.
    pub(crate) proven: bool,
}

impl PeerVerifier {
    /// `required`: a peer without a certificate is refused.
    pub(crate) fn new(trust: Arc<Trust>, required: bool) -> Self {
        PeerVerifier { trust, required, record: Mutex::default() }
    }

    /// Takes what was learnt.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut self.record.lock())
    }

    fn prove(
        &self,
        result: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.record.lock().proven = result.is_ok();
        result
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let mut record = self.record.lock();
        let verified = trust::check_size(end_entity, intermediates).and_then(|()| {
            // Kept before it is verified: a refused chain is reported too.
            record.chain = std::iter::once(end_entity).chain(intermediates).map(|c| Der::new(c)).collect();
            self.trust.verify_checked(end_entity, intermediates, now)
        });
        let answer = match &verified {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(e) => Err(e.to_rustls()),
        };
        record.verified = Some(verified);
        answer
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.prove(verify_tls12_signature(message, cert, dss, self.trust.algorithms()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.prove(verify_tls13_signature(message, cert, dss, self.trust.algorithms()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms().supported_schemes()
    }
}
