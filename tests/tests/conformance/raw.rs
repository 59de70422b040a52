//! Bytes as a person writes them, to send or to compare with.
//!
//! `10 0c` bytes · `"MQTT"` a string with its two bytes of length · `'hello'` bytes of text · `( … )` what is inside, with
//! its length before it as a variable byte integer · `{5.0: … }` for that version only · `X*N` any of the first three N times
//! (`"x"*N`: a string of N bytes). For comparing also `??` any byte, `..` whatever is left.

use super::Version;
use super::properties::{write_text, write_variable};

/// A part of such a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is inside, with its length before it.
    Group(Vec<Piece>),
    /// For some versions only.
    Only(&'static [Version], Vec<Piece>),
    /// Any byte.
    Any,
    /// All that is left.
    Rest,
}

/// Reads such a text.
///
/// # Errors
/// It is none.
pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut rest = text;
    let pieces = pieces(&mut rest, None)?;
    Ok(pieces)
}

fn pieces(rest: &mut &str, end: Option<char>) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    loop {
        *rest = rest.trim_start();
        let Some(next) = rest.chars().next() else {
            return end.map_or(Ok(found), |end| Err(format!("{end:?} is missing")));
        };
        match next {
            _ if Some(next) == end => {
                *rest = &rest[1..];
                return Ok(found);
            }
            '(' => {
                *rest = &rest[1..];
                found.push(Piece::Group(pieces(rest, Some(')'))?));
            }
            '{' => {
                let (version, inside) = rest[1..].split_once(':').ok_or("{VERSION: … }")?;
                *rest = inside;
                found.push(Piece::Only(Version::parse(version.trim())?, pieces(rest, Some('}'))?));
            }
            '"' | '\'' => found.push(Piece::Bytes(quoted(rest, next)?)),
            _ => word(rest, &mut found)?,
        }
    }
}

/// A quoted text at the start of `rest`, with what `*N` makes of it.
fn quoted(rest: &mut &str, quote: char) -> Result<Vec<u8>, String> {
    let close = rest[1..].find(quote).ok_or_else(|| format!("{quote:?} is missing"))? + 1;
    let text = unescape(&rest[1..close])?;
    *rest = &rest[close + 1..];
    let text = text.repeat(times(rest)?);
    if quote == '\'' {
        return Ok(text);
    }
    let mut bytes = Vec::new();
    write_text(&mut bytes, &text)?;
    Ok(bytes)
}

/// `*N` at the start of `rest`, else 1.
fn times(rest: &mut &str) -> Result<usize, String> {
    let Some(digits) = rest.strip_prefix('*') else { return Ok(1) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    *rest = &digits[end..];
    digits[..end].parse().map_err(|e| format!("*{}: {e}", &digits[..end]))
}

fn word(rest: &mut &str, found: &mut Vec<Piece>) -> Result<(), String> {
    let end = rest.find(|c: char| c.is_whitespace() || "(){}*\"'".contains(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    *rest = &rest[end..];
    match word {
        "??" => found.push(Piece::Any),
        ".." => found.push(Piece::Rest),
        _ => {
            let bytes = hex(word)?;
            found.push(Piece::Bytes(bytes.repeat(times(rest)?)));
        }
    }
    Ok(())
}

fn hex(word: &str) -> Result<Vec<u8>, String> {
    let digits = word.as_bytes();
    let wrong = || format!("{word:?} is no bytes");
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong))
        .collect()
}

/// Text in which `\xNN` is that byte, `\r` and `\n` are what they are elsewhere.
///
/// # Errors
/// Another backslash.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let (byte, length) = match rest.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'x', ..] => (*hex(rest.get(1..3).unwrap_or(""))?.first().ok_or("\\xNN")?, 3),
            _ => return Err(format!("\\{rest}: only \\xNN, \\r and \\n")),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// A number in decimal or, after `0x`, in hex.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The bytes, to send.
///
/// # Errors
/// There is something in them that only compares.
pub(crate) fn encode(pieces: &[Piece], version: Version, out: &mut Vec<u8>) -> Result<(), String> {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Group(inside) => {
                let mut body = Vec::new();
                encode(inside, version, &mut body)?;
                write_variable(out, body.len());
                out.extend(body);
            }
            Piece::Only(versions, inside) if versions.contains(&version) => encode(inside, version, out)?,
            Piece::Only(..) => {}
            Piece::Any | Piece::Rest => return Err("?? and .. cannot be sent".into()),
        }
    }
    Ok(())
}

