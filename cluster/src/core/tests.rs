//! Cores side by side over a network without faults and a clock that the test moves.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const NOW: u64 = 1_000_000_000_000;

/// A cluster of cores whose messages arrive at once. What is not a message waits in `done`.
struct Side {
    now_ms: u64,
    cores: BTreeMap<NodeName, (Boot, Core)>,
    done: Vec<(NodeName, Action)>,
    /// Longest message.
    longest: usize,
}

fn name(n: u64) -> NodeName {
    Name::new(&format!("n{n}")).unwrap()
}

/// The defaults, but for times that are days.
fn settings(n: u64) -> Settings {
    let settings = Settings::new(Name::new("prod").unwrap(), Name::new("east").unwrap(), name(n));
    Settings { tombstone_keep_ms: 100_000, hint_keep_ms: 60_000, ..settings }
}

fn member(n: u64, boot: Boot) -> Member {
    let address = "127.0.0.1:1".parse().unwrap();
    let environment = Name::new("prod").unwrap();
    let cluster = Name::new("east").unwrap();
    let admitted = Admitted { environment, cluster, node: name(n), boot, protocol: 2, version: String::new() };
    Member::new(admitted, address, address)
}

fn key(client: &str) -> SessionKey {
    SessionKey::new("acme", "alice", client)
}

impl Side {
    /// Nodes 1 to `count`, not yet members of each other.
    fn apart(count: u64) -> Side {
        let core = |n| (name(n), (Boot(n), Core::new(settings(n), Boot(n))));
        Side { now_ms: NOW, cores: (1..=count).map(core).collect(), done: Vec::new(), longest: 0 }
    }

    /// Nodes 1 to `count`, all members.
    fn joined(count: u64) -> Side {
        let mut side = Side::apart(count);
        side.join(count);
        side
    }

    fn join(&mut self, count: u64) {
        for (a, b) in (1..=count).flat_map(|a| (1..=count).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            self.tell(a, Input::PeerUp(member(b, self.cores[&name(b)].0)));
        }
        (1..=count).for_each(|n| self.tell(n, Input::MembersKnown));
        self.wait(30_000);
    }

    fn tell(&mut self, n: u64, input: Input) {
        let mut inbox = VecDeque::from([(name(n), input)]);
        while let Some((node, input)) = inbox.pop_front() {
            let Some((boot, core)) = self.cores.get_mut(&node) else { continue };
            let boot = *boot;
            let mut out = Vec::new();
            core.handle(self.now_ms, input, &mut out);
            for action in out {
                match action {
                    Action::Send { to, control } => {
                        let bytes = control.encode(2).unwrap();
                        self.longest = self.longest.max(bytes.len());
                        let control = Control::decode(&bytes, 2).unwrap();
                        inbox.push_back((to, Input::Received { from: node.clone(), boot, control }));
                    }
                    // Nothing is between router and core.
                    Action::Barrier { node: who, request } => {
                        inbox.push_back((node.clone(), Input::BarrierPassed { node: who, request }));
                    }
                    other => self.done.push((node.clone(), other)),
                }
            }
        }
    }

    /// Time goes on, in the steps that the cores ask for.
    fn wait(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let due = self.cores.values().map(|(_, core)| core.due_ms()).min().unwrap_or(end);
            self.now_ms = due.clamp(self.now_ms + 1, end);
            for n in 1..=9 {
                self.tell(n, Input::Tick);
            }
            if self.now_ms >= end {
                return;
            }
        }
    }

    /// What node `n` did since it was asked last.
    fn took(&mut self, n: u64) -> Vec<Action> {
        let (of, rest) = std::mem::take(&mut self.done).into_iter().partition(|(node, _)| *node == name(n));
        self.done = rest;
        of.into_iter().map(|(_, action)| action).collect()
    }

    fn lose(&mut self, n: u64, how: Lost) {
        let (boot, _) = self.cores.remove(&name(n)).unwrap();
        for other in 1..=9 {
            self.tell(other, Input::PeerLost { node: name(n), boot, how });
        }
    }

    fn subscribe(&mut self, n: u64, filters: impl Iterator<Item = (String, bool)>) {
        let change = |(filter, durable): (String, bool)| InterestChange {
            key: FilterKey::new("acme", &filter),
            durable,
            came: true,
        };
        self.tell(n, Input::Interest(filters.map(change).collect()));
    }
}

