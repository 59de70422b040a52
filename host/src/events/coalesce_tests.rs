//! What is told and what is counted, and that nothing is lost between the two.

use super::*;
use crate::denials::testing::peer;

const TOLD: u64 = TOLD_MAX as u64;

fn malformed() -> Fact {
    Fact::PacketMalformed { clause: "".into(), detail: "".into(), code: 0x81 }
}

fn is_told(taken: Taken) -> bool {
    matches!(taken, Taken::Told { .. })
}

/// How many of `events` are told, and what is told of others meanwhile.
fn told(coalescer: &Coalescer, peer: &Arc<Peer>, fact: &Fact, now_s: u64, events: u64) -> (u64, Vec<Coalesced>) {
    let (mut alone, mut others) = (0, Vec::new());
    for _ in 0..events {
        let (taken, over) = coalescer.take(peer, fact, now_s);
        alone += u64::from(is_told(taken));
        others.extend(over);
    }
    (alone, others)
}

fn counts(coalesced: &[Coalesced]) -> Vec<u64> {
    coalesced.iter().map(|c| c.count).collect()
}

/// Guards the promise itself: a hundred a second are told, the rest is one event with its count, in the next second or when
/// somebody looks; who comes slowly is told always.
#[test]
fn what_is_beyond_a_hundred_a_second_is_one_event() {
    let coalescer = Coalescer::default();
    let flood = Arc::new(peer("192.0.2.7", ""));
    let (alone, before) = told(&coalescer, &flood, &malformed(), 5, 1000);
    assert_eq!((alone, before.len()), (TOLD, 0));
    assert!(coalescer.over(5).is_empty(), "its second is not over");
    let (alone, before) = told(&coalescer, &flood, &malformed(), 6, 150);
    assert_eq!((alone, counts(&before)), (TOLD, vec![900]));
    let over = coalescer.over(7);
    assert_eq!(counts(&over), [50]);
    let fact = Fact::EventsCoalesced {
        kind: "PacketMalformed".into(),
        count: 50,
        address: "192.0.2.7/32".into(),
        code: 0x81,
        cause: "".into(),
        blame: "peer".into(),
    };
    assert_eq!(over[0].fact(), fact);
    assert!(coalescer.over(8).is_empty(), "it is told once");
    for second in 9..300 {
        assert_eq!(told(&coalescer, &flood, &malformed(), second, TOLD).0, TOLD);
    }
    assert_eq!(coalescer.over(u64::MAX).len(), 0);
}

/// Guards that a flood is no one else's: other addresses, kinds, causes and listeners are told one by one meanwhile, and so is each
/// admitted client behind the same address; strangers, whoever they claim to be, are one, and a /64 is one address.
#[test]
fn a_flood_takes_nothing_of_what_others_are_told() {
    let refused = |reason: &'static str| Fact::ConnectionRefused { reason: reason.into() };
    let base = || peer("2001:db8::1", "");
    let (flood, fact) = (base(), refused("address_connections_max"));
    let admitted = |client: &str| Peer { client_id: client.into(), ..peer("2001:db8::1", "t") };
    let cases = [
        ("itself", base(), refused("address_connections_max"), false),
        ("another of its /64", peer("2001:db8::2:1", ""), fact.clone(), false),
        ("another claim", Peer { client_id: "x".into(), user: "y".into(), ..base() }, fact.clone(), false),
        ("another connection", Peer { connection: 77, ..base() }, fact.clone(), false),
        ("another /64", peer("2001:db8:0:1::1", ""), fact.clone(), true),
        ("another listener", Peer { listener: "m".into(), ..base() }, fact.clone(), true),
        ("another cause", base(), refused("denied"), true),
        ("another kind", base(), malformed(), true),
        ("who is admitted", admitted("a"), fact.clone(), true),
    ];
    for (what, other, of, alone) in cases {
        let coalescer = Coalescer::default();
        told(&coalescer, &Arc::new(flood.clone()), &fact, 5, 10 * TOLD);
        assert_eq!(is_told(coalescer.take(&Arc::new(other), &of, 5).0), alone, "{what}");
    }
    let coalescer = Coalescer::default();
    told(&coalescer, &Arc::new(admitted("a")), &fact, 5, 10 * TOLD);
    let others = [admitted("b"), Peer { leaf_sha256: Some([1; 32]), ..admitted("a") }, base()];
    for other in others.map(Arc::new) {
        assert_eq!(told(&coalescer, &other, &fact, 5, TOLD).0, TOLD, "{other:?}");
    }
}

