//! Promise 5 for one node: what was acknowledged is there after `kill -9`, and after a power cut.

mod load;
mod publisher;
mod shared;
mod store;
mod subscriber;
mod survives;

use gatemq_tests::broker::Setup;

/// A broker whose clients may do everything.
fn setup() -> Setup {
    Setup::new().mqtt("mqtt").faults(r##"config.grants = [{ allow = ["all"], filter = "#" }]"##)
}