/// The routes that actions leave.
fn routes(actions: Vec<Action>) -> BTreeMap<String, Interest> {
    let mut routes = BTreeMap::new();
    for action in actions {
        let Action::Route { key, interest, .. } = action else { continue };
        match interest {
            Some(interest) => drop(routes.insert(key.filter.into(), interest)),
            None => drop(routes.remove(&*key.filter)),
        }
    }
    routes
}

/// DESIGN 10, join: a set that fills many messages comes whole, none of them is long, and only then is a node ready.
#[test]
fn a_joiner_fetches_long_sets_in_parts_and_is_ready_then() {
    let mut side = Side::apart(2);
    side.subscribe(1, (0..20_000).map(|n| (format!("a/rather/long/filter/{n}"), n % 2 == 0)));
    assert!(!side.took(2).contains(&Action::Ready(Ok(()))));
    side.join(2);
    let took = side.took(2);
    assert!(took.contains(&Action::Ready(Ok(()))));
    assert_eq!(routes(took).len(), 20_000);
    assert!(side.longest > PART_BYTES / 2 && side.longest < PART_BYTES, "{}", side.longest);
}

/// DESIGN 10, routes: of a node that is away the durable part is kept, also when it said goodbye, for its sessions are in its store;
/// only 0 to 1 and 1 to 0 travel.
#[test]
fn durable_routes_of_a_node_that_is_away_are_kept() {
    for (how, kept) in [(Lost::Dead, 1), (Lost::Left, 1)] {
        let mut side = Side::joined(2);
        side.subscribe(1, [("a".to_owned(), false), ("b".to_owned(), true), ("b".to_owned(), true)].into_iter());
        side.wait(20);
        let before = side.took(2);
        assert_eq!(before.iter().filter(|action| matches!(action, Action::Route { .. })).count(), 2);
        side.lose(1, how);
        side.wait(2_000);
        let mut actions = before;
        actions.extend(side.took(2));
        let routes = routes(actions);
        assert_eq!(routes.len(), kept, "{how:?} {routes:?}");
        assert!(routes.values().all(|interest| interest.durable && interest.members == 0));
    }
}

/// Promise 5: what a node knows of one that is away when it starts is in force all the time: it is kept for it, and when it is back
/// its filters stay, and those that it has no more go once the routes of all members are known, for their sessions may have moved.
#[test]
fn restored_routes_stay_until_everybody_has_said_theirs() {
    let mut side = Side::apart(3);
    side.subscribe(2, [("a".to_owned(), true)].into_iter());
    side.subscribe(3, [("b".to_owned(), true)].into_iter());
    let keys = ["a", "b"].map(|filter| FilterKey::new("acme", filter)).to_vec();
    side.tell(1, Input::RoutesRestored { node: name(2), keys });
    side.tell(1, Input::MembersKnown);
    assert_eq!(routes(side.took(1)).len(), 2);
    let wanted = vec![ForwardWanted { id: 7, bytes: 1, durable: true }];
    side.tell(1, Input::Forward { to: name(2), wanted });
    assert!(side.took(1).iter().any(|action| matches!(action, Action::CommitHint { id: 7, .. })));
    side.join(3);
    let said = side.took(1).into_iter().filter_map(|action| match action {
        Action::Route { node, key, interest } => Some((node, key.filter.to_string(), interest.is_some())),
        _ => None,
    });
    let said: Vec<_> = said.collect();
    let at = |n, filter: &str, is| said.iter().position(|route| *route == (name(n), filter.to_owned(), is));
    assert!(at(2, "a", false).is_none(), "it stays: {said:?}");
    assert!(at(3, "b", true).unwrap() < at(2, "b", false).unwrap(), "{said:?}");
}

/// Of a shared subscription the members of each node are known everywhere, for the choice among nodes.
#[test]
fn members_of_a_group_are_counted() {
    let mut side = Side::joined(2);
    side.subscribe(1, std::iter::repeat_n(("$share/g/a".to_owned(), false), 3));
    side.wait(20);
    assert_eq!(routes(side.took(2))["$share/g/a"], Interest { durable: false, members: 3 });
}

fn forward(side: &mut Side, id: u64, durable: bool) -> Vec<Action> {
    side.took(1);
    side.tell(1, Input::Forward { to: name(2), wanted: vec![ForwardWanted { id, bytes: 10, durable }] });
    side.took(1)
}

