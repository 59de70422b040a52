//! What plugins and operators want done at every node: clients disconnected, identities revoked, shared addresses slowed down.
//!
//! An order goes to every member that is up, and whoever gave it hears how many it concerned there, or that a node did not answer in
//! [`ANSWER_WAIT`]. A disconnection is of that moment: who is away then does not hear of it, nor of an address that is slowed down. A
//! revocation is kept for every node that has not answered it, and told when that node is there again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gatemq_cluster::core::{Control, Event, NodeName};
use gatemq_store::DenialBytes;
use gatemq_types::service::{RevokeRetained, Selector};
use gatemq_types::{Denial, Subject};
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::driver::Driver;
use super::told::Told;
use crate::exclusive::Claim;

/// How long a node that is up may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Revocations that are kept for a node, and their bytes. Beyond them one of everybody takes their place: as for a connection that begins
/// while identities are revoked, what is forgotten may have named anybody.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Orders of a node that are carried out here at a time, and their bytes: more than its plugins and operators have under way. What is
/// beyond is not carried out and not answered: who gave it is told that this node was not reached, and a revocation comes again with the
/// next link.
const DOING_MAX: usize = 4096;
const DOING_BYTES_MAX: usize = 4 << 20;

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Who wants it.
    pub(crate) by: String,
    /// Whose clients it is about.
    pub(crate) selector: Selector,
    /// What becomes of them.
    pub(crate) what: What,
}

impl Order {
    /// About nobody's clients.
    pub(crate) fn new(by: &impl ToString, what: What) -> Self {
        Order { by: by.to_string(), selector: Selector::default(), what }
    }
}

/// See [`Order`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Their connections end.
    Disconnect {
        /// Why.
        why: String,
    },
    /// Their providers are asked again.
    Revoke(RevokeRetained),
    /// An address is slowed down.
    Slow(Denial),
    /// It is not any more.
    SlowNoMore {
        /// Which address.
        subject: Subject,
        /// Who had it slowed down.
        raised_by: String,
    },
}

/// What came of an order at the other nodes.
#[derive(Default, Debug)]
pub(crate) struct Elsewhere {
    /// How many clients it concerned.
    pub(crate) count: u64,
    /// Nodes that were away or did not answer in time.
    pub(crate) unreached: Vec<NodeName>,
}

/// Told once, by the driver's task.
type Then = Box<dyn FnOnce(Elsewhere) + Send>;

/// Tenant, user, client identifier, tag, certificate. A connection has a number at its own node only.
type Whose = (Option<String>, Option<String>, Option<String>, Option<String>, Option<[u8; 32]>);

/// Between hosts. Variants are appended, never changed.
#[derive(Serialize, Deserialize)]
pub(super) enum Word {
    Disconnect {
        number: u64,
        by: String,
        whose: Whose,
        why: String,
    },
    Revoke {
        number: u64,
        by: String,
        whose: Whose,
        retained: u32,
    },
    Done {
        number: u64,
        count: u64,
    },
    /// A denial as the store writes it.
    Slow {
        number: u64,
        by: String,
        denial: Vec<u8>,
    },
    /// A denial's name as the store writes it.
    SlowNoMore {
        number: u64,
        by: String,
        denial: Vec<u8>,
    },
    /// Who has places of exclusive identities: see `places`.
    Places {
        claims: Vec<Claim>,
    },
}

impl Word {
    fn order(number: u64, Order { by, selector, what }: Order) -> Self {
        let Selector { tenant, user, client_id, connection: _, tag, leaf_sha256 } = selector;
        let whose = (tenant, user, client_id, tag, leaf_sha256);
        match what {
            What::Disconnect { why } => Word::Disconnect { number, by, whose, why },
            What::Revoke(retained) => Word::Revoke { number, by, whose, retained: retained as u32 },
            What::Slow(denial) => Word::Slow { number, by, denial: DenialBytes::write(&denial) },
            What::SlowNoMore { subject, raised_by } => {
                Word::SlowNoMore { number, by, denial: DenialBytes::name_of(&subject, &raised_by) }
            }
        }
    }

    /// With their number; `None`: it is no order.
    fn read_order(self) -> Option<(u64, Order)> {
        let of = |(tenant, user, client_id, tag, leaf_sha256): Whose| Selector {
            tenant,
            user,
            client_id,
            connection: None,
            tag,
            leaf_sha256,
        };
        Some(match self {
            Word::Disconnect { number, by, whose, why } => {
                (number, Order { by, selector: of(whose), what: What::Disconnect { why } })
            }
            Word::Revoke { number, by, whose, retained } => {
                let retained = match retained {
                    1 => RevokeRetained::Keep,
                    2 => RevokeRetained::Withhold,
                    3 => RevokeRetained::Remove,
                    _ => return None,
                };
                (number, Order { by, selector: of(whose), what: What::Revoke(retained) })
            }
            Word::Slow { number, by, denial } => (number, Order::new(&by, What::Slow(DenialBytes::read(&denial)?))),
            Word::SlowNoMore { number, by, denial } => {
                let (subject, raised_by) = DenialBytes::read_name(&denial)?;
                (number, Order::new(&by, What::SlowNoMore { subject, raised_by }))
            }
            Word::Done { .. } | Word::Places { .. } => return None,
        })
    }

