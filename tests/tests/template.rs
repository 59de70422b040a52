//! The template for plugin projects, as `cargo generate` fills it in, and the README that goes with it: what they tell an author to do
//! is done here.

use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Version};
use gatemq_tests::outside;

fn gatemq(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(Artifacts::get().broker()).args(arguments).output().unwrap();
    (output.status.code(), [output.stdout, output.stderr].concat().iter().map(|byte| char::from(*byte)).collect())
}

/// Issue 5, item 8: a project that was made of the template builds, its tests pass (the fault suite is among them), `gatemq plugin check`
/// finds nothing wrong with it, `try` says what its README promises, and a broker admits clients with it.
#[test]
fn a_project_of_the_template_works() {
    let project = outside::template("my-gate");
    let (library, config) = (project.library.display().to_string(), project.directory.join("config.toml"));
    let config = config.display().to_string();
    let (code, said) = gatemq(&["plugin", "check", &library, "--plugin-config", &config]);
    assert!(code == Some(0) && said.contains("it can be used"), "{said}");
    for key in ["denied_users", "grants[].filter"] {
        assert!(said.contains(key), "{key}: {said}");
    }
    let attempt = |more: &[&str]| gatemq(&[&["plugin", "try", &library, "--plugin-config", &config], more].concat());
    for (client, code) in [
        (&["--user", "ada", "publish", "home/try-1/t"][..], 0),
        (&["--user", "ada", "publish", "home/other/t"], 77),
        (&["--user", "ada", "publish", "alarms/ada"], 0),
        (&["--user", "ada", "publish", "alarms/bob"], 77),
        (&["--user", "mallory", "connect"], 77),
        (&["connect"], 77),
    ] {
        let (found, said) = attempt(client);
        assert_eq!(found, Some(code), "{client:?}: {said}");
    }
    let broker = Setup::new()
        .mqtt("plain")
        .plugin(
            "my-gate",
            &project.library,
            "config.tenant = \"home\"\nconfig.grants = [{ allow = [\"all\"], filter = \"home/${client_id}/#\" }]",
        )
        .start();
    let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
    assert_eq!(client.connect_as("c-1", Some(("ada", ""))).unwrap(), 0);
    assert_eq!((client.subscribe("home/c-1/#", 0), client.subscribe("home/c-2/#", 0)), (0, 0x87));
    let mut nobody = Client::tcp(broker.address("plain"), Version::V5).unwrap();
    assert_eq!(nobody.connect("c-2").unwrap(), 0x87);
}
