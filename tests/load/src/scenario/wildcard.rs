//! Many filters with `+` and `#`: subscribing them, their memory, and messages that match three.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{clients, traffic};
use crate::cli::{Common, Wildcard};
use crate::net::Target;
use crate::report::round;

pub(super) async fn run(c: &Common, t: Rc<Target>, o: &Wildcard) -> io::Result<Value> {
    // w/{i}/{j}/{k}, n values each: matched by exactly one filter of each kind.
    let n = ((o.filters as f64 / 3.0).sqrt().round() as usize).max(1);
    let per_kind = (o.clients / 3).max(1);
    let broker = c.broker();
    let (r0, t0, b0) = (broker.rss(), Instant::now(), broker.cpu());
    let mut subs = clients(&t, "s", per_kind * 3).await?;
    for (who, s) in subs.iter_mut().enumerate() {
        for chunk in filters_of(who, n, per_kind).chunks(20) {
            s.subscribe(chunk, o.messages.qos).await?;
        }
    }
    let (secs, total) = (t0.elapsed().as_secs_f64(), 3 * n * n);
    let params = json!({
        "filters": total, "clients": per_kind * 3, "pubs": o.pubs,
        "subscribed_per_s": (total as f64 / secs).round(),
        "subscribe_cpu_s_per_1m": round(broker.cpu().since(b0).total() / total as f64 * 1e6),
        "rss_bytes_per_filter": ((broker.rss() as f64 - r0 as f64) / total as f64).round(),
    });
    let pubs = traffic::publishers(&t, o.pubs, &o.messages, |p| topics_of(p, n)).await?;
    traffic::measure(c, "wildcard", &o.messages, 3, params, pubs, subs).await
}

/// The filters of subscriber `who`: one of three kinds, shared out among `per_kind` clients.
fn filters_of(who: usize, n: usize, per_kind: usize) -> Vec<String> {
    let (kind, slot) = (who % 3, who / 3);
    (0..n * n)
        .filter(|x| x % per_kind == slot)
        .map(|x| (x / n, x % n))
        .map(|(a, b)| match kind {
            0 => format!("w/{a}/+/{b}"),
            1 => format!("w/{a}/{b}/#"),
            _ => format!("w/+/{a}/{b}"),
        })
        .collect()
}

/// A thousand topics of publisher `p`, scattered.
fn topics_of(p: usize, n: usize) -> Vec<String> {
    (0..1000usize)
        .map(|x| (x + 1 + p * 1000).wrapping_mul(2_654_435_761))
        .map(|h| format!("w/{}/{}/{}", h % n, (h / n) % n, (h / n / n) % n))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every topic is matched by exactly three filters, of three clients: the fan that deliveries are counted by.
    #[test]
    fn three_filters_match() {
        let (n, per_kind) = (5, 2);
        let subs: Vec<Vec<String>> = (0..per_kind * 3).map(|w| filters_of(w, n, per_kind)).collect();
        let matches = |f: &str, t: &str| f.split('/').zip(t.split('/')).all(|(f, t)| f == "+" || f == "#" || f == t);
        for topic in topics_of(3, n) {
            let per_client: Vec<usize> =
                subs.iter().map(|fs| fs.iter().filter(|f| matches(f, &topic)).count()).collect();
            assert_eq!((per_client.iter().sum::<usize>(), per_client.iter().max()), (3, Some(&1)), "{topic}");
        }
    }
}
