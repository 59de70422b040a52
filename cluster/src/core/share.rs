//! Which node takes a message of a shared subscription: weighted by the members there, our own node first when equal.

/// The choice of one group, kept by each node that publishes to it. Smooth weighted round robin: with three members here and
/// one there, three of four messages stay, evenly spread.
#[derive(Clone, Default, Debug)]
pub struct Picker {
    credits: Vec<i64>,
}

impl Picker {
    /// Picks a node by its place in `members`: how many members of the group each node has, our own node first, the others in
    /// an order that stays. Nodes that are away have none. `None`: nobody is there.
    pub fn pick(&mut self, members: &[u32]) -> Option<usize> {
        if self.credits.len() != members.len() {
            self.credits.clear();
            self.credits.resize(members.len(), 0);
        }
        let mut best: Option<usize> = None;
        let mut sum = 0;
        for (at, weight) in members.iter().enumerate() {
            if *weight == 0 {
                // What it was owed is not made up for when it comes back.
                self.credits[at] = 0;
                continue;
            }
            sum += i64::from(*weight);
            self.credits[at] += i64::from(*weight);
            // The first of equals stays: our own.
            if best.is_none_or(|best| self.credits[at] > self.credits[best]) {
                best = Some(at);
            }
        }
        let best = best?;
        self.credits[best] -= sum;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(picker: &mut Picker, members: &[u32], count: usize) -> Vec<usize> {
        (0..count).map(|_| picker.pick(members).unwrap()).collect()
    }

    /// DESIGN 10: weighted by members, local first when equal, and nobody is picked where nobody is.
    #[test]
    fn nodes_get_messages_as_they_have_members() {
        let mut picker = Picker::default();
        assert_eq!(picks(&mut picker, &[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        let mut picker = Picker::default();
        let picked = picks(&mut picker, &[1, 3, 0], 400);
        let of = |node| picked.iter().filter(|at| **at == node).count();
        assert_eq!((of(0), of(1), of(2)), (100, 300, 0));
        assert_eq!(picker.pick(&[0, 0, 0]), None);
        assert_eq!(picker.pick(&[0, 0, 5]), Some(2));
        // Fewer or more nodes than before.
        assert_eq!(picker.pick(&[0, 1]), Some(1));
        assert_eq!(picker.pick(&[]), None);
    }

    /// A node that was away gets its part when it is back, not what it missed.
    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let mut picker = Picker::default();
        picks(&mut picker, &[1, 0], 1_000);
        let picked = picks(&mut picker, &[1, 1], 10);
        assert_eq!(picked.iter().filter(|at| **at == 1).count(), 5);
    }
}
