//! Where each metric comes from.

use std::collections::BTreeMap;

use gatemq_broker::{Tenant, TenantLimit, TenantUsage, Traffic};
use gatemq_plugin_loader::{BreakerState, Counts, Health};
use gatemq_types::event::EventKind;

use super::{BUCKETS, Labels, Metric, Value};
use crate::api::{Api, health};
use crate::durations::{Counted, Durations};

/// Tenants that are told one by one: those that came into use first.
const TENANTS_MAX: usize = 200;
/// The others. One of this name is told with them.
const OTHER: &str = "other";

/// Metrics in the making.
#[derive(Default)]
struct Metrics(Vec<Metric>);

impl Metrics {
    fn put(&mut self, name: &'static str, help: &'static str, samples: impl IntoIterator<Item = (Labels, Value)>) {
        self.0.push(Metric { name, help, samples: samples.into_iter().collect() });
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.put(name, help, [(Vec::new(), Value::Gauge(value))]);
    }

    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.put(name, help, [(Vec::new(), Value::Counter(value))]);
    }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// All of them.
pub(super) fn all(api: &Api) -> Vec<Metric> {
    let mut metrics = Metrics::default();
    node(&mut metrics, api);
    tenants(&mut metrics, api);
    listeners(&mut metrics, api);
    plugins(&mut metrics, api);
    collectors(&mut metrics, api);
    store(&mut metrics, api);
    cluster(&mut metrics, api);
    metrics.0
}

fn node(metrics: &mut Metrics, api: &Api) {
    let node = &api.node;
    let about = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("node", node.events.node().to_owned())];
    metrics.put("build_info", "Version and name of the node, always 1", [(about, Value::Gauge(1))]);
    metrics.gauge(
        "ready",
        "1 when the node serves: listeners, required plugins, cluster",
        health::is_ready(api).into(),
    );
    metrics.gauge("connections", "Connections, not admitted ones included", number(node.load()));
    metrics.gauge("sessions", "Sessions", number(node.sessions.len()));
    metrics.gauge("sessions_away", "Sessions whose clients are away", number(node.sessions.detached()));
    metrics.gauge("denials", "Denials in force", number(node.denials.set.len()));
    let counts: BTreeMap<u32, u64> = node.events.counts().map(|(kind, n)| (kind.number(), n)).collect();
    // Those too that have not happened: a rate needs where it began.
    let events = EventKind::ALL.iter().map(|kind| {
        let labels = vec![("kind", kind.name().to_owned()), ("class", kind.class().name().to_owned())];
        (labels, Value::Counter(counts.get(&kind.number()).copied().unwrap_or(0)))
    });
    let routing = "How long a message took to be routed to its receivers; of each worker ten a second are measured";
    metrics.put("routing_seconds", routing, [(Vec::new(), of(&node.timings.routing))]);
    metrics.put("events", "Events by kind, those included that were counted and not told", events);
}

/// What a tenant, or several, have and had.
#[derive(Default, Clone, Copy)]
struct Sum {
    usage: TenantUsage,
    traffic: Traffic,
    reached: [u64; TenantLimit::ALL.len()],
}

impl Sum {
    fn add(&mut self, tenant: &Tenant) {
        let (usage, traffic) = (tenant.usage(), tenant.traffic());
        let (u, t) = (&mut self.usage, &mut self.traffic);
        u.connections += usage.connections;
        u.sessions += usage.sessions;
        u.subscriptions += usage.subscriptions;
        u.queue_bytes += usage.queue_bytes;
        u.retained_messages += usage.retained_messages;
        u.retained_bytes += usage.retained_bytes;
        t.packets_received += traffic.packets_received;
        t.messages_received += traffic.messages_received;
        t.messages_sent += traffic.messages_sent;
        t.messages_dropped += traffic.messages_dropped;
        t.bytes_received += traffic.bytes_received;
        t.bytes_sent += traffic.bytes_sent;
        for (sum, limit) in self.reached.iter_mut().zip(TenantLimit::ALL) {
            *sum += tenant.times_reached(limit);
        }
    }
}

