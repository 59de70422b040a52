//! Where the token is.

use gatemq_plugin_api::Connect;
use gatemq_plugin_api::serde::Deserialize;

/// Largest token, in bytes.
pub(crate) const BYTES_MAX: usize = 16 * 1024;
pub(crate) const NO_TOKEN: &str = "what it shows is no JSON Web Token";

/// Where a client puts its token.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(crate = "gatemq_plugin_api::serde", rename_all = "snake_case")]
pub(crate) enum TokenFrom {
    /// In the password.
    #[default]
    Password,
    /// In the Authentication Data (5.0), with the configuration's `auth_method`.
    AuthData,
    /// In the user property (5.0) of this name.
    UserProperty(String),
}

/// What a client shows.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Presented<'a> {
    /// Nothing that this plugin decides about.
    Nothing,
    /// Something that cannot be a token.
    Unusable(&'static str),
    /// What may be one.
    Token(&'a str),
}

/// The token of a client. A password may be some other provider's; what is in the place that was set aside for a token must be
/// one.
pub(crate) fn of<'a>(connect: &'a Connect, from: &TokenFrom) -> Presented<'a> {
    match from {
        TokenFrom::Password if connect.auth_method.is_some() => Presented::Nothing,
        TokenFrom::Password => {
            let text = connect.password.as_ref().and_then(|p| std::str::from_utf8(p.as_bytes()).ok());
            text.filter(|text| looks_like_one(text)).map_or(Presented::Nothing, Presented::Token)
        }
        // The broker shows no method but the one that is offered.
        TokenFrom::AuthData if connect.auth_method.is_none() => Presented::Nothing,
        TokenFrom::AuthData => {
            let text = connect.auth_data.as_ref().and_then(|d| std::str::from_utf8(d.as_bytes()).ok());
            text.map_or(Presented::Unusable(NO_TOKEN), Presented::Token)
        }
        TokenFrom::UserProperty(name) => {
            let mut values = connect.user_properties.iter().filter(|(n, _)| n == name);
            match (values.next(), values.next()) {
                (None, _) => Presented::Nothing,
                (Some((_, one)), None) => Presented::Token(one),
                _ => Presented::Unusable("it has several of the user property that holds the token"),
            }
        }
    }
}

/// Three parts of base64url, the first of which begins as a JSON object does (`{"` or `{ ` is `ey`). So is one without
/// signature: that is refused, and not some other provider's.
fn looks_like_one(text: &str) -> bool {
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.starts_with("ey") && text.bytes().filter(|b| *b == b'.').count() == 2 && {
        text.bytes().all(|b| b == b'.' || is_base64url(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards which passwords are other providers' business: those that no issuer of tokens makes.
    #[test]
    fn passwords_that_are_no_tokens_are_left_alone() {
        for (text, yes) in [
            ("eyJhbGciOiJub25lIn0.e30.c2ln", true),
            ("eyJhbGciOiJub25lIn0.e30.", true),
            ("ey..", true),
            ("correct horse battery staple", false),
            ("a.b.c", false),
            ("eyJhbGciOiJub25lIn0.e30", false),
            ("eyJhbGciOiJub25lIn0.e30.c2ln.x", false),
            ("eyJhbGciOiJub25lIn0.e30.c2ln==", false),
            ("eyJhbGciOiJub25lIn0.e30.c2/n", false),
            ("", false),
        ] {
            assert_eq!(looks_like_one(text), yes, "{text}");
        }
    }
}