/// Whether these are the bytes, all of them.
pub(crate) fn fits(pieces: &[Piece], version: Version, bytes: &[u8]) -> bool {
    let mut reader = Reader(bytes);
    take(pieces, version, &mut reader).is_ok() && reader.0.is_empty()
}

fn take(pieces: &[Piece], version: Version, reader: &mut Reader<'_>) -> Result<(), String> {
    for piece in pieces {
        match piece {
            Piece::Bytes(wanted) => {
                if reader.take(wanted.len())? != wanted {
                    return Err("another byte".into());
                }
            }
            Piece::Group(inside) => {
                let length = reader.variable()?;
                if !fits(inside, version, reader.take(length)?) {
                    return Err("another group".into());
                }
            }
            Piece::Only(versions, inside) if versions.contains(&version) => take(inside, version, reader)?,
            Piece::Only(..) => {}
            Piece::Any => drop(reader.byte()?),
            Piece::Rest => reader.0 = &[],
        }
    }
    Ok(())
}

/// Reads what the broker sent.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `length` bytes.
    ///
    /// # Errors
    /// There are fewer; as in all that follows.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.0.get(..length).ok_or("it ends within a field")?;
        self.0 = &self.0[length..];
        Ok(taken)
    }

    /// A byte.
    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// Two bytes.
    pub(crate) fn two(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes.
    pub(crate) fn four(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.two()?) << 16 | u32::from(self.two()?))
    }

    /// A variable byte integer, which must be in the fewest bytes.
    pub(crate) fn variable(&mut self) -> Result<usize, String> {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << shift;
            match byte {
                0 if shift > 0 => return Err("a variable byte integer is not in the fewest bytes".into()),
                0..0x80 => return Ok(value),
                _ if shift == 21 => return Err("a variable byte integer of five bytes".into()),
                _ => shift += 7,
            }
        }
    }

    /// A string or binary data.
    pub(crate) fn text(&mut self) -> Result<&'a [u8], String> {
        let length = self.two()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the tables' own language: lengths are put in, versions left out, and what differs by a byte does not fit.
    #[test]
    fn bytes_are_written_and_compared() {
        let text = r#"30 ( "t" {5.0: ( 01 01 ) } 'x'*3 00*2 "é"*2 '\x01\r' )"#;
        let pieces = parse(text).unwrap();
        let bytes = |version| {
            let mut out = Vec::new();
            encode(&pieces, version, &mut out).unwrap();
            out
        };
        let v311 = b"\x30\x10\0\x01txxx\0\0\0\x04\xC3\xA9\xC3\xA9\x01\r";
        assert_eq!(bytes(Version::V311), v311);
        assert_eq!(bytes(Version::V50)[..8], *b"\x30\x13\0\x01t\x02\x01\x01");
        assert!(fits(&pieces, Version::V311, v311));
        assert!(!fits(&pieces, Version::V50, v311));
        assert!(fits(&parse("30 ( 0001 ?? 'xx' .. )").unwrap(), Version::V311, v311));
        assert!(!fits(&parse("30 ( 0001 ?? 'xy' .. )").unwrap(), Version::V311, v311));
        assert!(!fits(&parse("c0 ( )").unwrap(), Version::V311, b"\xC0\x80\0"), "not in the fewest bytes");
        for wrong in ["1", "zz", "( 00", "00 )", "\"a", "{6: 00}", "'\\q'"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
