//! Patterns of names: `*` stands for any text, also none, within a part of the name; all else for itself. What is empty matches none.

/// What a name is, and so what `*` does not go beyond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Text without parts.
    Text,
    /// A distinguished name: a `*` stays within one attribute.
    Distinguished,
    /// A DNS name: within one label; case does not matter (RFC 5890).
    Dns,
    /// A URI: within one segment.
    Uri,
    /// A mail address: on one side of the `@`.
    Email,
}

impl Kind {
    fn ends(self, c: char) -> bool {
        match self {
            Kind::Text => false,
            // A comma of a value is written `\,`.
            Kind::Distinguished => matches!(c, ',' | '+' | '\\'),
            Kind::Dns => c == '.',
            Kind::Uri => matches!(c, '/' | '?' | '#'),
            Kind::Email => c == '@',
        }
    }

    fn normal(self, text: &str) -> String {
        if self == Kind::Dns { text.to_ascii_lowercase() } else { text.to_owned() }
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern {
    kind: Kind,
    /// What is between the `*`: at least one.
    parts: Vec<String>,
}

impl Pattern {
    /// # Errors
    /// It is empty, and would match nothing.
    pub(crate) fn new(kind: Kind, text: &str) -> Result<Self, String> {
        match text.is_empty() {
            true => Err("is empty".into()),
            false => Ok(Pattern::of(kind, text.split('*').map(str::to_owned).collect())),
        }
    }

    /// Of the texts between the `*`; in them a `*` stands for itself.
    pub(crate) fn of(kind: Kind, parts: Vec<String>) -> Self {
        Pattern { kind, parts: parts.iter().map(|part| kind.normal(part)).collect() }
    }

    /// Whether it matches the whole of a text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        let text = self.kind.normal(text);
        let stays = |gap: &str| !gap.chars().any(|c| self.kind.ends(c));
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        // The first place of each is the best one: what comes before it is the shortest.
        for part in middle {
            let Some(at) = left.find(part.as_str()).filter(|at| stays(&left[..*at])) else { return false };
            left = &left[at + part.len()..];
        }
        left.strip_suffix(last.as_str()).is_some_and(stays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that `*` does not reach over what divides a name: whoever may be called `a.plant` must not pass for `*.example`.
    #[test]
    fn a_star_stays_within_its_part() {
        for (kind, pattern, text, yes) in [
            (Kind::Text, "sensor-*", "sensor-1", true),
            (Kind::Text, "sensor-*", "x-sensor-1", false),
            (Kind::Text, "*", "a b", true),
            (Kind::Text, "*", "", false),
            (Kind::Text, "a*a", "a", false),
            (Kind::Dns, "*.plant.example", "a.PLANT.example", true),
            (Kind::Dns, "*.plant.example", "a.b.plant.example", false),
            (Kind::Dns, "*.*.example", "a.b.example", true),
            (Kind::Uri, "urn:dev:*", "urn:dev:7", true),
            (Kind::Uri, "spiffe://acme/*/pump", "spiffe://acme/north/pump", true),
            (Kind::Uri, "spiffe://acme/*/pump", "spiffe://acme/a/b/pump", false),
            (Kind::Uri, "spiffe://*", "spiffe://acme/x", false),
            (Kind::Email, "*@acme.example", "a.b@acme.example", true),
            (Kind::Email, "*@acme.example", "a@b@acme.example", false),
            (Kind::Distinguished, "CN=sensor-*, O=Acme", "CN=sensor-1, O=Acme", true),
            (Kind::Distinguished, "CN=sensor-*, O=Acme", "CN=sensor-1\\, O=Acme", false),
            (Kind::Distinguished, "CN=sensor-*, O=Acme", "CN=sensor-1, O=Evil, O=Acme", false),
        ] {
            let found = Pattern::new(kind, pattern).unwrap().matches(text);
            assert_eq!(found, yes, "{kind:?} {pattern} {text}");
        }
        assert!(Pattern::new(Kind::Text, "").is_err());
    }

    /// The definition, with every way to divide the text tried out.
    fn naive(kind: Kind, pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => {
                let reach = text.iter().position(|c| kind.ends(*c)).unwrap_or(text.len());
                (0..=reach).any(|n| naive(kind, rest, &text[n..]))
            }
            [c, rest @ ..] => text.first() == Some(c) && naive(kind, rest, &text[1..]),
        }
    }

    /// Guards the walk from left to right against the definition, for all patterns and texts of a few characters.
    #[test]
    fn it_is_what_the_definition_says() {
        fn all(alphabet: &[char], len: usize) -> Vec<String> {
            let mut texts = vec![String::new()];
            let mut last = texts.clone();
            for _ in 0..len {
                last = last.iter().flat_map(|t| alphabet.iter().map(move |c| format!("{t}{c}"))).collect();
                texts.extend(last.iter().cloned());
            }
            texts
        }
        let (patterns, texts) = (all(&['a', 'b', '.', '*'], 5), all(&['a', 'b', '.'], 6));
        let chars = |text: &String| text.chars().collect::<Vec<_>>();
        let texts: Vec<(String, Vec<char>)> = texts.into_iter().map(|t| (t.clone(), chars(&t))).collect();
        for pattern in patterns.iter().filter(|p| !p.is_empty()) {
            let (written, walked) = (chars(pattern), Pattern::new(Kind::Dns, pattern).unwrap());
            for (text, characters) in texts.iter().filter(|(text, _)| !text.is_empty()) {
                assert_eq!(walked.matches(text), naive(Kind::Dns, &written, characters), "{pattern} {text}");
            }
        }
    }
}
