//! Libraries that are refused, each named with what was wanted and what was found.

use gatemq_tests::outside;

/// try
#[test]
fn builds() {
    println!("{:?}", outside::plugin());
    println!("{:?}", outside::panic_abort());
    println!("{:?}", outside::other_major());
    println!("{:?}", outside::other_layout());
}
