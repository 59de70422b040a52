//! The tables: files of cases, each with the clauses that it covers and its steps.

use gatemq_tests::outside::files_below;

use super::named::{self, Named};
use super::raw::{self, Piece};
use super::{Version, directory, read};

/// A case of a table.
pub(crate) struct Case {
    /// Its name, the only one of this name.
    pub(crate) name: String,
    /// File and line.
    pub(crate) place: String,
    /// Versions that it is run in, and the clauses that it covers there.
    pub(crate) covers: Vec<(Version, Vec<String>)>,
    /// The listener that its connections go to.
    pub(crate) listener: String,
    /// What happens.
    pub(crate) steps: Vec<Step>,
}

/// A step of a case.
pub(crate) struct Step {
    /// File and line, and what is written there.
    pub(crate) place: String,
    /// Versions in which it happens.
    pub(crate) versions: Vec<Version>,
    /// Name of the connection.
    pub(crate) connection: String,
    /// What happens.
    pub(crate) action: Action,
}

/// A packet to send or to expect.
pub(crate) enum Packet {
    /// By name.
    Named(Named),
    /// Bytes.
    Raw(Vec<Piece>),
}

/// What happens in a step.
pub(crate) enum Action {
    /// `a > PACKET`: it is sent; opens the connection where there is none.
    Send(Packet),
    /// `a < PACKET`: it is what comes next.
    Expect(Packet),
    /// `a <~ PACKET`: it comes; what came before it waits for later steps.
    ExpectAmong(Packet),
    /// `a << BYTES`: bytes that are no packet come next.
    ExpectBytes(Vec<Piece>),
    /// `a head TEXT`: the head of an HTTP response has this text.
    ExpectHead(String),
    /// `a joins FIELDS`: CONNECT with these fields, and CONNACK 0.
    Joins(Named),
    /// `a takes FILTER:QOS …`: SUBSCRIBE, and SUBACK with these QoS.
    Takes(Named),
    /// `a closed CODE`: the broker ends the connection, in 5.0 after DISCONNECT with this code where one is given.
    Closed(Option<Named>),
    /// `a silence`: nothing has come; all that was sent has been handled.
    Silence,
    /// `a leaves`: DISCONNECT, and the broker ends the connection.
    Leaves,
    /// `a drops`: the socket is closed without a word.
    Drops,
    /// `wait MS`: time that a clause is about goes by.
    Wait(u64),
}

/// All cases of all tables.
///
/// # Errors
/// Lines that are none, all of them.
pub(crate) fn all() -> Result<Vec<Case>, Vec<String>> {
    let mut files = files_below(&directory());
    files.retain(|f| f.extension().is_some_and(|e| e == "case"));
    files.sort();
    let (mut cases, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match parse(&name, &read(&file)) {
            Ok(more) => cases.extend(more),
            Err(more) => wrong.extend(more),
        }
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("two cases {}", pair[0]));
    wrong.extend(twice);
    if wrong.is_empty() { Ok(cases) } else { Err(wrong) }
}

/// The cases of one file.
///
/// # Errors
/// Lines that are none.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Case>, Vec<String>> {
    let (mut cases, mut wrong): (Vec<Case>, _) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let (line, place) = (line.trim(), format!("{file}:{}", n + 1));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let done = match line.split_once(' ') {
            Some(("case", name)) => {
                let (name, listener) = (name.to_owned(), "plain".to_owned());
                cases.push(Case { name, place: place.clone(), covers: Vec::new(), listener, steps: Vec::new() });
                Ok(())
            }
            _ => cases.last_mut().ok_or_else(|| "no case before it".to_owned()).and_then(|c| add(c, &place, line)),
        };
        if let Err(why) = done {
            wrong.push(format!("{place}: {line}: {why}"));
        }
    }
    wrong.extend(cases.iter().filter(|c| c.covers.is_empty()).map(|c| format!("{}: covers nothing", c.place)));
    if wrong.is_empty() { Ok(cases) } else { Err(wrong) }
}

