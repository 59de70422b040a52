//! The configuration.

use gatemq_plugin_api::{Class, EventKind, Interest};
use serde::Deserialize;

/// A class by its name.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClassName {
    Security,
    Lifecycle,
    Traffic,
    System,
}

/// How a certificate chain is written.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChainForm {
    /// Not at all.
    None,
    /// SHA-256 of each certificate, hexadecimal.
    #[default]
    Sha256,
    /// Each certificate as PEM.
    Pem,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Config {
    /// Path, or `-`.
    pub(crate) file: String,
    /// A file that a batch would make larger is rotated first; 0 is never.
    #[serde(default = "rotate_bytes")]
    pub(crate) rotate_bytes: u64,
    /// Rotated files that are kept.
    #[serde(default = "keep_files")]
    pub(crate) keep_files: u32,
    #[serde(default = "classes")]
    classes: Vec<ClassName>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    pub(crate) chain: ChainForm,
}

fn rotate_bytes() -> u64 {
    64 << 20
}

fn keep_files() -> u32 {
    5
}

fn classes() -> Vec<ClassName> {
    vec![ClassName::Security, ClassName::Lifecycle, ClassName::System]
}

/// Each rotation renames every kept file.
const KEEP_FILES_MAX: u32 = 1000;

impl Config {
    /// What is wanted.
    ///
    /// # Errors
    /// A kind that does not exist; nothing wanted at all; an empty tenant; too many files.
    pub(crate) fn interest(&self) -> Result<Interest, String> {
        if self.keep_files > KEEP_FILES_MAX {
            return Err(format!("keep_files is {}; give at most {KEEP_FILES_MAX}", self.keep_files));
        }
        if self.classes.is_empty() && self.kinds.is_empty() {
            return Err("classes and kinds are both empty: no event would ever be written".into());
        }
        let mut interest = self.classes.iter().fold(Interest::none(), |interest, class| {
            interest.class(match class {
                ClassName::Security => Class::Security,
                ClassName::Lifecycle => Class::Lifecycle,
                ClassName::Traffic => Class::Traffic,
                ClassName::System => Class::System,
            })
        });
        for name in &self.kinds {
            let kind = EventKind::from_name(name);
            interest = interest.kind(kind.ok_or_else(|| format!("kinds: there is no event {name:?}"))?);
        }
        for tenant in &self.tenants {
            if tenant.is_empty() {
                return Err("tenants: a tenant's name is never empty; leave the list out for all tenants".into());
            }
            interest = interest.tenant(tenant);
        }
        Ok(interest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Interest, String> {
        serde_json::from_str::<Config>(json).map_err(|e| e.to_string())?.interest()
    }

    /// Guards the defaults, and that a configuration which would write nothing, or names nothing, is an error.
    #[test]
    fn what_is_wanted_is_checked() {
        assert_eq!(parse(r#"{"file": "-"}"#), Ok(Interest::all_but_traffic()));
        let one = Interest::none().kind(EventKind::ClientRefused).tenant("t");
        assert_eq!(parse(r#"{"file": "-", "classes": [], "kinds": ["ClientRefused"], "tenants": ["t"]}"#), Ok(one));
        assert_eq!(parse(r#"{"file": "-", "kinds": ["Nope"]}"#), Err("kinds: there is no event \"Nope\"".into()));
        for wrong in [
            r#"{"file": "-", "classes": []}"#,
            r#"{"file": "-", "classes": ["secrets"]}"#,
            r#"{"file": "-", "tenants": [""]}"#,
            r#"{"file": "-", "keep_files": 1001}"#,
            r#"{"file": "-", "chain": "der"}"#,
            r#"{}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
