//! Who is admitted, as whom, and at what cost.

use gatemq_plugin_testkit::{AuthOutcome, Connect, Der, Secret, Tls};
use serde_json::json;

use crate::bench::{Bench, accepted, ask, client, hash, hash_costing, nobody, refused};

/// The refusal that strangers get.
fn wrong() -> (u8, String) {
    (0x86, "the user name or the password is wrong".into())
}

/// Promise 1, and no user names by trying: a wrong password, no password, a name that does not exist and an empty one get
/// the same answer (2.4: 0x86), after the same work; the right password is accepted. Passwords are in no log.
#[tokio::test]
async fn promise_1_only_the_right_password_is_accepted() {
    let bench = Bench::new(&format!("[users.pump]\npassword = \"{}\"\n", hash("right-1")));
    let instance = bench.start().await;
    for (n, (user, password)) in
        [("pump", "wrong-1"), ("pump", ""), ("nobody", "right-1"), ("nobody", "right-1"), ("", "right-1")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(refused(&instance, &client(user, password)).await, wrong(), "{user} {password}");
        assert_eq!(bench.counted("verifications"), n as u64 + 1, "{user} {password} did not cost the same");
    }
    for user in ["pump", "nobody"] {
        let without = Connect { user_name: Some(user.into()), ..nobody() };
        assert_eq!(refused(&instance, &without).await, wrong(), "{user} without password");
    }
    assert_eq!(bench.counted("verifications"), 5, "nothing to verify without a password");
    let identity = accepted(&instance, &client("pump", "right-1")).await;
    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("acme", "pump"));
    assert_eq!(bench.mentioned("right-1") + bench.mentioned("wrong-1") + bench.mentioned("$argon2"), 0);
}

/// Guards that names are not given away in an empty file either: the same work without any user.
#[tokio::test]
async fn an_empty_file_costs_the_same() {
    let bench = Bench::new("");
    let instance = bench.start().await;
    assert_eq!(refused(&instance, &client("pump", "x")).await, wrong());
    assert_eq!(bench.counted("verifications"), 1);
}

fn with_certificate() -> Connect {
    let tls = Tls {
        version: 0x0304,
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: None,
        alpn: None,
        resumed: false,
        chain: vec![Der::new(b"leaf")],
        verified: true,
        path: vec![0],
        anchor: None,
        leaf_sha256: Some([9; 32]),
    };
    Connect { tls: Some(tls), ..nobody() }
}

/// Promise 1: a client without user name is somebody only where the file says so; what belongs to other providers is left
/// to them in both cases.
#[tokio::test]
async fn promise_1_anonymous_is_absent_unless_written() {
    let token = Connect { password: Some(Secret::new(b"token".to_vec())), ..nobody() };
    let method = Connect { auth_method: Some("SCRAM".into()), ..client("pump", "p") };
    let users = format!("[users.pump]\npassword = \"{}\"\n", hash("p"));
    let instance = Bench::new(&users).start().await;
    for connect in [&nobody(), &with_certificate(), &token, &method] {
        assert_eq!(ask(&instance, connect).await, AuthOutcome::Next, "{connect:?}");
    }
    let written = "[anonymous]\nuser = \"guest\"\ngrants = [{ allow = [\"subscribe\"], filter = \"public/#\" }]\n";
    let instance = Bench::new(&format!("{users}{written}")).start().await;
    for connect in [&nobody(), &with_certificate()] {
        let identity = accepted(&instance, connect).await;
        assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("acme", "guest"));
        assert_eq!(identity.grants.len(), 1);
    }
    for connect in [&token, &method] {
        assert_eq!(ask(&instance, connect).await, AuthOutcome::Next, "{connect:?}");
    }
    assert_eq!(refused(&instance, &client("", "")).await, wrong(), "an empty user name is a user name");
}

/// Guards that `disabled` and `client_id` refuse whoever has the password, and nobody else learns of them.
#[tokio::test]
async fn disabled_users_and_foreign_client_ids_are_refused() {
    let file = |more: &str| format!("[users.pump]\npassword = \"{}\"\n{more}\n", hash("p"));
    let good = client("pump", "p");
    for (refuses, code, admits) in [
        ("disabled = true", 0x87, "disabled = false"),
        ("client_id = \"c-2\"", 0x85, "client_id = \"c-1\""),
        ("client_id = [\"x\", \"d-*\"]", 0x85, "client_id = [\"x\", \"c-*\"]"),
    ] {
        let instance = Bench::new(&file(refuses)).start().await;
        assert_eq!(refused(&instance, &good).await.0, code, "{refuses}");
        assert_eq!(refused(&instance, &client("pump", "q")).await, wrong(), "{refuses}");
        let instance = Bench::new(&file(admits)).start().await;
        assert_eq!(accepted(&instance, &good).await.client_id, None, "{admits}");
    }
    let instance = Bench::new(&file("client_id = \"c-2\"")).start().await;
    let assigned = Connect { client_id_assigned: true, ..good };
    assert_eq!(accepted(&instance, &assigned).await.client_id.as_deref(), Some("c-2"));
}

