//! What came for a session at the node where it was, and follows it to this one.

use std::sync::Arc;

use crate::session::{Delivered, Late, Session, Spare, Way};
use crate::tree::Target;

/// Gives a session what came where it was, if one of its subscriptions of now wants it: some may have been taken away here, by the
/// check with the grants of now, of which the other node does not know; and the client may have begun a new session.
pub fn deliver_late(session: &Arc<Session>, way: Way, late: Late, spare: &mut Spare) -> Delivered {
    match is_wanted(session, late.message.topic()) {
        true => session.take_late(way, late, spare),
        false => session.deny_late(),
    }
}

/// Costs what it costs to publish to that topic.
fn is_wanted(session: &Arc<Session>, topic: &str) -> bool {
    let mut targets = Vec::new();
    session.key().tenant().tree.read().collect(topic, &mut Vec::new(), &mut targets);
    targets.iter().any(|target| match target {
        Target::Session(subscription) => Arc::ptr_eq(&subscription.session, session),
        Target::Group(group) => group.member(session).is_some(),
        Target::Node(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, Protocol};

    use super::*;
    use crate::heard::{COUNTED_BITS, Past, Publication};
    use crate::identity::testing::{key, with};
    use crate::router;
    use crate::router::testing::subscribe;
    use crate::session::{Dropped, Message, RestoredMessage};
    use crate::sessions::{Leave, Opening, Restored};
    use crate::{Attached, Home, Out, SessionKey, SessionLimits, Sessions, TopicCache};

    fn late(topic: &str) -> Late {
        let message = Message::of_packet(&router::testing::frame(Protocol::V5, 0x32, topic, &[], b"x"), 0, 0).unwrap();
        Late { seq: 0, first: 0x32, identifier: 0, message: Arc::new(message) }
    }

    fn open(sessions: &Sessions, key: &Arc<SessionKey>, clean_start: bool, out: &mut Out) -> Attached {
        let (home, limits) = (Home { worker: 0, connection: 1 }, SessionLimits::default());
        let opening = Opening { key, protocol: Protocol::V5, limits, home, clean_start, expiry_s: 60, will: None };
        sessions.open(opening, 0, &mut out.spare).session
    }

    /// Guards section 5, "a resumed session's subscriptions and queue are re-checked", over a move between nodes: what follows a session
    /// and came by a subscription that its client may not have any more is not delivered, also when a new session has its key; what it
    /// may have is.
    #[test]
    fn what_follows_a_session_is_what_it_may_have_now() {
        let (key, sessions, mut out) = (key("c"), Sessions::default(), Out::new(TopicCache::new(8, 8)));
        sessions.store_from(1);
        let session = open(&sessions, &key, false, &mut out);
        let constraints = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
        let allow = |filter: &str| Grant { constraints: constraints.clone(), ..Grant::allow(Actions::ALL, filter) };
        let more = with(&key, &[allow("#")], NoMatch::Deny, &Limits::default());
        for filter in ["secret/#", "open", "$share/g/shared"] {
            assert_eq!(subscribe(&more, &session, filter, 1), 1);
        }
        assert!(sessions.leave(&session, Leave::default(), 0, &mut out.spare).stays);
        let session = open(&sessions, &key, false, &mut out);
        let fewer = with(&key, &["open", "shared"].map(allow), NoMatch::Deny, &Limits::default());
        let revoked = router::recheck(&fewer, &session, &mut out.spare.changes).revoked;
        assert_eq!(revoked.iter().map(|(filter, _)| &**filter).collect::<Vec<_>>(), ["secret/#"]);
        router::begin(&session, 0, &mut out.spare);
        for topic in ["open", "secret/x", "shared"] {
            deliver_late(session.session(), 7, late(topic), &mut out.spare);
        }
        let topics = |session: &Attached| {
            session.session().late(0).iter().map(|late| late.message.topic().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(topics(&session), ["open", "shared"]);
        assert_eq!(session.take_dropped().map(|told| told.0), Some(Dropped { denied: 1, ..Dropped::default() }));

        let new = open(&sessions, &key, true, &mut out);
        deliver_late(new.session(), 7, late("open"), &mut out.spare);
        assert!(topics(&new).is_empty(), "it has subscribed nothing");
    }

    fn moved_in(key: &Arc<SessionKey>, number: u64, filter: &str) -> Restored {
        Restored {
            number,
            key: key.clone(),
            protocol: Protocol::V5,
            expiry_s: 60,
            away_since_ms: 1,
            limits: SessionLimits::default(),
            version: 1,
            last_seq: 0,
            subscriptions: vec![(filter.to_owned(), 1, 0)],
            messages: Vec::new(),
            released: Vec::new(),
            received: Vec::new(),
            past: Past::default(),
            will: None,
        }
    }

    fn publications(late: &[Late]) -> Vec<u64> {
        late.iter().map(|late| late.message.publication()).collect()
    }

    /// Guards promise 5 over a move: a session that comes back takes the place of what is still here of it, so that nothing comes between,
    /// and what came for both, before anything follows it, it has once; each of the times that it was at a node counts for itself. Other
    /// nodes are told once that it wants nothing here any more.
    #[test]
    fn a_session_that_comes_back_takes_its_old_ones_place() {
        let (key, sessions, mut out) = (key("c"), Sessions::default(), Out::new(TopicCache::new(8, 8)));
        sessions.store_from(1);
        out.number_publications(Publication { node: 1, number: 1 << COUNTED_BITS });
        out.spare.changes.note_interests();
        let all = with(&key, &[Grant::allow(Actions::ALL, "#")], NoMatch::Deny, &Limits::default());
        let publisher = open(&sessions, &crate::identity::testing::key("publisher"), true, &mut out);
        let send = |out: &mut Out| {
            router::testing::send(&all, &publisher, &router::testing::frame(Protocol::V5, 0x32, "t", &[], b"x"), out)
        };
        let told = |out: &mut Out| {
            out.spare.changes.take_interests().into_iter().map(|of| (of.filter, of.added)).collect::<Vec<_>>()
        };
        let old = sessions.move_in(moved_in(&key, 7, "t"), &[], None, &mut out.spare).unwrap();
        assert_eq!((told(&mut out), send(&mut out).delivered), (vec![("t".to_owned(), true)], 1));
        let withdrawn: Vec<_> = old.withdraws().into_iter().map(|of| (of.filter, of.added)).collect();
        assert_eq!((withdrawn, old.withdraws().len()), (vec![("t".to_owned(), false)], 0));
        assert!(sessions.movable().is_empty(), "it lives elsewhere");
        assert_eq!(send(&mut out).delivered, 1, "what comes all the same it gets");

        let [first, second] = publications(&old.late(0))[..] else { panic!("two") };
        // The first is in the state that comes back.
        let new = sessions.move_in(moved_in(&key, 8, "t"), &[(first, 1)], Some(&old), &mut out.spare).unwrap();
        assert!(Arc::ptr_eq(&sessions.get(&key).unwrap(), &new));
        assert_eq!(send(&mut out).delivered, 2, "both are there");
        let third = publications(&new.late(0))[0];
        let rest = sessions.end_moved(&old, 1, &mut out.spare);
        assert_eq!(publications(&rest), [second, third]);
        assert_eq!(told(&mut out), [("t".to_owned(), true)], "its end was told before");
        for late in rest {
            deliver_late(&new, 1, late, &mut out.spare);
        }
        assert_eq!(publications(&new.late(0)), [third, second]);
        // Other ways, and the same message twice from one node, where it was twice.
        let message = new.late(0).remove(1).message;
        let again = |publication| Late {
            seq: 0,
            first: 0x32,
            identifier: 0,
            message: match publication {
                0 => message.clone(),
                _ => Arc::new(Message::of_packet(&message.packet(0x32, 0), publication, 0).unwrap()),
            },
        };
        for way in [5, 6] {
            deliver_late(&new, way, again(0), &mut out.spare);
            deliver_late(&new, way, again(first), &mut out.spare);
        }
        assert_eq!(publications(&new.late(0)), [third, second]);
        assert_eq!(
            deliver_late(&old, 5, again(0), &mut out.spare),
            Delivered::Closed,
            "whoever has found the old one looks again"
        );
        // One that has come since is not thrown out.
        assert!(sessions.move_in(moved_in(&key, 9, "t"), &[], Some(&old), &mut out.spare).is_err());
        assert_eq!(send(&mut out).delivered, 1);
    }

    /// Guards promise 5 over a move: what another node has published before it, and comes late to where the session lives now, it has,
    /// or it follows it; what was published later is new, each time that a subscription wants it.
    #[test]
    fn what_was_routed_where_it_was_is_not_new_to_it() {
        let (key, sessions, mut out) = (key("c"), Sessions::default(), Out::new(TopicCache::new(8, 8)));
        sessions.store_from(1);
        let of = |node, count| Publication { node, number: 1_u64 << COUNTED_BITS | count };
        let mut there = Out::new(TopicCache::new(8, 8));
        let from_node = |publication, qos: u8, out: &mut Out| {
            let packet = router::testing::frame(Protocol::V5, 0x30 | qos << 1, "t", &[], b"x");
            let sent = router::FromNode { packet: &packet, plain: true, shares: &[], publication };
            router::publish_from_node(key.tenant(), sent, &crate::Hasher::default(), 0, out).unwrap();
        };
        from_node(of(7, 5), 1, &mut there);
        // It may have overtaken others.
        from_node(of(7, 9), 0, &mut there);
        let mut past = Past::default();
        past.leaves(1, 0, there.heard().last());
        past.comes(2, 0);
        let restored = Restored { past, ..moved_in(&key, 7, "t") };
        let session = sessions.restore(restored, &mut Default::default()).unwrap();
        let mut come = |publication| {
            from_node(publication, 1, &mut out);
            session.late(0).len()
        };
        assert_eq!([of(7, 4), of(7, 5), of(8, 5), of(7, 6), of(7, 7)].map(&mut come), [0, 0, 1, 2, 3]);
        assert!(matches!(deliver_late(&session, 5, numbered(of(7, 5).number), &mut out.spare), Delivered::Quiet));
        assert_eq!(session.late(0).len(), 4, "it was here when it was cut, and follows");
    }

    fn numbered(publication: u64) -> Late {
        let message = late("t").message.packet(0x32, 0);
        Late { message: Arc::new(Message::of_packet(&message, publication, 0).unwrap()), ..late("t") }
    }

    /// Guards promise 5 over a restart in a move: what waits, and follows the session once more by another way, it has once.
    #[test]
    fn what_waits_since_before_a_restart_is_not_new() {
        let (key, sessions, mut out) = (key("c"), Sessions::default(), Out::new(TopicCache::new(8, 8)));
        let waits = |seq, publication| {
            let (first, message) = (0x32, numbered(publication).message);
            RestoredMessage { seq, first, identifier: 0, may_be_sent: false, message }
        };
        // One that two subscriptions wanted, and one of a time before numbers were stored.
        let messages = vec![waits(1, 9), waits(2, 9), waits(3, 8), waits(4, 0)];
        let restored = Restored { messages, last_seq: 4, ..moved_in(&key, 7, "t") };
        let session = sessions.restore(restored, &mut Default::default()).unwrap();
        assert_eq!(session.knows_what_waits(9), 2);
        for publication in [9, 9, 8, 0, 7] {
            deliver_late(&session, 5, numbered(publication), &mut out.spare);
        }
        assert_eq!(publications(&session.late(4)), [0, 7], "the last one, and what has no number, are new");
        assert!(!session.has_moved_in() && session.has_moved_in(), "for as long as something comes");
    }
}
