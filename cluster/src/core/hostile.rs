//! A member that says whatever its certificate lets it say: nothing that it sends makes another one panic, or keep more and more.

use super::*;

const NOW: u64 = 1_000_000_000_000;

fn name(n: u64) -> NodeName {
    Name::new(&format!("n{n}")).unwrap()
}

fn member(n: u64) -> Member {
    let address = "127.0.0.1:1".parse().unwrap();
    let (environment, cluster) = (Name::new("prod").unwrap(), Name::new("east").unwrap());
    let admitted = Admitted { environment, cluster, node: name(n), boot: Boot(n), protocol: 2, version: String::new() };
    Member::new(admitted, address, address)
}

fn key(n: u64) -> SessionKey {
    SessionKey::new("acme", "alice", &format!("c{}", n % 3))
}

/// Node 1, which has the others up to `count` as members.
struct Victim {
    core: Core,
    now_ms: u64,
    out: Vec<Action>,
}

impl Victim {
    fn new(count: u64) -> Victim {
        let settings = Settings::new(Name::new("prod").unwrap(), Name::new("east").unwrap(), name(1));
        let settings = Settings { claims_max: 8, ..settings };
        let mut victim = Victim { core: Core::new(settings, Boot(1)), now_ms: NOW, out: Vec::new() };
        (2..=count).for_each(|n| victim.tell(Input::PeerUp(member(n))));
        victim.tell(Input::MembersKnown);
        victim
    }

    fn tell(&mut self, input: Input) {
        self.core.handle(self.now_ms, input, &mut self.out);
    }

    fn hears(&mut self, from: u64, control: Control) {
        self.tell(Input::Received { from: name(from), boot: Boot(from), control });
    }

    fn took(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }
}

/// Numbers from a seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }

    /// Mostly at the ends of what a number can be, or near the time.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => HybridTime::of_ms(NOW).0 + self.below(1 << 40),
            3 => NOW + self.below(100_000),
            n => n - 3 - self.below(1),
        }
    }

    /// Bytes that often begin with a message: its number, then small pieces of what messages are made of.
    fn message(&mut self) -> Option<Control> {
        let mut bytes = vec![self.below(46) as u8];
        for _ in 0..20 {
            match self.below(9) {
                0 | 1 => bytes.extend(postcard::to_allocvec(&key(self.0)).unwrap()),
                2 | 3 => bytes.extend(postcard::to_allocvec(&self.number()).unwrap()),
                4 => bytes.extend(postcard::to_allocvec(&name(1 + self.below(4))).unwrap()),
                _ => bytes.push(self.below(4) as u8),
            }
        }
        postcard::take_from_bytes(&bytes).ok().map(|(control, _)| control)
    }

    fn forward(&mut self) -> Forward {
        Forward { boot: Boot(self.number()), seq: self.number() }
    }

    /// What the node's own host tells it.
    fn own(&mut self) -> Input {
        match self.below(9) {
            0 | 1 => Input::Claim { request: self.below(9), key: key(self.0) },
            2 => Input::SessionGone { key: key(self.0) },
            3 => Input::Will { key: key(self.0), will: Some(Will { delay_ms: self.number(), bytes: vec![1] }) },
            4 => Input::Forward {
                to: name(2),
                wanted: vec![ForwardWanted { id: self.below(99), bytes: 1, durable: true }],
            },
            5 => Input::Arrived { from: name(2), forward: self.forward(), low: self.number() },
            6 => Input::Answered { from: name(2), forwards: vec![self.forward()] },
            7 => Input::LinkReset { node: name(2) },
            _ => Input::Tick,
        }
    }
}

/// What a host answers to what it is to do.
fn answer(action: Action, stored: bool) -> Option<Input> {
    Some(match action {
        Action::HandOver { key, .. } => Input::HandedOver { key, state: stored.then(|| vec![1, 2]) },
        Action::Install { key, epoch, .. } => Input::Installed { key, epoch, taken: stored },
        Action::CommitHint { to, forward, .. } => Input::HintsCommitted { to, forwards: vec![forward], stored },
        Action::Deliver { from, forward } => Input::Settled { from, forward, stored },
        _ => return None,
    })
}

