//! Rust text as far as the rules need it: what is code, where functions begin and end.

/// A function and its length.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Line of `fn`, from 1 on.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// The text with comments, and what is between quotes, turned into spaces. Lines stay where they are.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'b' if !follows_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 1).unwrap_or(at)
            }
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|w| w == what).map(|p| from + p)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `start` is at the `r`.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(start + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.extend(std::iter::repeat_n(b'#', hashes));
    Some(find(bytes, start + hashes + 2, &end).map_or(bytes.len(), |p| p + end.len()))
}

/// `None` for a lifetime.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        return find(bytes, start + 3, b"'").map(|p| p + 1);
    }
    let text = std::str::from_utf8(bytes.get(start + 1..bytes.len().min(start + 5))?);
    let first = match &text {
        Ok(text) => text.chars().next()?,
        Err(e) => std::str::from_utf8(&bytes[start + 1..start + 1 + e.valid_up_to()]).ok()?.chars().next()?,
    };
    let end = start + 1 + first.len_utf8();
    (bytes.get(end) == Some(&b'\'')).then_some(end + 1)
}

/// Whether `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    words_at(line, word).next().is_some()
}

fn words_at<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !follows_word(bytes, *at) && !bytes.get(at + word.len()).is_some_and(|b| is_word(*b)))
}

/// Functions with a body, in `code` (see there).
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for at in words_at(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(open) = body(bytes, at).filter(|_| !name.is_empty()) else { continue };
        let close = closing(bytes, open);
        let line = code[..at].matches('\n').count() + 1;
        found.push(Function { name, line, lines: code[at..close].matches('\n').count() + 1 });
    }
    found
}

/// Where the body's brace opens; `None` for a declaration.
fn body(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return Some(at),
            b';' | b'}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn closing(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

/// Whether the unsafe code of line `n` (from 0) has a SAFETY comment, or as a declaration a `# Safety` section, right
/// above its statement.
pub(crate) fn explained(lines: &[&str], n: usize) -> bool {
    let mut above = lines[..n].iter().rev().map(|line| line.trim());
    // Up to the comment: lines of the same statement, and attributes.
    let mut statement = above.by_ref().take(4).skip_while(|line| !line.starts_with("//"));
    let Some(last) = statement.next() else { return false };
    let mut comment = vec![last];
    comment.extend(
        lines[..n]
            .iter()
            .rev()
            .map(|l| l.trim())
            .skip_while(|l| !l.starts_with("//"))
            .skip(1)
            .take_while(|l| l.starts_with("//")),
    );
    comment.iter().any(|line| line.starts_with("// SAFETY:") || line.starts_with("/// # Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the scanner: quotes, comments and lifetimes do not hide code, and code in them does not count.
    #[test]
    fn comments_and_strings_are_not_code() {
        for (text, clean) in [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ } */ b", "a                   b"),
            ("f(\"}\\\"{\") + 1", "f(      ) + 1"),
            ("r#\"{\"# + 1", "       + 1"),
            ("'{' + 'a", "    + 'a"),
            ("'\\'' + '\\u{7d}'", "     +         "),
            ("var\"x\"", "var   "),
        ] {
            assert_eq!(code(text), clean, "{text}");
        }
    }

    /// Guards the counter: nested braces, declarations, function pointers and array types.
    #[test]
    fn functions_are_measured() {
        let text =
            "fn a(x: [u8; 2]) {\n  if b { c }\n}\ntrait T { fn d(&self); }\ntype F = fn(u8);\nfn e() { fn f() {} }\n";
        let found: Vec<_> = functions(&code(text)).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        let wanted = [("a", 1, 3), ("e", 6, 1), ("f", 6, 1)].map(|(name, line, lines)| (name.to_owned(), line, lines));
        assert_eq!(found, wanted);
    }

    /// Guards the fence's other half: a comment that explains something else does not count.
    #[test]
    fn unsafe_code_needs_its_own_comment() {
        let check = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            explained(&lines, lines.len() - 1)
        };
        assert!(check("// SAFETY: sound.\nunsafe { x }"));
        assert!(check("// SAFETY: sound, and\n// for long.\nlet y =\n  unsafe { x }"));
        assert!(!check("// Something else.\nunsafe { x }"));
        assert!(!check("// SAFETY: of another.\na();\n\n\n\nb();\nunsafe { x }"));
        assert!(!check("unsafe { x }"));
    }
}
