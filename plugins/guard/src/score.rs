//! Scores that halve with time, of a bounded number of subjects.

use std::collections::HashMap;

use crate::breach::Breach;
use crate::subject::Subject;

/// Entries among which a low one is looked for when there is no room.
const SAMPLE: usize = 16;

/// What is known of a subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    score: f64,
    /// When the score was so much, in milliseconds since 1970.
    at_ms: u64,
    /// Breaches of each class since it is known.
    pub(crate) breaches: [u32; Breach::ALL.len()],
    pub(crate) ban: Ban,
}

/// Whether a subject is kept out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Ban {
    /// It is not.
    #[default]
    None,
    /// The broker has been asked, and has not answered.
    Asked,
    /// Until then, in milliseconds since 1970. In a dry run it only would be.
    Until(u64),
}

impl Entry {
    /// The score now.
    pub(crate) fn score(&self, half_life_s: u64, now_ms: u64) -> f64 {
        let halves = now_ms.saturating_sub(self.at_ms) as f64 / (half_life_s as f64 * 1000.0);
        self.score * (-halves).exp2()
    }

    /// Whether it is kept out now, or the broker has been asked to.
    pub(crate) fn is_banned(&self, now_ms: u64) -> bool {
        match self.ban {
            Ban::None => false,
            Ban::Asked => true,
            Ban::Until(until_ms) => now_ms < until_ms,
        }
    }
}

/// Scores of subjects of all kinds.
#[derive(Default)]
pub(crate) struct Scores {
    entries: HashMap<Subject, Entry>,
}

impl Scores {
    /// Adds points, so many times. When there are as many subjects as may be, the lowest of some is forgotten.
    pub(crate) fn add(
        &mut self,
        subject: &Subject,
        breach: Breach,
        (points, times): (u32, u64),
        limits: Limits,
        now_ms: u64,
    ) -> &mut Entry {
        if !self.entries.contains_key(subject) {
            self.make_room(limits, now_ms);
        }
        let entry = self.entries.entry(subject.clone()).or_default();
        entry.score = entry.score(limits.half_life_s, now_ms) + f64::from(points) * times as f64;
        entry.at_ms = now_ms;
        let count = &mut entry.breaches[breach.index()];
        *count = count.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        entry
    }

    fn make_room(&mut self, limits: Limits, now_ms: u64) {
        while self.entries.len() >= limits.subjects_max {
            // Whoever is kept out is not forgotten for a newcomer, as long as there is anybody else.
            let weight = |entry: &Entry| {
                entry.score(limits.half_life_s, now_ms) + if entry.is_banned(now_ms) { 1e9 } else { 0.0 }
            };
            let sample = self.entries.iter().take(SAMPLE);
            let lowest =
                sample.min_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b))).map(|(subject, _)| subject.clone());
            let Some(lowest) = lowest else { return };
            self.entries.remove(&lowest);
        }
    }

    /// What is known of a subject.
    pub(crate) fn get_mut(&mut self, subject: &Subject) -> Option<&mut Entry> {
        self.entries.get_mut(subject)
    }

    /// What is known of a subject.
    pub(crate) fn get(&self, subject: &Subject) -> Option<&Entry> {
        self.entries.get(subject)
    }

    /// Forgets those whose score has come to nothing and who are not kept out.
    pub(crate) fn sweep(&mut self, limits: Limits, now_ms: u64) {
        self.entries.retain(|_, entry| entry.is_banned(now_ms) || entry.score(limits.half_life_s, now_ms) >= 0.5);
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, subject: &Subject) {
        self.entries.remove(subject);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Subject, &Entry)> {
        self.entries.iter()
    }
}

/// Bounds of [`Scores`].
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) half_life_s: u64,
    pub(crate) subjects_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { half_life_s: 60, subjects_max: 4 };

    fn subject(n: u8) -> Subject {
        Subject::Certificate([n; 32])
    }

    /// Guards decay: a score halves in its half-life, and breaches far apart do not add up.
    #[test]
    fn scores_halve() {
        let mut scores = Scores::default();
        let mut score =
            |now_ms| scores.add(&subject(1), Breach::DeniedAction, (10, 1), LIMITS, now_ms).score(60, now_ms);
        assert_eq!((score(0), score(0), score(60_000)), (10.0, 20.0, 20.0));
        assert!(score(3_600_000) < 10.001);
    }

    /// Guards what is told with a count: it weighs as if each had come, and no count is too large.
    #[test]
    fn many_weigh_as_much_as_each() {
        let (mut at_once, mut each) = (Scores::default(), Scores::default());
        let entry = at_once.add(&subject(1), Breach::DeniedAction, (5, 300), LIMITS, 0).clone();
        let singly = (0..300).map(|_| each.add(&subject(1), Breach::DeniedAction, (5, 1), LIMITS, 0).clone()).last();
        let singly = singly.unwrap();
        assert_eq!((entry.score(60, 0), entry.breaches), (singly.score(60, 0), singly.breaches));
        let most = at_once.add(&subject(1), Breach::DeniedAction, (u32::MAX, u64::MAX), LIMITS, 0);
        assert!(most.score(60, 0).is_finite() && most.breaches[Breach::DeniedAction.index()] == u32::MAX);
    }

    /// Guards memory: a flood of subjects forgets low scores, not those that are kept out; time forgets the rest.
    #[test]
    fn promise_6_subjects_are_bounded() {
        let mut scores = Scores::default();
        scores.add(&subject(0), Breach::DeniedAction, (1, 1), LIMITS, 0).ban = Ban::Until(1_000_000);
        for n in 1..=200 {
            scores.add(&subject(n), Breach::DeniedAction, (u32::from(n), 1), LIMITS, 0);
            assert!(scores.entries.len() <= LIMITS.subjects_max);
        }
        assert!(scores.get(&subject(0)).is_some_and(|entry| entry.is_banned(999_999) && !entry.is_banned(1_000_000)));
        scores.sweep(LIMITS, 900_000);
        assert_eq!(scores.entries.len(), 1);
        scores.sweep(LIMITS, 1_000_000);
        assert_eq!(scores.entries.len(), 0);
    }
}
