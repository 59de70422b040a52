//! rumqttc.

mod cell;
mod peer;
mod tour;
mod tour_5;
mod v4;
mod v5;

use std::fs;
use std::process::ExitCode;
use std::thread;

use cell::{Cell, Scenario};
use serde_json::Value;
use v4::V4;
use v5::V5;

fn main() -> ExitCode {
    let file = std::env::var("GATEMQ_INTEROP").expect("GATEMQ_INTEROP names the broker's file");
    let broker: Value = serde_json::from_slice(&fs::read(file).expect("the broker's file")).expect("JSON");
    let mut cells = Vec::new();
    for transport in ["mqtt", "mqtts", "mqtts-cert"] {
        let of_all = |version| if version == "5" { tour::scenarios::<V5>() } else { tour::scenarios::<V4>() };
        for version in ["3.1.1", "5"] {
            let cell = Cell::new(&broker, version, transport);
            let mut scenarios: Vec<Scenario> = of_all(version);
            if version == "5" {
                scenarios.extend(tour_5::SCENARIOS);
            } else {
                scenarios.push(("empty client id", tour::empty_client_id));
            }
            if cell.shown.is_some() {
                let without =
                    if version == "5" { tour::without_certificate::<V5> } else { tour::without_certificate::<V4> };
                scenarios.push(("without a certificate", without));
            }
            // All at the same time: many of them wait.
            cells.push(thread::spawn(move || cell.run(&scenarios)));
        }
    }
    let failed: usize = cells.into_iter().map(|cell| cell.join().expect("a cell panics in its scenarios only")).sum();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
