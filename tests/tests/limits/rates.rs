//! Rates of clients: slowed down first, disconnected where that is the policy.

use std::time::{Duration, Instant};

use gatemq_tests::client::packet;
use gatemq_tests::session::{Connect, Level};

use super::*;

/// Publishes at QoS 1 as fast as it can and gives how long it took until all was acknowledged.
pub(super) fn publish_all(client: &mut Client, times: u16) -> Duration {
    let begun = Instant::now();
    for id in 1..=times {
        client.publish_as(2, "rate", id, b"x").unwrap();
    }
    for id in 1..=times {
        assert_eq!(client.expect_ack(0x40, id), 0);
    }
    begun.elapsed()
}

/// Issue 4, item 2: who publishes faster than it may is slowed down to that, by the key or by the lower of its identity, and that is
/// told once, not for each message. Who keeps to it is not told of.
#[test]
fn who_publishes_faster_than_it_may_is_slowed_down() {
    for (key, identity) in [("20", ""), ("20", "messages_per_s_max = 1000"), ("0", "messages_per_s_max = 20")] {
        let mut broker = limited(&[("messages_per_s_max", key)], identity).start();
        let mut slow = client(&broker, &Connect::new(Level::V5, "slow"));
        publish_all(&mut slow, 20);
        slow.disconnect();
        assert_eq!(told(&mut broker, "slow"), [] as [Value; 0]);
        let mut quick = client(&broker, &Connect::new(Level::V5, "quick"));
        let took = publish_all(&mut quick, 60);
        // Two seconds less what the broker's clock may be wrong.
        assert!(took >= Duration::from_millis(1500), "{key} {identity}: {took:?}");
        quick.disconnect();
        let events = told(&mut broker, "quick");
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["which"], &events[0]["max"]), (&"messages_per_s_max".into(), &20.into()));
        assert_eq!((&events[0]["actual"], &events[0]["action"]), (&21.into(), &"slowed down".into()));
    }
}

/// Section 7: while a client waits for its rate it is heard: a ping is answered, an acknowledgement frees the window for the next
/// message, and its keep alive does not run. What it sent behind keeps its order.
#[test]
fn who_waits_for_its_rate_is_heard() {
    let mut broker = limited(&[("bytes_per_s_max", "1000"), ("inflight_max", "1")], "").start();
    let mut other = client(&broker, &Connect::new(Level::V5, "other"));
    let mut waits = client(&broker, &Connect { keep_alive_s: 1, ..Connect::new(Level::V5, "waits") });
    assert_eq!(waits.subscribe("to/waits", 1), 1);
    assert_eq!(other.subscribe("rate", 0), 0);
    for payload in [b"1", b"2"] {
        assert_eq!(other.published("to/waits", 1, false, payload), 0);
    }
    // Four seconds' worth.
    let begun = Instant::now();
    waits.publish_as(2, "rate", 1, &[b'a'; 4000]).unwrap();
    assert_eq!(waits.expect_ack(0x40, 1), 0);
    waits.publish_as(2, "rate", 2, b"b").unwrap();
    waits.send(&[0xC0, 0]).unwrap();
    let first = waits.next_message();
    assert_eq!(waits.answer().kind(), 13, "answered before the message");
    waits.send_ack(0x40, first.id).unwrap();
    assert_eq!(waits.next_message().text(), "2");
    assert_eq!(waits.expect_ack(0x40, 2), 0);
    assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!([other.message().1.len(), other.message().1.len()], [4000, 1]);
    waits.disconnect();
    let events = told(&mut broker, "waits");
    assert_eq!((events.len(), &events[0]["which"]), (1, &"bytes_per_s_max".into()));
}

/// Issue 4, item 2: with `rate_policy = "disconnect"`, or an identity that may not wait, the message that was too much is taken, and
/// its client is told 0x96 and disconnected, where its version has a word for it.
#[test]
fn who_publishes_faster_than_it_may_is_disconnected_by_policy() {
    let by_key = [("messages_per_s_max", "5"), ("rate_policy", "disconnect")];
    for (keys, identity) in [(&by_key[..], ""), (&by_key[..1], "rate_wait_allowed = 0")] {
        let mut broker = limited(keys, identity).start();
        for level in Level::ALL {
            let (id, twin) = (format!("quick-{level:?}"), format!("slow-{level:?}"));
            let mut twin = client(&broker, &Connect::new(level, &twin));
            let mut quick = client(&broker, &Connect::new(level, &id));
            let message =
                packet(0x32, &[&b"\0\x04rate\0\x01"[..], if level == Level::V5 { &[0] } else { &[] }].concat());
            twin.send(&message.repeat(5)).unwrap();
            quick.send(&message.repeat(6)).unwrap();
            for (client, acknowledged) in [(&mut twin, 5), (&mut quick, 6)] {
                for _ in 0..acknowledged {
                    assert_eq!(client.answer().kind(), 4);
                }
            }
            assert_eq!(quick.expect_goodbye(), (level == Level::V5).then_some(0x96));
            twin.ping();
            let events = told(&mut broker, &id);
            assert_eq!((events.len(), &events[0]["action"]), (1, &"disconnected".into()));
            let ended = broker.tape().wait_for_client("ClientDisconnected", &id);
            assert_eq!((&ended["fields"]["reason"], &ended["fields"]["code"]), (&"RateExceeded".into(), &0x96.into()));
        }
    }
}

/// A client that is gone, or says that it goes, is not waited for: its connection ends although its rate would have it wait for a
/// minute and a half. One that is there is heard meanwhile.
#[test]
fn who_goes_while_it_waits_for_its_rate_is_gone() {
    let mut broker = limited(&[("bytes_per_s_max", "100")], "").start();
    let ids = ["vanishes", "goes", "stays"];
    let [vanishes, goes, mut stays] = ids.map(|id| {
        let mut client = client(&broker, &Connect::new(Level::V5, id));
        client.publish_as(2, "rate", 1, &[b'a'; 9000]).unwrap();
        assert_eq!(client.expect_ack(0x40, 1), 0);
        client
    });
    let begun = Instant::now();
    vanishes.break_off();
    goes.disconnect();
    for (id, reason) in [("vanishes", "TransportClosed"), ("goes", "ClientDisconnected")] {
        let ended = broker.tape().wait_for_client("ClientDisconnected", id);
        assert_eq!(ended["fields"]["reason"], reason);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    stays.ping();
}
