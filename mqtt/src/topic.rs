//! Topic names and filters (MQTT 5.0, 4.7 and 4.8).

use crate::Breach;

/// Whether `text` has a wildcard character.
pub fn has_wildcard(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// How many levels a topic name or filter has; `a/b` has two, `/a` too.
pub fn levels(text: &str) -> usize {
    1 + text.bytes().filter(|&byte| byte == b'/').count()
}

/// A topic name as PUBLISH carries it: UTF-8, not empty, no wildcard, no U+0000, at most `levels_max` levels.
///
/// # Errors
/// [`Breach::TopicEmpty`] (MQTT-4.7.3-1), [`Breach::TopicWildcard`] (MQTT-3.3.2-2), [`Breach::StringHasNul`]
/// (MQTT-4.7.3-2), [`Breach::StringNotUtf8`] (MQTT-3.3.2-1), [`Breach::TopicTooDeep`].
#[inline]
pub fn name(bytes: &[u8], levels_max: u16) -> Result<&str, Breach> {
    // One pass without branches, for the usual short topic; which rule it broke is only asked when it broke one.
    let (mut bad, mut separators) = (bytes.is_empty(), 0usize);
    for &byte in bytes {
        bad |= matches!(byte, b'+' | b'#' | 0);
        separators += usize::from(byte == b'/');
    }
    if bad || separators >= usize::from(levels_max) {
        return Err(name_breach(bytes));
    }
    std::str::from_utf8(bytes).map_err(|_| Breach::StringNotUtf8)
}

#[cold]
fn name_breach(bytes: &[u8]) -> Breach {
    match bytes {
        [] => Breach::TopicEmpty,
        _ if bytes.contains(&0) => Breach::StringHasNul,
        _ if bytes.iter().any(|byte| matches!(byte, b'+' | b'#')) => Breach::TopicWildcard,
        _ => Breach::TopicTooDeep,
    }
}

/// A topic filter, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Filter<'a> {
    /// As the client wrote it, `$share/…/` included.
    pub text: &'a str,
    /// Share name of a shared subscription (4.8.2).
    pub share_name: Option<&'a str>,
    /// What topic names are matched with.
    pub filter: &'a str,
}

impl<'a> Filter<'a> {
    /// Reads a filter of SUBSCRIBE or UNSUBSCRIBE; `$share/name/filter` is a shared subscription in every version.
    ///
    /// # Errors
    /// What breaks 4.7.1, 4.7.3 or 4.8.2; [`Breach::FilterTooDeep`] beyond `levels_max` levels of the filter itself.
    pub fn read(text: &'a str, levels_max: u16) -> Result<Self, Breach> {
        let (share_name, filter) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(shared) => {
                let (name, filter) = shared.split_once('/').ok_or(Breach::ShareFilterMissing)?;
                match name {
                    "" => return Err(Breach::ShareNameEmpty),
                    _ if has_wildcard(name) => return Err(Breach::ShareNameWildcard),
                    _ if filter.is_empty() => return Err(Breach::ShareFilterMissing),
                    _ => (Some(name), filter),
                }
            }
        };
        check_filter(filter, levels_max)?;
        Ok(Filter { text, share_name, filter })
    }

    /// Takes apart a filter that was read before.
    pub fn trusted(text: &'a str) -> Self {
        match text.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) {
            Some((name, filter)) => Filter { text, share_name: Some(name), filter },
            None => Filter { text, share_name: None, filter: text },
        }
    }
}

/// That wildcards take a whole level, and `#` only the last one (4.7.1).
fn check_filter(filter: &str, levels_max: u16) -> Result<(), Breach> {
    if filter.is_empty() {
        return Err(Breach::FilterEmpty);
    }
    if filter.contains('\0') {
        return Err(Breach::StringHasNul);
    }
    let mut levels = filter.split('/').peekable();
    let mut count = 0usize;
    while let Some(level) = levels.next() {
        count += 1;
        if level.contains('#') && (level.len() > 1 || levels.peek().is_some()) {
            return Err(Breach::FilterHashMisplaced);
        }
        if level.contains('+') && level.len() > 1 {
            return Err(Breach::FilterPlusMisplaced);
        }
    }
    if count > usize::from(levels_max) { Err(Breach::FilterTooDeep) } else { Ok(()) }
}

/// Whether `filter` (valid, without `$share/…/`) matches `topic` (a valid name). Character by character (MQTT-4.7.3-4).
pub fn matches(filter: &str, topic: &str) -> bool {
    // A leading wildcard does not match a topic that begins with $ (MQTT-4.7.2-1).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}
