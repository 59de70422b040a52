//! Libraries of other versions of the binary interface: which of them this broker takes, and what it says of the others.
//!
//! The fixture of 1.0 has the interface's sources in it, as they were released. When it is refused here, `abi::v1_0` has changed: the
//! plugins that people have would be refused as well. Changes come with a version of their own, beside it.

use gatemq_plugin_testkit::{AuthOutcome, Effect, TestHost, Verdict, connect, events, publish, session};
use gatemq_tests::outside;
use serde_json::json;

/// Why the loader refuses a library, after the file's name.
fn refusal(file: &std::path::Path) -> String {
    let refused = TestHost::new(file).load().err().unwrap_or_else(|| panic!("{} is taken", file.display()));
    let why = refused.strip_prefix(&format!("{}: ", file.display())).unwrap_or_else(|| panic!("{refused}"));
    assert!(!why.contains('\n'), "{why}");
    why.to_owned()
}

/// What a plugin of interface 1.0 does, and what is made of it.
fn serves(file: &std::path::Path, version: &str) {
    let plugin = TestHost::new(file).start(json!({})).unwrap();
    let info = plugin.info();
    assert_eq!((info.name.as_str(), &*info.interface, info.roles()), ("interface-fixture", version, "auth, events"));
    assert_eq!(plugin.recorder().mentioned("started"), 1);
    let client = connect("c-1");
    let Ok(AuthOutcome::Accept(identity)) = plugin.authenticate(&client) else { panic!("it is not admitted") };
    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("fixture", "c-1"));
    assert_eq!((identity.grants[0].effect, identity.grants[0].filter.as_str()), (Effect::Ask, "ask/#"));
    let refused = plugin.authenticate(&connect("stranger")).unwrap();
    assert!(matches!(refused, AuthOutcome::Reject { reason, .. } if reason == "a stranger"));
    let session = session(&client, &identity);
    for (topic, allowed) in [("ask/yes", true), ("ask/slow", true), ("ask/no", false)] {
        let verdict = plugin.authorize(&session, publish(topic)).unwrap();
        assert_eq!(matches!(verdict, Verdict::Allow { .. }), allowed, "{topic}: {verdict:?}");
    }
    let of_every_kind = events::every_kind(1, &client, "why", 7, &[]);
    plugin.collect(&of_every_kind).unwrap();
    assert_eq!(plugin.recorder().counted("events"), of_every_kind.len() as u64);
    plugin.stop().unwrap();
}

/// Guards the frozen interface: a library that was built when 1.0 was released is taken and works, and so does one of a later minor
/// version that has grown where growing is foreseen, on its side or in what it would use of the host.
#[test]
fn released_interfaces_are_taken() {
    serves(&outside::interface_1_0(), "1.0.0");
    serves(&outside::later_minor(), "1.1.0");
    serves(&outside::later_minor_of_the_host(), "1.1.0");
}

/// Promise 3: what does not fit is refused with a line that says what was wanted, what was found, and what to do. The twin of all of
/// them is `released_interfaces_are_taken`.
#[test]
fn promise_3_other_interfaces_are_refused() {
    let again = "build it with this broker's gatemq-plugin-api";
    assert_eq!(refusal(&outside::other_major()), format!("wanted plugin interface 1.0.0, found 2.0.0; {again}"));
    let why = refusal(&outside::other_layout());
    assert!(why.starts_with("wanted the layout of plugin interface 1.0.0, found another ("), "{why}");
    assert!(why.contains("failures") && why.ends_with(again), "{why}");
    assert_eq!(
        refusal(&outside::without_entry()),
        "wanted the exported symbol gatemq_plugin, found none; build it with gatemq-plugin-api and export_plugin!"
    );
    assert_eq!(
        refusal(&outside::panic_abort()),
        "wanted a library with panic=\"unwind\", found panic=\"abort\", whose panics would end the broker; remove the setting from \
         its Cargo profile"
    );
}