/// Promise 5: a forward that nobody answers is acknowledged when its hint is stored, not before; one that is answered needs no
/// hint.
#[test]
fn an_unanswered_forward_waits_for_its_hint() {
    let mut side = Side::joined(2);
    let sent = forward(&mut side, 7, true);
    let Some(Action::Forward { id: 7, forward, .. }) = sent.first().cloned() else { panic!("{sent:?}") };
    side.wait(499);
    assert!(side.took(1).is_empty());
    side.wait(1);
    assert_eq!(side.took(1), [Action::CommitHint { to: name(2), id: 7, forward }]);
    side.tell(1, Input::HintsCommitted { to: name(2), forwards: vec![forward], stored: true });
    assert!(side.took(1).contains(&Action::Accepted { id: 7 }));

    // Behind it everything is a hint, until it is answered.
    let next = self::forward(&mut side, 8, true);
    let Some(Action::CommitHint { id: 8, forward: second, .. }) = next.first().cloned() else { panic!("{next:?}") };
    side.tell(1, Input::HintsCommitted { to: name(2), forwards: vec![second], stored: true });
    side.tell(1, Input::Answered { from: name(2), forwards: vec![forward, second] });
    assert!(side.took(1).contains(&Action::DropHint { to: name(2), forward: second }));
    let straight = self::forward(&mut side, 9, true);
    assert!(matches!(straight[..], [Action::Forward { id: 9, .. }]), "{straight:?}");
}

/// Promise 5: what is made again comes in the order of its numbers, and nothing of what was under way before comes between: also when
/// some of it has become hints.
#[test]
fn what_is_made_again_is_in_order() {
    let abandoned = Action::Abandon { to: name(2) };
    let mut side = Side::joined(2);
    for id in 1..=3 {
        forward(&mut side, id, true);
    }
    side.tell(1, Input::NotDelivered { to: name(2) });
    let again = side.took(1);
    assert_eq!(again[0], abandoned);
    let ids = |actions: &[Action]| -> Vec<u64> {
        let id = |action: &Action| match action {
            Action::Forward { id, .. } | Action::CommitHint { id, .. } => Some(*id),
            _ => None,
        };
        actions.iter().filter_map(id).collect()
    };
    assert!(again.iter().all(|action| !matches!(action, Action::CommitHint { .. })));
    assert_eq!(ids(&again), [1, 2, 3]);

    // The oldest waited long enough, and is a hint; the others came later.
    side.wait(300);
    forward(&mut side, 4, true);
    side.wait(200);
    assert_eq!(ids(&side.took(1)), [1, 2, 3]);
    side.tell(1, Input::LinkReset { node: name(2) });
    let again = side.took(1);
    assert!(again.contains(&abandoned) && !again.iter().any(|action| matches!(action, Action::Forward { .. })));
    assert_eq!(ids(&again), [4]);
    let boot = Boot(1);
    let hints: Vec<Forward> = (1..=4).map(|seq| Forward { boot, seq }).collect();
    side.tell(1, Input::HintsCommitted { to: name(2), forwards: hints.clone(), stored: true });
    let sent = side.took(1);
    let sent = sent.iter().filter_map(|action| match action {
        Action::SendHint { forward, .. } => Some(*forward),
        _ => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), hints);
}

/// Hints are bounded: what does not fit is refused, never acknowledged. A store that fails acknowledges nothing either.
#[test]
fn full_hints_and_failed_stores_refuse() {
    let mut side = Side::apart(2);
    let (_, core) = side.cores.get_mut(&name(1)).unwrap();
    core.members.settings.hint_bytes_max = 15;
    side.join(2);
    side.tell(1, Input::PeerSuspected { node: name(2), boot: Boot(2) });
    let first = forward(&mut side, 1, true);
    let Some(Action::CommitHint { forward: hint, .. }) = first.first().cloned() else { panic!("{first:?}") };
    assert_eq!(forward(&mut side, 2, true), [Action::NotAccepted { id: 2, why: NotAccepted::HintsFull }]);
    side.tell(1, Input::HintsCommitted { to: name(2), forwards: vec![hint], stored: false });
    assert!(side.took(1).contains(&Action::NotAccepted { id: 1, why: NotAccepted::StoreFailed }));
    assert!(matches!(forward(&mut side, 3, true)[..], [Action::CommitHint { id: 3, .. }, ..]));
    // Nobody waits for it where only passing subscriptions are.
    assert_eq!(forward(&mut side, 4, false), [Action::Accepted { id: 4 }]);
}

