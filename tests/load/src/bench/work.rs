//! What is measured: the generator's scenarios with their options, and where in its JSON line the numbers are.

/// How the generator connects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Transport {
    /// Plain.
    Tcp,
    /// TLS 1.3.
    Tls,
    /// TLS 1.3 with a client certificate.
    MutualTls,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) transport: Transport,
    /// The generator's scenario and its options.
    pub(super) args: &'static [&'static str],
    /// What one of the CPU column is.
    pub(super) unit: &'static str,
    /// Fields whose sum is CPU microseconds for one unit.
    pub(super) cpu: &'static [&'static str],
    /// Field of units per second.
    pub(super) rate: &'static str,
    /// Field of bytes of the peer's memory, and of what.
    pub(super) bytes: Option<(&'static str, &'static str)>,
    /// Whether the relay knows enough MQTT for it.
    pub(super) relay: bool,
}

const CPU: &[&str] = &["broker_cpu_s_per_1m"];

const fn traffic(name: &'static str, args: &'static [&'static str]) -> Work {
    Work {
        name,
        transport: Transport::Tcp,
        args,
        unit: "delivery",
        cpu: CPU,
        rate: "delivered_per_s",
        bytes: None,
        relay: true,
    }
}

const fn connect(name: &'static str, transport: Transport) -> Work {
    Work { transport, unit: "connection", rate: "connects_per_s", ..traffic(name, &["connect"]) }
}

const fn idle(name: &'static str, transport: Transport) -> Work {
    Work {
        transport,
        unit: "opening",
        cpu: &["broker_cpu_us_per_open"],
        rate: "",
        bytes: Some(("rss_bytes_per_conn", "connection")),
        ..traffic(name, &["idle"])
    }
}

/// All scenarios, in the order of the table.
pub(super) static ALL: &[Work] = &[
    traffic("pairs", &["pairs"]),
    traffic("pairs1", &["pairs", "--window", "1"]),
    traffic("pairs-qos1", &["pairs", "--qos", "1"]),
    Work { relay: false, ..traffic("pairs-qos2", &["pairs", "--qos", "2"]) },
    traffic("pairs-rate", &["pairs", "--rate", "20000"]),
    traffic("fanin", &["fanin"]),
    traffic("fanout", &["fanout"]),
    Work { transport: Transport::Tls, ..traffic("pairs-tls", &["pairs"]) },
    Work { relay: false, bytes: Some(("rss_bytes_per_filter", "filter")), ..traffic("wildcard", &["wildcard"]) },
    Work { relay: false, ..traffic("retained", &["retained"]) },
    Work {
        relay: false,
        unit: "queued and drained",
        cpu: &["queue_cpu_s_per_1m", "drain_cpu_s_per_1m"],
        rate: "drained_per_s",
        bytes: Some(("rss_bytes_per_queued", "message")),
        ..traffic("offline", &["offline"])
    },
    connect("connect", Transport::Tcp),
    connect("connect-tls", Transport::Tls),
    connect("connect-mtls", Transport::MutualTls),
    idle("idle", Transport::Tcp),
    idle("idle-tls", Transport::Tls),
];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Every scenario's arguments are ones that the generator takes, and no name is there twice.
    #[test]
    fn generator_takes_the_arguments() {
        for (i, w) in ALL.iter().enumerate() {
            let args = std::iter::once(&"gatemq-load").chain(w.args);
            assert!(crate::cli::Cli::try_parse_from(args).is_ok(), "{w:?}");
            assert!(ALL[..i].iter().all(|v| v.name != w.name), "{w:?}");
        }
    }
}