/// Guards the order of rules (section 5: the first that matches decides): the user's own, then its groups' in its order.
/// Templates arrive as they are written.
#[tokio::test]
async fn own_grants_come_before_those_of_groups() {
    let users = format!(
        r#"
        [groups.a]
        grants = [{{ allow = ["all"], filter = "a/${{client_id}}" }}]
        [groups.b]
        grants = [{{ allow = ["all"], filter = "b" }}]
        [users.pump]
        password = "{}"
        tenant = "other"
        groups = ["b", "a"]
        grants = [{{ deny = ["publish"], filter = "own" }}]
        "#,
        hash("p")
    );
    let instance = Bench::new(&users).start().await;
    let identity = accepted(&instance, &client("pump", "p")).await;
    let filters: Vec<_> = identity.grants.iter().map(|g| g.filter.as_str()).collect();
    assert_eq!((identity.tenant.as_str(), filters), ("other", vec!["own", "b", "a/${client_id}"]));
}

/// Guards that a right password costs one verification within `cache_s`, a wrong one each time, and that 0 is off.
#[tokio::test]
async fn successes_are_remembered_and_failures_are_not() {
    let users = format!("[users.a]\npassword = \"{}\"\n[users.b]\npassword = \"{}\"\n", hash("p"), hash("p"));
    for (cache_s, wanted) in [(300, 1), (0, 3)] {
        let bench = Bench::new(&users);
        let instance = bench.try_start(json!({"cache_s": cache_s})).await.unwrap();
        for _ in 0..3 {
            accepted(&instance, &client("a", "p")).await;
        }
        assert_eq!(bench.counted("verifications"), wanted, "cache_s = {cache_s}");
        for _ in 0..3 {
            assert_eq!(refused(&instance, &client("a", "q")).await, wrong());
        }
        assert_eq!(bench.counted("verifications"), wanted + 3, "failures, cache_s = {cache_s}");
        accepted(&instance, &client("b", "p")).await;
        assert_eq!(bench.counted("verifications"), wanted + 4, "another user with the same password");
    }
}

/// Promise 6: verifications that wait are bounded; who finds the queue full is told to come back, and may.
#[tokio::test]
async fn promise_6_the_queue_is_bounded() {
    // Slow enough that none is done before all have come.
    let hash = hash_costing("p", 8192, 48);
    let bench = Bench::new(&format!("[users.pump]\npassword = \"{hash}\"\n"));
    let instance = bench.try_start(json!({"queue_max": 1, "cache_s": 0})).await.unwrap();
    let turns = std::thread::available_parallelism().unwrap().get().min(12);
    let clients: Vec<_> = (0..turns + 3)
        .map(|_| {
            let instance = instance.clone();
            tokio::spawn(async move { ask(&instance, &client("pump", "p")).await })
        })
        .collect();
    let (mut accepted_ones, mut sent_away) = (0, 0);
    for client in clients {
        match client.await.unwrap() {
            AuthOutcome::Accept(_) => accepted_ones += 1,
            AuthOutcome::Unavailable { retry_after } if !retry_after.is_zero() => sent_away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted_ones, sent_away), (turns + 1, 2));
    assert_eq!(bench.counted("queue_full"), 2);
    accepted(&instance, &client("pump", "p")).await;
}

/// Guards that many clients of one user that come at once cost few verifications: the rest find it remembered.
#[tokio::test]
async fn a_storm_of_one_user_costs_few_verifications() {
    let bench = Bench::new(&format!("[users.pump]\npassword = \"{}\"\n", hash_costing("p", 8192, 8)));
    let instance = bench.start().await;
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let instance = instance.clone();
            tokio::spawn(async move { accepted(&instance, &client("pump", "p")).await })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let turns = std::thread::available_parallelism().unwrap().get().min(12) as u64;
    assert!(bench.counted("verifications") <= turns, "{}", bench.counted("verifications"));
}
