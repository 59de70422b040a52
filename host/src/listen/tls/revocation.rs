//! Revocation lists of a listener's client certificates.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::error::TlsConfigError;
use super::trust::sha256;

/// A certificate as a list names it, by issuer and serial number.
pub(crate) type Link = [u8; 16];

/// Lists, ready to be looked up. The file is the operator's: how large it may be is for him to say.
#[derive(Debug)]
pub(crate) struct RevocationLists {
    lists: Vec<CertRevocationList<'static>>,
    named: HashSet<Link>,
    missing_allowed: bool,
    /// The file.
    pub(crate) file: PathBuf,
    /// What of each is told to operators.
    pub(crate) details: Vec<ListDetail>,
}

/// A list, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListDetail {
    /// Whose it is.
    pub(crate) issuer: String,
    /// When it was made, in seconds since 1970.
    pub(crate) this_update_s: i64,
    /// When the next one is due, in seconds since 1970: from then on it is out of date.
    pub(crate) next_update_s: i64,
}

impl RevocationLists {
    /// Reads a PEM file of lists. `missing_allowed`: a certificate that no list is about is accepted.
    ///
    /// # Errors
    /// It cannot be read, holds no list, or one without the time of the next: nothing would tell that it is out of date.
    pub(crate) fn load(file: &Path, missing_allowed: bool) -> Result<RevocationLists, TlsConfigError> {
        let wrong = |problem: String| TlsConfigError::new(file, problem);
        let ders: Vec<_> = CertificateRevocationListDer::pem_file_iter(file)
            .and_then(|sections| sections.collect())
            .map_err(|e| wrong(format!("cannot be read: {e}")))?;
        if ders.is_empty() {
            let problem = "holds no revocation list in PEM form (BEGIN X509 CRL); convert it with `openssl crl`";
            return Err(TlsConfigError::new(file, problem));
        }
        let (lists, named, details) = (Vec::new(), HashSet::new(), Vec::new());
        let mut all = RevocationLists { lists, named, missing_allowed, file: file.to_owned(), details };
        for der in &ders {
            all.add(der).map_err(wrong)?;
        }
        Ok(all)
    }

    fn add(&mut self, der: &[u8]) -> Result<(), String> {
        let (_, parsed) = CertificateRevocationList::from_der(der)
            .map_err(|e| format!("holds a revocation list that cannot be read ({e}); fetch it again"))?;
        let issuer = parsed.issuer().to_string();
        let Some(next_update) = parsed.next_update() else {
            return Err(format!("the list of `{issuer}` says not when the next one is due; make it with nextUpdate"));
        };
        let list = OwnedCertRevocationList::from_der(der)
            .map_err(|e| format!("the list of `{issuer}` cannot be used ({e}); fetch it again"))?;
        let name = parsed.issuer().as_raw();
        self.named.extend(parsed.iter_revoked_certificates().map(|revoked| link(name, revoked.raw_serial())));
        self.details.push(ListDetail {
            issuer,
            this_update_s: parsed.last_update().timestamp(),
            next_update_s: next_update.timestamp(),
        });
        self.lists.push(list.into());
        Ok(())
    }

    /// Whether a list names the certificate.
    pub(crate) fn names(&self, link: &Link) -> bool {
        self.named.contains(link)
    }

    /// How many certificates they name.
    pub(crate) fn revoked(&self) -> usize {
        self.named.len()
    }

    /// For [`options`](Self::options).
    pub(super) fn all(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().collect()
    }

    /// How paths are checked: every certificate but the anchor, with lists that are of now. `lists` are [all](Self::all).
    pub(super) fn options<'a>(&self, lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
        let missing = match self.missing_allowed {
            true => UnknownStatusPolicy::Allow,
            false => UnknownStatusPolicy::Deny,
        };
        // It fails only without lists, which `load` takes for an error.
        let options = RevocationOptionsBuilder::new(lists).ok()?;
        let options = options.with_depth(RevocationCheckDepth::Chain).with_status_policy(missing);
        Some(options.with_expiration_policy(ExpirationPolicy::Enforce).build())
    }

    /// The problem, if one of them is out of date at `now_s`.
    pub(super) fn out_of_date(&self, now_s: i64) -> Option<String> {
        let late = self.details.iter().find(|list| list.next_update_s <= now_s)?;
        let ago_s = now_s.saturating_sub(late.next_update_s);
        Some(format!("the list of `{}` is out of date since {ago_s} s; fetch a new one", late.issuer))
    }
}

/// The certificate `der` as lists name it; `None`: it cannot be read.
pub(crate) fn link_of(der: &[u8]) -> Option<Link> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(link(certificate.issuer().as_raw(), certificate.raw_serial()))
}

fn link(issuer: &[u8], serial: &[u8]) -> Link {
    // Some write a serial number with a zero in front, which says that it is positive, and some do not.
    let serial = &serial[serial.iter().take_while(|byte| **byte == 0).count()..];
    let bytes = [sha256(issuer).as_slice(), serial].concat();
    let mut link = Link::default();
    link.copy_from_slice(&sha256(&bytes)[..16]);
    link
}