/// A hint that is too old is dropped, and an operator hears of it.
#[test]
fn hints_expire_with_an_event() {
    let mut side = Side::joined(2);
    side.lose(2, Lost::Dead);
    let first = forward(&mut side, 1, true);
    let Some(Action::CommitHint { forward: hint, .. }) = first.first().cloned() else { panic!("{first:?}") };
    side.tell(1, Input::HintsCommitted { to: name(2), forwards: vec![hint], stored: true });
    side.took(1);
    side.wait(settings(1).hint_keep_ms + 10);
    let took = side.took(1);
    assert!(took.contains(&Action::DropHint { to: name(2), forward: hint }));
    assert!(took.contains(&Action::Event(Event::HintsExpired { node: name(2), count: 1, bytes: 10 })));
}

/// What was committed here is not delivered again, over a restart too; what was not, is.
#[test]
fn repeats_are_answered_and_not_delivered() {
    let mut side = Side::apart(2);
    side.tell(1, Input::RecordRestored { from: name(2), boot: Boot(2), low: 5, committed: vec![6] });
    side.join(2);
    let mut arrives = |seq| {
        let forward = Forward { boot: Boot(2), seq };
        side.took(1);
        side.tell(1, Input::Arrived { from: name(2), forward, low: 1 });
        side.took(1)
    };
    let forward = |seq| Forward { boot: Boot(2), seq };
    for repeat in [1, 4, 6] {
        assert_eq!(arrives(repeat), [Action::Answer { from: name(2), forward: forward(repeat) }]);
    }
    assert_eq!(arrives(5), [Action::Deliver { from: name(2), forward: forward(5) }]);
    assert!(arrives(5).is_empty(), "it is under way");
    side.tell(1, Input::Settled { from: name(2), forward: forward(5), stored: true });
    assert_eq!(side.took(1), [Action::Answer { from: name(2), forward: forward(5) }]);
}

/// DESIGN 10, sessions: nothing is granted before every member has registered, and everything after.
#[test]
fn nothing_is_granted_before_everybody_has_registered() {
    let mut side = Side::apart(2);
    // Node 2 is a member that says nothing.
    side.tell(1, Input::PeerUp(member(2, Boot(9))));
    side.tell(1, Input::MembersKnown);
    side.took(1);
    side.tell(1, Input::Claim { request: 1, key: key("c") });
    side.wait(settings(1).claim_ms_max + 200);
    let refused = Action::ClaimRefused { request: 1, why: ClaimRefusal::NotSettled };
    assert!(side.took(1).contains(&refused));

    let mut side = Side::joined(2);
    side.tell(1, Input::Claim { request: 1, key: key("c") });
    assert!(matches!(side.took(1).last(), Some(Action::Granted { request: 1, previous: Previous::Nobody, .. })));
}

/// Has a client of node 1 take its session from node 2. What both did.
fn take_over(side: &mut Side, state: Option<Vec<u8>>) -> Vec<Action> {
    take_over_of(side, "c", state)
}

fn take_over_of(side: &mut Side, client: &str, state: Option<Vec<u8>>) -> Vec<Action> {
    let key = key(client);
    side.tell(2, Input::Claim { request: 1, key: key.clone() });
    side.took(2);
    side.tell(1, Input::Claim { request: 2, key: key.clone() });
    let demand = side.took(2);
    assert!(matches!(demand[..], [Action::HandOver { .. }]), "{demand:?}");
    side.took(1);
    side.tell(2, Input::HandedOver { key, state });
    side.took(1)
}

/// A takeover brings the whole state, in short messages, under a higher epoch; the old owner forgets it when all know.
#[test]
fn a_takeover_brings_the_state() {
    let mut side = Side::joined(3);
    side.longest = 0;
    let state = vec![5; 3 * PART_BYTES + 17];
    let took = take_over(&mut side, Some(state.clone()));
    let [Action::Install { epoch, from, state: installed, .. }] = &took[..] else { panic!("{took:?}") };
    assert!(*installed == state && *from == name(2));
    assert!(side.longest < PART_BYTES + 200, "{}", side.longest);
    assert!(side.cores[&name(2)].1.epoch(&key("c")).is_some_and(|before| before < epoch));
    side.tell(1, Input::Installed { key: key("c"), epoch: epoch.clone(), taken: true });
    let granted =
        |action: &Action| matches!(action, Action::Granted { request: 2, previous: Previous::Taken { .. }, .. });
    assert!(side.took(1).iter().any(granted));
    side.wait(2_000);
    assert!(side.took(2).iter().any(|action| matches!(action, Action::Moved { .. })));
    side.tell(2, Input::Withdrawn { key: key("c") });
    side.wait(100);
    assert!(side.took(2).iter().any(|action| matches!(action, Action::MoveOver { .. })));
    assert!(side.cores[&name(2)].1.epoch(&key("c")).is_none());
}

