//! Network namespaces, one a node, whose links can be cut and healed. Linux, with root and `ip` of iproute2.
//!
//! Nodes reach each other over a bridge in a namespace of its own, and clients reach each node over a link of its own: a node
//! that is cut off from the others still serves its clients.

use std::net::IpAddr;
use std::process::{Command, id};

use crate::artifacts::run;
use crate::broker::Setup;
use crate::cluster::{ALL, Member, members};

/// So many namespaces. Gone when dropped.
pub struct Network {
    nodes: u8,
    members: Vec<Member>,
}

impl Network {
    /// `None`, and a line that says so, for whoever is not root.
    ///
    /// # Panics
    /// When they cannot be made all the same, such as without `ip`.
    pub fn new(nodes: u8) -> Option<Network> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("there are no namespaces here: that takes root, and ip of the package iproute2");
            return None;
        }
        let network = Network { nodes, members: Self::members(nodes) };
        let between = network.namespace(0);
        ip(&["netns", "add", &between]);
        ip(&["-n", &between, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &between, "link", "set", "bridge", "up"]);
        for node in 1..=nodes {
            network.add(node, &between);
        }
        Some(network)
    }

    fn add(&self, node: u8, between: &str) {
        let (own, port) = (self.namespace(node), format!("node{node}"));
        ip(&["netns", "add", &own]);
        ip(&["-n", &own, "link", "set", "lo", "up"]);
        ip(&["-n", between, "link", "add", &port, "type", "veth", "peer", "name", "nodes", "netns", &own]);
        ip(&["-n", between, "link", "set", &port, "master", "bridge", "up"]);
        ip(&["-n", &own, "address", "add", &format!("{}/24", Self::address(node)), "dev", "nodes"]);
        ip(&["-n", &own, "link", "set", "nodes", "up"]);
        let here = self.link_to_clients(node);
        ip(&["link", "add", &here, "type", "veth", "peer", "name", "clients", "netns", &own]);
        ip(&["-n", &own, "address", "add", &format!("{}/30", Self::at_clients(node, 1)), "dev", "clients"]);
        ip(&["-n", &own, "link", "set", "clients", "up"]);
        ip(&["address", "add", &format!("{}/30", Self::at_clients(node, 2)), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
    }

    fn namespace(&self, node: u8) -> String {
        format!("gatemq-{}-{node}", id())
    }

    fn link_to_clients(&self, node: u8) -> String {
        format!("gq{}n{node}", id())
    }

    /// Among nodes: nobody else sees it.
    fn address(node: u8) -> IpAddr {
        IpAddr::from([10, 77, 0, node])
    }

    /// The node's end of its link to clients, 1, or the clients' end, 2: addresses of this machine, by process.
    fn at_clients(node: u8, end: u8) -> IpAddr {
        let [_, _, high, low] = id().to_be_bytes();
        IpAddr::from([10, 100 + high % 100, low, 4 * node + end])
    }

    /// A broker for each, a cluster; its listener `mqtt` admits everybody to everything.
    pub fn setups(&self) -> Vec<Setup> {
        self.members.iter().zip(1..).map(|(member, node)| self.setup(member, node)).collect()
    }

    fn members(nodes: u8) -> Vec<Member> {
        let mut all = members("test", nodes.into());
        for (member, node) in all.iter_mut().zip(1..) {
            member.address = Self::address(node);
            member.seeds = (1..=nodes).map(Self::address).collect();
        }
        all
    }

    fn setup(&self, member: &Member, node: u8) -> Setup {
        let bind = Self::at_clients(node, 1);
        let listener = format!("[listeners.mqtt]\nkind = \"mqtt\"\nbind = \"{bind}:0\"");
        member.bare().toml(&listener).faults(ALL).runner(&["ip", "netns", "exec", &self.namespace(node)])
    }

    /// Nothing goes from this node to others, nor back.
    pub fn cut(&self, node: u8) {
        self.link(node, "down");
    }

    /// It does again.
    pub fn heal(&self, node: u8) {
        self.link(node, "up");
    }

    fn link(&self, node: u8, state: &str) {
        ip(&["-n", &self.namespace(0), "link", "set", &format!("node{node}"), state]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let gone = |arguments: &[&str]| drop(Command::new("ip").args(arguments).output());
        for node in 0..=self.nodes {
            gone(&["link", "delete", &self.link_to_clients(node)]);
            gone(&["netns", "delete", &self.namespace(node)]);
        }
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}
