//! Values of claims, and `${claim.NAME}` in the configuration.

use serde_json::{Map, Value};

pub(crate) type Claims = Map<String, Value>;

/// What begins an attribute that is a claim.
const ATTRIBUTE: &str = "claim.";
const BEGIN: &str = "${claim.";

/// A claim by its name, or where the name begins with `/` by its place (JSON pointer, RFC 6901).
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    match name.strip_prefix('/') {
        None => claims.get(name),
        Some(path) => {
            let (first, rest) = path.split_once('/').map_or((path, ""), |(first, _)| (first, &path[first.len()..]));
            claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// The texts that a claim has: one, or those of a list. None where there is anything else in it.
pub(crate) fn texts(claims: &Claims, name: &str) -> Vec<String> {
    match claim(claims, name) {
        Some(Value::Array(list)) => list.iter().map(text).collect::<Option<_>>().unwrap_or_default(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Attributes of an identity for the claims that its grants name: at most two values of each, since several never expand.
pub(crate) fn attributes(claims: &Claims, names: &[String]) -> Vec<(String, String)> {
    let of = |name: &String| {
        let name = name.clone();
        texts(claims, &name).into_iter().take(2).map(move |value| (format!("{ATTRIBUTE}{name}"), value))
    };
    names.iter().flat_map(of).collect()
}

/// Writes the `${claim.NAME}` of a grant's filter as the attributes that the broker knows, and puts down their names.
///
/// # Errors
/// A name that is not closed, or empty.
pub(crate) fn rewrite(filter: &str, names: &mut Vec<String>) -> Result<String, String> {
    let (mut written, mut rest) = (String::new(), filter);
    while let Some(at) = rest.find(BEGIN) {
        let (name, after) = named(&rest[at + BEGIN.len()..]).map_err(|e| format!("{filter:?}: {e}"))?;
        written.push_str(&rest[..at]);
        written.push_str(&format!("${{attr.{ATTRIBUTE}{name}}}"));
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        rest = after;
    }
    Ok(written + rest)
}

fn named(rest: &str) -> Result<(&str, &str), String> {
    match rest.split_once('}') {
        Some(("", _)) => Err("a claim without name".into()),
        Some(found) => Ok(found),
        None => Err("no closing brace".into()),
    }
}

/// A text with at most one claim in it: with two, different claims could make the same text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template {
    before: String,
    claim: Option<String>,
    after: String,
}

impl Template {
    /// # Errors
    /// Why it makes no sense.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let (before, rest) = text.split_once(BEGIN).map_or((text, None), |(before, rest)| (before, Some(rest)));
        let (claim, after) = match rest.map(named).transpose().map_err(|e| format!("{text:?}: {e}"))? {
            Some((name, after)) => (Some(name.to_owned()), after),
            None => (None, ""),
        };
        if before.contains("${") || after.contains("${") {
            return Err(format!("{text:?}: wanted text with at most one ${{claim.NAME}}"));
        }
        match text.is_empty() {
            true => Err("is empty".into()),
            false => Ok(Template { before: before.into(), claim, after: after.into() }),
        }
    }

    /// # Errors
    /// The claim is not there exactly once, or is empty, or holds control characters.
    pub(crate) fn fill(&self, claims: &Claims) -> Result<String, String> {
        let Some(name) = &self.claim else { return Ok(self.before.clone()) };
        match texts(claims, name).as_slice() {
            [one] if one.is_empty() || one.contains(char::is_control) => {
                Err(format!("its claim {name:?} is empty, or holds control characters"))
            }
            [one] => Ok(format!("{}{one}{}", self.before, self.after)),
            several => Err(format!("it has {} of the claim {name:?}; wanted one", several.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    /// Guards that a claim which is absent, has several values, or is no text never becomes a name.
    #[test]
    fn a_claim_is_one_value_or_none() {
        let claims = claims(json!({
            "sub": "u", "n": 7, "f": 1.5, "b": true, "none": null, "one": ["x"], "two": ["x", "y"], "mixed": ["x", {}],
            "empty": "", "nul": "a\u{0}b", "https://a/b": "url", "realm": { "org": "o", "a/b": "s" },
        }));
        for (template, wanted) in [
            ("plain", Some("plain")),
            ("${claim.sub}", Some("u")),
            ("a-${claim.n}-b", Some("a-7-b")),
            ("${claim.one}", Some("x")),
            ("${claim.https://a/b}", Some("url")),
            ("${claim./realm/org}", Some("o")),
            ("${claim./realm/a~1b}", Some("s")),
            ("${claim./one/0}", Some("x")),
            ("${claim.two}", None),
            ("${claim.mixed}", None),
            ("${claim.f}", None),
            ("${claim.b}", None),
            ("${claim.none}", None),
            ("${claim.realm}", None),
            ("${claim.absent}", None),
            ("${claim./realm/none}", None),
            ("${claim.empty}", None),
            ("${claim.nul}", None),
        ] {
            assert_eq!(Template::new(template).unwrap().fill(&claims).ok().as_deref(), wanted, "{template}");
        }
        for wrong in ["", "${claim.a", "${claim.}", "${user}", "${claim.a}-${claim.b}", "${x}${claim.a}"] {
            assert!(Template::new(wrong).is_err(), "{wrong}");
        }
    }

    /// Guards section 5: what a claim may do in a filter is the broker's decision, so it is handed on as it is; one with
    /// several values stays one with several.
    #[test]
    fn claims_in_filters_become_attributes() {
        let mut names = Vec::new();
        let filter = rewrite("a/${claim.site}/${user}/x-${claim.site}-${claim./r/o}/#", &mut names).unwrap();
        assert_eq!(filter, "a/${attr.claim.site}/${user}/x-${attr.claim.site}-${attr.claim./r/o}/#");
        assert_eq!(names, ["site", "/r/o"]);
        assert!(rewrite("a/${claim.x", &mut names).is_err());
        assert_eq!(
            attributes(&claims(json!({"site": "+/#", "r": {"o": ["a", "b", "c"]}})), &names),
            [("site", "+/#"), ("/r/o", "a"), ("/r/o", "b")].map(|(n, v)| (format!("claim.{n}"), v.to_owned()))
        );
    }
}
