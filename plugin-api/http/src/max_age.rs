//! How long an answer may be kept, as its server says (RFC 9111).

use std::time::Duration;

use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};

/// `max-age` of Cache-Control, less the Age that the answer has already; `None` where it must not be kept, or where nothing
/// that can be understood is said.
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.to_str().ok()?.split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return None,
                // Said twice, it is not understood.
                "max-age" if max_age.is_some() => return None,
                "max-age" => max_age = Some(value.trim().trim_matches('"').parse::<u32>().ok()?),
                _ => {}
            }
        }
    }
    let age = match headers.get(AGE) {
        Some(age) => age.to_str().ok()?.trim().parse::<u32>().ok()?,
        None => 0,
    };
    let left = max_age?.checked_sub(age)?;
    (left > 0).then(|| Duration::from_secs(left.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that an answer is kept only where its server clearly says so, and not longer.
    #[test]
    fn what_is_not_clearly_said_is_not_kept() {
        for (lines, age, wanted) in [
            (&["max-age=60"][..], None, Some(60)),
            (&["private, Max-Age=60"], None, Some(60)),
            (&["private", "max-age=\"60\""], None, Some(60)),
            (&["max-age=60"], Some("20"), Some(40)),
            (&["max-age=60"], Some("60"), None),
            (&["max-age=60"], Some("x"), None),
            (&["max-age=0"], None, None),
            (&["max-age=60, no-store"], None, None),
            (&["max-age=60", "no-cache"], None, None),
            (&["max-age=60, max-age=70"], None, None),
            (&["max-age=-1"], None, None),
            (&["max-age"], None, None),
            (&["s-maxage=60"], None, None),
            (&[], None, None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().unwrap());
            }
            if let Some(age) = age {
                headers.insert(AGE, age.parse().unwrap());
            }
            assert_eq!(max_age(&headers), wanted.map(Duration::from_secs), "{lines:?} {age:?}");
        }
    }
}
