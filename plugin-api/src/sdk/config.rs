//! A plugin's configuration: JSON from the host into the author's type, unknown keys refused.

use serde::de::DeserializeOwned;

/// Parses.
///
/// # Errors
/// One line a problem, each with its key: what does not fit (serde stops at the first), and every unknown key.
pub(crate) fn parse<C: DeserializeOwned>(json: &str) -> Result<C, String> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut input = serde_json::Deserializer::from_str(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut input, &mut track);
    let parsed = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let mut problems: Vec<String> = match &parsed {
        Ok(_) => Vec::new(),
        Err(e) => match track.path().to_string() {
            path if path == "." => vec![e.to_string()],
            path => vec![format!("{path}: {e}")],
        },
    };
    problems.extend(unknown.iter().map(|key| format!("{key}: there is no such key")));
    match parsed {
        Ok(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Config {
        rate: u32,
        #[serde(default)]
        inner: Inner,
    }
    #[derive(serde::Deserialize, Debug, PartialEq, Default)]
    struct Inner {
        #[serde(default)]
        name: String,
    }

    /// Guards that a misspelt key never passes silently, at any depth, and that errors name the key.
    #[test]
    fn unknown_and_wrong_keys_are_named() {
        let inner = Inner { name: "n".into() };
        assert_eq!(parse(r#"{"rate": 1, "inner": {"name": "n"}}"#), Ok(Config { rate: 1, inner }));
        let wrong = parse::<Config>(r#"{"rate": 1, "inner": {"nam": "n"}}"#).unwrap_err();
        assert_eq!(wrong, "inner.nam: there is no such key");
        let wrong = parse::<Config>(r#"{"rate": "x"}"#).unwrap_err();
        assert!(wrong.starts_with("rate: invalid type"), "{wrong}");
    }
}
