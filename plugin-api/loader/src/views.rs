//! Events and actions as borrowed views, built for one call.

use std::fmt::Write;
use std::net::SocketAddr;

use abi_stable::std_types::{RSlice, RStr};
use gatemq_plugin_api::abi::v1_0::{ActionView, EventView, FieldTag, FieldView, Pair};
use gatemq_types::event::{Event, Value};
use gatemq_types::{Action, Der};

/// Builds the views of a batch and hands them to `call`.
pub(crate) fn with_events<R>(events: &[&Event], call: impl FnOnce(RSlice<'_, EventView<'_>>) -> R) -> R {
    // One text with all addresses, and where each ends.
    let (mut remotes, mut remote_ends) = (String::new(), Vec::with_capacity(events.len()));
    for event in events {
        if let Some(peer) = event.peer.as_deref().filter(|p| !p.is_away()) {
            write_address(&mut remotes, peer.remote);
        }
        remote_ends.push(remotes.len());
    }
    // Certificates of all events one after the other, then fields, then events: each level borrows the one before.
    let mut chains: Vec<RSlice<'_, u8>> = Vec::new();
    for event in events {
        event.fact.fields(&mut |_, value| {
            if let Value::Chain(chain) = value {
                chains.extend(chain.iter().map(|der: &Der| RSlice::from_slice(der.as_bytes())));
            }
        });
    }
    let (mut fields, mut ends, mut chain_at) =
        (Vec::with_capacity(events.len() * 4), Vec::with_capacity(events.len()), 0);
    for event in events {
        event.fact.fields(&mut |name, value| fields.push(field(name, value, &chains, &mut chain_at)));
        ends.push(fields.len());
    }
    let mut views = Vec::with_capacity(events.len());
    let (mut from, mut remote_from) = (0, 0);
    for ((event, remote_end), end) in events.iter().zip(remote_ends).zip(ends) {
        views.push(view(event, &remotes[remote_from..remote_end], &fields[from..end]));
        (from, remote_from) = (end, remote_end);
    }
    call(RSlice::from_slice(&views))
}

/// As `SocketAddr` displays itself; what most clients have is written without the formatter, which is slow.
fn write_address(out: &mut String, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        // Writing to a string does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (at, octet) in v4.ip().octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        write_number(out, octet.into());
    }
    out.push(':');
    write_number(out, v4.port());
}

fn write_number(out: &mut String, number: u16) {
    let mut unit = 10_000;
    while unit > 1 && unit > number {
        unit /= 10;
    }
    while unit > 0 {
        out.push(char::from(b'0' + (number / unit % 10) as u8));
        unit /= 10;
    }
}

fn field<'a>(name: &'a str, value: Value<'a>, chains: &'a [RSlice<'a, u8>], chain_at: &mut usize) -> FieldView<'a> {
    let empty = FieldView {
        name: RStr::from_str(name),
        tag: FieldTag::NUMBER,
        number: 0,
        text: RStr::from_str(""),
        chain: RSlice::EMPTY,
    };
    match value {
        Value::Number(number) => FieldView { number, ..empty },
        Value::Flag(flag) => FieldView { tag: FieldTag::FLAG, number: flag.into(), ..empty },
        Value::Text(text) => FieldView { tag: FieldTag::TEXT, text: RStr::from_str(text), ..empty },
        Value::Chain(chain) => {
            let from = *chain_at;
            *chain_at += chain.len();
            FieldView { tag: FieldTag::CHAIN, chain: RSlice::from_slice(&chains[from..*chain_at]), ..empty }
        }
    }
}

fn view<'a>(event: &'a Event, remote: &'a str, fields: &'a [FieldView<'a>]) -> EventView<'a> {
    let kind = event.kind();
    let peer = event.peer.as_deref();
    let text = |s: Option<&'a str>| RStr::from_str(s.unwrap_or(""));
    EventView {
        kind: kind.number(),
        class: kind.class() as u32,
        blame: event.blame() as u32,
        name: RStr::from_str(kind.name()),
        sequence: event.sequence,
        time_ms: event.time_ms,
        node: RStr::from_str(&event.node),
        connection: peer.map_or(0, |p| p.connection),
        listener: text(peer.map(|p| &*p.listener)),
        transport: text(peer.filter(|p| !p.is_away()).map(|p| p.transport.name())),
        remote: RStr::from_str(remote),
        tenant: text(peer.map(|p| &*p.tenant)),
        user: text(peer.map(|p| &*p.user)),
        client_id: text(peer.map(|p| &*p.client_id)),
        protocol: peer.and_then(|p| p.protocol).map_or(0, |p| p.level()),
        leaf_sha256: peer.and_then(|p| p.leaf_sha256.as_ref()).map_or(RSlice::EMPTY, |s| RSlice::from_slice(s)),
        fields: RSlice::from_slice(fields),
        attributes: RSlice::EMPTY,
    }
}

/// The view of an action; `properties` is its user properties as records.
#[inline]
pub(crate) fn action<'a>(action: &'a Action, properties: &'a [Pair]) -> ActionView<'a> {
    ActionView {
        kind: action.kind as u32,
        topic: RStr::from_str(&action.topic),
        share_group: RStr::from_str(action.share_group.as_deref().unwrap_or("")),
        qos: action.qos.bits(),
        retain: action.retain,
        options: action.options,
        payload_bytes: action.payload_bytes,
        user_properties: RSlice::from_slice(properties),
        attributes: RSlice::EMPTY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a collector is told the client's address: as the standard library writes it, digit by digit.
    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let fixed = ["255.0.10.199:65535", "[2001:db8::1]:4711", "[fe80::1%3]:1"].map(parse);
        let all = (0..=u16::MAX).map(|n| SocketAddr::from(([127, 0, (n >> 8) as u8, n as u8], n)));
        for address in all.chain(fixed) {
            let mut text = String::new();
            write_address(&mut text, address);
            assert_eq!(text, address.to_string());
        }
    }
}
