//! Topic aliases that a client sets (3.3.2.3.4).

use std::ops::Deref;
use std::sync::Arc;

use crate::{Breach, Publish};

/// Aliases of one connection; they end with it (MQTT-3.3.2-7). Owns nothing until the first is set, and at most the Topic
/// Alias Maximum that was announced times 65,535 bytes.
#[derive(Clone, Debug, Default)]
pub struct TopicAliases {
    /// By alias - 1. No longer than the largest alias seen, which the codec holds to the announced maximum.
    topics: Vec<Option<Arc<str>>>,
}

/// The topic name of a PUBLISH.
#[derive(Clone, Debug)]
pub enum ResolvedTopic<'a> {
    /// It is in the packet.
    Named(&'a str),
    /// Its alias stands for it.
    Aliased(Arc<str>),
}

impl Deref for ResolvedTopic<'_> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            ResolvedTopic::Named(topic) => topic,
            ResolvedTopic::Aliased(topic) => topic,
        }
    }
}

impl TopicAliases {
    /// The topic name of a PUBLISH. Sets its alias if it has both, so it is called before anything else is decided: a
    /// PUBLISH that is refused sets its alias too. Called again for the same packet it says the same.
    ///
    /// # Errors
    /// [`Breach::TopicAliasUnknown`]: an alias without a topic name that was not set before.
    #[inline]
    pub fn resolve<'a>(&mut self, message: &Publish<'a>) -> Result<ResolvedTopic<'a>, Breach> {
        match message.topic_alias {
            0 => Ok(ResolvedTopic::Named(message.topic)),
            alias => self.aliased(message.topic, usize::from(alias) - 1),
        }
    }

    fn aliased<'a>(&mut self, topic: &'a str, at: usize) -> Result<ResolvedTopic<'a>, Breach> {
        if topic.is_empty() {
            let known = self.topics.get(at).cloned().flatten();
            return known.map(ResolvedTopic::Aliased).ok_or(Breach::TopicAliasUnknown);
        }
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        self.topics[at] = Some(topic.into());
        Ok(ResolvedTopic::Named(topic))
    }
}
