//! One TOML file as a layer: its values, and the line of each.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Values of a TOML text, and the line of each key by its path.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) values: Dict,
    pub(super) lines: BTreeMap<Vec<String>, usize>,
}

/// Parses `text`.
///
/// # Errors
/// What is wrong with it, and the line.
pub(super) fn parse(text: &str) -> Result<Document, (Option<usize>, String)> {
    let mut reader = Reader { text, lines: BTreeMap::new() };
    let table = DeTable::parse(text).map_err(|e| {
        let line = e.span().map(|span| reader.line(span.start));
        (line, format!("is not TOML: {}", e.message()))
    })?;
    let values = reader.table(table.get_ref(), &mut Vec::new())?;
    Ok(Document { values, lines: reader.lines })
}

/// A single TOML value, such as a default or the text of an environment variable; `None` if it is none.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    Reader { text, lines: BTreeMap::new() }.value(&value, &mut Vec::new()).ok()
}

struct Reader<'a> {
    text: &'a str,
    lines: BTreeMap<Vec<String>, usize>,
}

type Refused = (Option<usize>, String);

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|b| *b == b'\n').count()
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut Vec<String>) -> Result<Dict, Refused> {
        let mut dict = Dict::new();
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            self.lines.insert(path.clone(), self.line(name.span().start));
            dict.insert(name.get_ref().to_string(), self.value(value, path)?);
            path.pop();
        }
        Ok(dict)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &mut Vec<String>) -> Result<Value, Refused> {
        let refuse = |what: &str| (Some(self.line(value.span().start)), format!("is not TOML: {what}"));
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::from(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map(Value::from)
                .map_err(|_| refuse("a number that does not fit in 64 bits"))?,
            DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::from(number),
                // No key wants one, and in a plugin's configuration, which is handed over as JSON, it would become null.
                _ => return Err(refuse("a number that is infinite, or none")),
            },
            DeValue::Boolean(flag) => Value::from(*flag),
            DeValue::Datetime(time) => Value::from(time.to_string()),
            DeValue::Array(items) => {
                let items: Result<Vec<Value>, Refused> = items.iter().map(|item| self.value(item, path)).collect();
                Value::from(items?)
            }
            DeValue::Table(table) => Value::from(self.table(table, path)?),
        })
    }
}
