//! Peers that are no nodes, or do not behave as such, at the ports of a real member: nothing of them stays, the member says and counts
//! it, its clients notice nothing, and the twin that behaves joins within 5 s.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::Client;
use gatemq_tests::cluster::{self, GOSSIP_PORT, Member, an_address, status, up, wait_until_reached};
use gatemq_tests::peer::{Peer, Relay};
use gatemq_tests::{PATIENCE, short_or_long, wait_for};

use super::comes;
use super::refused::refusals;

const JOINS_WITHIN: Duration = Duration::from_secs(5);

/// A member alone, with a client.
fn member() -> (Vec<Member>, Broker, Client) {
    let members = cluster::members("test", 1);
    let broker = members[0].setup().start();
    let client = comes(&broker, "client");
    (members, broker, client)
}

/// The member has refused somebody for this, says so and counts it; nobody has joined, and its client is served.
fn expect_refused(member: &mut Broker, client: &mut Client, code: &str, why: &str) {
    let fits = |e: &serde_json::Value| {
        let fields = &e["fields"];
        let says = fields["why"].as_str().is_some_and(|text| text.contains(why));
        e["event"] == "NodeRefused" && fields["side"] == "by_us" && fields["code"] == code && says
    };
    member.tape().wait_for(why, fits);
    assert!(refusals(member, code) > 0, "{code}: it is counted");
    let seen = status(member);
    assert!(seen["rows"].as_array().unwrap().is_empty(), "{seen:#}");
    client.ping();
}

/// It joins, within 5 s.
fn expect_joins(member: &Broker, twin: Setup) -> Broker {
    let begun = Instant::now();
    let joined = twin.start();
    cluster::wait_until_whole(&[member, &joined]);
    assert!(begun.elapsed() < JOINS_WITHIN, "it joins after {:?}", begun.elapsed());
    joined
}

/// Who shows no certificate ends in the handshake; the twin has one.
#[test]
fn a_peer_without_a_certificate_is_refused() {
    let (members, mut broker, mut client) = member();
    let mut peer = Peer::connect(members[0].rpc(), None);
    peer.send(b"nobody");
    peer.expect_end();
    expect_refused(&mut broker, &mut client, "tls", "certificate");
    expect_joins(&broker, Member::of(&members, "node-2").setup());
}

/// A peer with a node's certificate announces a frame of 4 GiB: it is cut off before anything is made ready for that. The twin that
/// sends no such frame, with the same certificate, joins.
#[test]
fn a_frame_of_4_gib_is_cut_off() {
    let (members, mut broker, mut client) = member();
    let twin = Member::of(&members, "node-2");
    let setup = twin.setup();
    let before = broker.memory_bytes();
    let mut peer = Peer::connect(members[0].rpc(), Some(&twin.shown(&setup)));
    peer.send(&u32::MAX.to_be_bytes());
    peer.expect_end();
    expect_refused(&mut broker, &mut client, "rpc", "a frame of 4294967295 bytes");
    let grown = broker.memory_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "its memory grows by {} MiB", grown >> 20);
    expect_joins(&broker, setup);
}

/// Garbage, gossip without encryption, and with a key that is none, over UDP and TCP: turned away, each for its reason. The twin that
/// has the key joins.
#[test]
fn garbage_at_the_gossip_port_is_turned_away() {
    // memberlist's frames: a label, then what is in it.
    let labelled = |frame: &[u8]| [b"\x0c\x04test", frame].concat();
    let cases = [
        (b"garbage, as long as a frame may well be, of no kind".to_vec(), "gossip_label"),
        (labelled(b"\x02\x00\x00\x00 and more that nobody has encrypted"), "gossip_plaintext"),
        (labelled(&[&b"\x0f\x01\x00\x00\x00\x04"[..], &[7; 32]].concat()), "gossip_key"),
        (labelled(&[&b"\x0f\x01\xff\xff\xff\xff"[..], &[7; 64]].concat()), "gossip_length"),
    ];
    let (members, mut broker, mut client) = member();
    let to = members[0].gossip();
    for (frame, code) in cases {
        let udp = UdpSocket::bind((an_address(), 0)).unwrap();
        udp.send_to(&frame, to).unwrap();
        wait_for(code, PATIENCE, || (refusals(&broker, code) == 1).then_some(()));
        TcpStream::connect(to).unwrap().write_all(&frame).unwrap();
        wait_for(code, PATIENCE, || (refusals(&broker, code) >= 2).then_some(()));
        expect_refused(&mut broker, &mut client, code, "gossip");
    }
    expect_joins(&broker, Member::of(&members, "node-2").setup());
}

