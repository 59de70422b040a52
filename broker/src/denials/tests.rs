//! Denials without a node: what is found, what is not, and what is bounded.

use std::net::IpAddr;

use gatemq_types::{Denial, Subject};

use super::*;

fn denial(subject: Subject, until_ms: u64, raised_by: &str) -> Denial {
    Denial { subject, until_ms, reason: "why".into(), raised_by: raised_by.into() }
}

fn network(text: &str) -> Subject {
    let (address, bits) = text.split_once('/').unwrap();
    Subject::Address { address: address.parse().unwrap(), bits: bits.parse().unwrap() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn user(user: &str) -> Subject {
    Subject::User { tenant: "t".into(), user: user.into() }
}

fn client(user: &str, client_id: &str) -> Subject {
    Subject::Client { tenant: "t".into(), user: user.into(), client_id: client_id.into() }
}

fn refuse(denials: &Denials, subject: Subject, raised_by: &str) -> Result<Added, NotAdded> {
    denials.add(denial(subject, 0, raised_by), Effect::Refuse)
}

/// Promise 7: an address is kept out by each network that holds it, in every form of it, and its neighbours are not; lifted,
/// it is let in.
#[test]
fn promise_7_networks_hold_their_addresses_and_no_others() {
    for (subject, inside, outside) in [
        ("192.0.2.7/32", &["192.0.2.7", "::ffff:192.0.2.7"][..], &["192.0.2.6", "192.0.2.8", "::c000:207"][..]),
        ("::ffff:192.0.2.7/128", &["192.0.2.7"], &["192.0.2.6"]),
        ("10.1.2.3/8", &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0", "::10.0.0.1"]),
        ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "2001:db8::1"]),
        ("2001:db8:0:7::9/64", &["2001:db8:0:7::", "2001:db8:0:7:ffff::1"], &["2001:db8:0:6::9", "2001:db8:0:8::"]),
        ("::/0", &["::", "2001:db8::1"], &["10.0.0.1", "::ffff:10.0.0.1"]),
    ] {
        let denials = Denials::new(9);
        refuse(&denials, network(subject), "operator").unwrap();
        let is_denied = |text: &&str| denials.of_address(ip(text), 0, |_| true).is_some();
        assert!(inside.iter().all(is_denied), "{subject} lacks one of {inside:?}");
        assert!(!outside.iter().any(is_denied), "{subject} has one of {outside:?}");
        // Another of the same length must not take it along.
        refuse(&denials, network("198.51.100.1/32"), "operator").unwrap();
        assert_eq!(denials.lift(&network(subject), None).len(), 1);
        assert!(!inside.iter().any(is_denied), "{subject} was lifted");
    }
}

/// Guards subjects that nobody could be, which would keep out nobody or everybody.
#[test]
fn subjects_without_a_meaning_are_refused() {
    let denials = Denials::new(9);
    for subject in [
        network("192.0.2.7/33"),
        network("2001:db8::/129"),
        network("::ffff:0.0.0.0/95"),
        user(""),
        Subject::User { tenant: "".into(), user: "u".into() },
        Subject::User { tenant: "t".repeat(257), user: "u".into() },
        client("u", ""),
        client("u", &"c".repeat(65_536)),
    ] {
        assert!(matches!(refuse(&denials, subject.clone(), "operator"), Err(NotAdded::Invalid(_))), "{subject}");
    }
    assert!(denials.is_empty());
}

/// Promise 7: certificates by leaf, key and authority, names by user and client: each keeps out its own and nobody else's.
#[test]
fn promise_7_certificates_and_names_keep_out_their_own() {
    let proven = Proven { leaf: [1; 32], key: [2; 32], issuers: [[3; 32], [4; 32]].into(), links: Box::default() };
    let other = Proven { leaf: [2; 32], key: [3; 32], issuers: [[1; 32]].into(), links: Box::default() };
    for subject in
        [Subject::Certificate([1; 32]), Subject::Key([2; 32]), Subject::Issuer([3; 32]), Subject::Issuer([4; 32])]
    {
        let denials = Denials::new(9);
        refuse(&denials, subject.clone(), "operator").unwrap();
        assert!(denials.of_certificate(&proven, 0).is_some(), "{subject}");
        assert!(denials.of_certificate(&other, 0).is_none(), "{subject}");
        assert!(denials.of_name("t", "u", "c", 0).is_none());
    }
    let denials = Denials::new(9);
    refuse(&denials, client("u", "c"), "operator").unwrap();
    refuse(&denials, user("v"), "operator").unwrap();
    let is_denied = |tenant, user, client_id| denials.of_name(tenant, user, client_id, 0).is_some();
    assert!(is_denied("t", "u", "c") && is_denied("t", "v", "any") && is_denied("t", "v", "c"));
    assert!(!is_denied("t", "u", "d") && !is_denied("t", "w", "c") && !is_denied("other", "v", "c"));
}

/// Promise 7: a raiser's bound is its own, a replacement takes no more of it, and what is lifted or over gives it back.
#[test]
fn promise_7_each_raiser_is_bounded() {
    let denials = Denials::new(2);
    refuse(&denials, user("a"), "plugin one").unwrap();
    refuse(&denials, user("b"), "plugin one").unwrap();
    assert_eq!(refuse(&denials, user("c"), "plugin one").unwrap_err(), NotAdded::Full { max: 2 });
    assert!(denials.of_name("t", "c", "x", 0).is_none());
    assert!(refuse(&denials, user("c"), "plugin two").is_ok(), "twin: another raiser");
    let again = denials.add(denial(user("a"), 50, "plugin one"), Effect::Refuse).unwrap();
    assert!(again.replaced);
    assert_eq!(denials.len(), 3);
    assert_eq!(denials.expire(49, 9).len(), 0);
    assert_eq!(denials.expire(50, 9).len(), 1);
    assert!(refuse(&denials, user("d"), "plugin one").is_ok());
    assert_eq!(denials.lift(&user("d"), Some("plugin one")).len(), 1);
    assert!(refuse(&denials, user("e"), "plugin one").is_ok());
    let long = || user(&"u".repeat(1500));
    assert!(denials.lift(&user("e"), None).len() == 1 && denials.lift(&user("b"), None).len() == 1);
    refuse(&denials, long(), "plugin one").unwrap();
    refuse(&denials, long(), "plugin one").expect("a replacement");
    refuse(&denials, user(&"v".repeat(600)), "plugin one").expect_err("so many bytes");
    refuse(&denials, user("e"), "plugin one").expect("twin: a short one");
    let restored = denials.restore(denial(user("f"), 0, "plugin one"), Effect::Refuse);
    assert!(restored.is_ok(), "what was kept stays in force when the bound is lowered");
}

/// Promise 7: nobody shortens or lifts what another raised for the same subject.
#[test]
fn promise_7_raisers_do_not_undo_one_another() {
    let denials = Denials::new(9);
    denials.add(denial(user("a"), 100, "operator"), Effect::Refuse).unwrap();
    denials.add(denial(user("a"), 10, "plugin one"), Effect::Refuse).unwrap();
    assert_eq!(denials.lift(&user("a"), Some("plugin two")).len(), 0);
    assert_eq!(denials.lift(&user("a"), Some("plugin one")).len(), 1);
    assert!(denials.of_name("t", "a", "c", 99).is_some());
    denials.add(denial(user("a"), 10, "plugin one"), Effect::Refuse).unwrap();
    assert_eq!(denials.expire(10, 9).len(), 1);
    assert!(denials.of_name("t", "a", "c", 99).is_some());
    assert!(denials.of_name("t", "a", "c", 100).is_none(), "over, though nobody took it away");
    denials.add(denial(user("a"), 0, "plugin one"), Effect::Refuse).unwrap();
    assert_eq!(denials.lift(&user("a"), None).len(), 2, "an operator lifts all");
    assert!(denials.is_empty() && !denials.has(&user("a"), None));
}

/// Guards listing: every page goes on where the one before ended, whatever is lifted meanwhile.
#[test]
fn pages_go_on() {
    let denials = Denials::new(100);
    for n in 0..7 {
        refuse(&denials, user(&n.to_string()), "operator").unwrap();
    }
    let (mut page, mut seen, mut pages) = (0, Vec::new(), 0);
    loop {
        let (found, next) = denials.page(page, 3);
        seen.extend(found.into_iter().map(|held| held.denial.subject.clone()));
        pages += 1;
        if next == 0 {
            break;
        }
        page = next;
        denials.lift(&user("0"), None);
    }
    assert_eq!((seen.len(), pages), (7, 3));
    assert_eq!(denials.page(0, 6).1, 0, "six are left, and one page has them");
}

/// Guards those behind one address: slowed down it may come, so often a second; and one that refuses goes before.
#[test]
fn an_address_is_slowed_down() {
    let denials = Denials::new(9);
    let subject = network("192.0.2.7/32");
    denials.add(denial(subject.clone(), 0, "plugin one"), Effect::Slow { per_s: 2 }).unwrap();
    let found = || denials.of_address(ip("192.0.2.7"), 0, |_| true).unwrap();
    let refused = |now_ms| (0..5).filter(|_| found().refuses(now_ms)).count();
    assert_eq!((refused(1000), refused(1999), refused(2000)), (3, 5, 3));
    refuse(&denials, network("192.0.2.0/24"), "operator").unwrap();
    assert!(found().refuses(9000));
    assert!(denials.of_address(ip("192.0.2.7"), 0, |held| held.effect != Effect::Refuse).is_some());
}

/// Guards who was here: noted for an hour, among others, and nobody else; and a flood of others leaves a bounded set.
#[test]
fn who_was_here_is_remembered_for_an_hour() {
    let recent = Recent::default();
    let noted = 1_700_000_000_000;
    recent.note(&("t", "victim"), noted);
    assert!(recent.holds(&("t", "victim"), noted + 3_600_000));
    assert!(!recent.holds(&("t", "victim"), noted + 3_602_000));
    assert!(!recent.holds(&("t", "other"), noted));
    (0..1000).for_each(|n| recent.note(&n, noted));
    assert!((0..1000).all(|n| recent.holds(&n, noted)) && recent.holds(&("t", "victim"), noted));
    let strangers = (1_000_000..2_000_000).filter(|n| recent.holds(n, noted)).count();
    assert_eq!(strangers, 0);
}