/// Guards the end of hints: a new one for a node that is there is accepted when the node has it, or after the wait for an answer, so that
/// nobody publishes faster for long than the node takes; or at once when the node is away.
#[test]
fn a_hint_of_a_node_that_is_there_is_accepted_when_it_answers_or_in_time() {
    let wait_ms = settings(1).ack_wait_ms;
    let mut side = Side::joined(2);
    let boot = side.cores[&name(1)].0;
    let forward = |side: &mut Side, id| {
        side.tell(1, Input::Forward { to: name(2), wanted: vec![ForwardWanted { id, bytes: 1, durable: true }] });
    };
    let stored = |side: &mut Side, seq| {
        side.tell(1, Input::HintsCommitted { to: name(2), forwards: vec![Forward { boot, seq }], stored: true });
    };
    let accepted = |side: &mut Side| {
        let id = |action| if let Action::Accepted { id } = action { Some(id) } else { None };
        side.took(1).into_iter().filter_map(id).collect::<Vec<_>>()
    };
    forward(&mut side, 1);
    side.wait(wait_ms);
    stored(&mut side, 1);
    assert_eq!(accepted(&mut side), [1], "it has waited");
    for id in 2..=5 {
        forward(&mut side, id);
        stored(&mut side, id);
    }
    side.wait(wait_ms / 2);
    assert!(accepted(&mut side).is_empty());
    side.tell(1, Input::Answered { from: name(2), forwards: vec![Forward { boot, seq: 3 }] });
    assert_eq!(accepted(&mut side), [3]);
    side.wait(wait_ms);
    assert_eq!(accepted(&mut side), [2, 4, 5]);
    forward(&mut side, 6);
    stored(&mut side, 6);
    assert!(accepted(&mut side).is_empty());
    side.tell(1, Input::PeerSuspected { node: name(2), boot: Boot(2) });
    assert_eq!(accepted(&mut side), [6]);
}

/// Guards promise 5 over a move: where a session was, it is forgotten only when all that others had routed there has come, also if others
/// left before with the same filters; and what followed it there; and its next place learns when nothing follows any more.
#[test]
fn what_was_routed_to_a_session_that_moved_is_waited_for() {
    let is_over = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::MoveOver { .. }));
    let mut side = Side::joined(3);
    let (boot, mut first) = (side.cores[&name(3)].0, None);
    let wanted = |id| vec![ForwardWanted { id, bytes: 1, durable: true }];
    for (client, forwards) in [("c", [1, 2]), ("d", [3, 4])] {
        let took = take_over_of(&mut side, client, Some(Vec::new()));
        let [Action::Install { epoch, .. }] = &took[..] else { panic!("{took:?}") };
        let epoch = first.get_or_insert(epoch.clone()).clone().max(epoch.clone());
        // Two are under way to where it was.
        forwards.iter().for_each(|id| side.tell(3, Input::Forward { to: name(2), wanted: wanted(*id) }));
        side.tell(1, Input::Installed { key: key(client), epoch, taken: true });
        side.tell(2, Input::Withdrawn { key: key(client) });
        for seq in forwards.into_iter().rev() {
            side.wait(100);
            assert!(!is_over(side.took(2)), "{client}: {seq} is still to come");
            let forward = Forward { boot, seq };
            side.tell(2, Input::Arrived { from: name(3), forward, low: forwards[0] });
            side.tell(2, Input::Settled { from: name(3), forward, stored: true });
        }
        let leaving = |side: &Side| side.cores[&name(2)].1.leaving();
        let left = leaving(&side);
        side.wait(100);
        assert!(is_over(side.took(2)), "{client}");
        assert_eq!(
            [left, leaving(&side)],
            [forwards[1] as usize / 2; 2],
            "whoever leaves waits until it has sent what came last"
        );
        side.tell(3, Input::Answered { from: name(2), forwards: forwards.map(|seq| Forward { boot, seq }).to_vec() });
    }
    let epoch = first.unwrap();
    // It goes on to the third before the second has sent what came last.
    side.tell(3, Input::Claim { request: 3, key: key("c") });
    side.tell(1, Input::HandedOver { key: key("c"), state: Some(Vec::new()) });
    let install = side.took(3).into_iter().find_map(|action| match action {
        Action::Install { epoch, .. } => Some(epoch),
        _ => None,
    });
    side.tell(3, Input::Installed { key: key("c"), epoch: install.unwrap(), taken: true });
    side.tell(1, Input::Withdrawn { key: key("c") });
    side.wait(100);
    assert!(!is_over(side.took(1)), "something follows it");
    side.tell(2, Input::Forward { to: name(1), wanted: wanted(3) });
    side.tell(2, Input::Followed { key: key("c"), to: name(1), epoch });
    side.wait(100);
    assert!(!is_over(side.took(1)), "it is under way");
    let (boot, seq) = (side.cores[&name(2)].0, 1);
    side.tell(1, Input::Arrived { from: name(2), forward: Forward { boot, seq }, low: 1 });
    side.tell(1, Input::Settled { from: name(2), forward: Forward { boot, seq }, stored: true });
    side.wait(100);
    assert!(is_over(side.took(1)));
}

