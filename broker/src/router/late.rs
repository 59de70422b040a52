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
    use crate::identity::testing::{key, with};
    use crate::router;
    use crate::router::testing::subscribe;
    use crate::session::{Dropped, Message};
    use crate::sessions::{Leave, Opening};
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
}