    pub(super) fn control(&self) -> Option<Control> {
        Some(Control::Host { bytes: postcard::to_allocvec(self).ok()? })
    }
}

/// An order that nodes have not answered.
struct Asked {
    waits_for: BTreeSet<NodeName>,
    heard: Elsewhere,
    then: Then,
}

/// Revocations that a node has not answered, in order.
#[derive(Default)]
struct Kept {
    orders: VecDeque<(u64, Control)>,
    bytes: usize,
}

fn bytes_of(control: &Control) -> usize {
    if let Control::Host { bytes } = control { bytes.len() } else { 0 }
}

impl Kept {
    fn push(&mut self, number: u64, control: Control, by: &str) {
        self.bytes += bytes_of(&control);
        self.orders.push_back((number, control));
        if self.orders.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let what = What::Revoke(RevokeRetained::Keep);
            let everybody = Order { by: by.to_owned(), selector: Selector::default(), what };
            self.orders.clear();
            self.orders.extend(Word::order(number, everybody).control().map(|control| (number, control)));
            self.bytes = self.orders.iter().map(|(_, control)| bytes_of(control)).sum();
        }
    }

    fn done(&mut self, number: u64) {
        if let Some(at) = self.orders.iter().position(|(kept, _)| *kept == number)
            && let Some((_, control)) = self.orders.remove(at)
        {
            self.bytes -= bytes_of(&control);
        }
    }
}

/// Orders of a node that are carried out.
#[derive(Default)]
struct Doing {
    orders: usize,
    bytes: usize,
}

impl Doing {
    fn enter(&mut self, bytes: usize) -> bool {
        // One may be larger than the bound.
        let may = self.orders == 0 || self.orders < DOING_MAX && self.bytes + bytes <= DOING_BYTES_MAX;
        if may {
            (self.orders, self.bytes) = (self.orders + 1, self.bytes + bytes);
        }
        may
    }

    fn leave(&mut self, bytes: usize) {
        (self.orders, self.bytes) = (self.orders - 1, self.bytes - bytes);
    }
}

/// Orders that are under way. Bounded by what those who give them may have under way, and for nodes that are away as [`Kept`].
#[derive(Default)]
pub(super) struct Orders {
    last: u64,
    asked: HashMap<u64, Asked>,
    kept: HashMap<NodeName, Kept>,
    doing: HashMap<NodeName, Doing>,
}

impl Orders {
    /// Numbered so that no two processes of a node give an order the same number.
    pub(super) fn since(boot_ms: u64) -> Self {
        Orders { last: boot_ms << 20, ..Orders::default() }
    }
}

impl Cluster {
    /// Has something done at all other nodes; `then` is told what came of it, in the cluster's runtime. Never waits. What this node has told
    /// of sets before is known there before.
    pub(crate) fn order(&self, order: Order, then: impl FnOnce(Elsewhere) + Send + 'static) {
        let ask = move |driver: &mut Driver| driver.order(order, Box::new(then));
        self.inbox.tell(Told::Ask(Box::new(ask)));
    }
}

