//! What waits in a shared subscription (4.8.2) whose members are away: who has room gets it, also after a crash.

use gatemq_tests::Kind;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls};
use gatemq_tests::pki::Pki;
use gatemq_tests::power::Disk;
use gatemq_tests::session::{Connect, Level, ack};

use super::setup;

const FILTER: &str = "$share/g/t/#";

/// Acknowledged messages with these numbers, at QoS 1 and 2 by turns.
fn publish(broker: &Broker, tls: &Tls, numbers: std::ops::Range<u8>) {
    let (mut publisher, _) = broker.joined(Kind::Mqtt, tls, &Connect::new(Level::V311, "publisher"));
    for n in numbers {
        assert_eq!(publisher.published("t/x", 1 + n % 2, false, n.to_string().as_bytes()), 0);
    }
}

/// The next messages, each taken to the end.
fn take(client: &mut Client, numbers: std::ops::Range<u8>) {
    for n in numbers {
        let message = client.take_message();
        assert_eq!((message.text(), message.qos), (&*n.to_string(), 1 + n % 2));
    }
}

fn other_members_get_it(setup: Setup, crash: &mut impl FnMut(Setup) -> Setup) {
    let tls = Tls::new(&Pki::new("Acme"), None);
    let member = |id| Connect { receive_max: Some(2), ..Connect::stays(Level::V5, id) };
    let nothing_came = |client: &mut Client, broker: &Broker| {
        client.nothing_came(&mut broker.joined(Kind::Mqtt, &tls, &Connect::new(Level::V311, "other")).0);
    };
    let broker = setup.start();
    let (mut a, _) = broker.joined(Kind::Mqtt, &tls, &member("a"));
    assert_eq!(a.subscribe(FILTER, 2), 2);
    // A is sent two, and acknowledges neither.
    publish(&broker, &tls, 0..2);
    let sent = [a.next_message(), a.next_message()].map(|message| (message.text().to_owned(), message.id));
    assert_eq!(sent.clone().map(|(text, _)| text), ["0", "1"]);
    a.break_off();
    publish(&broker, &tls, 2..12);
    let broker = crash(broker.kill()).start();
    publish(&broker, &tls, 12..14);
    // B comes, and gets all that was not sent, in order; some it has only received when everything ends again.
    let (mut b, _) = broker.joined(Kind::Mqtt, &tls, &member("b"));
    assert_eq!(b.subscribe(FILTER, 2), 2);
    take(&mut b, 2..9);
    let unacknowledged = [b.next_message(), b.next_message()].map(|message| (message.text().to_owned(), message.id));
    assert_eq!(unacknowledged.clone().map(|(text, _)| text), ["9", "10"]);
    b.send_ack(ack::PUBREC, unacknowledged[0].1).expect("PUBREC");
    assert_eq!(b.expect_ack(ack::PUBREL, unacknowledged[0].1), 0);
    let broker = crash(broker.kill()).start();
    // A is there first: it gets again what it had been sent, what was not sent to B, and nothing else.
    let (mut a, present) = broker.joined(Kind::Mqtt, &tls, &member("a"));
    assert!(present);
    for (text, id) in &sent {
        let message = a.take_message();
        assert_eq!((message.text(), message.dup), (&**text, true));
        assert!(message.qos == 1 || message.id == *id, "at QoS 2 it is known by its packet identifier");
    }
    take(&mut a, 11..14);
    nothing_came(&mut a, &broker);
    let (mut b, present) = broker.joined(Kind::Mqtt, &tls, &member("b"));
    assert!(present);
    assert_eq!(b.expect_ack(ack::PUBREL, unacknowledged[0].1), 0);
    b.send_ack(ack::PUBCOMP, unacknowledged[0].1).expect("PUBCOMP");
    let message = b.take_message();
    assert_eq!((message.text(), message.dup), ("10", true));
    nothing_came(&mut b, &broker);
    nothing_came(&mut a, &broker);
    // What A was sent at QoS 1 goes to B when A's session ends, and at QoS 2 to nobody; a crash in between does not matter.
    b.break_off();
    publish(&broker, &tls, 14..16);
    assert_eq!([a.next_message(), a.next_message()].map(|message| message.qos), [1, 2]);
    let broker = crash(broker.kill()).start();
    let (mut b, _) = broker.joined(Kind::Mqtt, &tls, &member("b"));
    let (_a, present) = broker.joined(Kind::Mqtt, &tls, &Connect { clean: true, ..member("a") });
    assert!(!present);
    let message = b.take_message();
    assert_eq!((message.text(), message.qos), ("14", 1));
    nothing_came(&mut b, &broker);
}

/// Guards section 7 and promise 5 over `kill -9`.
#[test]
fn promise_5_what_waits_in_a_shared_subscription_survives_a_kill() {
    other_members_get_it(setup(), &mut |killed| killed);
}

/// And over a power cut.
#[test]
fn promise_5_what_waits_in_a_shared_subscription_survives_a_power_cut() {
    let mut disk = Disk::new();
    let setup = disk.under(setup());
    other_members_get_it(setup, &mut |killed| disk.cut(killed));
}
