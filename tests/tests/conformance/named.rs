//! Packets by name: `PUBLISH a/b hello qos=1 id=7`.
//!
//! A kind, then values in the kind's own order, then `name=value`. A value may stand in quotes (`payload="a b"`, `""` is
//! empty), knows `\xNN`, and `x*N` is the text x N times. `@name` stands for a value that was seen before; in what is expected it
//! takes the value when it is seen first.

use super::properties::is_property;
use super::raw::unescape;

/// A field's name and what is written behind it.
pub(crate) type Field = (String, Value);

/// A value, or what a value must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// This.
    Is(Vec<u8>),
    /// The value of a variable.
    Variable(String),
    /// Another value than these variables have; for what is expected.
    Not(Vec<String>),
    /// Any value; for what is expected.
    Any,
    /// No value at all; for what is expected.
    Absent,
    /// A number from here to there; for what is expected.
    Between(u64, u64),
}

/// A packet by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// Its kind, such as `PUBLISH`.
    pub(crate) kind: &'static str,
    /// What is said of it, in this order.
    pub(crate) fields: Vec<Field>,
    /// `..`: what is not named may be there too.
    pub(crate) open: bool,
}

/// A kind of packet, the fields that come without a name (the last one may repeat), and those that have one.
type Kind = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Every kind, from type 1 on.
pub(crate) const KINDS: [Kind; 15] = [
    (
        "CONNECT",
        &["client-id"],
        &["clean", "keep-alive", "user", "password", "will", "will-payload", "will-qos", "will-retain", "persistent"],
    ),
    ("CONNACK", &["code"], &["present"]),
    ("PUBLISH", &["topic", "payload"], &["qos", "id", "retain", "dup"]),
    ("PUBACK", &["id", "code"], &[]),
    ("PUBREC", &["id", "code"], &[]),
    ("PUBREL", &["id", "code"], &[]),
    ("PUBCOMP", &["id", "code"], &[]),
    ("SUBSCRIBE", &["id", "filter"], &[]),
    ("SUBACK", &["id", "code"], &[]),
    ("UNSUBSCRIBE", &["id", "filter"], &[]),
    ("UNSUBACK", &["id", "code"], &[]),
    ("PINGREQ", &[], &[]),
    ("PINGRESP", &[], &[]),
    ("DISCONNECT", &["code"], &[]),
    ("AUTH", &["code"], &[]),
];

/// Reads a packet; `None` if the text does not begin with the name of one.
///
/// # Errors
/// It has a field that the kind has not.
pub(crate) fn parse(text: &str) -> Option<Result<Named, String>> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (kind, unnamed, named) = KINDS.into_iter().find(|(name, _, _)| *name == first)?;
    Some(fields(rest, unnamed, named).map(|(fields, open)| Named { kind, fields, open }))
}

/// The fields of a kind that is known.
///
/// # Errors
/// As [`parse`].
pub(crate) fn of_kind(kind: &'static str, text: &str) -> Result<Named, String> {
    parse(&format!("{kind} {text}")).unwrap_or_else(|| Err(format!("{kind} is no packet")))
}

fn fields(text: &str, unnamed: &[&str], named: &[&str]) -> Result<(Vec<Field>, bool), String> {
    let (mut found, mut open, mut at) = (Vec::new(), false, 0);
    for word in words(text)? {
        if word == ".." {
            open = true;
            continue;
        }
        let name_of = |name: &str| name.strip_prefix("will.").unwrap_or(name).to_owned();
        let is_name = |name: &str| named.contains(&name) || is_property(&name_of(name));
        let with_name = word.split_once('=').filter(|(name, _)| is_name(name));
        let absent = word.strip_prefix('!').filter(|name| is_name(name));
        let flag = named.contains(&word.as_str()).then_some(word.as_str());
        let field = match (with_name, absent, flag) {
            (Some((name, text)), _, _) => (name.to_owned(), value(text)?),
            (None, Some(name), _) => (name.to_owned(), Value::Absent),
            (None, None, Some(name)) => (name.to_owned(), Value::Is(b"1".to_vec())),
            (None, None, None) => {
                let name = unnamed.get(at).or(unnamed.last()).ok_or_else(|| format!("{word:?} has no place here"))?;
                at += 1;
                ((*name).to_owned(), value(&word)?)
            }
        };
        found.push(field);
    }
    Ok((found, open))
}

/// Cuts at blanks that are not within quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut found, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => {
                (quoted, any) = (!quoted, true);
                word.push(c);
            }
            ' ' if !quoted => {
                if any {
                    found.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return Err("a quote is missing".into());
    }
    found.extend(any.then_some(word));
    Ok(found)
}

fn value(text: &str) -> Result<Value, String> {
    if text == "*" {
        return Ok(Value::Any);
    }
    if let Some(names) = text.strip_prefix("!@") {
        return Ok(Value::Not(names.split(',').map(str::to_owned).collect()));
    }
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Value::Variable(name.to_owned()));
    }
    if let Some((low, high)) = text.split_once("..")
        && let (Ok(low), Ok(high)) = (low.parse(), high.parse())
    {
        return Ok(Value::Between(low, high));
    }
    let (text, times) = match text.rsplit_once('*') {
        Some((text, digits))
            if !text.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() =>
        {
            (text, digits.parse().map_err(|e| format!("{text}*{digits}: {e}"))?)
        }
        _ => (text, 1),
    };
    Ok(Value::Is(unescape(&text.replace('"', ""))?.repeat(times)))
}