impl Driver {
    fn order(&mut self, order: Order, then: Then) {
        self.orders.last += 1;
        let number = self.orders.last;
        let (by, is_kept) = (order.by.clone(), matches!(order.what, What::Revoke(_)));
        let Some(control) = Word::order(number, order).control() else { return then(Elsewhere::default()) };
        let live: BTreeSet<NodeName> =
            self.core.members().filter(|(_, live)| *live).map(|(member, _)| member.node.clone()).collect();
        let known = self.cluster.roster.nodes();
        let unreached = known.iter().filter(|node| !live.contains(*node)).cloned().collect();
        if is_kept {
            for node in known.iter().chain(live.difference(&known)) {
                self.orders.kept.entry(node.clone()).or_default().push(number, control.clone(), &by);
            }
        }
        for node in &live {
            self.cluster.send_control(node, &control);
        }
        let asked = Asked { waits_for: live, heard: Elsewhere { count: 0, unreached }, then };
        self.orders.asked.insert(number, asked);
        self.look_at_order(number);
        if self.orders.asked.contains_key(&number) {
            let cluster = self.cluster.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ANSWER_WAIT).await;
                cluster.inbox.tell(Told::Ask(Box::new(move |driver| driver.order_is_over(number))));
            });
        }
    }

    /// Whether everybody has answered.
    fn look_at_order(&mut self, number: u64) {
        if self.orders.asked.get(&number).is_some_and(|asked| asked.waits_for.is_empty())
            && let Some(Asked { heard, then, .. }) = self.orders.asked.remove(&number)
        {
            then(heard);
        }
    }

    fn order_is_over(&mut self, number: u64) {
        if let Some(Asked { waits_for, mut heard, then }) = self.orders.asked.remove(&number) {
            heard.unreached.extend(waits_for);
            then(heard);
        }
    }

    /// Another host's word.
    pub(super) fn heard(&mut self, from: NodeName, bytes: &[u8]) {
        match postcard::from_bytes(bytes) {
            Ok(Word::Done { number, count }) => {
                if let Some(kept) = self.orders.kept.get_mut(&from) {
                    kept.done(number);
                }
                if let Some(asked) = self.orders.asked.get_mut(&number)
                    && asked.waits_for.remove(&from)
                {
                    asked.heard.count = asked.heard.count.saturating_add(count);
                    self.look_at_order(number);
                }
            }
            Ok(Word::Places { claims }) => self.places_heard(&from, &claims),
            Ok(word) => {
                let Some((number, order)) = word.read_order() else { return };
                let bytes = bytes.len();
                if let Err(what) = self.may_do(&from, &order, bytes) {
                    return self.tell(Event::PeerMisbehaved { node: from, what });
                }
                let cluster: Arc<Cluster> = self.cluster.clone();
                self.desk.ordered(order, move |count| {
                    // Behind what was told of sets before it was carried out.
                    let answer = move |driver: &mut Driver| {
                        if let Some(doing) = driver.orders.doing.get_mut(&from) {
                            doing.leave(bytes);
                        }
                        if let Some(control) = (Word::Done { number, count }).control() {
                            driver.cluster.send_control(&from, &control);
                        }
                    };
                    cluster.inbox.tell(Told::Ask(Box::new(answer)));
                });
            }
            Err(_) => {
                let what = "it says what this version does not understand";
                self.tell(Event::PeerMisbehaved { node: from, what });
            }
        }
    }

    /// Whether an order of another node is carried out; else what is to be told of that.
    fn may_do(&mut self, from: &NodeName, order: &Order, bytes: usize) -> Result<(), &'static str> {
        // Its own desk refuses that too: nobody wants everybody by mistake.
        if matches!(order.what, What::Disconnect { .. }) && order.selector == Selector::default() {
            return Err("an order to disconnect everybody");
        }
        match self.orders.doing.entry(from.clone()).or_default().enter(bytes) {
            true => Ok(()),
            false => Err("more orders at a time than are carried out"),
        }
    }

    /// The way to a node is new: what it has not answered it may not have heard.
    pub(super) fn order_again(&self, node: &NodeName) {
        for (_, control) in self.orders.kept.get(node).into_iter().flat_map(|kept| &kept.orders) {
            self.cluster.send_control(node, control);
        }
    }

    /// A node left, and its clients with it.
    pub(super) fn order_no_more(&mut self, node: &NodeName) {
        self.orders.kept.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoke(user: &str) -> Order {
        let selector = Selector { user: Some(user.into()), ..Selector::default() };
        Order { by: "plugin p".into(), selector, what: What::Revoke(RevokeRetained::Withhold) }
    }

    /// What is kept, as the other node reads it.
    fn read(kept: &Kept) -> Vec<(u64, Order)> {
        let order = |(_, control): &(u64, Control)| {
            let Control::Host { bytes } = control else { panic!("a host's word") };
            postcard::from_bytes::<Word>(bytes).unwrap().read_order().unwrap()
        };
        kept.orders.iter().map(order).collect()
    }

    /// Promise 6: what a node has carried out here at a time is bounded, and what is over makes room.
    #[test]
    fn promise_6_orders_of_a_node_are_bounded() {
        let mut doing = Doing::default();
        assert!((0..DOING_MAX).all(|_| doing.enter(1)) && !doing.enter(1));
        doing.leave(1);
        assert!(doing.enter(1), "twin");
        (0..DOING_MAX).for_each(|_| doing.leave(1));
        assert!(doing.enter(2 * DOING_BYTES_MAX) && !doing.enter(1), "of bytes too, but for one that is larger");
    }

    /// Promise 6: what is kept for a node that is away is bounded, and fails closed: beyond the bound everybody is asked about again.
    #[test]
    fn promise_6_what_waits_for_a_node_is_bounded() {
        let mut kept = Kept::default();
        for number in 0..KEPT_MAX as u64 {
            kept.push(number, Word::order(number, revoke(&number.to_string())).control().unwrap(), "plugin p");
        }
        let all = read(&kept);
        assert_eq!((all.len(), &*all[7].1.selector.user.clone().unwrap()), (KEPT_MAX, "7"));
        assert_eq!(all[7].1.what, What::Revoke(RevokeRetained::Withhold));
        kept.push(300, Word::order(300, revoke("more")).control().unwrap(), "plugin p");
        let one = read(&kept);
        assert_eq!((one.len(), one[0].0, &one[0].1.selector), (1, 300, &Selector::default()));
        let large = revoke(&"u".repeat(KEPT_BYTES_MAX));
        kept.push(301, Word::order(301, large).control().unwrap(), "plugin p");
        assert_eq!(read(&kept)[0].1.selector, Selector::default(), "of bytes too");
        kept.done(301);
        assert_eq!((kept.bytes, kept.orders.len()), (0, 0));
    }
}
