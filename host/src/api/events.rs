//! Events as they happen, as server-sent events, and who caused most of the latest.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::sse::{self, KeepAlive, Sse};
use gatemq_types::Subject;
use gatemq_types::event::{Class, Event, EventKind, Value as Field};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Api;
use super::routes::{Answer, Refusal};
use crate::events::{Reader, Told};

/// How often a connection on which nothing happens is looked at whether somebody is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Rows of offenders, of each sort.
const OFFENDERS_MAX: usize = 20;
const CLASSES: [Class; 4] = [Class::Security, Class::Lifecycle, Class::Traffic, Class::System];

/// Which events; all that is given must hold.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    /// Names of kinds, with commas.
    kind: Option<String>,
    /// Names of classes, with commas; without them and without kinds security and system.
    class: Option<String>,
    tenant: Option<String>,
    user: Option<String>,
    client_id: Option<String>,
    /// So many of those that have happened come first.
    recent: usize,
}

/// As [`Which`], read.
struct Filter {
    kinds: Vec<EventKind>,
    classes: u32,
    names: [Option<String>; 3],
}

impl Which {
    fn filter(self) -> Result<(Filter, usize), Refusal> {
        let list =
            |text: &Option<String>| text.as_ref().map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let kind = |name: String| {
            EventKind::from_name(&name).ok_or_else(|| {
                Refusal::invalid(format!("there is no event {name:?}; the events reference names those that there are"))
            })
        };
        let kinds = list(&self.kind).unwrap_or_default().into_iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        let class = |name: String| {
            CLASSES.iter().find(|class| class.name() == name).map(|class| *class as u32).ok_or_else(|| {
                Refusal::invalid(format!("there is no class {name:?}: security, lifecycle, traffic, system"))
            })
        };
        let classes = list(&self.class)
            .map(|names| names.into_iter().map(class).try_fold(0, |bits, class| Ok::<_, Refusal>(bits | class?)));
        let of_kinds = kinds.iter().fold(0, |bits, kind| bits | kind.class() as u32);
        let usual = Class::Security as u32 | Class::System as u32;
        let classes = classes.transpose()?.unwrap_or(if kinds.is_empty() { usual } else { of_kinds });
        Ok((Filter { kinds, classes, names: [self.tenant, self.user, self.client_id] }, self.recent))
    }
}

impl Filter {
    fn wants(&self, event: &Event) -> bool {
        let kind = event.kind();
        let [tenant, user, client_id] = &self.names;
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| has.is_some_and(|has| has == wanted))
        };
        let peer = event.peer.as_deref();
        self.classes & kind.class() as u32 != 0
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && is(tenant, peer.map(|peer| &*peer.tenant))
            && is(user, peer.map(|peer| &*peer.user))
            && is(client_id, peer.map(|peer| &*peer.client_id))
    }
}

