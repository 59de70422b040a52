//! Peers that are not what they should be: TLS by hand, and any Hello.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tarpc::client;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::kit::Kit;
use crate::core::{Boot, Hello};
use crate::net::TlsFiles;
use crate::net::link::deadline;
use crate::net::rpc::codec::ClientCodec;
use crate::net::rpc::service::{HelloReply, NodeClient, Purpose};

/// Takes any server.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("only TLS 1.3 is offered")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS connection that shows the certificate of `files`, or none.
pub(super) async fn connect(address: SocketAddr, files: Option<&TlsFiles>) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let config = match files {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = CertificateDer::pem_file_iter(&files.certificate_file).unwrap();
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_file(&files.private_key_file).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("x.invalid").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A client of the RPC over such a connection.
pub(super) async fn client(address: SocketAddr, files: Option<&TlsFiles>) -> io::Result<NodeClient> {
    let stream = connect(address, files).await?;
    let (codec, limit) = ClientCodec::new();
    limit.raise();
    let client::NewClient { client, dispatch } = NodeClient::new(client::Config::default(), Framed::new(stream, codec));
    tokio::spawn(dispatch);
    Ok(client)
}

/// Says `hello`; `None`: there was no answer but the end of the connection.
pub(super) async fn hello(address: SocketAddr, files: Option<&TlsFiles>, hello: Hello) -> Option<HelloReply> {
    let client = client(address, files).await.ok()?;
    client.hello(deadline(Duration::from_secs(5)), hello, Purpose::Control).await.ok()
}

impl Kit {
    /// What a node of this cluster would say.
    pub(super) fn hello(&self, node: &str) -> Hello {
        let mut settings = self.settings(node, &[]);
        settings.boot = Boot(1_000_000);
        settings.hello()
    }

    /// Files of `node` with a certificate that was changed before it was signed.
    pub(super) fn odd_files(&self, node: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        let files = self.files(self.environment.as_str(), self.cluster.as_str(), node);
        let ca_key = KeyPair::from_pem(&read(&self.dir.path().join("ca.key"))).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read(&files.ca_file), ca_key).unwrap();
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://{}/gatemq/{}/{node}", self.environment, self.cluster);
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(rcgen::SerialNumber::from(vec![1, 2, 3]));
        change(&mut params);
        let key = KeyPair::from_pem(&read(&files.private_key_file)).unwrap();
        std::fs::write(&files.certificate_file, params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        files
    }

    /// A list that revokes the certificates of [`odd_files`](Self::odd_files).
    pub(super) fn revoked(&self) -> std::path::PathBuf {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
        let now = std::time::SystemTime::now();
        let list = rcgen::CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(86_400)).into(),
            crl_number: rcgen::SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from(vec![1, 2, 3]),
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        self.write("crl.pem", &list.signed_by(&issuer).unwrap().pem().unwrap())
    }
}