/// Guards the same where a node ends that has routed something there: it keeps that, and it comes when it is back. Whoever leaves does not
/// wait for it.
#[test]
fn what_a_lost_node_has_routed_to_a_session_that_moved_is_waited_for() {
    let is_over = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::MoveOver { .. }));
    let mut side = Side::joined(3);
    let took = take_over(&mut side, Some(Vec::new()));
    let [Action::Install { epoch, .. }] = &took[..] else { panic!("{took:?}") };
    let epoch = epoch.clone();
    let (boot, id) = (side.cores[&name(3)].0, 1);
    side.tell(3, Input::Forward { to: name(2), wanted: vec![ForwardWanted { id, bytes: 1, durable: true }] });
    side.tell(1, Input::Installed { key: key("c"), epoch, taken: true });
    side.tell(2, Input::Withdrawn { key: key("c") });
    side.wait(100);
    assert!(!is_over(side.took(2)) && side.cores[&name(2)].1.leaving() == 1);
    side.lose(3, Lost::Left);
    side.wait(100);
    assert!(!is_over(side.took(2)) && side.cores[&name(2)].1.leaving() == 0);
    // It has as a hint what was under way, and is back.
    side.cores.insert(name(3), (Boot(9), Core::new(settings(3), Boot(9))));
    let forward = Forward { boot, seq: 1 };
    side.tell(3, Input::HintRestored { to: name(2), forward, bytes: 1, since_ms: side.now_ms });
    side.join(3);
    assert!(!is_over(side.took(2)), "it is still to come");
    side.tell(2, Input::Arrived { from: name(3), forward, low: 1 });
    side.tell(2, Input::Settled { from: name(3), forward, stored: true });
    side.tell(3, Input::Answered { from: name(2), forwards: vec![forward] });
    side.wait(5_000);
    assert!(is_over(side.took(2)));
}

/// Guards the same over a restart: where a session was whose state had been given away, it is not ended when another has it, but what came
/// for it follows it; one whose state had not is in the way, and ends.
#[test]
fn what_came_for_a_session_that_moved_follows_it_after_a_restart() {
    for given in [false, true] {
        // Apart, so that neither is asked before it gives the session to its client.
        let mut side = Side::apart(2);
        let epoch = Stamp { time: HybridTime::of_ms(1), node: name(2) };
        side.tell(2, Input::SessionRestored { owned: Owned { key: key("c"), epoch }, given });
        side.tell(1, Input::MembersKnown);
        side.tell(1, Input::Claim { request: 1, key: key("c") });
        side.join(2);
        let did = side.took(2);
        assert_eq!(did.iter().any(|action| matches!(action, Action::Moved { to, .. } if *to == name(1))), given);
        assert_eq!(did.iter().any(|action| matches!(action, Action::Superseded { .. })), !given);
    }
}

/// A live owner that does not hand over makes the claim fail (0x89), never a new session; one that has none does.
#[test]
fn an_owner_that_does_not_hand_over_is_not_passed_over() {
    let mut side = Side::joined(2);
    side.tell(2, Input::Claim { request: 1, key: key("c") });
    side.tell(1, Input::Claim { request: 2, key: key("c") });
    side.took(1);
    side.wait(settings(1).claim_ms_max + 10);
    assert_eq!(side.took(1), [Action::ClaimRefused { request: 2, why: ClaimRefusal::HandOverUnfinished }]);
    assert!(side.cores[&name(2)].1.epoch(&key("c")).is_some());

    let mut side = Side::joined(2);
    let took = take_over(&mut side, None);
    assert!(matches!(took[..], [Action::Granted { request: 2, previous: Previous::Nobody, .. }]), "{took:?}");
}

