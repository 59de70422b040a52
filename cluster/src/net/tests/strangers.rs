//! Peers that break the rules before, in or after the handshake, and at the gossip port. Nothing of them is kept, the member
//! reports it, and it goes on serving others.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::kit::{Kit, Node, until};
use super::rogue;
use crate::core::Refusal;
use crate::net::rpc::FRAME_BYTES_MAX;
use crate::net::rpc::service::{HelloReply, Purpose};
use crate::net::tls::Tls;
use crate::net::{Joined, Net, RefusedSide, StartError};

/// The member knows nobody, and takes the next good node.
async fn unharmed(kit: &Kit, member: &Node) {
    assert!(member.net.shared.peers.all().is_empty());
    // It is there until the member knows it.
    let next = kit.node("n9", &[member.seed()]).await;
    next.host.up("n1").await;
    member.host.up("n9").await;
}

/// Certificates that are none of a node's: each is refused in the handshake, and the same node with a good one is welcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_no_node() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let address = member.net.rpc_address();
    let good = kit.odd_files("n2", |_| ());
    let expired = kit.odd_files("n2", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = kit.odd_files("n2", |params| params.not_before = rcgen::date_time_ymd(2120, 1, 1));
    let client = kit.odd_files("n2", |params| params.extended_key_usages.truncate(0));
    let only = |params: &mut rcgen::CertificateParams, usage| params.extended_key_usages = vec![usage];
    let client_only = kit.odd_files("n2", |p| only(p, rcgen::ExtendedKeyUsagePurpose::ClientAuth));
    let server_only = kit.odd_files("n2", |p| only(p, rcgen::ExtendedKeyUsagePurpose::ServerAuth));
    let nobody = kit.odd_files("n2", |params| params.subject_alt_names.clear());
    let two = kit.odd_files("n2", |params| params.subject_alt_names.push(params.subject_alt_names[0].clone()));
    let other = kit.odd_files("n2", |params| {
        params.subject_alt_names = vec![rcgen::SanType::URI("https://prod/n2".try_into().unwrap())];
    });
    let other_kit = Kit::new("prod", "east");
    let foreign = other_kit.odd_files("n2", |_| ());
    let cases = [
        (None, "no certificate"),
        (Some(&expired), "expired"),
        (Some(&early), "becomes valid"),
        (Some(&client_only), "serverAuth and clientAuth"),
        (Some(&server_only), "serverAuth and clientAuth"),
        (Some(&nobody), "has 0 URIs"),
        (Some(&two), "has 2 URIs"),
        (Some(&other), "names no node"),
        (Some(&foreign), "no certificate authority of this cluster"),
    ];
    for (files, text) in cases {
        member.host.clear();
        // Three reports in ten seconds: forget those before.
        let fresh = Node::start(kit.settings("n1", &[])).await;
        let address = fresh.net.rpc_address();
        assert_eq!(rogue::hello(address, files, kit.hello("n2")).await, None, "{text}");
        let seen = fresh.host.refused(RefusedSide::ByUs, text).await;
        assert_eq!((seen.why.code(), seen.who), ("tls", None));
        assert!(fresh.net.shared.peers.all().is_empty());
    }
    // Without any extended key usage a certificate is for everything, as X.509 says.
    for files in [&good, &client] {
        assert!(matches!(rogue::hello(address, Some(files), kit.hello("n2")).await, Some(HelloReply::Welcome(_))));
    }
    unharmed(&kit, &member).await;
}

/// A good certificate of another node, environment or cluster than the Hello says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_with_somebody_elses_certificate() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let address = member.net.rpc_address();
    for (environment, cluster, node) in [("prod", "east", "n3"), ("test", "east", "n2"), ("prod", "west", "n2")] {
        let files = kit.files(environment, cluster, node);
        let answer = rogue::hello(address, Some(&files), kit.hello("n2")).await;
        assert!(matches!(answer, Some(HelloReply::Refused(Refusal::CertificateDiffers { .. }))), "{answer:?}");
    }
    let seen = member.host.refused(RefusedSide::ByUs, "its certificate says").await;
    assert_eq!((seen.why.code(), seen.who.unwrap().node.as_str()), ("certificate_differs", "n3"));
    let good = kit.files("prod", "east", "n2");
    assert!(matches!(rogue::hello(address, Some(&good), kit.hello("n2")).await, Some(HelloReply::Welcome(_))));
    unharmed(&kit, &member).await;
}

/// A node does not even start with a certificate that no peer would take, or that is another node's; it names the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_wrong_certificate_does_not_start() {
    let kit = Kit::new("prod", "east");
    let start = async |files| {
        let mut settings = kit.settings("n2", &[]);
        settings.tls = files;
        Net::start(settings, std::sync::Arc::new(super::kit::Recorder::default())).await
    };
    assert!(start(kit.files("prod", "east", "n2")).await.is_ok());
    for (environment, cluster, node) in [("prod", "east", "n3"), ("test", "east", "n2"), ("prod", "west", "n2")] {
        let error = start(kit.files(environment, cluster, node)).await.err().unwrap();
        assert!(matches!(error, StartError::Identity { .. }), "{error}");
    }
    let expired = kit.odd_files("n2", |params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    let error = start(expired).await.err().unwrap().to_string();
    assert!(error.contains("n2.pem") && error.contains("expired"), "{error}");
    let mut foreign = kit.files("prod", "east", "n2");
    let other = Kit::new("prod", "east");
    foreign.ca_file = other.dir.path().join("ca.pem");
    let error = start(foreign).await.err().unwrap().to_string();
    assert!(error.contains("no peer would accept it"), "{error}");
    let mut leaf = kit.files("prod", "east", "n2");
    leaf.ca_file = leaf.certificate_file.clone();
    let error = start(leaf).await.err().unwrap().to_string();
    assert!(error.contains("is not a CA certificate"), "{error}");
}

