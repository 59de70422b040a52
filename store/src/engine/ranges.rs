//! Sets of numbers that mostly follow one another.

use std::collections::BTreeMap;

/// Ranges by their first number, with the last one; none touches another.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    pub(crate) fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let (mut first, mut last) = (number, number);
        if let Some((before, end)) = self.0.range(..number).next_back().map(|(first, last)| (*first, *last))
            && end + 1 == number
        {
            first = before;
        }
        if let Some(end) = number.checked_add(1).and_then(|next| self.0.remove(&next)) {
            last = end;
        }
        self.0.insert(first, last);
    }

    /// Takes away everything up to `position`, and what follows it without a gap. Returns where the gap begins.
    pub(crate) fn advance(&mut self, position: u64) -> u64 {
        let mut position = position;
        while let Some(first) = self.0.first_entry() {
            if *first.key() > position.saturating_add(1) {
                break;
            }
            position = position.max(first.remove());
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Guards that it is a set, and that advancing goes to the first gap.
        #[test]
        fn is_a_set(numbers in prop::collection::vec(0u64..40, 0..60), position in 0u64..40) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                ranges.insert(number);
                set.insert(number);
                prop_assert!(ranges.0.iter().zip(ranges.0.iter().skip(1)).all(|((_, last), (next, _))| last + 1 < *next));
            }
            prop_assert!((0..40).all(|number| ranges.contains(number) == set.contains(&number)));
            let mut gap = position;
            while set.contains(&(gap + 1)) {
                gap += 1;
            }
            prop_assert_eq!(ranges.advance(position), gap);
            prop_assert!((0..40).all(|number| ranges.contains(number) == (number > gap && set.contains(&number))));
        }
    }
}
