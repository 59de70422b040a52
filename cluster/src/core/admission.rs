//! Admission: which node may become a member. Nothing of a node is kept before [`decide`] has said yes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::member::{Boot, Member};
use super::name::{Name, NodeName, SpiffeId};

/// Lowest protocol that this build speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// Highest protocol that this build speaks. What each has that the one before has not: 2, [`Control::Take`](super::Control::Take). Before
/// the first release protocol 1 is what this build speaks as such: nodes of other builds of that time do not understand it.
pub const PROTOCOL_MAX: u16 = 2;
/// How far two clocks may be apart, in milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 2_000;

/// What a node says of itself before anything else. The names are raw text: the other side checks them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Environment; one that is empty matches nothing.
    pub environment: String,
    /// Cluster within the environment.
    pub cluster: String,
    /// Its name.
    pub node: String,
    /// Which of its processes this is.
    pub boot: Boot,
    /// Its clock when it said this, in milliseconds since 1970.
    pub clock_ms: u64,
    /// Lowest protocol that it speaks.
    pub protocol_min: u16,
    /// Highest protocol that it speaks.
    pub protocol_max: u16,
    /// Its build, for people.
    pub version: String,
}

/// A node that [`decide`] let in: only from this a [`Member`] may be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// Environment, which is also ours.
    pub environment: Name,
    /// Cluster, which is also ours.
    pub cluster: Name,
    /// The node.
    pub node: NodeName,
    /// Which of its processes.
    pub boot: Boot,
    /// The highest protocol that both speak.
    pub protocol: u16,
    /// Its build, for people; cut to 64 bytes.
    pub version: String,
}

/// Why a node is refused, with what both sides have. "Ours" is the member that decides, "theirs" the one that asks. As text it
/// is for both operators; what a peer said is shown escaped and cut.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// One of the environments is empty: that matches nothing, not even another empty one.
    EnvironmentEmpty {
        /// Ours.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// Another environment.
    EnvironmentDiffers {
        /// Ours.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// Another cluster of the same environment.
    ClusterDiffers {
        /// Ours.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// A name of theirs is no name: which, what it is, and why.
    NameInvalid {
        /// `environment`, `cluster` or `node`.
        which: String,
        /// What it is.
        theirs: String,
        /// Why it is none.
        why: String,
    },
    /// The certificate is somebody else's.
    CertificateDiffers {
        /// Who the Hello says it is, as a SPIFFE ID.
        said: String,
        /// Who the certificate says it is.
        certificate: String,
    },
    /// No protocol that both speak.
    ProtocolUnsupported {
        /// Lowest and highest of ours.
        ours: (u16, u16),
        /// Lowest and highest of theirs.
        theirs: (u16, u16),
    },
    /// The clocks are too far apart.
    ClockSkew {
        /// Theirs less ours, in milliseconds.
        ahead_ms: i64,
        /// How far they may be apart.
        max_ms: u64,
    },
    /// A node of this name is alive. (The same process that asks again is not refused.)
    NodeNameTaken {
        /// The name.
        node: String,
        /// The boot of the one that is alive.
        alive: Boot,
        /// The boot of the one that asks.
        asking: Boot,
    },
    /// An operator forbade this node (`gatemq cluster forbid`).
    Forbidden {
        /// The name.
        node: String,
    },
    /// We are leaving and admit nobody.
    Leaving {
        /// Who we are.
        ours: String,
    },
}

/// What a peer said: escaped, and cut where it is longer than any name.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(260) {
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::EnvironmentEmpty { ours, theirs } => {
                let (ours, theirs) = (Said(ours), Said(theirs));
                write!(f, "an empty environment matches nothing: the member has {ours}, the joiner {theirs}")
            }
            Refusal::EnvironmentDiffers { ours, theirs } => {
                write!(f, "environments differ: the member has {}, the joiner {}", Said(ours), Said(theirs))
            }
            Refusal::ClusterDiffers { ours, theirs } => {
                write!(f, "clusters differ: the member has {}, the joiner {}", Said(ours), Said(theirs))
            }
            Refusal::NameInvalid { which, theirs, why } => {
                write!(f, "the joiner's {} {} is no name: {}", Said(which), Said(theirs), Said(why))
            }
            Refusal::CertificateDiffers { said, certificate } => {
                write!(f, "the joiner says it is {}, its certificate says {}", Said(said), Said(certificate))
            }
            Refusal::ProtocolUnsupported { ours: (o0, o1), theirs: (t0, t1) } => {
                write!(f, "no common protocol: the member speaks {o0} to {o1}, the joiner {t0} to {t1}")
            }
            Refusal::ClockSkew { ahead_ms, max_ms } => {
                let apart = ahead_ms.unsigned_abs();
                let side = if *ahead_ms < 0 { "behind" } else { "ahead of" };
                write!(f, "the joiner's clock is {apart} ms {side} the member's, at most {max_ms} ms; synchronise both")
            }
            Refusal::NodeNameTaken { node, alive, asking } => {
                let node = Said(node);
                write!(f, "a node named {node} is alive (boot {}), the joiner is boot {}", alive.0, asking.0)
            }
            Refusal::Forbidden { node } => write!(f, "node {} is forbidden here by an operator", Said(node)),
            Refusal::Leaving { ours } => write!(f, "node {} is leaving and admits nobody; ask another", Said(ours)),
        }
    }
}

