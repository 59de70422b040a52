//! Topic matching against a model that is written down another way.

use gatemq_mqtt::topic::{self, Filter};
use proptest::prelude::*;

/// 4.7 by recursion over lists of levels.
fn model(filter: &[&str], topic: &[&str], first: bool) -> bool {
    let special = first && topic.first().is_some_and(|level| level.starts_with('$'));
    match (filter, topic) {
        (["#"], _) => !special,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => !special && model(filter, topic, false),
        ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && model(filter, topic, false),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// 4.7: `matches` agrees with the model for every valid filter and name made of few different levels.
    #[test]
    fn matches_agrees_with_a_model(
        filter in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$s", "+"]), 1..5),
        hash in any::<bool>(),
        topic in prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$s"]), 1..5),
    ) {
        let mut filter = filter;
        if hash {
            filter.push("#");
        }
        let (filter_text, topic_text) = (filter.join("/"), topic.join("/"));
        // One empty level is no text at all; any number of cases may make it.
        if filter_text.is_empty() || topic_text.is_empty() {
            return Ok(());
        }
        prop_assert!(Filter::read(&filter_text, 99).is_ok());
        prop_assert!(topic::name(topic_text.as_bytes(), 99).is_ok());
        prop_assert_eq!(topic::matches(&filter_text, &topic_text), model(&filter, &topic, true));
    }

    /// 4.7.1, 4.8.2: a filter is valid exactly when each of its levels is, and what was read is taken apart the same way
    /// again.
    #[test]
    fn filters_agree_with_a_model(text in "(\\$share/)?[a+#/]{0,6}") {
        let shared = text.strip_prefix("$share/").map(|rest| rest.split_once('/').unwrap_or((rest, "")));
        let (name, filter) = shared.map_or((None, text.as_str()), |(name, filter)| (Some(name), filter));
        let levels: Vec<&str> = filter.split('/').collect();
        let wild = |level: &str| level.contains(['+', '#']);
        let valid = !filter.is_empty()
            && name.is_none_or(|name| !name.is_empty() && !wild(name))
            && levels.iter().enumerate().all(|(i, level)| match *level {
                "+" => true,
                "#" => i + 1 == levels.len(),
                other => !wild(other),
            });
        let read = Filter::read(&text, 99);
        prop_assert_eq!(read.is_ok(), valid, "{}", text);
        if let Ok(read) = read {
            prop_assert_eq!((read.share_name, read.filter), (name, filter));
            prop_assert_eq!(Filter::trusted(&text), read);
            prop_assert_eq!(topic::levels(filter), levels.len());
        }
    }
}

/// 4.7.1-2 to 4.7.2-1: the examples of the standard.
#[test]
fn examples_of_the_standard() {
    for (filter, topic, matches) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/monitor/Clients", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("ACCOUNTS", "Accounts", false),
    ] {
        assert_eq!(topic::matches(filter, topic), matches, "{filter} {topic}");
    }
}
