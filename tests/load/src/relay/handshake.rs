//! rustls in memory: what a handshake costs the server, without sockets.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use serde_json::json;

use super::{Handshake, KeyExchange, Resume, tls};
use crate::net::{load_certs, load_key, provider, trust_all};

/// Handshakes for `h.secs`, then prints one JSON line.
pub(super) fn run(h: &Handshake) -> io::Result<()> {
    let provider = Arc::new(with_key_exchange(h.kx));
    let (server, client) = (server(h, provider.clone())?, client(h, provider)?);
    let (mut n, mut resumed, mut spent) = (0u64, 0u64, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < h.secs {
        let (time, kind) = once(&server, &client)?;
        spent += time;
        n += 1;
        resumed += (kind == Some(HandshakeKind::Resumed)) as u64;
    }
    let us = spent.as_secs_f64() / n.max(1) as f64 * 1e6;
    println!(
        "{}",
        json!({"scenario": "handshake", "crypto": "aws-lc-rs", "cert": h.cert, "mtls": h.client_cert.is_some(),
            "tls12": h.tls12, "kx": format!("{:?}", h.kx).to_lowercase(),
            "resume": format!("{:?}", h.resume).to_lowercase(), "resumed": resumed, "handshakes": n,
            "server_us": (us * 100.0).round() / 100.0, "server_per_core_s": (1e6 / us).round()})
    );
    Ok(())
}

fn with_key_exchange(kx: KeyExchange) -> CryptoProvider {
    let mut p = (*provider()).clone();
    match kx {
        KeyExchange::Mlkem => p.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768],
        KeyExchange::P256 => p.kx_groups.retain(|g| g.name() == NamedGroup::secp256r1),
        KeyExchange::X25519 => p.kx_groups.retain(|g| g.name() == NamedGroup::X25519),
    }
    p
}

fn version(h: &Handshake) -> &'static SupportedProtocolVersion {
    if h.tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 }
}

fn server(h: &Handshake, provider: Arc<CryptoProvider>) -> io::Result<Arc<ServerConfig>> {
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version(h)])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(tls::client_verifier(h.ca.as_deref())?)
        .with_single_cert(load_certs(&h.cert)?, load_key(&h.key)?)
        .map_err(io::Error::other)?;
    match h.resume {
        Resume::None => {
            server.send_tls13_tickets = 0;
            server.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Resume::Stateful => server.session_storage = ServerSessionMemoryCache::new(4096),
        Resume::Ticket => server.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?,
    }
    Ok(Arc::new(server))
}

fn client(h: &Handshake, provider: Arc<CryptoProvider>) -> io::Result<Arc<ClientConfig>> {
    let b = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version(h)])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(trust_all());
    let mut client = match h.client_cert.as_deref().zip(h.client_key.as_deref()) {
        Some((c, k)) => b.with_client_auth_cert(load_certs(c)?, load_key(k)?).map_err(io::Error::other)?,
        None => b.with_no_client_auth(),
    };
    if h.resume == Resume::None {
        client.resumption = Resumption::disabled();
    }
    Ok(Arc::new(client))
}

/// One handshake: the server's time, and whether it was resumed.
fn once(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> io::Result<(Duration, Option<HandshakeKind>)> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut c = ClientConnection::new(client.clone(), name).map_err(io::Error::other)?;
    let t = Instant::now();
    let mut s = ServerConnection::new(server.clone()).map_err(io::Error::other)?;
    let mut spent = t.elapsed();
    let (mut there, mut back) = (Vec::new(), Vec::new());
    loop {
        there.clear();
        back.clear();
        while c.wants_write() {
            c.write_tls(&mut there)?;
        }
        let t = Instant::now();
        let mut r = &there[..];
        while !r.is_empty() {
            s.read_tls(&mut r)?;
            s.process_new_packets().map_err(io::Error::other)?;
        }
        while s.wants_write() {
            s.write_tls(&mut back)?;
        }
        spent += t.elapsed();
        let mut r = &back[..];
        while !r.is_empty() {
            c.read_tls(&mut r)?;
            c.process_new_packets().map_err(io::Error::other)?;
        }
        if there.is_empty() && back.is_empty() {
            break;
        }
    }
    if s.is_handshaking() || c.is_handshaking() {
        return Err(io::Error::other("the handshake came to a halt"));
    }
    Ok((spent, s.handshake_kind()))
}