/// Everything that a node has gossiped, sent again, by UDP and TCP: after it has left it is no member again; and while its next process
/// is one, that one stays. It joins within 5 s meanwhile.
#[test]
fn replayed_gossip_has_no_lasting_effect() {
    let (watched, relay_at) = (short_or_long(Duration::from_secs(5), Duration::from_secs(60)), an_address());
    let mut members = cluster::members("test", 2);
    let relay_at = SocketAddr::from((relay_at, GOSSIP_PORT));
    // The second one gossips with the first through the relay.
    members[0].more = format!("advertise = \"{relay_at}\"");
    let relay = Relay::start(relay_at, members[0].gossip(), members[1].gossip());
    let mut brokers = cluster::start(members.iter().map(Member::setup));
    wait_for("gossip on record", PATIENCE, || {
        let recorded = relay.recorded();
        (recorded.packets.len() >= 10 && !recorded.streams.is_empty()).then_some(())
    });
    let (_, away) = brokers.pop().unwrap().stop_to_start_again();
    let one = brokers.pop().unwrap();
    wait_for("it has left", PATIENCE, || up(&status(&one)).is_empty().then_some(()));
    let mut client = comes(&one, "client");
    let recorded = relay.recorded();
    eprintln!("{} packets and {} streams are sent again", recorded.packets.len(), recorded.streams.len());
    let mut replay = |what: &str, is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        // That nothing comes of it takes time, and no condition ends it.
        while begun.elapsed() < watched {
            recorded.replay(members[0].gossip());
            assert!(is(), "{what}: {:#}", status(&one));
            client.ping();
        }
        comes(&one, "another").ping();
    };
    replay("nobody comes back", &|| up(&status(&one)).is_empty());
    let two = expect_joins(&one, away);
    let joined_ms = |at: &Broker| status(at)["rows"][0]["since_ms"].clone();
    let since = joined_ms(&one);
    replay("the next process stays", &|| up(&status(&one)) == ["node-2"] && joined_ms(&one) == since);
    assert_eq!(client.subscribe("t", 0), 0);
    wait_until_reached(&mut comes(&two, "publisher"), &mut client, "t");
}

/// A seed that accepts and never answers costs seconds, and no admission: the next one is asked. With that one alone a node says what
/// is the matter, and serves its clients.
#[test]
fn a_seed_that_never_answers_keeps_nobody_out() {
    let (members, broker, _client) = member();
    let address = an_address();
    let deaf = TcpListener::bind((address, cluster::RPC_PORT)).unwrap();
    let mut twin = Member::of(&members, "node-2");
    let mut alone = Member { seeds: vec![address], ..Member::of(&members, "node-3") };
    alone.more = "on_refused = \"degraded\"".into();
    twin.seeds.insert(0, address);
    let joined = expect_joins(&broker, twin.setup());
    drop(joined);
    let alone = alone.setup().start();
    alone
        .wait_for_log("it says who does not answer", |line| line.contains(&format!("{address}:{}", cluster::RPC_PORT)));
    assert!(up(&status(&alone)).is_empty());
    comes(&alone, "client").ping();
    drop(deaf);
}
