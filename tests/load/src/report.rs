//! The JSON line of a run.

use serde_json::{Map, Value, json};

use crate::cli::Common;
use crate::procfs::Cpu;

/// Fields of the line.
pub type Fields = Map<String, Value>;

/// The fields of `json!({..})`.
pub fn fields(v: Value) -> Fields {
    match v {
        Value::Object(m) => m,
        _ => Map::new(),
    }
}

/// How the connection is made, e.g. `mtls1.3+ws+v5`.
pub fn transport(c: &Common) -> String {
    let tls = match (c.tls12, c.tls, c.cert.is_some()) {
        (false, false, _) => "tcp",
        (true, _, false) => "tls1.2",
        (true, _, true) => "mtls1.2",
        (_, _, false) => "tls1.3",
        (_, _, true) => "mtls1.3",
    };
    let ws = if c.ws.is_some() { "+ws" } else { "" };
    let resume = if c.resume { "+resume" } else { "" };
    format!("{tls}{ws}{resume}{}", if c.v5 { "+v5" } else { "" })
}

/// The whole line: label, scenario and transport, then `fields`.
pub fn line(c: &Common, scenario: &str, fields: Fields) -> Value {
    let mut m = Map::new();
    m.insert("label".into(), json!(c.label));
    m.insert("scenario".into(), json!(scenario));
    m.insert("transport".into(), json!(transport(c)));
    m.extend(fields);
    Value::Object(m)
}

/// To three decimals.
pub fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// Adds the broker's CPU seconds, those per million of something, and the rate that one core would give.
pub fn cpu_fields(cpu: Cpu, n: u64, m: &mut Fields) {
    let per = cpu.total() / n.max(1) as f64 * 1e6;
    m.insert("broker_cpu_s".into(), json!(round(cpu.total())));
    m.insert("broker_sys_s".into(), json!(round(cpu.sys)));
    m.insert("broker_cpu_s_per_1m".into(), json!(round(per)));
    m.insert("per_core_rate".into(), json!(if per > 0.0 { (1e6 / per).round() } else { 0.0 }));
}