/// A frame of 4 GiB closes the connection, before its Hello and after, and allocates nothing; so does any other call before
/// a Hello, and a second Hello.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_calls_out_of_order() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let address = member.net.rpc_address();
    let files = kit.files("prod", "east", "n2");
    let mut stream = rogue::connect(address, Some(&files)).await.unwrap();
    stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    member.host.refused(RefusedSide::ByUs, "a frame of 4294967295 bytes").await;
    let closed = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut [0; 16])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");

    let long = || crate::net::link::deadline(Duration::from_secs(2));
    let early = rogue::client(address, Some(&files)).await.unwrap();
    assert!(early.control(long(), vec![]).await.is_err());
    let seen = member.host.refused(RefusedSide::ByUs, "a call before its Hello").await;
    assert_eq!(seen.who.unwrap().node.as_str(), "n2");

    let twice = rogue::client(address, Some(&files)).await.unwrap();
    let hello = kit.hello("n2");
    assert!(matches!(twice.hello(long(), hello.clone(), Purpose::Probe).await, Ok(HelloReply::Welcome(_))));
    twice.ping(long()).await.unwrap();
    assert!(twice.hello(long(), hello, Purpose::Probe).await.is_err());
    unharmed(&kit, &member).await;
}

/// The largest frame is the same on both ends and bounded: what fits is built, what does not is no batch.
#[test]
fn the_largest_batch_fits_a_frame() {
    const { assert!(crate::net::BATCH_BYTES_MAX < FRAME_BYTES_MAX && FRAME_BYTES_MAX < u32::MAX as usize) }
}

/// A seed that accepts and never answers, in TCP, or after TLS: it costs seconds, it is reported, and another seed is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_that_never_answers() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seeds = [deaf.local_addr().unwrap().to_string(), mute.local_addr().unwrap().to_string()];
    let tls = Tls::load(&kit.files("prod", "east", "n8")).unwrap();
    tokio::spawn(async move {
        let mut kept = vec![];
        loop {
            kept.push(tls.accept(mute.accept().await.unwrap().0).await);
        }
    });
    let alone = Node::start(kit.settings("n2", &seeds)).await;
    assert!(matches!(alone.host.joined().await, Joined::Refused { .. }));
    alone.host.refused(RefusedSide::ByUs, "no TLS handshake in time").await;
    alone.host.refused(RefusedSide::ByUs, "did not answer a Hello in time").await;
    let [first, second] = seeds;
    let start = std::time::Instant::now();
    let joiner = Node::start(kit.settings("n3", &[first, second, member.seed()])).await;
    assert!(matches!(joiner.host.joined().await, Joined::Admitted { .. }));
    assert!(start.elapsed() < Duration::from_secs(2), "the silent seeds were waited for");
    drop(deaf);
}

/// A peer that connects and says nothing is cut off, before TLS and before its Hello.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_nothing() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let address = member.net.rpc_address();
    let _silent = TcpStream::connect(address).await.unwrap();
    let files = kit.files("prod", "east", "n2");
    let _mute = rogue::connect(address, Some(&files)).await.unwrap();
    member.host.refused(RefusedSide::ByUs, "no TLS handshake in time").await;
    member.host.refused(RefusedSide::ByUs, "no Hello in time").await;
    unharmed(&kit, &member).await;
}

/// Garbage, plaintext, another environment's label and lengths that lie, over UDP and TCP: turned away before memberlist
/// reads any of it, and reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_is_none() {
    let kit = Kit::new("prod", "east");
    let plain = b"\x0c\x04prod\x02\x00\x00\x00 and some more".to_vec();
    let sealed = |length: u32, bytes: usize| {
        let mut frame = b"\x0c\x04prod\x0f\x01".to_vec();
        frame.extend(length.to_be_bytes());
        frame.resize(frame.len() + bytes, 7);
        frame
    };
    let cases = [
        (b"garbage that is long enough to be read as a head".to_vec(), "gossip_label"),
        (b"\x0c\x04test\x0f\x01\x00\x00\x00\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec(), "gossip_label"),
        (plain, "gossip_plaintext"),
        (sealed(4, 32), "gossip_key"),
        (sealed(u32::MAX, 64), "gossip_length"),
    ];
    for (frame, code) in cases {
        let member = Node::start(kit.settings("n1", &[])).await;
        let address = member.net.gossip_address();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        udp.send_to(&frame, address).await.unwrap();
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(&frame).await.unwrap();
        let seen = || {
            let all = member.host.all();
            all.iter().filter(|said| matches!(said, super::kit::Said::Refused(r) if r.why.code() == code)).count()
        };
        until(Duration::from_secs(5), &format!("{code} over UDP and TCP"), || seen() == 2).await;
        unharmed(&kit, &member).await;
    }
}

/// Gossip from outside of the allowed networks is not read, be it authentic; the same node from inside is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_from_another_network() {
    let kit = Kit::new("prod", "east");
    let mut settings = kit.settings("n1", &[]);
    settings.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
    let member = Node::start(settings).await;
    let outside = |node: &str, address: &str| {
        let mut settings = kit.settings(node, &[member.seed()]);
        settings.gossip_bind = format!("{address}:0").parse().unwrap();
        settings
    };
    let joiner = Node::start(outside("n2", "127.0.0.2")).await;
    member.host.refused(RefusedSide::ByUs, "outside of allowed_networks").await;
    assert_eq!(member.members(), [""; 0]);
    drop(joiner);
    Node::start(outside("n3", "127.0.0.1")).await.host.up("n1").await;
}
