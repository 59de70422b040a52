//! What clients, operators and misfortune do.

use super::world::{Event, World};
use crate::core::{SessionKey, Set};

/// Sessions of a run.
const KEYS: usize = 4;

fn key(n: usize) -> SessionKey {
    SessionKey::new("acme", "user", &format!("c{n}"))
}

impl World {
    /// One thing happens, and the next one is planned.
    pub(super) fn plan(&mut self, left: u32) {
        if left > 0 {
            let wait = self.rng.within(5, 90);
            self.after(wait, Event::Plan(left - 1));
        }
        let node = self.rng.below(self.nodes.len());
        match self.rng.below(100) {
            0..45 => {
                let topic = self.rng.below(6) as u8;
                self.publish(node, topic);
            }
            45..65 => {
                let n = self.rng.below(KEYS);
                if self.is_ours(node) {
                    self.connect(node, key(n));
                }
            }
            65..70 => {
                let n = self.rng.below(KEYS);
                if let Some(process) = &mut self.nodes[node].process {
                    process.connected.remove(&key(n));
                }
            }
            70..72 => {
                let n = self.rng.below(KEYS);
                self.end_session(node, &key(n));
            }
            72..82 => {
                let (key, there) = (self.rng.below(5) as u8, !self.rng.one_in(3));
                if self.is_ours(node) {
                    self.put(node, Set::Denials, key, there);
                }
            }
            82..88 => self.passing_interest(node),
            _ => self.misfortune(node),
        }
    }

    /// A client that nobody waits for subscribes, or goes.
    fn passing_interest(&mut self, node: usize) {
        let topic = self.rng.below(6) as u8;
        let Some(process) = &mut self.nodes[node].process else { return };
        let there = process.interest.contains_key(&(super::host::topic_key(topic), false));
        let input = process.interest(&[topic], false, !there);
        self.inbox.push_back((node, input));
    }

    fn misfortune(&mut self, node: usize) {
        if self.calm {
            return;
        }
        match self.rng.below(10) {
            0..3 => {
                self.crash(node);
                let wait = self.rng.within(50, 2_500);
                self.after(wait, Event::Start { node });
            }
            3..5 => {
                self.split();
                let wait = self.rng.within(50, 2_500);
                self.after(wait, Event::Heal);
            }
            5..8 => {
                let other = self.rng.below(self.nodes.len());
                if other != node {
                    self.break_link(node, other);
                }
            }
            _ => self.nodes[node].slow_until = self.now + self.rng.within(100, 1_000),
        }
    }

    /// The whole run.
    pub(super) fn play(&mut self) {
        let begin = self.now;
        self.run(begin + 800);
        self.after(0, Event::Plan(140));
        self.run(begin + 8_000);
        self.calm = true;
        self.after(0, Event::Heal);
        for node in 0..self.nodes.len() {
            self.after(1, Event::Start { node });
        }
        self.run(begin + 14_000);
        // Every client comes once more, somewhere.
        for n in 0..KEYS {
            let nodes = self.ours();
            let node = nodes[self.rng.below(nodes.len())];
            self.connect(node, key(n));
            self.take_in();
        }
        self.run(begin + 18_000);
        self.check_end();
    }
}
