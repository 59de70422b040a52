//! Messages in flow: one to one, many to one, one to many; `measure` serves every scenario with traffic.

use std::io;
use std::rc::Rc;

use serde_json::{Value, json};

use super::clients;
use crate::cli::{Common, Fanin, Fanout, Messages, Pairs};
use crate::flow::{self, Plan, Publisher};
use crate::net::{Conn, Target};
use crate::report::{cpu_fields, fields, line, round};
use crate::wire::PublishTemplate;

pub(super) async fn pairs(c: &Common, t: Rc<Target>, o: &Pairs) -> io::Result<Value> {
    let m = &o.messages;
    let mut subs = clients(&t, "s", o.pairs).await?;
    for (i, s) in subs.iter_mut().enumerate() {
        s.subscribe(&[format!("pair/{i}/t")], m.qos).await?;
    }
    let between = if o.apart { clients(&t, "between", 1).await? } else { Vec::new() };
    let pubs = publishers(&t, o.pairs, m, |i| vec![format!("pair/{i}/t")]).await?;
    let line = measure(c, "pairs", m, 1, json!({"pairs": o.pairs, "apart": o.apart}), pubs, subs).await;
    drop(between);
    line
}

pub(super) async fn fanin(c: &Common, t: Rc<Target>, o: &Fanin) -> io::Result<Value> {
    let m = &o.messages;
    let share = if o.subs > 1 { "$share/g/" } else { "" };
    let mut subs = clients(&t, "s", o.subs).await?;
    for s in &mut subs {
        s.subscribe(&[format!("{share}in/+/t")], m.qos).await?;
    }
    let pubs = publishers(&t, o.pubs, m, |i| vec![format!("in/{i}/t")]).await?;
    measure(c, "fanin", m, 1, json!({"pubs": o.pubs, "subs": o.subs}), pubs, subs).await
}

pub(super) async fn fanout(c: &Common, t: Rc<Target>, o: &Fanout) -> io::Result<Value> {
    let m = &o.messages;
    let mut subs = clients(&t, "s", o.subs).await?;
    for s in &mut subs {
        s.subscribe(&["out/t"], m.qos).await?;
    }
    let pubs = publishers(&t, o.pubs, m, |_| vec!["out/t".into()]).await?;
    measure(c, "fanout", m, o.subs as u64, json!({"pubs": o.pubs, "subs": o.subs}), pubs, subs).await
}

/// `n` connected publishers, each with its own topics.
pub(super) async fn publishers(
    t: &Target,
    n: usize,
    m: &Messages,
    topics: impl Fn(usize) -> Vec<String>,
) -> io::Result<Vec<Publisher>> {
    let conns = clients(t, "p", n).await?;
    let template = |s: String| PublishTemplate::new(t.v5, &s, m.qos, false, m.size);
    let with = |(i, c)| (c, Rc::new(topics(i).into_iter().map(template).collect()));
    Ok(conns.into_iter().enumerate().map(with).collect())
}

/// Lets the messages flow (each owed `fan` times) and reports on it; `params` are the scenario's own fields.
pub(super) async fn measure(
    c: &Common,
    scenario: &str,
    m: &Messages,
    fan: u64,
    params: Value,
    pubs: Vec<Publisher>,
    subs: Vec<Conn>,
) -> io::Result<Value> {
    let plan =
        Plan { qos: m.qos, fan, window: m.window, rate: m.rate, warmup: c.warmup, secs: c.secs, broker: c.broker() };
    let o = flow::run(plan, pubs, subs).await?;
    let us = |q: f64| o.latency.value_at_quantile(q);
    let mut f = fields(json!({
        "qos": m.qos, "size": m.size, "window": m.window, "rate": m.rate,
        "secs": round(o.secs), "published": o.published, "delivered": o.delivered, "lost": o.lost,
        "published_per_s": (o.published as f64 / o.secs).round(),
        "delivered_per_s": (o.delivered as f64 / o.secs).round(),
        "broker_load": round(o.broker.total() / o.secs),
        "generator_load": round(o.generator.total() / o.secs),
        "latency_us": {"p50": us(0.5), "p90": us(0.9), "p99": us(0.99), "p999": us(0.999), "max": o.latency.max()},
    }));
    f.extend(fields(params));
    cpu_fields(o.broker, o.delivered, &mut f);
    if c.broker_pid.is_some() {
        f.insert("broker_rss_mb".into(), json!(c.broker().rss() >> 20));
    }
    Ok(line(c, scenario, f))
}
