//! A message's way by its events of class traffic, and the events of what is no topic and no filter.

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use serde_json::Value;

fn broker() -> Broker {
    Setup::new().mqtt("mqtt").faults("").tape_with_traffic().start()
}

fn client(broker: &Broker, client_id: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect(client_id).unwrap(), 0);
    client
}

fn fields(event: &Value, names: [&str; 4]) -> [Value; 4] {
    names.map(|name| event["fields"][name].clone())
}

/// DESIGN section 6: received, routed to how many, written to each, and acknowledged by those who acknowledge, once each.
#[test]
fn a_message_is_told_of_from_publish_to_acknowledgement() {
    let mut broker = broker();
    let mut receivers: Vec<Client> = (0..3).map(|qos| client(&broker, &format!("takes-{qos}"))).collect();
    for (qos, receiver) in (0..).zip(&mut receivers) {
        assert_eq!(receiver.subscribe("t", qos), qos);
    }
    let mut publisher = client(&broker, "publisher");
    assert_eq!(publisher.published("t", 2, false, b"payload"), 0);
    let ids: Vec<u64> = receivers.iter_mut().map(|receiver| receiver.take_message().id.into()).collect();
    // What acknowledges nothing is no acknowledgement.
    receivers[1].send_ack(0x40, 999).unwrap();
    receivers.iter_mut().for_each(Client::ping);
    drop(receivers);
    for qos in 0..3 {
        broker.tape().wait_for_client("ClientDisconnected", &format!("takes-{qos}"));
    }
    let of = |broker: &mut Broker, kind: &str, names| -> Vec<(Value, [Value; 4])> {
        let told = broker.tape().events().iter().filter(|e| e["event"] == kind);
        told.map(|event| (event["client_id"].clone(), fields(event, names))).collect()
    };
    let received = of(&mut broker, "MessageReceived", ["topic", "qos", "payload_bytes", "-"]);
    assert_eq!(received, [("publisher".into(), ["t".into(), 2.into(), 7.into(), Value::Null])]);
    let routed = of(&mut broker, "MessageRouted", ["topic", "receivers", "dropped", "nodes"]);
    assert_eq!(routed, [("publisher".into(), ["t".into(), 3.into(), 0.into(), 0.into()])]);
    let delivered = of(&mut broker, "MessageDelivered", ["topic", "qos", "packet_id", "acknowledged"]);
    for (qos, id) in (0..3u64).zip(ids) {
        let its: Vec<_> = delivered.iter().filter(|(client, _)| *client == format!("takes-{qos}")).collect();
        let id = if qos == 0 { 0 } else { id };
        let mut wanted: Vec<[Value; 4]> = vec![["t".into(), qos.into(), id.into(), false.into()]];
        if qos > 0 {
            wanted.push(["".into(), qos.into(), id.into(), true.into()]);
        }
        assert_eq!(its.iter().map(|(_, fields)| fields.clone()).collect::<Vec<_>>(), wanted, "QoS {qos}");
    }
}

/// DESIGN section 6: a topic name and a filter that are none are told as such, with their clause; and who sent them is gone.
#[test]
fn what_is_no_topic_and_no_filter_is_told() {
    let mut broker = broker();
    let mut publisher = client(&broker, "no-topic");
    publisher.publish("a/+", 0, b"x").unwrap();
    let event = broker.tape().wait_for_client("TopicRefused", "no-topic");
    assert_eq!(fields(&event, ["clause", "code", "-", "-"])[..2], ["MQTT-3.3.2-2".into(), Value::from(0x90)]);
    let mut subscriber = client(&broker, "no-filter");
    subscriber.send(&[0x82, 8, 0, 1, 0, 0, 2, b'a', b'#', 0]).unwrap();
    let event = broker.tape().wait_for_client("FilterRefused", "no-filter");
    assert_eq!(fields(&event, ["clause", "code", "-", "-"])[..2], ["MQTT-4.7.1-1".into(), Value::from(0x8F)]);
    for client_id in ["no-topic", "no-filter"] {
        broker.tape().wait_for_client("ClientDisconnected", client_id);
    }
    let mut twin = client(&broker, "twin");
    assert_eq!(twin.subscribe("a/#", 0), 0);
}
