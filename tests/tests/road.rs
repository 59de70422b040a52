//! The road: messages reach those who asked for them, and nobody else.

use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;

/// QoS 0 end to end, in either version on either side, over TLS and without, through `+` and `#`; one copy a client and
/// filter that matches.
#[test]
fn messages_arrive_in_either_version() {
    let pki = Pki::new("Acme");
    let setup = Setup::new().mqtts("secure", &pki, "optional", "").mqtt("plain");
    let broker = setup.faults("").start();
    let tls = Tls::new(&pki, None);
    for from in Version::ALL {
        let mut publisher = Client::admitted(broker.address("secure"), &tls, from, "publisher");
        let mut subscribers = Vec::new();
        for to in Version::ALL {
            let name = format!("plain-{to:?}");
            let mut plain = Client::tcp(broker.address("plain"), to).unwrap();
            assert_eq!(plain.connect(&name).unwrap(), 0);
            assert_eq!(plain.subscribe("a/+/c", 0), 0);
            let mut secure = Client::admitted(broker.address("secure"), &tls, to, &format!("secure-{to:?}"));
            assert_eq!(secure.subscribe("a/#", 0), 0);
            subscribers.extend([plain, secure]);
        }
        for topic in ["b/x/c", "a/b", "a/b/c"] {
            publisher.publish(topic, 0, topic.as_bytes()).unwrap();
        }
        for (n, subscriber) in subscribers.iter_mut().enumerate() {
            let wanted: &[&str] = if n % 2 == 0 { &["a/b/c"] } else { &["a/b", "a/b/c"] };
            for topic in wanted {
                assert_eq!(subscriber.message(), ((*topic).to_owned(), topic.as_bytes().to_vec()));
            }
            subscriber.ping();
        }
    }
}

/// A thousand messages of one publisher arrive, in their order, at receivers on every worker.
#[test]
fn messages_keep_their_order() {
    let broker = Setup::new().mqtt("plain").faults("").start();
    let admitted = |name: &str| {
        let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
        assert_eq!(client.connect(name).unwrap(), 0);
        client
    };
    let mut subscribers: Vec<Client> = (0..4).map(|n| admitted(&format!("subscriber-{n}"))).collect();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.subscribe("n", 0), 0);
    }
    let mut publisher = admitted("publisher");
    for n in 0..1000u32 {
        publisher.publish("n", 0, &n.to_be_bytes()).unwrap();
    }
    for subscriber in &mut subscribers {
        for n in 0..1000u32 {
            assert_eq!(subscriber.message().1, n.to_be_bytes());
        }
    }
}

/// SIGTERM ends the broker in good order: clients are told, exit code 0.
#[test]
fn clients_are_told_when_the_broker_stops() {
    let broker = Setup::new().mqtt("plain").faults("").start();
    let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
    assert_eq!(client.connect("client").unwrap(), 0);
    let ended = broker.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let goodbye = client.packet();
    assert_eq!((goodbye.first, goodbye.body.first()), (0xE0, Some(&0x8B)));
    client.expect_closed();
}
