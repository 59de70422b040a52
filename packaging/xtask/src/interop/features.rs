//! The table in `tests/interop/README.md`: which scenarios each client must show in each version.

use std::collections::{BTreeMap, BTreeSet};

use super::CLIENTS;

const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5"];
/// In the column of versions: only on listeners that demand a certificate.
const CERTIFICATE: &str = "-cert";
const HEAD: &str = "| scenario | versions |";

/// What a client shows of a scenario.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    scenario: String,
    certificate: bool,
    /// Empty: it cannot.
    versions: BTreeSet<&'static str>,
}

/// The table, a list a client.
#[derive(Debug)]
pub(super) struct Features(BTreeMap<&'static str, Vec<Shown>>);

impl Features {
    /// Reads the page.
    ///
    /// # Errors
    /// All that is wrong with the table and its reasons.
    pub(super) fn read(page: &str) -> Result<Features, Vec<String>> {
        let mut reader = Reader { reasons: reasons(page), ..Reader::default() };
        let mut lines = page.lines().skip_while(|line| !line.starts_with(HEAD));
        let head = lines.next().map(fields).unwrap_or_default();
        let clients: Vec<&'static str> = CLIENTS.iter().map(|(client, ..)| *client).collect();
        if head.get(2..) != Some(&clients[..]) {
            reader
                .problems
                .push(format!("the head of the table is {head:?}; wanted scenario, versions and {clients:?}"));
        }
        let rows = lines.take_while(|line| line.starts_with('|')).filter(|line| !line.starts_with("|--"));
        rows.for_each(|line| reader.row(&fields(line)));
        let unused: Vec<_> = reader.reasons.difference(&reader.given).cloned().collect();
        reader.problems.extend(unused.iter().map(|reason| format!("nothing gives the reason ({reason})")));
        if reader.problems.is_empty() { Ok(Features(reader.shown)) } else { Err(reader.problems) }
    }

    /// The scenarios of a cell.
    pub(super) fn expected(&self, client: &str, version: &str, transport: &str) -> BTreeSet<&str> {
        let shown = self.0.get(client).into_iter().flatten();
        let here =
            shown.filter(|s| s.versions.contains(version) && (!s.certificate || transport.ends_with(CERTIFICATE)));
        here.map(|shown| shown.scenario.as_str()).collect()
    }
}

/// Of a row; those of the clients come third.
fn fields(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// The letters of the list below the table.
fn reasons(page: &str) -> BTreeSet<String> {
    let list = page.lines().filter_map(|line| line.strip_prefix("- (")?.split_once(") "));
    list.filter(|(_, text)| !text.trim().is_empty()).map(|(letter, _)| letter.to_owned()).collect()
}

#[derive(Default)]
struct Reader {
    shown: BTreeMap<&'static str, Vec<Shown>>,
    names: BTreeSet<String>,
    /// Those that are explained, and those that are given.
    reasons: BTreeSet<String>,
    given: BTreeSet<String>,
    problems: Vec<String>,
}

impl Reader {
    fn row(&mut self, row: &[&str]) {
        let [name, versions, cells @ ..] = row else { return self.problems.push(format!("too short: {row:?}")) };
        if cells.len() != CLIENTS.len() || name.is_empty() || name.contains(": ") || !self.names.insert((*name).into())
        {
            return self
                .problems
                .push(format!("{name:?} has another length, or a name that is none or is there twice"));
        }
        let mut words: BTreeSet<&str> = versions.split_whitespace().collect();
        let certificate = words.remove(CERTIFICATE);
        let all: BTreeSet<&'static str> = VERSIONS.into_iter().filter(|version| words.remove(version)).collect();
        if all.is_empty() || !words.is_empty() {
            self.problems.push(format!("{name}: {versions:?} are no versions"));
        }
        for ((client, spoken, _), cell) in CLIENTS.iter().zip(cells) {
            let could: BTreeSet<&'static str> =
                all.iter().copied().filter(|version| spoken.contains(version)).collect();
            let versions = self.cell(&format!("{name}, {client}"), cell, &could);
            let shown = Shown { scenario: (*name).into(), certificate, versions };
            self.shown.entry(client).or_default().push(shown);
        }
    }

    /// `yes`, `no` or versions of those that there are, then reasons in brackets; less than all has one.
    fn cell(&mut self, at: &str, cell: &str, could: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let (what, reasons) = cell.split_once('(').map_or((cell, None), |(what, why)| (what.trim(), Some(why)));
        let versions: BTreeSet<&'static str> = match what {
            "yes" => could.clone(),
            "no" => BTreeSet::new(),
            some => {
                let named: BTreeSet<&str> = some.split_whitespace().collect();
                let known: BTreeSet<&'static str> = could.iter().copied().filter(|v| named.contains(v)).collect();
                if known.is_empty() || known.len() != named.len() {
                    self.problems.push(format!("{at}: {some:?} is neither yes nor no nor some of {could:?}"));
                }
                known
            }
        };
        let given: Vec<&str> = reasons.map(|r| r.trim_end_matches(')').split(", ").collect()).unwrap_or_default();
        if given.is_empty() && versions != *could {
            self.problems.push(format!("{at}: not all of {could:?}, and no reason"));
        }
        for reason in given {
            if !self.reasons.contains(reason) {
                self.problems.push(format!("{at}: the reason ({reason}) is not explained"));
            }
            self.given.insert(reason.to_owned());
        }
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| scenario | versions | mosquitto | paho | mqttjs | rumqttc |
|---|---|---|---|---|---|
| exit | 3.1 3.1.1 5 | yes | yes | 3.1 5 (a) | yes |
| chain | 5 -cert | yes | no (a) | yes (b) | yes |

- (a) It cannot.
- (b) Only half of it.
";

    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(PAGE.contains(from));
        Features::read(&PAGE.replace(from, to)).map(drop).unwrap_err()
    }

    /// Guards that the table means what it says, and that the real one can be read.
    #[test]
    fn a_table_is_read() {
        let features = Features::read(PAGE).unwrap();
        let expected = |client, version, transport| Vec::from_iter(features.expected(client, version, transport));
        assert_eq!(expected("mosquitto", "5", "mqtts-cert"), ["chain", "exit"]);
        assert_eq!(expected("mosquitto", "5", "mqtts"), ["exit"]);
        assert_eq!(expected("paho", "5", "mqtts-cert"), ["exit"]);
        assert!(expected("mqttjs", "3.1.1", "mqtt").is_empty());
        assert_eq!(expected("mqttjs", "3.1", "mqtt"), ["exit"]);
        // It does not speak it.
        assert!(expected("rumqttc", "3.1", "mqtt").is_empty());
        let page = std::fs::read_to_string(gatemq_tests::workspace().join("tests/interop/README.md")).unwrap();
        let features = Features::read(&page).unwrap();
        assert!(features.expected("paho", "5", "mqtt").len() > 50);
    }

    /// Guards that nothing is left out of a tour without a reason that is written down.
    #[test]
    fn less_than_all_has_a_reason() {
        assert!(problems("no (a)", "no")[0].contains("chain, paho: not all"));
        assert!(problems("3.1 5 (a)", "3.1 5")[0].contains("exit, mqttjs: not all"));
        assert!(problems("no (a)", "no (c)")[0].contains("(c) is not explained"));
        assert!(problems("yes (b)", "yes")[0].contains("nothing gives the reason (b)"));
        assert!(problems("yes (b)", "maybe (b)")[0].contains("\"maybe\" is neither"));
        assert!(problems("3.1 5 (a)", "3.2 5 (a)")[0].contains("\"3.2 5\" is neither"));
        assert!(problems("5 -cert", "6 -cert")[0].contains("are no versions"));
        assert!(problems("| chain", "| exit")[0].contains("twice"));
        assert!(problems("| paho |", "| pahu |")[0].contains("the head"));
    }
}
