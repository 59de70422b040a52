//! Chains of auth providers: their order, and which listener has which.

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;

/// A broker with TLS listeners, each with this `chain` of its own, under this common one (`[]`: none), and two
/// providers: `fleet` (auth-certificate, tenant `acme`) knows clients with a certificate of `pki`; `faults` (tenant
/// `test`) knows everybody.
fn setup(pki: &Pki, common: &[&str], listeners: &[(&str, &[&str])]) -> Setup {
    let mut setup = Setup::new().fleet(pki).faults("").tape();
    if !common.is_empty() {
        setup = setup.toml(&format!("[auth]\nchain = {common:?}"));
    }
    for (name, chain) in listeners {
        setup = setup.mqtts(name, pki, "optional", "");
        if !chain.is_empty() {
            setup = setup.toml(&format!("[listeners.{name}.auth]\nchain = {chain:?}"));
        }
    }
    setup
}

fn code(broker: &Broker, listener: &str, tls: &Tls, version: Version, client_id: &str) -> u8 {
    Client::try_admitted(broker.address(listener), tls, version, client_id).err().unwrap_or(0)
}

/// Two listeners, two providers: who is unknown on one is admitted on the other, each listener asks its own chain, and
/// a listener without one asks the common one. Everybody saying Next is 0x87, or 5.
#[test]
fn each_listener_asks_its_own_chain() {
    let pki = Pki::new("Acme");
    let listeners = [("devices", &["fleet"][..]), ("people", &["faults"][..]), ("both", &[][..])];
    let mut broker = setup(&pki, &["fleet", "faults"], &listeners).start();
    let (with, without) = (Tls::new(&pki, Some(&pki.client("sensor-1"))), Tls::new(&pki, None));
    for (listener, shown, client_id, verdict) in [
        ("devices", &with, "a", Ok("acme")),
        ("devices", &without, "b", Err(0x87)),
        ("people", &with, "c", Ok("test")),
        ("people", &without, "d", Ok("test")),
        // The first of two says Accept; or Next, and the second is asked.
        ("both", &with, "e", Ok("acme")),
        ("both", &without, "f", Ok("test")),
        // Both say Next.
        ("both", &without, "fault-next", Err(0x87)),
    ] {
        for version in Version::ALL {
            let expected = verdict.err().map_or(0, |code| version.connack(code));
            assert_eq!(code(&broker, listener, shown, version, client_id), expected, "{client_id} on {listener}");
        }
        let event = if verdict.is_ok() { "ClientConnected" } else { "ClientRefused" };
        let event = broker.tape().wait_for_client(event, client_id);
        match verdict {
            Ok(tenant) => assert_eq!(event["tenant"], tenant, "{client_id} on {listener}"),
            Err(_) => assert_eq!(event["fields"]["plugin"], "", "nobody in particular refuses {client_id}"),
        }
    }
}

/// A denial and a failure end the walk, whoever would admit the client next; the twin is in the other order.
#[test]
fn promise_1_a_denial_or_failure_ends_the_walk() {
    let pki = Pki::new("Acme");
    let listeners = [("faults-first", &["faults", "fleet"][..]), ("fleet-first", &["fleet", "faults"][..])];
    let broker = setup(&pki, &[], &listeners).start();
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    for version in Version::ALL {
        for (fault, refusal) in [("fault-reject", 0x86), ("fault-unavailable", 0x88), ("fault-panic", 0x88)] {
            assert_eq!(code(&broker, "faults-first", &tls, version, fault), version.connack(refusal), "{fault}");
            assert_eq!(code(&broker, "fleet-first", &tls, version, fault), 0, "{fault}");
        }
        assert_eq!(code(&broker, "faults-first", &tls, version, "fault-next"), 0, "the second knows it");
    }
}

/// Orders that leave open who guards a listener keep the broker from starting, with a line that names the key or the
/// listener.
#[test]
fn promise_1_orders_that_leave_a_listener_open_are_refused() {
    let pki = Pki::new("Acme");
    type Rows<'a> = &'a [(&'a str, &'a [&'a str])];
    let rows: [(&[&str], Rows, &[&str]); 5] = [
        (&[], &[("a", &["fleet", "faults"]), ("b", &[])], &["[listeners.b.auth]", "faults", "fleet"]),
        (&[], &[("a", &[])], &["auth.chain: give the order", "a"]),
        (&["fleet"], &[("a", &[])], &["\"faults\" is loaded but in no chain (auth.chain)"]),
        (&[], &[("a", &["fleet"])], &["\"faults\" is loaded but in no chain (listeners.a.auth.chain)"]),
        (&["fleet", "faults"], &[("a", &["tape"])], &["listeners.a.auth.chain: \"tape\" is not an auth provider"]),
    ];
    for (common, listeners, says) in rows {
        let ended = setup(&pki, common, listeners).try_start().err().expect("it must not start");
        assert_eq!(ended.code, Some(78), "{}", ended.log);
        // What log lines quote is escaped.
        let log = ended.log.replace("\\\"", "\"");
        assert!(says.iter().all(|part| log.contains(part)), "{says:?}\n{log}");
    }
    setup(&pki, &["fleet"], &[("a", &[]), ("b", &["faults"])]).start();
}
