//! CONNECT and TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use abi_stable::std_types::{ROption, RVec};
use gatemq_types::{Anchor, Connect, Der, Protocol, QoS, Secret, Tls, Transport, Will};

use super::super::v1_0::{AddressRecord, AnchorRecord, ConnectRecord, TlsRecord, WillRecord};
use super::{pairs_from, pairs_to, text_from, text_to};

pub(super) fn address_to(address: SocketAddr) -> AddressRecord {
    let mut ip = [0; 16];
    match address.ip() {
        IpAddr::V4(v4) => ip[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => ip = v6.octets(),
    }
    AddressRecord { v6: address.is_ipv6(), ip, port: address.port() }
}

pub(super) fn address_from(a: &AddressRecord) -> SocketAddr {
    let ip = match a.v6 {
        true => IpAddr::V6(Ipv6Addr::from(a.ip)),
        false => IpAddr::V4(Ipv4Addr::new(a.ip[0], a.ip[1], a.ip[2], a.ip[3])),
    };
    SocketAddr::new(ip, a.port)
}

fn tls_to(tls: &Tls) -> TlsRecord {
    TlsRecord {
        version: tls.version,
        cipher: tls.cipher.as_str().into(),
        server_name: text_to(&tls.server_name),
        alpn: text_to(&tls.alpn),
        resumed: tls.resumed,
        chain: tls.chain.iter().map(|der| RVec::from(der.as_bytes().to_vec())).collect(),
        verified: tls.verified,
        path: tls.path.clone().into(),
        anchor: tls
            .anchor
            .as_ref()
            .map(|a| AnchorRecord { subject: a.subject.as_str().into(), spki_sha256: a.spki_sha256 })
            .into(),
        leaf_sha256: tls.leaf_sha256.into(),
        attributes: RVec::new(),
    }
}

fn tls_from(tls: &TlsRecord) -> Tls {
    Tls {
        version: tls.version,
        cipher: tls.cipher.to_string(),
        server_name: text_from(&tls.server_name),
        alpn: text_from(&tls.alpn),
        resumed: tls.resumed,
        chain: tls.chain.iter().map(|der| Der::new(der)).collect(),
        verified: tls.verified,
        path: tls.path.to_vec(),
        anchor: tls
            .anchor
            .as_ref()
            .into_option()
            .map(|a| Anchor { subject: a.subject.to_string(), spki_sha256: a.spki_sha256 }),
        leaf_sha256: tls.leaf_sha256.into_option(),
    }
}

fn will_to(will: &Will) -> WillRecord {
    WillRecord {
        topic: will.topic.as_str().into(),
        qos: will.qos.bits(),
        retain: will.retain,
        payload_bytes: will.payload_bytes,
        delay_s: will.delay_s,
        user_properties: pairs_to(&will.user_properties),
    }
}

fn will_from(will: &WillRecord) -> Will {
    Will {
        topic: will.topic.to_string(),
        qos: QoS::from_bits(will.qos).unwrap_or_default(),
        retain: will.retain,
        payload_bytes: will.payload_bytes,
        delay_s: will.delay_s,
        user_properties: pairs_from(&will.user_properties),
    }
}

fn secret_to(secret: &Option<Secret>) -> ROption<RVec<u8>> {
    secret.as_ref().map(|s| RVec::from(s.as_bytes().to_vec())).into()
}

fn secret_from(secret: &ROption<RVec<u8>>) -> Option<Secret> {
    secret.as_ref().into_option().map(|s| Secret::new(s.to_vec()))
}

/// For the plugin. Whoever makes one with secrets wipes it: [`wipe`].
pub fn connect_to(c: &Connect) -> ConnectRecord {
    ConnectRecord {
        connection: c.connection,
        listener: c.listener.as_str().into(),
        transport: c.transport as u32,
        local: address_to(c.local),
        remote: address_to(c.remote),
        proxied_by: c.proxied_by.map(address_to).into(),
        tls: c.tls.as_ref().map(tls_to).into(),
        protocol: c.protocol.level(),
        client_id: c.client_id.as_str().into(),
        client_id_assigned: c.client_id_assigned,
        user_name: text_to(&c.user_name),
        password: secret_to(&c.password),
        clean_start: c.clean_start,
        keep_alive_s: c.keep_alive_s,
        session_expiry_s: c.session_expiry_s,
        receive_max: c.receive_max,
        packet_bytes_max: c.packet_bytes_max,
        user_properties: pairs_to(&c.user_properties),
        auth_method: text_to(&c.auth_method),
        auth_data: secret_to(&c.auth_data),
        will: c.will.as_ref().map(will_to).into(),
        failures: c.failures,
        deadline_ms: c.deadline_ms,
        attributes: RVec::new(),
    }
}

/// The plugin's own copy.
pub fn connect_from(c: &ConnectRecord) -> Connect {
    Connect {
        connection: c.connection,
        listener: c.listener.to_string(),
        transport: match c.transport {
            2 => Transport::Tls,
            3 => Transport::WebSocket,
            4 => Transport::SecureWebSocket,
            _ => Transport::Tcp,
        },
        local: address_from(&c.local),
        remote: address_from(&c.remote),
        proxied_by: c.proxied_by.as_ref().into_option().map(address_from),
        tls: c.tls.as_ref().into_option().map(tls_from),
        protocol: Protocol::from_level(c.protocol).unwrap_or(Protocol::V5),
        client_id: c.client_id.to_string(),
        client_id_assigned: c.client_id_assigned,
        user_name: text_from(&c.user_name),
        password: secret_from(&c.password),
        clean_start: c.clean_start,
        keep_alive_s: c.keep_alive_s,
        session_expiry_s: c.session_expiry_s,
        receive_max: c.receive_max,
        packet_bytes_max: c.packet_bytes_max,
        user_properties: pairs_from(&c.user_properties),
        auth_method: text_from(&c.auth_method),
        auth_data: secret_from(&c.auth_data),
        will: c.will.as_ref().into_option().map(will_from),
        failures: c.failures,
        deadline_ms: c.deadline_ms,
    }
}

/// A copy without password and authentication data, for as long as a session lasts.
pub fn without_secrets(mut c: ConnectRecord) -> ConnectRecord {
    wipe(&mut c);
    c
}

/// Overwrites and removes password and authentication data.
pub fn wipe(c: &mut ConnectRecord) {
    for secret in [&mut c.password, &mut c.auth_data] {
        if let ROption::RSome(bytes) = std::mem::replace(secret, ROption::RNone) {
            drop(Secret::new(bytes.into_vec()));
        }
    }
}
