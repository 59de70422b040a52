//! The configuration, from the command line: what is wrong is told all at once, and what is in effect can be seen.

use std::net::TcpListener;
use std::process::Command;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::Setup;

/// `check` and `run` tell every problem at once, with exit code 78, and start nothing: no data, no ready file, no
/// listener, no plugin. The twin, without the mistakes, is good.
#[test]
fn all_problems_are_told_at_once_and_nothing_starts() {
    // Free, and bound by nobody unless a wrong configuration opens a listener there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let good = format!("[listeners.open]\nkind = \"mqtt\"\nbind = \"127.0.0.1:{port}\"");
    let wrong = [
        ("[limits]\nreceive_max = 0", "limits.receive_max: is 0"),
        ("[listeners.b]\nkind = \"mqtts\"\nbind = \"[::1]:0\"", "listeners.b.tls: is missing"),
        ("[auth]\nchains = [\"x\"]", "auth.chains: is not a key"),
        ("[plugins.p]\nlibrary = \"../p\"\nrequired = 1", "plugins.p.library: "),
        ("", "plugins.p.required: must be true or false"),
        ("", "log.format: `xml` is none of: text, json (set by --set)"),
    ];
    let setup = || {
        let setup = Setup::new().toml(&good).argument("--set").argument("log.format=xml");
        wrong.iter().fold(setup, |setup, (text, _)| setup.toml(text))
    };
    let mut logs = Vec::new();
    for run in [false, true] {
        let setup = setup();
        let directory = setup.directory().to_owned();
        let entries = move || {
            let names = std::fs::read_dir(&directory).map(|entries| entries.map(|e| e.unwrap().file_name()).collect());
            names.unwrap_or_else(|_| Vec::new())
        };
        let ended = if run { setup.try_start().err().expect("it must not start") } else { setup.check() };
        assert_eq!(ended.code, Some(78), "{}", ended.log);
        for (_, says) in wrong {
            assert!(ended.log.lines().any(|line| line.contains(says)), "{says}\n{}", ended.log);
        }
        assert_eq!(ended.log.lines().count(), wrong.len(), "each once, and nothing else: {}", ended.log);
        assert!(!entries().iter().any(|name| name == "ready.json" || name == "data"));
        // Lines begin with the file, which is another one each time.
        logs.push(
            ended.log.lines().map(|line| line.rsplit_once('/').map_or(line, |l| l.1).to_owned()).collect::<Vec<_>>(),
        );
    }
    assert_eq!(logs[0], logs[1], "`check` and `run` say the same");
    TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there");
    let twin = Setup::new().toml(&good).faults("").check();
    assert_eq!(twin.code, Some(0), "{}", twin.log);
}

/// `config show` prints a configuration that `check` finds good and that shows the same again, with origins or without;
/// of a wrong one it prints the problems, with exit code 78.
#[test]
fn what_is_in_effect_can_be_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let gatemq = |arguments: &[&str], config: &std::path::Path| {
        let mut gatemq = Command::new(Artifacts::get().broker());
        gatemq.args(arguments).arg("--config").arg(config).env("GATEMQ_LIMITS__RECEIVE_MAX", "77");
        let output = gatemq.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let listener = "[listeners.a]\nkind = \"ws\"\nbind = \"127.0.0.1:0\"\n";
    let base = file("base.toml", &format!("{listener}[plugins.p.config]\npassword = \"hidden\"\n"));
    let (code, plain, _) = gatemq(&["config", "show"], &base);
    assert_eq!(code, Some(0));
    assert!(plain.contains("\nreceive_max = 77\n") && !plain.contains("hidden"), "{plain}");
    let (code, with_origin, _) = gatemq(&["config", "show", "--origin"], &base);
    assert_eq!(code, Some(0));
    for part in ["receive_max = 77  # environment GATEMQ_LIMITS__RECEIVE_MAX\n", "base.toml:2\n", "  # default\n"] {
        assert!(with_origin.contains(part), "{part}\n{with_origin}");
    }
    for text in [&plain, &with_origin] {
        let again = file("again.toml", text);
        assert_eq!(gatemq(&["check", "--without-plugins"], &again).0, Some(0), "{text}");
        assert_eq!(gatemq(&["config", "show"], &again).1, plain);
    }
    let wrong = file("wrong.toml", "[node]\nworkers = 0\n");
    let (code, shown, problems) = gatemq(&["config", "show"], &wrong);
    assert_eq!((code, shown.as_str(), problems.lines().count()), (Some(78), "", 2), "{problems}");
}
