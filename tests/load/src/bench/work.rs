//! What is measured: the generator's scenarios with their options, and where in its JSON line the numbers are.

use super::goal::{Against, Goal, Measure};

/// How the generator connects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Transport {
    /// Plain.
    Tcp,
    /// TLS 1.3.
    Tls,
    /// TLS 1.3 with a client certificate.
    MutualTls,
    /// WebSocket.
    Ws,
}

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Who {
    /// Everybody.
    All,
    /// All but the relay, which knows too little MQTT.
    Brokers,
    /// GateMQ with one worker, and with two.
    Workers,
}

/// What is measured in one run of the generator.
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
    pub(super) who: Who,
    /// Rounds at most: what does not drift is measured once.
    pub(super) rounds_max: u32,
    /// What GateMQ is held to, a row of the table each. Without one it is measured only when asked for.
    pub(super) goals: &'static [Goal],
}

const CPU: &[&str] = &["broker_cpu_s_per_1m"];

const fn traffic(name: &'static str, args: &'static [&'static str], goals: &'static [Goal]) -> Work {
    Work {
        name,
        transport: Transport::Tcp,
        args,
        unit: "delivery",
        cpu: CPU,
        rate: "delivered_per_s",
        bytes: None,
        who: Who::All,
        rounds_max: u32::MAX,
        goals,
    }
}

const fn connect(name: &'static str, transport: Transport, goals: &'static [Goal]) -> Work {
    Work { transport, unit: "connection", rate: "connects_per_s", ..traffic(name, &["connect"], goals) }
}

const fn idle(name: &'static str, transport: Transport, goals: &'static [Goal]) -> Work {
    Work {
        transport,
        unit: "opening",
        cpu: &["broker_cpu_us_per_open"],
        rate: "",
        bytes: Some(("rss_bytes_per_conn", "connection")),
        rounds_max: 1,
        ..traffic(name, &["idle"], goals)
    }
}

/// CPU time in multiples of the relay's, and what it was at first light.
const fn relay(times_max: f64, first_light: Option<f64>) -> Goal {
    Goal { measure: Measure::Cpu, against: Against::Relay, at_most: Some(times_max), first_light }
}

/// CPU time in multiples of mosquitto's.
const fn mosquitto(times_max: f64) -> Goal {
    Goal { measure: Measure::Cpu, against: Against::Mosquitto, at_most: Some(times_max), first_light: None }
}

const fn bytes(most: f64) -> Goal {
    Goal { measure: Measure::Bytes, against: Against::Nothing, at_most: Some(most), first_light: None }
}

const fn one_worker(times_max: f64) -> Goal {
    Goal { measure: Measure::Cpu, against: Against::OneWorker, at_most: Some(times_max), first_light: None }
}

/// All scenarios, in the order of the table. The goals are those of the design, section 12; it has none for WebSocket.
pub(super) static ALL: &[Work] = &[
    traffic("pairs", &["pairs"], &[relay(1.25, Some(1.17))]),
    traffic("pairs1", &["pairs", "--window", "1"], &[relay(1.2, Some(1.01))]),
    traffic("pairs-qos1", &["pairs", "--qos", "1"], &[relay(1.2, None)]),
    Work { who: Who::Brokers, ..traffic("pairs-qos2", &["pairs", "--qos", "2"], &[mosquitto(1.0 / 20.0)]) },
    traffic("pairs-rate", &["pairs", "--rate", "20000"], &[]),
    traffic("fanin", &["fanin"], &[relay(1.15, Some(1.11))]),
    traffic("fanout", &["fanout"], &[relay(1.1, Some(1.11))]),
    Work { transport: Transport::Tls, ..traffic("pairs-tls", &["pairs"], &[relay(1.15, None)]) },
    Work { transport: Transport::Ws, ..traffic("pairs-ws", &["pairs"], &[Goal { at_most: None, ..relay(0.0, None) }]) },
    Work {
        who: Who::Brokers,
        bytes: Some(("rss_bytes_per_filter", "filter")),
        ..traffic("wildcard", &["wildcard"], &[mosquitto(1.0 / 4.0), bytes(120.0)])
    },
    Work { who: Who::Brokers, ..traffic("retained", &["retained"], &[mosquitto(1.0 / 10.0)]) },
    Work {
        who: Who::Brokers,
        unit: "queued and drained",
        cpu: &["queue_cpu_s_per_1m", "drain_cpu_s_per_1m"],
        rate: "drained_per_s",
        bytes: Some(("rss_bytes_per_queued", "message")),
        ..traffic("offline", &["offline"], &[])
    },
    connect("connect", Transport::Tcp, &[relay(1.2, Some(1.79))]),
    connect("connect-tls", Transport::Tls, &[relay(1.1, Some(1.31))]),
    connect("connect-mtls", Transport::MutualTls, &[relay(1.1, Some(1.25))]),
    idle("idle", Transport::Tcp, &[bytes(2560.0)]),
    idle("idle-tls", Transport::Tls, &[bytes(11_264.0)]),
    Work { who: Who::Workers, ..traffic("workers2", &["pairs"], &[one_worker(1.5)]) },
    Work { who: Who::Workers, ..traffic("workers2-apart", &["pairs", "--apart"], &[one_worker(1.5)]) },
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
