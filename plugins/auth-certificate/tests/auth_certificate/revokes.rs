//! Certificates that are revoked, by a file that changes while the broker runs.

use gatemq_plugin_api::Certificate;
use gatemq_plugin_testkit::{Chain, Health, Level, Request, Started};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bench::{Bench, accepted, admits, rejected, until, with};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The line that revokes certificate `n` of a chain by its fingerprint.
fn by_fingerprint(chain: &Chain, n: usize) -> String {
    format!("sha256 {}\n", hex(&Sha256::digest(chain.certificates[n].as_bytes())))
}

/// The line that revokes certificate `n` of a chain by its number.
fn by_serial(tenant: &str, chain: &Chain, n: usize) -> String {
    let certificate = Certificate::parse(&chain.certificates[n]).unwrap();
    format!("serial {tenant} {} {}\n", hex(&certificate.serial).to_uppercase(), certificate.issuer)
}

fn is_revoked(plugin: &Started, chain: &Chain) -> bool {
    match plugin.authenticate(&with(chain)).unwrap() {
        gatemq_plugin_testkit::AuthOutcome::Reject { reason, .. } => {
            assert!(reason.contains("is revoked, as "), "{reason}");
            true
        }
        _ => false,
    }
}

fn rules() -> Value {
    json!([admits(json!({}))])
}

/// Promise 7: who is revoked, by fingerprint or number, of his own certificate or of one above it, does not come in; the same number of
/// another issuer, also of one of the same name below another anchor, does.
#[test]
fn promise_7_who_is_revoked_is_refused() {
    let bench = Bench::new();
    let numbered = |authority: &gatemq_plugin_testkit::Authority| {
        authority.client_with("pump-1", |params| params.serial_number = Some(vec![0, 0x8d, 0x2f].into()))
    };
    let (acme, umbra, other) = (numbered(&bench.acme), numbered(&bench.umbra), bench.acme.client("pump-2"));
    for (line, revoked) in [
        (by_fingerprint(&acme, 0), [true, false, false]),
        (by_serial("acme", &acme, 0), [true, false, false]),
        (by_serial("umbra", &umbra, 0), [false, true, false]),
        ("serial acme 8D:2F issuer=CN = Acme Intermediate, O = Acme".into(), [true, false, false]),
        ("serial acme 008d2f CN=Acme Root, O=Acme".into(), [false, false, false]),
        (by_fingerprint(&acme, 1), [true, false, true]),
        (by_serial("acme", &acme, 1), [true, false, true]),
        (format!("# {}", by_fingerprint(&acme, 0)), [false, false, false]),
    ] {
        bench.write("revoked", &format!("# a comment\n{line}"));
        let plugin = bench.start(bench.revoking(rules()));
        let found = [&acme, &umbra, &other].map(|chain| is_revoked(&plugin, chain));
        assert_eq!(found, revoked, "{line}");
        if line.contains("Acme Root") && !line.contains("umbra") && revoked == [false; 3] {
            assert_eq!(plugin.recorder().logged(Level::Info, "this serial number of another issuer"), 1);
        }
    }
}

/// Promise 7: a line that is added counts within seconds, and the broker is told to revoke exactly those who have it, by a tag that
/// their identity has; one that is gone is taken back.
#[test]
fn promise_7_a_changed_file_is_taken() {
    let bench = Bench::new();
    bench.write("revoked", "");
    let plugin = bench.start(bench.revoking(rules()));
    let (one, two, stays) = (bench.acme.client("one"), bench.acme.client("two"), bench.acme.client("stays"));
    let tags = [&one, &two].map(|chain| accepted(&plugin, &with(chain)).tags);
    let lines = by_fingerprint(&one, 0) + &by_serial("acme", &two, 0);
    bench.write("revoked", &lines);
    let revoked = || {
        let selector = |request: Request| match request {
            Request::Revoke { selector, .. } => selector.tag,
            _ => None,
        };
        plugin.recorder().requests().into_iter().filter_map(selector).collect::<Vec<_>>()
    };
    until("the broker is told", || revoked().len() == 2);
    assert!(is_revoked(&plugin, &one) && is_revoked(&plugin, &two) && !is_revoked(&plugin, &stays));
    for (tags, other) in [(&tags[0], &tags[1]), (&tags[1], &tags[0])] {
        let of = |tags: &[String], than: &[String]| {
            revoked().iter().filter(|tag| tags.contains(tag) && !than.contains(tag)).count()
        };
        assert_eq!(of(tags, other), 1, "{:?}", revoked());
    }
    assert_eq!(plugin.recorder().gauged("revoked"), Some(2));
    bench.write("revoked", &by_fingerprint(&one, 0));
    until("it is taken back", || !is_revoked(&plugin, &two));
    assert!(is_revoked(&plugin, &one));
    assert_eq!(revoked().len(), 2, "nobody is revoked again");
}

/// Promise 1: a file that is wrong, that others may write, or that is gone changes nothing, and the health says why; a new configuration
/// takes the file at once, and a wrong one nothing.
#[test]
fn promise_1_a_bad_file_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let (one, two) = (bench.acme.client("one"), bench.acme.client("two"));
    bench.write("revoked", &by_fingerprint(&one, 0));
    let plugin = bench.start(bench.revoking(rules()));
    let writable = || {
        bench.write("revoked", "");
        std::fs::set_permissions(bench.file("revoked"), PermissionsExt::from_mode(0o666)).unwrap();
    };
    let spoils: [(&str, &dyn Fn()); 3] = [
        (":2: \"sha\" is neither", &|| bench.write("revoked", &format!("{}sha 12", by_fingerprint(&two, 0)))),
        ("may be written by group or others", &writable),
        ("cannot be read", &|| std::fs::remove_file(bench.file("revoked")).unwrap()),
    ];
    for (says, spoil) in spoils {
        spoil();
        until(says, || matches!(plugin.health(), Health::Degraded(why) if why.contains(says)));
        assert_eq!(plugin.recorder().logged(Level::Error, says), 1);
        assert!(is_revoked(&plugin, &one) && !is_revoked(&plugin, &two), "{says}");
        assert!(plugin.reconfigure(&bench.revoking(rules())).is_err());
        assert!(is_revoked(&plugin, &one), "{says}");
    }
    bench.write("revoked", &by_fingerprint(&two, 0));
    plugin.reconfigure(&bench.revoking(json!([admits(json!({"user": "someone"}))]))).unwrap();
    assert!(is_revoked(&plugin, &two));
    assert_eq!(accepted(&plugin, &with(&one)).user, "someone");
    assert_eq!(plugin.health(), Health::Ready);
    plugin.reconfigure(&bench.config(rules())).unwrap();
    accepted(&plugin, &with(&two));
    assert!(rejected(&bench.start(bench.config(json!([{"reject": true}]))), &with(&two)).contains("rule 1: "));
}
