//! `gatemq check` looks at plugins, and starts none.

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;

/// Guards section 9: a plugin's own configuration is checked with file and line, the chains too, all at once; a refused library
/// is another exit code. No plugin starts. The twin is good.
#[test]
fn check_looks_at_plugins() {
    let setup = || Setup::new().mqtt("mqtt");
    let faults = Artifacts::get().plugin("test-faults");
    // A start that would never end.
    let good = setup().faults("config.start = \"hang\"").check();
    assert_eq!(good.code, Some(0), "{}", good.log);

    let wrong = setup().faults("config.tenantt = \"x\"").plugin("b", &faults, "[plugins.b.config]\nlate_ms = \"soon\"");
    let wrong = wrong.check();
    assert_eq!(wrong.code, Some(78), "{}", wrong.log);
    for (line_says, says) in [
        ("gatemq.toml:18: plugins.faults.config.tenantt: ", "there is no such key"),
        ("gatemq.toml:22: plugins.b.config.late_ms: ", "invalid type"),
        ("auth.chain: give the order", "(b, faults)"),
    ] {
        let is_told = |line: &str| line.contains(line_says) && line.contains(says);
        assert!(wrong.log.lines().any(is_told), "{line_says}\n{}", wrong.log);
    }
    assert_eq!(wrong.log.lines().count(), 3, "{}", wrong.log);

    let setup = setup();
    let garbage = setup.directory().join("libgarbage.so");
    std::fs::write(&garbage, "garbage").unwrap();
    let refused = setup.plugin("garbage", &garbage, "").check();
    assert_eq!(refused.code, Some(69), "{}", refused.log);
    assert!(refused.log.contains("wanted a dynamic library, found a file that is none"), "{}", refused.log);
}
