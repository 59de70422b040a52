//! Which trust anchor belongs to which tenant.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use gatemq_plugin_api::{Certificate, Der};
use sha2::{Digest, Sha256};

/// Tenants by the SHA-256 of their anchors' SubjectPublicKeyInfo.
#[derive(Debug)]
pub(crate) struct Anchors(HashMap<[u8; 32], String>);

impl Anchors {
    /// # Errors
    /// A file that cannot be read or holds no certificate; a key that two tenants claim; no anchor at all.
    pub(crate) fn load(files: &BTreeMap<String, PathBuf>) -> Result<Self, String> {
        let mut anchors = HashMap::new();
        for (tenant, file) in files {
            if tenant.is_empty() {
                return Err(format!("anchors: the tenant of {} has no name", file.display()));
            }
            for spki in keys(file)? {
                match anchors.insert(spki, tenant.clone()) {
                    Some(other) if other != *tenant => {
                        return Err(format!(
                            "anchors.{tenant}: {} holds a key that is already an anchor of tenant {other}; \
                             an anchor belongs to one tenant",
                            file.display()
                        ));
                    }
                    _ => {}
                }
            }
        }
        match anchors.is_empty() {
            true => Err("anchors: there is none; give tenant = \"file with its CA certificates\"".into()),
            false => Ok(Anchors(anchors)),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(tenants: &[([u8; 32], &str)]) -> Self {
        Anchors(tenants.iter().map(|(spki, tenant)| (*spki, (*tenant).to_owned())).collect())
    }

    /// Whose anchor has this key.
    pub(crate) fn tenant(&self, spki_sha256: &[u8; 32]) -> Option<&str> {
        self.0.get(spki_sha256).map(String::as_str)
    }

    pub(crate) fn has_tenant(&self, name: &str) -> bool {
        self.0.values().any(|tenant| tenant == name)
    }
}

fn keys(file: &Path) -> Result<Vec<[u8; 32]>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("anchors: {}: {e}", file.display());
    let bytes = std::fs::read(file).map_err(|e| wrong(&e))?;
    let blocks = pem::parse_many(bytes).map_err(|e| wrong(&e))?;
    let certificates: Vec<_> = blocks.iter().filter(|b| b.tag() == "CERTIFICATE").collect();
    if certificates.is_empty() {
        return Err(wrong(&"no certificate in it; wanted PEM blocks named CERTIFICATE"));
    }
    let key = |block: &&pem::Pem| {
        let certificate = Certificate::parse(&Der::new(block.contents())).map_err(|e| wrong(&e))?;
        Ok(Sha256::digest(certificate.spki).into())
    };
    certificates.iter().map(key).collect()
}
