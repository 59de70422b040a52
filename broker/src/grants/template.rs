//! One level of a grant's filter: text, a wildcard, or text with `${…}`.

use std::fmt;

use super::compile::GrantProblem;

/// What `${…}` may name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Variable {
    /// `${client_id}`: the client identifier in force.
    ClientId,
    /// `${user}`.
    User,
    /// `${tenant}`.
    Tenant,
    /// `${cert.cn}`: common name of the verified leaf.
    CertCn,
    /// `${cert.san.dns}`: DNS name of the verified leaf.
    CertSanDns,
    /// `${attr.NAME}`: an attribute of the identity.
    Attribute(Box<str>),
}

impl Variable {
    fn parse(name: &str) -> Option<Variable> {
        Some(match name {
            "client_id" => Variable::ClientId,
            "user" => Variable::User,
            "tenant" => Variable::Tenant,
            "cert.cn" => Variable::CertCn,
            "cert.san.dns" => Variable::CertSanDns,
            _ => Variable::Attribute(name.strip_prefix("attr.").filter(|name| !name.is_empty())?.into()),
        })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::ClientId => f.write_str("${client_id}"),
            Variable::User => f.write_str("${user}"),
            Variable::Tenant => f.write_str("${tenant}"),
            Variable::CertCn => f.write_str("${cert.cn}"),
            Variable::CertSanDns => f.write_str("${cert.san.dns}"),
            Variable::Attribute(name) => write!(f, "${{attr.{}}}", name.escape_debug()),
        }
    }
}

/// A piece of a level.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Part {
    Text(Box<str>),
    /// Index into the list's variables.
    Value(u16),
}

/// A level of a compiled filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Level {
    Text(Box<str>),
    Plus,
    /// Only the last one.
    Hash,
    Template(Box<[Part]>),
}

/// The values of one identity for a list's variables, in their order; `None` never expands.
pub(crate) type Resolved = [Option<Box<str>>];

impl Level {
    /// Reads a level's text. Variables are numbered in `variables`, each once.
    pub(crate) fn parse(text: &str, variables: &mut Vec<Variable>) -> Result<Level, GrantProblem> {
        match text {
            "+" => return Ok(Level::Plus),
            "#" => return Ok(Level::Hash),
            _ if text.contains('\0') => return Err(GrantProblem::Nul),
            _ => {}
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(GrantProblem::VariableUnclosed)?;
            push_text(&mut parts, before)?;
            let variable = Variable::parse(name).ok_or(GrantProblem::VariableUnknown)?;
            let known = variables.iter().position(|v| *v == variable);
            let at = known.unwrap_or_else(|| {
                variables.push(variable);
                variables.len() - 1
            });
            parts.push(Part::Value(u16::try_from(at).map_err(|_| GrantProblem::VariablesTooMany)?));
            rest = after;
        }
        if parts.is_empty() {
            push_text(&mut parts, rest)?;
            return Ok(Level::Text(rest.into()));
        }
        push_text(&mut parts, rest)?;
        Ok(Level::Template(parts.into()))
    }
}

/// Text between variables, which must not look like a wildcard.
fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), GrantProblem> {
    if text.contains(['+', '#']) {
        return Err(GrantProblem::WildcardMisplaced);
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    Ok(())
}

/// Whether the parts, with their values, are exactly `level`.
pub(crate) fn expands_to(parts: &[Part], values: &Resolved, level: &str) -> bool {
    let mut rest = level;
    for part in parts {
        let text = match part {
            Part::Text(text) => text,
            Part::Value(at) => match values.get(usize::from(*at)) {
                Some(Some(value)) => value,
                _ => return false,
            },
        };
        match rest.strip_prefix(&**text) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards section 5's forms of `${…}`: a whole level, or inside one, and nothing that only looks like it.
    #[test]
    fn levels_are_read_and_expanded() {
        let mut variables = Vec::new();
        let Level::Template(parts) = Level::parse("a-${user}.${client_id}${user}-z", &mut variables).unwrap() else {
            panic!("a template");
        };
        assert_eq!(variables, [Variable::User, Variable::ClientId]);
        let values = [Some("u".into()), Some("c".into())];
        assert!(expands_to(&parts, &values, "a-u.cu-z"));
        for other in ["a-u.cu-zz", "a-u.cu-", "a-u.cc-z", "", "a-${user}.${client_id}${user}-z"] {
            assert!(!expands_to(&parts, &values, other), "{other}");
        }
        assert!(!expands_to(&parts, &[None, Some("c".into())], "a-.c-z"), "an absent value is not an empty one");
        assert_eq!(Level::parse("$a}{$", &mut variables), Ok(Level::Text("$a}{$".into())));
        assert_eq!(Level::parse("${user", &mut variables), Err(GrantProblem::VariableUnclosed));
        for unknown in ["${}", "${attr.}", "${User}", "${cert.o}", "${ user}"] {
            assert_eq!(Level::parse(unknown, &mut variables), Err(GrantProblem::VariableUnknown), "{unknown}");
        }
        for misplaced in ["a+", "##", "+${user}", "${user}#"] {
            assert_eq!(Level::parse(misplaced, &mut variables), Err(GrantProblem::WildcardMisplaced), "{misplaced}");
        }
    }
}
