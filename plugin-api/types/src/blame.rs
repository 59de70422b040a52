//! Whose fault something was.

/// The one to whom an event or the end of a connection is put down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Blame {
    /// The client or whoever sits at the other end of the socket.
    Peer = 1,
    /// A limit was reached.
    Limit = 2,
    /// The configuration, a grant or an operator said no.
    Policy = 3,
    /// A plugin failed.
    Plugin = 4,
    /// Another node of the cluster.
    Node = 5,
    /// This broker.
    Broker = 6,
}

impl Blame {
    const ALL: [Blame; 6] = [Blame::Peer, Blame::Limit, Blame::Policy, Blame::Plugin, Blame::Node, Blame::Broker];

    /// By its name.
    pub fn from_name(name: &str) -> Option<Blame> {
        Blame::ALL.into_iter().find(|blame| blame.name() == name)
    }

    /// Lower-case name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Blame::Peer => "peer",
            Blame::Limit => "limit",
            Blame::Policy => "policy",
            Blame::Plugin => "plugin",
            Blame::Node => "node",
            Blame::Broker => "self",
        }
    }
}