fn tenants(metrics: &mut Metrics, api: &Api) {
    let mut all = api.node.tenants.filter(|_| true);
    all.sort_by_key(|tenant| tenant.id());
    let (mut sums, mut other) = (Vec::new(), None);
    for tenant in &all {
        if sums.len() < TENANTS_MAX && tenant.name() != OTHER {
            let mut sum = Sum::default();
            sum.add(tenant);
            sums.push((tenant.name().to_owned(), sum));
        } else {
            other.get_or_insert_with(Sum::default).add(tenant);
        }
    }
    sums.extend(other.map(|sum| (OTHER.to_owned(), sum)));
    let mut each = |name, help, value: fn(&Sum) -> Value| {
        metrics.put(name, help, sums.iter().map(|(name, sum)| (vec![("tenant", name.clone())], value(sum))));
    };
    each("tenant_connections", "Connections of a tenant", |s| Value::Gauge(s.usage.connections));
    each("tenant_sessions", "Sessions of a tenant", |s| Value::Gauge(s.usage.sessions));
    each("tenant_subscriptions", "Subscriptions of a tenant", |s| Value::Gauge(s.usage.subscriptions));
    each("tenant_queue_bytes", "Bytes that wait for a tenant's clients", |s| Value::Gauge(s.usage.queue_bytes));
    each("tenant_retained_messages", "Retained messages of a tenant", |s| Value::Gauge(s.usage.retained_messages));
    each("tenant_retained_bytes", "Bytes of retained messages of a tenant", |s| Value::Gauge(s.usage.retained_bytes));
    each("tenant_packets_received", "Packets of a tenant's clients", |s| Value::Counter(s.traffic.packets_received));
    each("tenant_messages_received", "Messages that a tenant's clients published", |s| {
        Value::Counter(s.traffic.messages_received)
    });
    each("tenant_messages_sent", "Messages given to a tenant's sessions", |s| Value::Counter(s.traffic.messages_sent));
    each("tenant_messages_dropped", "Messages that a tenant's sessions did not get", |s| {
        Value::Counter(s.traffic.messages_dropped)
    });
    each("tenant_received_bytes", "Bytes of MQTT from a tenant's clients", |s| {
        Value::Counter(s.traffic.bytes_received)
    });
    each("tenant_sent_bytes", "Bytes of MQTT to a tenant's clients", |s| Value::Counter(s.traffic.bytes_sent));
    let reached = sums.iter().flat_map(|(name, sum)| {
        sum.reached.iter().zip(TenantLimit::ALL).map(move |(n, limit)| {
            (vec![("tenant", name.clone()), ("limit", limit.name().to_owned())], Value::Counter(*n))
        })
    });
    metrics.put("tenant_limit_reached", "Times that a limit of a tenant was reached", reached);
}

fn listeners(metrics: &mut Metrics, api: &Api) {
    let of = |listener: &crate::listen::Listener| {
        vec![("listener", listener.name.to_string()), ("transport", listener.transport.name().to_owned())]
    };
    let all = api.listeners.all();
    let each = |value: fn(&crate::listen::Listener) -> usize| {
        all.iter().map(move |listener| (of(listener), Value::Gauge(number(value(listener)))))
    };
    metrics.put("listener_connections", "Connections of a listener", each(|listener| listener.connections()));
    metrics.put("listener_connections_max", "Connections that a listener may have", each(|l| l.connections_max()));
}

fn plugins(metrics: &mut Metrics, api: &Api) {
    let status = api.reload.plugins.status();
    let of = |name: &str| vec![("plugin", name.to_owned())];
    let mut each = |name, help, value: fn(&Counts) -> Value| {
        metrics.put(name, help, status.iter().map(|status| (of(&status.name), value(&status.counts))));
    };
    each("plugin_calls", "Calls of a plugin that ended", |c| Value::Counter(c.calls));
    each("plugin_failures", "Calls that failed, those without an answer in time included", |c| {
        Value::Counter(c.failures)
    });
    each("plugin_timeouts", "Calls without an answer in time", |c| Value::Counter(c.timeouts));
    each("plugin_refused", "Calls that were not made: too many under way, or its breaker was open", |c| {
        Value::Counter(c.refused)
    });
    each("plugin_call_seconds", "How long calls took", |c| histogram(&c.latency, c.latency_us_sum));
    let mut each = |name, help, value: fn(&gatemq_plugin_loader::PluginStatus) -> u64| {
        metrics.put(name, help, status.iter().map(|status| (of(&status.name), Value::Gauge(value(status)))));
    };
    each("plugin_in_flight", "Calls under way", |s| number(s.in_flight));
    each("plugin_ready", "1 when it is ready, or ready and degraded", |s| {
        u64::from(!matches!(s.health, Health::NotReady(_)))
    });
    each("plugin_generation", "Which generation of it is in force; 0: none", |s| s.generation.into());
    each("plugin_copies", "Copies of its libraries that are mapped", |s| s.copies.into());
    let breakers = status.iter().flat_map(|status| {
        ["strangers", "admitted"].into_iter().zip(&status.breakers).map(|(lane, breaker)| {
            let labels = vec![("plugin", status.name.clone()), ("lane", lane.to_owned())];
            (labels, Value::Gauge((*breaker != BreakerState::Closed).into()))
        })
    });
    metrics.put("plugin_breaker_open", "1 while its breaker refuses, or tries one call", breakers);
}

