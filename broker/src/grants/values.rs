//! The values that an identity has for `${…}`.

use super::template::{Level, Part, Variable};
use super::{Grants, Resolved};

/// What is known of a client when its grants are bound to it. The certificate's are those of a *verified* leaf; of one
/// that was merely sent they are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// Common names of the leaf's subject.
    pub cert_cn: &'a [String],
    /// DNS names among the leaf's subject alternative names.
    pub cert_san_dns: &'a [String],
    /// Attributes of the identity.
    pub attributes: &'a [(String, String)],
}

/// Who the values are of.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) user: &'a str,
    pub(crate) client_id: &'a str,
}

/// A Deny or Ask that cannot be written for this client, so that the client cannot be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unusable {
    pub(crate) rule: usize,
    pub(crate) variable: Variable,
}

/// One value that can stand in a level, or none.
fn single<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Box<str>> {
    let value = values.next()?;
    let fits = values.next().is_none() && !value.is_empty() && !value.contains(['+', '#', '/', '$', '\0']);
    fits.then(|| value.into())
}

impl Grants {
    /// The values of the list's variables.
    pub(crate) fn resolve(&self, names: Names<'_>, values: &Values<'_>) -> Result<Box<Resolved>, Unusable> {
        let strings = |list: &'_ [String]| single(list.iter().map(String::as_str));
        let one = |text| single(std::iter::once(text));
        let resolve = |variable: &Variable| match variable {
            Variable::ClientId => one(names.client_id),
            Variable::User => one(names.user),
            Variable::Tenant => one(names.tenant),
            Variable::CertCn => strings(values.cert_cn),
            Variable::CertSanDns => strings(values.cert_san_dns),
            Variable::Attribute(name) => {
                single(values.attributes.iter().filter(|(n, _)| **n == **name).map(|(_, value)| value.as_str()))
            }
        };
        let resolved: Box<Resolved> = self.variables.iter().map(resolve).collect();
        if resolved.iter().any(Option::is_none) {
            self.check(&resolved)?;
        }
        Ok(resolved)
    }

    /// That only Allows name what does not expand.
    fn check(&self, resolved: &Resolved) -> Result<(), Unusable> {
        for (rule, compiled) in self.rules.iter().enumerate() {
            if compiled.effect == gatemq_types::Effect::Allow {
                continue;
            }
            let parts = compiled.levels.iter().flat_map(|level| match level {
                Level::Template(parts) => &parts[..],
                _ => &[],
            });
            for part in parts {
                if let Part::Value(at) = part
                    && resolved[usize::from(*at)].is_none()
                {
                    return Err(Unusable { rule, variable: self.variables[usize::from(*at)].clone() });
                }
            }
        }
        Ok(())
    }
}