/// Simulation, seed 62190: while a session is being installed a node joins that has another one of its key, which is later than where
/// the first one was. Its client gets that there, so the other client does not get the first one here: nobody serves two.
#[test]
fn what_earlier_members_promised_is_granted_by_those_of_now() {
    let mut side = Side::apart(3);
    side.join(2);
    let took = take_over(&mut side, Some(vec![5; 9]));
    let [Action::Install { epoch, .. }] = &took[..] else { panic!("{took:?}") };
    let later = Epoch { time: HybridTime(epoch.time.0 - 1), node: name(3) };
    side.tell(3, Input::SessionRestored { owned: Owned { key: key("c"), epoch: later }, given: false });
    for n in [1, 2] {
        side.tell(n, Input::PeerUp(member(3, Boot(3))));
        side.tell(3, Input::PeerUp(member(n, Boot(n))));
    }
    side.wait(1_000);
    side.tell(3, Input::Claim { request: 3, key: key("c") });
    let is_granted = |took: &[Action]| took.iter().any(|action| matches!(action, Action::Granted { .. }));
    assert!(is_granted(&side.took(3)));
    side.tell(1, Input::Installed { key: key("c"), epoch: epoch.clone(), taken: true });
    assert!(!is_granted(&side.took(1)));
    // Its client has come last: the other one goes, and what is there comes here.
    assert!(side.took(3).iter().any(|action| matches!(action, Action::HandOver { .. })));
    side.tell(3, Input::HandedOver { key: key("c"), state: Some(vec![6; 9]) });
    let took = side.took(1);
    let Some(Action::Install { epoch, .. }) = took.last() else { panic!("{took:?}") };
    side.tell(1, Input::Installed { key: key("c"), epoch: epoch.clone(), taken: true });
    assert!(is_granted(&side.took(1)));
    side.wait(2_000);
    let owners = side.cores.values().filter(|(_, core)| core.epoch(&key("c")).is_some());
    assert_eq!(owners.count(), 1);
}

/// The will of a client whose node died is published after its delay, unless the client is back before.
#[test]
fn a_will_outlives_its_node() {
    for comes_back in [false, true] {
        let mut side = Side::joined(3);
        side.tell(3, Input::Claim { request: 1, key: key("c") });
        side.tell(3, Input::Will { key: key("c"), will: Some(Will { delay_ms: 1_000, bytes: vec![1] }) });
        side.lose(3, Lost::Dead);
        side.wait(900);
        if comes_back {
            side.tell(1, Input::Claim { request: 2, key: key("c") });
        }
        side.wait(200);
        let published = side.done.iter().filter(|(_, action)| matches!(action, Action::PublishWill { .. })).count();
        assert_eq!(published, usize::from(!comes_back));
    }
}

/// A will whose node died is published by one of the others, once, also when its node comes back with it, before or after, and
/// whoever keeps the session then. Who is alone publishes its own.
#[test]
fn a_will_is_published_once_though_its_node_comes_back() {
    let will = Will { delay_ms: 1_000, bytes: vec![1] };
    for (client, back_ms) in ["a", "b", "c", "d", "e", "f"].into_iter().flat_map(|c| [(c, 500), (c, 1_500)]) {
        let mut side = Side::joined(3);
        side.tell(3, Input::Claim { request: 1, key: key(client) });
        let epoch = side.took(3).into_iter().find_map(|action| match action {
            Action::Granted { epoch, .. } => Some(epoch),
            _ => None,
        });
        side.tell(3, Input::Will { key: key(client), will: Some(will.clone()) });
        side.lose(3, Lost::Dead);
        side.wait(back_ms);
        let mut core = Core::new(settings(3), Boot(30));
        let restored = [
            Input::SessionRestored { owned: Owned { key: key(client), epoch: epoch.unwrap() }, given: false },
            Input::Will { key: key(client), will: Some(will.clone()) },
        ];
        restored.into_iter().for_each(|input| core.handle(side.now_ms, input, &mut Vec::new()));
        side.cores.insert(name(3), (Boot(30), core));
        side.join(3);
        let published = side.done.iter().filter(|(_, action)| matches!(action, Action::PublishWill { .. })).count();
        let of_wills = |action: &Action| matches!(action, Action::WillTaken { .. } | Action::WillsOurs);
        let own: Vec<_> = side.took(3).into_iter().filter(of_wills).collect();
        let wanted = [Action::WillTaken { key: key(client) }, Action::WillsOurs];
        assert_eq!((published, &own[..]), (1, &wanted[..]), "{client}, back after {back_ms} ms");
    }
    let mut side = Side::joined(1);
    assert!(side.took(1).contains(&Action::WillsOurs));
}