/// Bounds are powers of two of a microsecond: that is how they are counted.
fn histogram(counts: &[u64; BUCKETS], us_sum: u64) -> Value {
    let mut buckets = [(0.0, 0); BUCKETS];
    for (power, (bucket, n)) in (0..).zip(buckets.iter_mut().zip(counts)) {
        *bucket = (2_f64.powi(power) / 1e6, *n);
    }
    buckets[BUCKETS - 1].0 = f64::INFINITY;
    Value::Histogram { sum: us_sum as f64 / 1e6, buckets: Box::new(buckets) }
}

fn of(durations: &Durations) -> Value {
    let Counted { buckets, us_sum } = durations.read();
    histogram(&buckets, us_sum)
}

fn collectors(metrics: &mut Metrics, api: &Api) {
    let collectors = api.node.events.collectors();
    let waiting = collectors.iter().flat_map(|collector| {
        ["security", "system", "rest"].into_iter().zip(collector.waiting_by_ring()).map(|(ring, n)| {
            (vec![("plugin", collector.name().to_owned()), ("ring", ring.to_owned())], Value::Gauge(number(n)))
        })
    });
    metrics.put("collector_waiting", "Events that wait for a collector", waiting.collect::<Vec<_>>());
    let lost = collectors.iter().map(|c| (vec![("plugin", c.name().to_owned())], Value::Counter(c.lost())));
    metrics.put("collector_lost", "Events that a full ring of a collector dropped", lost.collect::<Vec<_>>());
}

fn store(metrics: &mut Metrics, api: &Api) {
    let Some(store) = &api.node.store else { return };
    let stats = store.stats();
    metrics.counter("store_commits", "Commits of the store since it was made", stats.commit);
    let commits = "How long changes took to be stored: what acknowledgements wait for";
    metrics.put("store_commit_seconds", commits, [(Vec::new(), of(&api.node.timings.commits))]);
    metrics.gauge("store_sessions", "Sessions in the store", stats.sessions);
    metrics.gauge("store_messages", "Messages that wait in the store", stats.messages);
    metrics.gauge("store_message_bytes", "Bytes of messages that wait in the store", stats.bytes);
    metrics.gauge("store_journal_bytes", "Bytes of journals on disk", stats.journal_bytes);
    metrics.gauge("store_table_bytes", "Bytes of tables on disk", stats.table_bytes);
}

fn cluster(metrics: &mut Metrics, api: &Api) {
    let Some(cluster) = api.node.cluster() else { return };
    let status = cluster.status();
    let rows = status["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let members =
        rows.iter().map(|row| (vec![("member", text(&row["name"]))], Value::Gauge(u64::from(row["state"] == "up"))));
    metrics.put("cluster_member_up", "1 while another node is a member and answers", members);
    let dropped = rows
        .iter()
        .map(|row| (vec![("member", text(&row["name"]))], Value::Counter(row["dropped"].as_u64().unwrap_or(0))));
    metrics.put("cluster_forwards_dropped", "Messages at QoS 0 for another node that were dropped", dropped);
    let calls = cluster.with_calls(|name, calls| (vec![("member", name.to_owned())], of(calls)));
    metrics.put("cluster_delivery_seconds", "How long a member took to answer a batch of messages", calls);
    let refused = status["not_acknowledged"].as_u64().unwrap_or(0);
    metrics.counter("cluster_forwards_not_acknowledged", "Messages that could not be kept for another node", refused);
    let refusals = status["refusals"].as_array().map_or(&[][..], Vec::as_slice);
    let refusals = refusals.iter().map(|row| {
        let labels = vec![("side", text(&row["side"])), ("code", text(&row["code"]))];
        (labels, Value::Counter(row["count"].as_u64().unwrap_or(0)))
    });
    metrics.put("cluster_refusals", "Nodes that were refused by this one, or refused it", refusals);
    let synced = u64::from(status["ready"] == true);
    metrics.gauge("cluster_synchronised", "1 when the node has what it needs of the others", synced);
}