impl std::error::Error for Refusal {}

/// Decides about a node, in the order in which an operator wants to hear it: environment first. `certificate` is who the
/// peer's certificate says it is, `alive` the members that live now, `forbidden` whether an operator forbade this node,
/// `now_ms` our clock when the Hello came in. Both sides of a connection call it, each with the other's Hello.
///
/// # Errors
/// Why it is refused. Nothing of it may then be kept.
pub fn decide(
    ours: &Hello,
    theirs: &Hello,
    certificate: &SpiffeId,
    alive: &[Member],
    forbidden: &dyn Fn(&NodeName) -> bool,
    now_ms: u64,
) -> Result<Admitted, Refusal> {
    let both = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
    if ours.environment.is_empty() || theirs.environment.is_empty() {
        let (ours, theirs) = both(&ours.environment, &theirs.environment);
        return Err(Refusal::EnvironmentEmpty { ours, theirs });
    }
    if ours.environment != theirs.environment {
        let (ours, theirs) = both(&ours.environment, &theirs.environment);
        return Err(Refusal::EnvironmentDiffers { ours, theirs });
    }
    if ours.cluster != theirs.cluster {
        let (ours, theirs) = both(&ours.cluster, &theirs.cluster);
        return Err(Refusal::ClusterDiffers { ours, theirs });
    }
    let name = |which: &str, text: &str| {
        let invalid = |why: String| Refusal::NameInvalid { which: which.to_owned(), theirs: text.to_owned(), why };
        Name::new(text).map_err(|why| invalid(why.to_string()))
    };
    let environment = name("environment", &theirs.environment)?;
    let cluster = name("cluster", &theirs.cluster)?;
    let node = name("node", &theirs.node)?;
    let said = SpiffeId { environment, cluster, node };
    if said != *certificate {
        return Err(Refusal::CertificateDiffers { said: said.to_string(), certificate: certificate.to_string() });
    }
    let SpiffeId { environment, cluster, node } = said;
    let protocol = common_protocol(ours, theirs)?;
    let apart_ms = theirs.clock_ms.abs_diff(now_ms);
    if apart_ms > CLOCK_SKEW_MS_MAX {
        let apart = i64::try_from(apart_ms).unwrap_or(i64::MAX);
        let ahead_ms = if theirs.clock_ms < now_ms { -apart } else { apart };
        return Err(Refusal::ClockSkew { ahead_ms, max_ms: CLOCK_SKEW_MS_MAX });
    }
    let taken = |alive: Boot| Refusal::NodeNameTaken { node: theirs.node.clone(), alive, asking: theirs.boot };
    if ours.node == theirs.node {
        return Err(taken(ours.boot));
    }
    if let Some(member) = alive.iter().find(|member| member.node == node && member.boot != theirs.boot) {
        return Err(taken(member.boot));
    }
    if forbidden(&node) {
        return Err(Refusal::Forbidden { node: theirs.node.clone() });
    }
    let version: String = theirs.version.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    Ok(Admitted { environment, cluster, node, boot: theirs.boot, protocol, version })
}

