//! The real library, called as the broker calls it.

use gatemq_plugin_testkit::{
    AuthOutcome, Authority, Connect, FaultSuite, Identity, Started, TestHost, Verdict, build, connect, connect_as, publish,
    session,
};
use serde_json::{Value, json};

fn config() -> Value {
    json!({
        "tenant": "home",
        "denied_users": ["mallory"],
        "grants": [
            {"allow": ["all"], "filter": "home/${client_id}/#"},
            {"ask": ["publish"], "filter": "alarms/#"},
        ],
    })
}

fn accepted(plugin: &Started, client: &Connect) -> Identity {
    match plugin.authenticate(client) {
        Ok(AuthOutcome::Accept(identity)) => *identity,
        other => panic!("{}: {other:?}", client.client_id),
    }
}

#[test]
fn who_has_a_name_is_admitted() {
    let plugin = TestHost::new(build!()).start(config()).unwrap();
    let identity = accepted(&plugin, &connect_as("c-1", "ada", "secret"));
    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("home", "ada"));
    let refused = plugin.authenticate(&connect_as("c-2", "mallory", "secret")).unwrap();
    assert!(matches!(refused, AuthOutcome::Reject { .. }), "{refused:?}");
    assert_eq!(plugin.authenticate(&connect("c-3")), Ok(AuthOutcome::Next));
    assert_eq!(plugin.recorder().counted("refused"), 1);
    assert_eq!(plugin.recorder().mentioned("secret"), 0, "a password is in no log");
}

#[test]
fn a_certificate_names_its_owner_when_it_was_verified() {
    let plugin = TestHost::new(build!()).start(config()).unwrap();
    let chain = Authority::new("Acme").client("sensor-1");
    let shown = chain.shown_by(connect("c-1"));
    assert_eq!(accepted(&plugin, &shown).user, "sensor-1");
    let unverified = Connect { tls: Some(chain.unverified()), ..shown };
    assert_eq!(plugin.authenticate(&unverified), Ok(AuthOutcome::Next));
}

#[test]
fn alarms_are_raised_below_ones_own_name() {
    let plugin = TestHost::new(build!()).start(config()).unwrap();
    let client = connect_as("c-1", "ada", "");
    let session = session(&client, &accepted(&plugin, &client));
    for (topic, allowed) in [("alarms/ada", true), ("alarms/bob", false)] {
        let verdict = plugin.authorize(&session, publish(topic)).unwrap();
        assert_eq!(matches!(verdict, Verdict::Allow { .. }), allowed, "{topic}");
    }
}

/// Cancelled calls, 10,000 calls at once, odd input, a new configuration under load, a stop while calls run.
#[test]
fn it_bears_what_will_come() {
    let mut other = config();
    other["tenant"] = "other".into();
    FaultSuite::new(build!(), config())
        .other_config(other)
        .client(connect_as("c-1", "ada", "secret"))
        .client(connect_as("c-2", "mallory", "secret"))
        .client(connect("c-3"))
        .action(publish("alarms/ada"))
        .run()
        .assert_passed();
}