fn put(side: &mut Side, n: u64, key: u8, value: Option<u8>) {
    let value = value.map(|value| vec![value]);
    side.tell(n, Input::Put { set: Set::Denials, key: [key].into(), value, until_ms: 0 });
}

/// A node that was away for longer than tombstones are kept drops what the others lack; one that was away for less gives it.
#[test]
fn who_was_away_for_long_brings_nothing_back() {
    let keep_ms = settings(1).tombstone_keep_ms;
    for (away_ms, comes_back) in [(keep_ms / 2, true), (keep_ms + 1_000, false)] {
        let mut side = Side::joined(2);
        put(&mut side, 1, 1, Some(1));
        let stored = side.took(1).into_iter().find_map(|action| match action {
            Action::Store { entry, .. } => Some(entry),
            _ => None,
        });
        let Entry { key, mark, .. } = stored.unwrap();
        // Node 3 was there then, and comes back with what it had. The others have never heard of it.
        let mut core = Core::new(settings(3), Boot(3));
        let old = Mark { stamp: Stamp { time: mark.stamp.time, node: name(3) }, ..mark };
        let then = side.now_ms;
        side.wait(away_ms);
        let restored = [
            Input::ContactRestored { contact_ms: then, ran_ms: then },
            Input::SetRestored { set: Set::Denials, marks: vec![([9].into(), old.clone()), (key, old)] },
        ];
        restored.into_iter().for_each(|input| core.handle(side.now_ms, input, &mut Vec::new()));
        side.cores.insert(name(3), (Boot(3), core));
        side.done.clear();
        side.join(3);
        let took = side.took(3);
        let loads = |action: &Action| matches!(action, Action::Load { .. });
        let forgets = |action: &Action| matches!(action, Action::Forget { key, .. } if **key == [9]);
        assert_eq!(took.iter().any(loads), comes_back, "{away_ms}");
        assert_eq!(took.iter().any(forgets), !comes_back, "{away_ms}");
    }
}

/// Shares of a quota add up to it, and a node without sessions may admit the first one.
#[test]
fn shares_of_a_quota_follow_the_sessions() {
    let mut side = Side::joined(3);
    for (n, sessions) in [(1, 70), (2, 27)] {
        side.tell(n, Input::Sessions(vec![("acme".into(), sessions)]));
    }
    side.wait(3_000);
    let shares: Vec<u64> = (1..=3)
        .map(|n| {
            let shares = side.took(n).into_iter().filter_map(|action| match action {
                Action::Share { share, .. } => Some(share),
                _ => None,
            });
            let quota::Share { numerator, denominator } = shares.last().unwrap();
            1_000 * numerator / denominator
        })
        .collect();
    assert_eq!(shares, [710, 280, 10]);
}

/// Bytes that are no message of the link's protocol are an error, not a panic and not half a message.
#[test]
fn a_frame_is_a_message_or_an_error() {
    let bytes = Control::InterestDigest { seq: 7, digest: 9 }.encode(3).unwrap();
    assert_eq!(Control::decode(&bytes, 3), Ok(Control::InterestDigest { seq: 7, digest: 9 }));
    assert_eq!(Control::decode(&bytes, 4), Err(ControlError::Protocol { wanted: 4, found: 3 }));
    for cut in 0..bytes.len() {
        assert!(Control::decode(&bytes[..cut], 3).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Control::decode(&longer, 3), Err(ControlError::Malformed(_))));
    assert!(Control::decode(&[3, 250, 1, 2, 3], 3).is_err());
}

/// Promise 4: a member of another environment is refused by the core itself, and nothing that it says is heard.
#[test]
fn the_core_keeps_nothing_of_another_environment() {
    let mut side = Side::apart(1);
    let foreign = Member { environment: Name::new("test").unwrap(), ..member(2, Boot(2)) };
    side.tell(1, Input::PeerUp(foreign));
    let says = Control::InterestPart { seq: 1, after: None, last: true, entries: Vec::new() };
    side.tell(1, Input::Received { from: name(2), boot: Boot(2), control: says });
    let took = side.took(1);
    assert!(took.iter().any(|action| matches!(action, Action::Event(Event::MemberRefused { .. }))), "{took:?}");
    assert_eq!(side.cores[&name(1)].1.members().count(), 0);
}