/// Adds a line to a case.
fn add(case: &mut Case, place: &str, line: &str) -> Result<(), String> {
    if let Some(listener) = line.strip_prefix("listener ") {
        case.listener = listener.to_owned();
        return Ok(());
    }
    if let Some(covers) = line.strip_prefix("covers ") {
        let mut words = covers.split_whitespace();
        let versions = Version::parse(words.next().unwrap_or(""))?;
        let clauses: Vec<String> = words.map(str::to_owned).collect();
        if case.covers.iter().any(|(version, _)| versions.contains(version)) {
            return Err("this version has a line already".into());
        }
        case.covers.extend(versions.iter().map(|version| (*version, clauses.clone())));
        return Ok(());
    }
    let (versions, rest) = match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((version, rest)) => (Version::parse(version)?.to_vec(), rest.trim()),
        None => (Version::ALL.to_vec(), line),
    };
    let (connection, rest) = rest.split_once(' ').ok_or("no such step")?;
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let action = match connection {
        "wait" => Action::Wait(verb.parse().map_err(|e| format!("{verb}: {e}"))?),
        _ => action(connection, verb, rest.trim())?,
    };
    let place = format!("{place}: {line}");
    case.steps.push(Step { place, versions, connection: connection.to_owned(), action });
    Ok(())
}

fn action(connection: &str, verb: &str, rest: &str) -> Result<Action, String> {
    Ok(match verb {
        ">" => Action::Send(packet(rest)?),
        "<" => Action::Expect(packet(rest)?),
        "<~" => Action::ExpectAmong(packet(rest)?),
        "<<" => Action::ExpectBytes(raw::parse(rest)?),
        "head" => Action::ExpectHead(rest.to_owned()),
        // The client id is the connection's name where none is given.
        "joins" => {
            let mut named = named::of_kind("CONNECT", rest)?;
            if !named.fields.iter().any(|(name, _)| name == "client-id") {
                named.fields.push(("client-id".into(), named::Value::Is(connection.as_bytes().to_vec())));
            }
            Action::Joins(named)
        }
        "takes" => Action::Takes(named::of_kind("SUBSCRIBE", &format!("65000 {rest}"))?),
        "closed" if rest.is_empty() => Action::Closed(None),
        "closed" => Action::Closed(Some(named::of_kind("DISCONNECT", rest)?)),
        "silence" => Action::Silence,
        "leaves" => Action::Leaves,
        "drops" => Action::Drops,
        _ => return Err(format!("there is no step {verb:?}")),
    })
}

fn packet(text: &str) -> Result<Packet, String> {
    match named::parse(text) {
        Some(named) => named.map(Packet::Named),
        None => raw::parse(text).map(Packet::Raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the reader of tables: a line that is none is told with its place, and so is a case that covers nothing.
    #[test]
    fn lines_that_are_none_are_told() {
        let head = "case one\ncovers 3.x MQTT-1 MQTT-2\n";
        let cases = parse("f", &format!("{head}[5.0] a > PINGREQ\n# a comment\na silence")).unwrap();
        assert_eq!((cases[0].covers.len(), cases[0].steps.len()), (2, 2));
        assert_eq!(cases[0].covers[1], (Version::V311, vec!["MQTT-1".into(), "MQTT-2".into()]));
        for wrong in [
            "a ! PINGREQ",
            "a > PINGREQ more",
            "a > zz",
            "a > PUBLISH \"t",
            "[4] a > PINGREQ",
            "covers 3.1 MQTT-3",
            "covers 6",
            "wait long",
            "a",
        ] {
            let told = parse("f", &format!("{head}{wrong}")).err().unwrap_or_default();
            assert!(told.len() == 1 && told[0].starts_with("f:3: "), "{wrong}: {told:?}");
        }
        assert!(parse("f", "a silence").is_err() && parse("f", "case one\na silence").is_err());
    }
}