/// Tells events until the other end has enough. A reader that is too slow is told how many it lost.
pub(super) async fn follow(
    State(api): State<Api>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Sse<impl futures_util::Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let Query(which) = which?;
    let (filter, recent) = which.filter()?;
    let mut reader = api.node.events.follow(filter.classes).ok_or_else(|| {
        Refusal::unavailable("as many follow the events as may; end another `gatemq events tail` or console first")
    })?;
    let mut before: Vec<_> =
        std::mem::take(&mut reader.recent).into_iter().filter(|event| filter.wants(event)).collect();
    // The newest is the first, and is told last.
    before.truncate(recent);
    let stream = futures_util::stream::unfold((reader, before, filter), |(mut reader, mut before, filter)| async {
        let told = match before.pop() {
            Some(event) => Told::Event(event),
            None => next(&mut reader, &filter).await?,
        };
        let event = match told {
            Told::Event(event) => sse::Event::default().data(json_of(&event).to_string()),
            Told::Lost(count) => sse::Event::default().event("lost").data(json!({ "lost": count }).to_string()),
        };
        Some((Ok(event), (reader, before, filter)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn next(reader: &mut Reader, filter: &Filter) -> Option<Told> {
    loop {
        match reader.next().await? {
            Told::Event(event) if !filter.wants(&event) => {}
            told => return Some(told),
        }
    }
}

/// As a line of the plugin `events-json`; of chains the number of certificates.
fn json_of(event: &Event) -> Value {
    let kind = event.kind();
    let time = std::time::UNIX_EPOCH + Duration::from_millis(event.time_ms);
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
    put("time", humantime::format_rfc3339_millis(time).to_string().into());
    put("time_ms", event.time_ms.into());
    put("node", (*event.node).into());
    put("sequence", event.sequence.into());
    put("event", kind.name().into());
    put("number", kind.number().into());
    put("class", kind.class().name().into());
    put("blame", event.blame().name().into());
    if let Some(peer) = &event.peer {
        if !peer.is_away() {
            put("listener", (*peer.listener).into());
            put("transport", peer.transport.name().into());
            put("remote", peer.remote.to_string().into());
            if peer.connection != 0 {
                put("connection", peer.connection.into());
            }
        }
        for (name, text) in [("tenant", &peer.tenant), ("user", &peer.user), ("client_id", &peer.client_id)] {
            if !text.is_empty() {
                put(name, (**text).into());
            }
        }
        if let Some(protocol) = peer.protocol {
            put("protocol", protocol.name().into());
        }
        if let Some(hash) = peer.leaf_sha256 {
            put("leaf_sha256", crate::admin::hex(&hash).into());
        }
    }
    let mut fields = Map::new();
    event.fact.fields(&mut |name, value| {
        let value = match value {
            Field::Number(n) => n.into(),
            Field::Flag(flag) => flag.into(),
            Field::Text(text) => text.into(),
            Field::Chain(chain) => chain.len().into(),
        };
        fields.insert(name.to_owned(), value);
    });
    put("fields", fields.into());
    Value::Object(row)
}

/// What the latest events say of one address, user or client.
#[derive(Default)]
struct Offences {
    count: u64,
    last_ms: u64,
    kinds: HashMap<&'static str, u64>,
}

/// Who caused most of the latest events of class security: addresses, users, clients.
pub(super) async fn offenders(State(api): State<Api>) -> Answer {
    let mut by: [HashMap<Key, Offences>; 3] = Default::default();
    for event in api.node.events.recent() {
        let (kind, Some(peer)) = (event.kind(), &event.peer) else { continue };
        if kind.class() != Class::Security || peer.is_away() {
            continue;
        }
        let mut count = 1;
        let mut of = kind.name();
        event.fact.fields(&mut |name, value| match (kind, name, value) {
            (EventKind::EventsCoalesced, "count", Field::Number(n)) => count = n,
            (EventKind::EventsCoalesced, "kind", Field::Text(text)) => {
                of = EventKind::from_name(text).map_or(of, EventKind::name);
            }
            _ => {}
        });
        let (address, bits) = match gatemq_broker::denials::of_address(peer.remote.ip()) {
            Subject::Address { address, bits } => (address.to_string(), bits.to_string()),
            _ => continue,
        };
        let text = |text: &str| text.to_owned();
        let mut keys = vec![(0, vec![address, bits])];
        if !peer.tenant.is_empty() {
            keys.push((1, vec![text(&peer.tenant), text(&peer.user)]));
            keys.push((2, vec![text(&peer.tenant), text(&peer.user), text(&peer.client_id)]));
        }
        for (sort, key) in keys {
            let offences = by[sort].entry(key).or_default();
            offences.count += count;
            offences.last_ms = offences.last_ms.max(event.time_ms);
            *offences.kinds.entry(of).or_default() += count;
        }
    }
    let mut rows = Vec::new();
    for (sort, found) in by.into_iter().enumerate() {
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
        rows.extend(found.into_iter().take(OFFENDERS_MAX).map(|(key, offences)| row(sort, &key, &offences)));
    }
    Ok(Json(json!({ "count": rows.len(), "rows": rows, "next_page": 0 })))
}

/// What tells one from another: address and bits, or names.
type Key = Vec<String>;

/// `subject` as a denial has it, `count`, `last_ms`, `kinds`.
fn row(sort: usize, key: &[String], offences: &Offences) -> Value {
    let subject = match (sort, key) {
        (0, [address, bits]) => json!({"kind": "address", "address": address, "bits": bits.parse::<u8>().ok()}),
        (1, [tenant, user]) => json!({"kind": "user", "tenant": tenant, "user": user}),
        (_, [tenant, user, client_id]) => {
            json!({"kind": "client", "tenant": tenant, "user": user, "client_id": client_id})
        }
        _ => Value::Null,
    };
    json!({ "subject": subject, "count": offences.count, "last_ms": offences.last_ms, "kinds": offences.kinds })
}