/// Guards against putting down to somebody what another did: of the envelope only that is kept which all had.
#[test]
fn only_what_all_had_is_said_of_all() {
    let said = |other: Peer| {
        let coalescer = Coalescer::default();
        let first = Peer { leaf_sha256: Some([1; 32]), ..peer("2001:db8::1", "") };
        told(&coalescer, &Arc::new(first.clone()), &malformed(), 5, TOLD + 3);
        for again in [other, first] {
            told(&coalescer, &Arc::new(again), &malformed(), 5, 2);
        }
        let mut over = coalescer.over(6);
        assert_eq!(counts(&over), [7]);
        over.remove(0).peer
    };
    let base = || Peer { leaf_sha256: Some([1; 32]), ..peer("2001:db8::1", "") };
    assert_eq!(*said(base()), base());
    let moved = |remote: &str| Peer { connection: 9, remote: remote.parse().unwrap(), ..base() };
    let of_one = |remote: &str| Peer { connection: 0, remote: remote.parse().unwrap(), ..base() };
    assert_eq!(*said(moved("[2001:db8::1]:9")), of_one("[2001:db8::1]:0"));
    assert_eq!(*said(moved("[2001:db8::9]:9")), of_one("[2001:db8::]:0"));
    let stranger = Peer { leaf_sha256: None, client_id: "other".into(), ..base() };
    assert_eq!(*said(stranger), Peer { leaf_sha256: None, client_id: "".into(), ..base() });
}

/// Promise 6: a flood from more addresses than there are slots costs no memory and no event. A calm address is told all the while,
/// and one that floods is counted all the while: who comes once does not push it out.
#[test]
fn promise_6_a_full_table_loses_nothing() {
    let coalescer = Coalescer::default();
    let (calm, loud) = (Arc::new(peer("192.0.2.7", "")), Arc::new(peer("192.0.2.8", "")));
    let (mut sent, mut alone, mut counted) = (0, 0, 0);
    told(&coalescer, &loud, &malformed(), 5, TOLD);
    for n in 0..20 * (SETS * WAYS) as u32 {
        let passer = Arc::new(peer(&std::net::Ipv4Addr::from(0x0A00_0000 + n).to_string(), ""));
        let (taken, over) = coalescer.take(&passer, &malformed(), 5);
        assert!(is_told(taken) && over.is_none());
        if n % 1000 == 0 {
            assert!(is_told(coalescer.take(&calm, &malformed(), 5).0), "after {n}");
        }
        if n % 4 == 0 {
            let (n, over) = told(&coalescer, &loud, &malformed(), 5, 2);
            (sent, alone) = (sent + 2, alone + n);
            counted += over.iter().map(|c| c.count).sum::<u64>();
        }
    }
    counted += coalescer.over(6).iter().map(|c| c.count).sum::<u64>();
    assert_eq!((alone, counted), (0, sent));
}

/// Promise 6: where floods have a whole set, who comes new is told, and nothing of theirs is lost.
#[test]
fn promise_6_a_set_full_of_floods_lets_others_by() {
    let mut set: [Slot; WAYS] = Default::default();
    let more = || {
        let cause = Cause::of(&malformed()).into_owned();
        Coalesced { kind: EventKind::PacketMalformed, peer: Arc::new(peer("192.0.2.7", "")), count: 1, cause }
    };
    for (at, slot) in set.iter_mut().enumerate() {
        *slot = Slot { who: at as u64 + 1, second: 5, told: TOLD_MAX, more: Some(more()) };
    }
    assert!(find(&mut set, 99, 5).is_none());
    assert_eq!(find(&mut set, 3, 5).map(|slot| slot.who), Some(3));
    assert!(
        find(&mut set, 99, 6).is_some_and(|slot| slot.more.is_some()),
        "taken over, and told of, in the next second"
    );
}

/// Promise 6: nobody waits for a thread that is at a set; the event is told.
#[test]
fn promise_6_taking_never_waits() {
    let coalescer = Coalescer::default();
    let flood = Arc::new(peer("192.0.2.7", ""));
    told(&coalescer, &flood, &malformed(), 5, 2 * TOLD);
    let held: Vec<_> = coalescer.sets.iter().map(|set| set.lock()).collect();
    assert!(is_told(coalescer.take(&flood, &malformed(), 5).0));
    assert!(coalescer.over(6).is_empty());
    drop(held);
    assert_eq!(counts(&coalescer.over(6)), [TOLD], "looked at again, because it was kept from looking");
}

/// Guards the seconds: a thread that is late by one does not begin them anew, a clock that is set back does.
#[test]
fn seconds_follow_the_clock() {
    let coalescer = Coalescer::default();
    let flood = Arc::new(peer("192.0.2.7", ""));
    assert_eq!(told(&coalescer, &flood, &malformed(), 50, 2 * TOLD).0, TOLD);
    assert_eq!(told(&coalescer, &flood, &malformed(), 49, 1).0, 0);
    let (alone, over) = told(&coalescer, &flood, &malformed(), 10, 2 * TOLD);
    assert_eq!((alone, counts(&over)), (TOLD, vec![TOLD + 1]));
}
