//! `/metrics`, in the text format of OpenMetrics, which Prometheus reads.
//!
//! Nothing is counted for it but [durations](crate::durations): what workers, plugins, events and the cluster count anyway is read when it
//! is asked for. Names and labels are bounded: `gather::TENANTS_MAX` tenants are told one by one, and the others together as `other`.

mod gather;

use std::fmt;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Api;
use super::routes::Refusal;
use crate::durations::BUCKETS;

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// What a sample says.
#[derive(Debug)]
enum Value {
    /// Only grows.
    Counter(u64),
    /// As it is now.
    Gauge(u64),
    /// How many took how long: upper bounds in seconds, and those up to each that were above the one before.
    Histogram { sum: f64, buckets: Box<[(f64, u64); BUCKETS]> },
}

/// One name, and all that goes by it.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

/// Everything, as of one moment.
#[derive(Debug)]
struct Snapshot(Vec<Metric>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.0 {
            let kind = match metric.samples.first() {
                Some((_, Value::Counter(_))) => MetricType::Counter,
                Some((_, Value::Gauge(_))) => MetricType::Gauge,
                Some((_, Value::Histogram { .. })) => MetricType::Histogram,
                None => continue,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for (labels, value) in &metric.samples {
                let mut encoder = family.encode_family(labels)?;
                match value {
                    Value::Counter(n) => ConstCounter::new(*n).encode(encoder)?,
                    Value::Gauge(n) => ConstGauge::new(i64::try_from(*n).unwrap_or(i64::MAX)).encode(encoder)?,
                    Value::Histogram { sum, buckets } => {
                        let count = buckets.iter().map(|(_, n)| n).sum();
                        encoder.encode_histogram::<Labels>(*sum, count, &buckets[..], None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Answers a scrape.
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut registry = Registry::with_prefix("gatemq");
    registry.register_collector(Box::new(Snapshot(gather::all(&api))));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(e) => Refusal::unavailable(format!("the metrics cannot be written: {e}")).into_response(),
    }
}