/// Guards the driver's task, which ends with a panic of the core, against every member: numbers at the ends of their range, messages out
/// of order, answers to what was not asked.
#[test]
fn nothing_that_a_member_says_makes_another_panic() {
    let (mut rng, mut understood) = (Rng(0x9e37_79b9_7f4a_7c15), 0);
    for _ in 0..40 {
        let mut victim = Victim::new(3);
        for _ in 0..5_000 {
            victim.now_ms += rng.below(40);
            if rng.below(3) > 0 {
                let Some(control) = rng.message() else { continue };
                understood += 1;
                victim.hears(2 + rng.below(2), control);
            } else {
                let own = rng.own();
                victim.tell(own);
            }
            for action in victim.took() {
                let input = answer(action, rng.below(4) > 0);
                input.into_iter().for_each(|input| victim.tell(input));
            }
            victim.core.due_ms();
        }
    }
    assert!(understood > 10_000, "of what it says something is understood: {understood}");
}

/// Guards a node's memory and its store against a member that makes up numbers, or processes of its own: a forward beyond what its node may
/// have unanswered, or of one process more than there may be, is not kept, and whoever waits for the answer is told; its twin is taken.
#[test]
fn forwards_that_cannot_be_are_not_kept() {
    let mut victim = Victim::new(2);
    let mut arrives = |boot, seq| {
        let forward = Forward { boot: Boot(boot), seq };
        victim.took();
        victim.tell(Input::Arrived { from: name(2), forward, low: 1 });
        let is_taken = |action: &Action| match action {
            Action::Deliver { forward: of, .. } if *of == forward => Some(true),
            Action::NotTaken { forward: of, .. } if *of == forward => Some(false),
            _ => None,
        };
        victim.took().iter().find_map(is_taken)
    };
    assert_eq!((arrives(2, 1), arrives(1, 1)), (Some(true), Some(true)), "of this process, and of the one before");
    assert_eq!(arrives(2, u64::MAX), Some(false), "beyond its window");

    let mut victim = Victim::new(2);
    let taken = (0..5_000_u64).filter(|boot| {
        victim.took();
        victim.tell(Input::Arrived { from: name(2), forward: Forward { boot: Boot(*boot), seq: 1 }, low: 1 });
        victim.took().iter().any(|action| matches!(action, Action::Deliver { .. }))
    });
    assert_eq!(taken.count(), 1_024);
}

/// Guards clients against a member that says that it leaves: what it wants to be taken from it leaves room for their claims.
#[test]
fn who_leaves_leaves_room_for_clients() {
    let mut victim = Victim::new(2);
    let keys = (0..100).map(|n| SessionKey::new("acme", "alice", &format!("of2/{n}"))).collect();
    victim.hears(2, Control::Take { keys });
    victim.took();
    victim.tell(Input::Claim { request: 1, key: key(1) });
    let full = Action::ClaimRefused { request: 1, why: ClaimRefusal::Full };
    assert!(!victim.took().contains(&full));
}

/// Guards the clients of a node that dies: their tenant's bounds are this node's at once, though it had no session of that tenant.
#[test]
fn a_tenants_bounds_come_with_its_clients() {
    let mut victim = Victim::new(2);
    victim.hears(2, Control::Sessions { all: true, counts: vec![("acme".into(), 99)] });
    let share = |victim: &mut Victim| {
        victim.now_ms += 2_000;
        victim.tell(Input::Tick);
        let share = |action| match action {
            Action::Share { tenant, share } if *tenant == *"acme" => Some((share.numerator, share.denominator)),
            _ => None,
        };
        victim.took().into_iter().filter_map(share).last()
    };
    assert_eq!(share(&mut victim), Some((1, 101)));
    victim.tell(Input::PeerLost { node: name(2), boot: Boot(2), how: Lost::Dead });
    assert_eq!(share(&mut victim), Some((1, 1)));
}

/// Guards a session's move against a member that asks for ever what was routed to it: so many of its questions wait and no more, and
/// another one's is answered.
#[test]
fn who_asks_too_often_what_was_routed_leaves_room_for_others() {
    let mut victim = Victim::new(3);
    let ask = |request| Control::RoutedWanted { request, seq: 0, to: name(1) };
    (0..12_000).for_each(|request| victim.hears(2, ask(request)));
    victim.hears(3, ask(7));
    victim.took();
    let synced = Control::InterestDigest { seq: 0, digest: 0 };
    let mut answers = |from| {
        victim.hears(from, synced.clone());
        victim.now_ms += 1_000;
        victim.tell(Input::Tick);
        victim
            .took()
            .into_iter()
            .filter(|did| matches!(did, Action::Barrier { node, .. } if *node == name(from)))
            .count()
    };
    assert_eq!([answers(3), answers(2)], [1, 10_000]);
}
