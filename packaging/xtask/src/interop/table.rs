//! What the scripts said, compared with what they must say.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use super::features::Features;
use super::{CLIENTS, Cell, TRANSPORTS};

/// What was said of each cell.
pub(super) struct Table {
    features: Features,
    /// Scenarios, and whether all went well that was said of it.
    cells: BTreeMap<Cell, BTreeMap<String, bool>>,
    problems: Vec<String>,
}

impl Table {
    pub(super) fn new(features: Features) -> Table {
        Table { features, cells: BTreeMap::new(), problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, what: String) {
        println!("FAILED  {what}");
        self.problems.push(what);
    }

    /// Takes down a line of a script, `ok|FAILED CLIENT VERSION TRANSPORT SCENARIO[: WHY]`; others are shown.
    pub(super) fn line(&mut self, line: &str) {
        println!("{line}");
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let [how @ ("ok" | "FAILED"), client, version, transport, rest] = words[..] else { return };
        let scenario = rest.split_once(": ").map_or(rest, |(scenario, _)| scenario);
        self.count((client.into(), version.into(), transport.into()), scenario, how == "ok");
    }

    /// Takes down how a scenario went.
    pub(super) fn count(&mut self, cell: Cell, scenario: &str, well: bool) {
        let (client, version, transport) = &cell;
        let known = self.features.expected(client, version, transport).contains(scenario);
        let name = format!("{client} {version} {transport} {scenario}");
        if self.cells.entry(cell).or_default().insert(scenario.into(), well).is_some() {
            self.problem(format!("{name}: said twice"));
        } else if !known {
            self.problem(format!("{name}: not in the table of tests/interop/README.md"));
        }
    }

    /// The scenarios of a cell that went well and those that did not, and those that nobody spoke of.
    fn of_cell(&self, cell: &Cell) -> (usize, usize, BTreeSet<&str>) {
        let mut missing = self.features.expected(&cell.0, &cell.1, &cell.2);
        let none = BTreeMap::new();
        let said = self.cells.get(cell).unwrap_or(&none);
        missing.retain(|scenario| !said.contains_key(*scenario));
        let ok = said.values().filter(|well| **well).count();
        (ok, said.len() - ok, missing)
    }

    /// Prints every cell, what is missing, and the sum.
    pub(super) fn sum_up(&self, seconds: u64) -> ExitCode {
        let head: Vec<&str> = TRANSPORTS.iter().map(|(name, ..)| *name).collect();
        println!("\n{:<17}{}", "", head.iter().map(|name| format!("{name:>13}")).collect::<String>());
        let (mut cells, mut scenarios, mut bad, mut absent) = (0, 0, self.problems.len(), Vec::new());
        for (client, versions, transports) in CLIENTS {
            for version in versions {
                print!("{:<17}", format!("{client} {version}"));
                for (at, transport) in head.iter().enumerate() {
                    if at >= transports {
                        print!("{:>13}", "-");
                        continue;
                    }
                    let cell = (client.to_owned(), (*version).to_owned(), (*transport).to_owned());
                    let (ok, failed, missing) = self.of_cell(&cell);
                    let text = match (failed, missing.len()) {
                        (0, 0) => format!("{ok} ok"),
                        _ => format!("{}/{} BAD", failed + missing.len(), ok + failed + missing.len()),
                    };
                    print!("{text:>13}");
                    cells += 1;
                    scenarios += ok + failed;
                    bad += failed + missing.len();
                    absent.extend(missing.iter().map(|name| format!("{client} {version} {transport} {name}")));
                }
                println!();
            }
        }
        absent.iter().for_each(|name| println!("MISSING {name}"));
        self.problems.iter().for_each(|problem| println!("FAILED  {problem}"));
        println!("interop: {scenarios} scenarios in {cells} cells, {bad} problems, {seconds} s");
        if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| scenario | versions | mosquitto | paho | mqttjs | rumqttc |
|---|---|---|---|---|---|
| exit | 5 | yes | yes | yes | yes |
| will | 5 | yes | yes | yes | yes |
";

    /// Guards that a scenario that nobody ran, one that nobody promised and one said twice are failures.
    #[test]
    fn what_was_said_is_compared() {
        let table = |lines: &[&str]| {
            let mut table = Table::new(Features::read(PAGE).unwrap());
            lines.iter().for_each(|line| table.line(line));
            let (ok, failed, missing) = table.of_cell(&("paho".into(), "5".into(), "mqtt".into()));
            (ok, failed, missing.into_iter().map(str::to_owned).collect::<Vec<_>>(), table.problems.len())
        };
        let [exit, will] = ["ok paho 5 mqtt exit", "ok paho 5 mqtt will"];
        assert_eq!(table(&[exit, "a word", will]), (2, 0, vec![], 0));
        assert_eq!(table(&[exit]), (1, 0, vec!["will".to_owned()], 0));
        assert_eq!(table(&[exit, "FAILED paho 5 mqtt will: no: message"]), (1, 1, vec![], 0));
        assert_eq!(table(&[exit, will, will]), (2, 0, vec![], 1));
        assert_eq!(table(&[exit, will, "ok paho 5 mqtt more"]).3, 1);
        assert_eq!(table(&["ok paho 4 mqtt exit", "ok nobody 5 mqtt exit"]).3, 2);
    }
}