/// The highest protocol that both speak.
fn common_protocol(ours: &Hello, theirs: &Hello) -> Result<u16, Refusal> {
    let highest = ours.protocol_max.min(theirs.protocol_max);
    let lowest = ours.protocol_min.max(theirs.protocol_min);
    // A range the wrong way round speaks nothing.
    if highest < lowest || theirs.protocol_min > theirs.protocol_max {
        let (ours, theirs) = ((ours.protocol_min, ours.protocol_max), (theirs.protocol_min, theirs.protocol_max));
        return Err(Refusal::ProtocolUnsupported { ours, theirs });
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn hello(node: &str, boot: u64) -> Hello {
        Hello {
            environment: "prod".into(),
            cluster: "east".into(),
            node: node.into(),
            boot: Boot(boot),
            clock_ms: NOW,
            protocol_min: 2,
            protocol_max: 3,
            version: "0.1.0".into(),
        }
    }

    fn certificate(node: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://prod/gatemq/east/{node}")).unwrap()
    }

    /// The members of a cluster in which `n2` is alive as boot 7.
    fn alive() -> Vec<Member> {
        let admitted = decide(&hello("n1", 1), &hello("n2", 7), &certificate("n2"), &[], &|_| false, NOW).unwrap();
        vec![Member::new(admitted, "127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap())]
    }

    fn ask(change: impl FnOnce(&mut Hello, &mut Hello, &mut SpiffeId)) -> Result<Admitted, Refusal> {
        let (mut ours, mut theirs, mut shown) = (hello("n1", 1), hello("n3", 5), certificate("n3"));
        change(&mut ours, &mut theirs, &mut shown);
        decide(&ours, &theirs, &shown, &alive(), &|node| node.as_str() == "bad", NOW)
    }

    /// Promise 4: each refusal differs from the admitted twin (no change at all) in one property, and names both sides.
    #[test]
    fn each_difference_is_refused_by_its_name() {
        let admitted = ask(|_, _, _| ()).unwrap();
        assert_eq!((admitted.node.as_str(), admitted.boot, admitted.protocol), ("n3", Boot(5), 3));
        let refused =
            |change: &dyn Fn(&mut Hello, &mut Hello, &mut SpiffeId)| ask(|a, b, c| change(a, b, c)).unwrap_err();
        let text = |change: &dyn Fn(&mut Hello, &mut Hello, &mut SpiffeId)| refused(change).to_string();

        let differs = text(&|_, theirs, _| theirs.environment = "test".into());
        assert!(differs.contains("\"prod\"") && differs.contains("\"test\""), "{differs}");
        assert!(matches!(refused(&|_, t, _| t.cluster = "west".into()), Refusal::ClusterDiffers { .. }));
        assert!(matches!(refused(&|_, t, _| t.node = "N3".into()), Refusal::NameInvalid { .. }));
        assert!(matches!(refused(&|_, _, c| *c = certificate("n4")), Refusal::CertificateDiffers { .. }));
        let other = SpiffeId::parse("spiffe://test/gatemq/east/n3").unwrap();
        assert!(matches!(refused(&|_, _, c| *c = other.clone()), Refusal::CertificateDiffers { .. }));
        let newer = |t: &mut Hello| (t.protocol_min, t.protocol_max) = (4, 9);
        assert!(matches!(refused(&|_, t, _| newer(t)), Refusal::ProtocolUnsupported { ours: (2, 3), theirs: (4, 9) }));
        let reversed = |t: &mut Hello| (t.protocol_min, t.protocol_max) = (3, 2);
        assert!(matches!(refused(&|_, t, _| reversed(t)), Refusal::ProtocolUnsupported { .. }));
        assert!(matches!(refused(&|_, t, _| t.clock_ms = NOW + 2_001), Refusal::ClockSkew { ahead_ms: 2_001, .. }));
        assert!(matches!(refused(&|_, t, _| t.clock_ms = 0), Refusal::ClockSkew { ahead_ms: -1_000_000, .. }));
        assert!(ask(|_, t, _| t.clock_ms = NOW - 2_000).is_ok());
        let forbidden = |t: &mut Hello, c: &mut SpiffeId| (t.node, *c) = ("bad".into(), certificate("bad"));
        assert!(matches!(refused(&|_, t, c| forbidden(t, c)), Refusal::Forbidden { .. }));
    }

    /// Promise 4: two empty environments are not the same environment.
    #[test]
    fn an_empty_environment_matches_nothing() {
        for (ours, theirs) in [("", ""), ("prod", ""), ("", "prod")] {
            let asked = ask(|a, b, _| (a.environment, b.environment) = (ours.into(), theirs.into()));
            assert!(matches!(asked, Err(Refusal::EnvironmentEmpty { .. })), "{ours:?} {theirs:?}");
        }
    }

    /// A name that is alive is taken, ours too; the process that has it may ask again.
    #[test]
    fn a_living_name_is_taken() {
        let as_node =
            |node: &str, boot| ask(|_, t, c| (t.node, t.boot, *c) = (node.into(), Boot(boot), certificate(node)));
        assert!(matches!(as_node("n2", 8), Err(Refusal::NodeNameTaken { alive: Boot(7), asking: Boot(8), .. })));
        assert!(matches!(as_node("n1", 8), Err(Refusal::NodeNameTaken { .. })));
        assert!(as_node("n2", 7).is_ok());
    }

    /// What a peer says cannot write lines into somebody's log, nor fill it.
    #[test]
    fn what_a_peer_said_is_shown_escaped_and_cut() {
        let text = ask(|_, t, _| t.environment = "x\n\u{1b}[31m".repeat(1_000)).unwrap_err().to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}') && text.len() < 3_000, "{text}");
    }
}
