//! Mistakes in the configuration.

use serde_json::{Value, json};

use crate::bench::{Bench, accepted, admits, with};

/// Guards that a mistake stops the start with the rule's number and key; among them whatever would make a tenant or a user of a name that
/// nobody, or more than one authority, vouches for.
#[test]
fn mistakes_are_named() {
    let bench = Bench::new();
    let first = admits(json!({"common_name": "x"}));
    for (rule, says) in [
        (json!({}), "grants: there are none"),
        (admits(json!({"reject": true})), "grants, reject, next: give exactly one"),
        (json!({"reject": true, "next": true}), "grants, reject, next: give exactly one"),
        (admits(json!({"reason": "why"})), "reason: is for reject"),
        (json!({"reject": true, "user": "x"}), "user: is for a rule with grants"),
        (json!({"next": true, "exclusive": "user"}), "exclusive: is for a rule with grants"),
        (admits(json!({"tenant": "${cert.o}"})), "tenant: \"${cert.o}\" has no anchor"),
        (admits(json!({"tenant": "other"})), "never from a name"),
        (admits(json!({"user": "${client_id}"})), "user: ${client_id} is what the client says"),
        (admits(json!({"user": "${cert.cn}${cert.ou}"})), "user: give one value"),
        (admits(json!({"user": ""})), "user: is empty"),
        (admits(json!({"client_id": "${cert.xx}"})), "client_id: \"${cert.xx}\": ${cert.xx} is none of"),
        (admits(json!({"client_id_required": "${cert.cn"})), "client_id_required: \"${cert.cn\" has no closing brace"),
        (admits(json!({"client_id": "a", "client_id_required": "b"})), "client_id, client_id_required: give one"),
        (admits(json!({"common_name": ""})), "common_name: is empty"),
        (admits(json!({"san_ip": "acme"})), "san_ip: \"acme\" is no address"),
        (admits(json!({"fingerprint": "12"})), "fingerprint: \"12\": wanted are the 64"),
        (admits(json!({"spki_sha256": ["zz"]})), "spki_sha256: \"zz\": wanted are the 64"),
        (
            admits(json!({"anchor_spki_sha256": ["00".repeat(32)]})),
            "anchor_spki_sha256: one of them is the key of no anchor",
        ),
        (admits(json!({"limits": {"x": 1}})), "limits: there is no limit \"x\""),
    ] {
        let error = bench.refused(bench.config(json!([first, rule])));
        assert!(error.contains("rule 2: ") && error.contains(says), "{rule}: {error}");
    }
    let unknown = bench.refused(bench.config(json!([first, admits(json!({"common_names": "x"}))])));
    assert!(unknown.contains("common_names"), "{unknown}");
    assert!(bench.refused(bench.config(json!([]))).contains("rules: there is none"));
    accepted(&bench.start(bench.config(json!([first, admits(json!({}))]))), &with(&bench.acme.client("y")));
}

/// Promise 8: an anchor of two tenants, a file without one, and files that are not there stop the start, with their names.
#[test]
fn promise_8_an_anchor_has_one_tenant() {
    let bench = Bench::new();
    bench.write("empty.crt", "");
    let with_anchors = |anchors: Value| {
        let mut config = bench.config(json!([admits(json!({}))]));
        config["anchors"] = anchors;
        config
    };
    let acme = bench.file("acme.crt");
    for (anchors, says) in [
        (json!({"acme": acme, "other": acme}), "belongs to one tenant"),
        (json!({"acme": bench.file("nowhere.crt")}), "nowhere.crt"),
        (json!({"acme": bench.file("empty.crt")}), "no certificate in it"),
        (json!({"": acme}), "has no name"),
        (json!({}), "anchors: there is none"),
    ] {
        let error = bench.refused(with_anchors(anchors));
        assert!(error.contains(says), "{error}");
    }
    let error = bench.refused(bench.revoking(json!([admits(json!({}))])));
    assert!(error.contains("revoked_file: ") && error.contains("/revoked: cannot be read"), "{error}");
    bench.write("revoked", "# nobody yet\n\n");
    bench.start(bench.revoking(json!([admits(json!({}))])));
    bench.write("revoked", "sha256 12\nserial other 4d CN=A\nserial acme xx CN=A\nserial acme 4d A\nx\n");
    let error = bench.refused(bench.revoking(json!([admits(json!({}))])));
    for says in [
        "revoked:1: \"12\"",
        "revoked:2: \"other\" is no tenant",
        "revoked:3: \"xx\"",
        "revoked:4: \"A\"",
        "revoked:5: \"x\"",
    ] {
        assert!(error.contains(says), "{says}: {error}");
    }
}
