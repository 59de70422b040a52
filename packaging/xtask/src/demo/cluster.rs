//! `cargo xtask dev --nodes N --demo`: a cluster forms, carries messages, keeps them for a node that is killed, and refuses a node of
//! another environment.

use std::process::ExitCode;
use std::time::Instant;

use gatemq_tests::Kind;
use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Tls};
use gatemq_tests::cluster::{self, Member, status, up, wait_until_reached};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};

use super::{Demo, tell};

pub(crate) fn run(count: usize) -> ExitCode {
    tell(|demo| steps(demo, count))
}

fn comes(broker: &Broker, connect: &Connect<'_>) -> (Client, bool) {
    broker.joined(Kind::Mqtt, &Tls::new(&Pki::new("Acme"), None), connect)
}

fn steps(demo: &mut Demo, count: usize) {
    let members = cluster::members("demo", count);
    let Some(mut brokers) = demo.step(&format!("{count} nodes form a cluster"), || {
        let brokers = cluster::start(members.iter().map(Member::setup));
        let seen = status(&brokers[0]);
        Ok((brokers, format!("node-1 sees {} of environment {}", up(&seen).join(", "), seen["environment"])))
    }) else {
        return;
    };
    let stays = Connect::stays(Level::V5, "subscriber");
    let (mut publisher, _) = comes(&brokers[0], &Connect::new(Level::V5, "publisher"));
    let (mut subscriber, _) = comes(&brokers[count - 1], &stays);
    demo.step("a message crosses", || {
        assert_eq!(subscriber.subscribe("demo/#", 2), 2);
        let took = wait_until_reached(&mut publisher, &mut subscriber, "demo/probe");
        assert_eq!(publisher.published("demo/t", 2, false, b"21.5"), 0);
        let message = subscriber.take_message();
        Ok(((), format!("{} = {} at QoS {}; its route took {took:?}", message.topic, message.text(), message.qos)))
    });
    demo.step("a node is killed, and what is acknowledged meanwhile is kept for it", || {
        let killed = brokers.pop().ok_or("no node")?.kill();
        assert_eq!(publisher.published("demo/t", 2, false, b"kept"), 0);
        let back = killed.start();
        let (mut subscriber, present) = comes(&back, &stays);
        let message = subscriber.take_message();
        brokers.push(back);
        let found = format!("after its restart: session present {present}, {} = {}", message.topic, message.text());
        if present && message.text() == "kept" { Ok(((), found)) } else { Err(found) }
    });
    demo.step("a node of another environment is refused", || {
        let begun = Instant::now();
        let stranger = Member { environment: "other".into(), ..Member::of(&members, "stranger") };
        let ended = stranger.setup().try_start().err().ok_or("it joined")?;
        let why = ended.log.lines().find(|line| line.contains("refused")).unwrap_or(&ended.log).trim();
        if ended.code != Some(77) {
            return Err(format!("exit {:?}: {}", ended.code, ended.log));
        }
        Ok(((), format!("exit 77 after {:?}: {why}", begun.elapsed())))
    });
}
