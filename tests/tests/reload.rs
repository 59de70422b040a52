//! Plugins are replaced while the broker serves: SIGHUP loads the new file beside the old one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Version};
use gatemq_tests::properties::{Connect5, Properties, REQUEST_RESPONSE_INFO, RESPONSE_INFO, told};
use serde_json::Value;

/// A listener on which one address may come as often as it likes.
const LISTENER: &str = "[listeners.mqtt]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\naddress_connections_per_s_max = 0\n\
                        connections_per_s_max = 0\n";

/// A build of a library that differs from the others by its number only: what follows an ELF file's parts is not looked at.
fn put_build(of: &str, to: &Path, number: u32) {
    let mut bytes = std::fs::read(Artifacts::get().plugin(of)).unwrap();
    bytes.extend_from_slice(&number.to_le_bytes());
    put(&bytes, to);
}

/// In one step: whoever reads it finds the old one or the new one.
fn put(bytes: &[u8], to: &Path) {
    let beside = to.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, to).unwrap();
}

/// With test-faults under the name `gate`, from a file that may be exchanged.
fn setup(more: &str) -> (Setup, PathBuf) {
    let setup = Setup::new().toml(LISTENER);
    let library = setup.directory().join("libgate.so");
    put_build("test-faults", &library, 0);
    (setup.plugin("gate", &library, more).tape(), library)
}

fn is_replaced(event: &Value, plugin: &str, generation: u32) -> bool {
    let fields = &event["fields"];
    event["event"] == "PluginReplaced" && fields["plugin"] == plugin && fields["generation"] == generation
}

/// Which build admitted a client: its Response Information.
fn admitted_by(broker: &Broker, client_id: &str) -> Result<(Client, u32), String> {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).map_err(|e| format!("{client_id}: {e}"))?;
    let properties = Properties::new().byte(REQUEST_RESPONSE_INFO, 1);
    client.send(&Connect5::new(client_id, properties).bytes()).map_err(|e| format!("{client_id}: {e}"))?;
    let (code, properties) = told(&client.packet());
    let build = properties.get(&RESPONSE_INFO).and_then(|values| values.first()?.strip_prefix("build-")?.parse().ok());
    match (code, build) {
        (0, Some(build)) => Ok((client, build)),
        other => Err(format!("{client_id}: {other:?}")),
    }
}

fn puback(client: &mut Client, topic: &str) -> Result<u8, String> {
    client.publish(topic, 1, b"x").map_err(|e| format!("{topic}: {e}"))?;
    match client.receive(gatemq_tests::PATIENCE) {
        Ok(gatemq_tests::client::Received::Packet(Packet { first: 0x40, body })) => {
            Ok(body.get(2).copied().unwrap_or(0))
        }
        other => Err(format!("{topic}: {other:?}")),
    }
}

/// Publishes what the provider is asked about: allowed at once or later, and denied.
fn ask_all(client: &mut Client) -> Result<u64, String> {
    for (topic, wanted) in [("ask/allow", 0), ("ask/deny", 0x87), ("ask/slow-allow", 0), ("ask/slow-deny", 0x87)] {
        match puback(client, topic)? {
            code if code == wanted => {}
            code => return Err(format!("{topic}: {code:#04x}, wanted {wanted:#04x}")),
        }
    }
    Ok(4)
}

/// Clients of a load: how much they have asked, and whatever was wrong.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    connects: AtomicU64,
    questions: AtomicU64,
    builds: std::sync::Mutex<BTreeMap<u32, u64>>,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Load {
    /// Counts what `turn` does, again and again; what goes wrong ends it.
    fn repeat(&self, mut turn: impl FnMut() -> Result<(), String>) {
        while !self.ends.load(Ordering::Relaxed) {
            if let Err(wrong) = turn() {
                return self.wrong.lock().unwrap().push(wrong);
            }
        }
    }

    /// Clients that come, ask and go. The build that admits never goes back.
    fn come_and_go(&self, broker: &Broker, n: usize) {
        let mut last = 0;
        self.repeat(|| {
            let (mut client, build) = admitted_by(broker, &format!("comes-{n}"))?;
            if build < last {
                return Err(format!("build {build} after build {last}"));
            }
            last = build;
            *self.builds.lock().unwrap().entry(build).or_default() += 1;
            self.connects.fetch_add(1, Ordering::Relaxed);
            self.questions.fetch_add(ask_all(&mut client)?, Ordering::Relaxed);
            client.disconnect();
            Ok(())
        });
    }

    /// A client that stays, and asks.
    fn stay(&self, broker: &Broker, n: usize) {
        let mut client = match admitted_by(broker, &format!("stays-{n}")) {
            Ok((client, _)) => client,
            Err(wrong) => return self.wrong.lock().unwrap().push(wrong),
        };
        self.repeat(|| {
            self.questions.fetch_add(ask_all(&mut client)?, Ordering::Relaxed);
            Ok(())
        });
    }

    fn so_far(&self) -> (u64, u64) {
        (self.connects.load(Ordering::Relaxed), self.questions.load(Ordering::Relaxed))
    }
}

/// Issue 5: under load not one call of a plugin that is replaced, 20 times, gets a wrong answer or is lost; each build has
/// served, none after its successor, and each is stopped and dropped after its last call.
#[test]
fn twenty_swaps_under_load_lose_nothing() {
    const SWAPS: u32 = 20;
    let dropped = |directory: &Path, build: u32| directory.join(format!("dropped-{build}"));
    let of_build = |directory: &Path, build: u32| {
        let dropped = dropped(directory, build);
        format!("config.response_info = \"build-{build}\"\nconfig.dropped_file = {dropped:?}\n# end")
    };
    let directory = tempfile::tempdir().unwrap();
    let (setup, library) = setup(&of_build(directory.path(), 0));
    let copies = SWAPS + 1;
    let mut broker = setup.argument("--set").argument(&format!("plugin_host.copies_max={copies}")).start();
    let load = Load::default();
    let mut tape = gatemq_tests::tape::Tape::new(broker.directory().join("events.json"));
    std::thread::scope(|threads| {
        let (load, broker) = (&load, &broker);
        for n in 0..6 {
            threads.spawn(move || load.come_and_go(broker, n));
            threads.spawn(move || load.stay(broker, n));
        }
        // Whatever fails in here, the threads have to end.
        let swaps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for build in 1..=SWAPS {
                let before = load.so_far();
                gatemq_tests::wait_for("the load goes on", gatemq_tests::PATIENCE, || {
                    let now = load.so_far();
                    let failed = !load.wrong.lock().unwrap().is_empty();
                    (failed || now.0 > before.0 + 25 && now.1 > before.1 + 200).then_some(())
                });
                put_build("test-faults", &library, build);
                broker.reload(|text| {
                    let (head, rest) = text.split_once("config.response_info").unwrap();
                    let (_, rest) = rest.split_once("# end").unwrap();
                    format!("{head}{}{rest}", of_build(directory.path(), build))
                });
                tape.wait_for(&format!("build {build}"), |e| is_replaced(e, "gate", build + 1));
                gatemq_tests::wait_for("it serves the load", gatemq_tests::PATIENCE, || {
                    let failed = !load.wrong.lock().unwrap().is_empty();
                    (failed || load.builds.lock().unwrap().contains_key(&build)).then_some(())
                });
            }
            let (_, build) = admitted_by(broker, "last").unwrap();
            assert_eq!(build, SWAPS);
        }));
        load.ends.store(true, Ordering::Relaxed);
        swaps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let wrong = load.wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    let builds = load.builds.into_inner().unwrap();
    assert_eq!(builds.len(), SWAPS as usize + 1, "each has served: {builds:?}");
    let all = (load.connects.into_inner(), load.questions.into_inner());
    println!("{all:?} connects and questions over {SWAPS} swaps, none wrong or lost");
    gatemq_tests::wait_for("every build but the last is dropped", gatemq_tests::PATIENCE, || {
        (0..SWAPS).all(|build| dropped(directory.path(), build).exists()).then_some(())
    });
    for failed in ["PluginCallFailed", "PluginCallTimedOut", "PluginPanicked", "PluginRefused", "ClientRefused"] {
        let event = broker.tape().events().iter().find(|e| e["event"] == failed);
        assert!(event.is_none(), "{event:?}");
    }
    // One more would be one too many: the build in force stays.
    put_build("test-faults", &library, SWAPS + 1);
    broker.reload(str::to_owned);
    broker.tape().wait_for("one too many", |e| {
        e["event"] == "PluginRefused" && e["fields"]["why"].as_str().unwrap().contains("restart")
    });
    assert_eq!(admitted_by(&broker, "last").unwrap().1, SWAPS);
}

/// Promise 3: whatever a new library or configuration does wrong leaves the old one in place, with an event and a line that says
/// why. The twin is taken.
#[test]
fn promise_3_a_failing_reload_leaves_the_old_one() {
    let in_force = "config.response_info = \"build-0\"\nconfig.tenant = \"test\"\n";
    let (setup, library) = setup(in_force);
    let mut broker = setup.start();
    let mut stays = admitted_by(&broker, "stays").unwrap().0;
    let good = std::fs::read(&library).unwrap();
    let mut other_machine = good.clone();
    // e_machine: 243 is RISC-V.
    other_machine[18..20].copy_from_slice(&243_u16.to_le_bytes());
    let collector = std::fs::read(Artifacts::get().plugin("events-json")).unwrap();
    let (same, other) = ("config.response_info = \"build-1\"\n", [&good[..], b"1"].concat());
    for (what, bytes, config, says) in [
        ("garbage", &b"garbage"[..], in_force, "a file that is none"),
        ("a part", &good[..good.len() / 2], in_force, "found"),
        ("another machine's", &other_machine, in_force, "build it for this machine"),
        ("other roles", &collector, in_force, "wanted a library with the roles auth, events, found events"),
        ("no start", &other, "config.start = \"error\"\n", "an error on demand"),
        ("a panic", &other, "config.start = \"panic\"\n", "panic on demand"),
        ("not what it collects", &other, "config.interest = \"panic\"\n", "what it wants to see"),
        ("an unknown key", &good, "config.tenantt = \"x\"\n", "tenantt: there is no such key"),
        ("an unknown key of the host's", &good, "timeout = 5\n", "plugins.gate.timeout: is not a key"),
    ] {
        put(bytes, &library);
        let refused = |tape: &mut gatemq_tests::tape::Tape| {
            let is_refused = |e: &&Value| matches!(e["event"].as_str(), Some("PluginRefused" | "ConfigRefused"));
            tape.events().iter().filter(is_refused).cloned().collect::<Vec<_>>()
        };
        let before = refused(broker.tape()).len();
        broker.reload(|text| text.replace(in_force, config));
        let event =
            gatemq_tests::wait_for(what, gatemq_tests::PATIENCE, || refused(broker.tape()).get(before).cloned());
        assert!(event["fields"]["why"].as_str().unwrap().contains(says), "{what}: {event}");
        broker.wait_for_log(what, |line| line.contains("ERROR") && line.contains(says));
        assert_eq!(admitted_by(&broker, "comes").unwrap().1, 0, "{what}");
        assert_eq!(ask_all(&mut stays), Ok(4), "{what}");
        broker.configure(|text| text.replace(config, in_force));
    }
    put(&other, &library);
    broker.reload(|text| text.replace(in_force, same));
    broker.tape().wait_for("the twin", |e| is_replaced(e, "gate", 2));
    assert_eq!(admitted_by(&broker, "comes").unwrap().1, 1);
    assert_eq!(ask_all(&mut stays), Ok(4), "admitted by the old one, asked of the new one");
}

/// Guards the events: around five swaps of a collector under load each comes once, in one generation or the next, whether it can
/// take the new configuration while running or not.
#[test]
fn a_collector_that_is_replaced_loses_no_event() {
    let setup = Setup::new().toml(LISTENER).faults("");
    let library = setup.directory().join("libcollector.so");
    put_build("events-json", &library, 0);
    let file = setup.directory().join("collected.json");
    let setup = setup.plugin("collector", &library, &format!("config.file = {file:?}\nconfig.chain = \"pem\"\n"));
    let broker = setup.start();
    let mut tape = gatemq_tests::tape::Tape::new(file);
    let (ends, clients) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let (ends, clients, broker) = (&ends, &clients, &broker);
        for n in 0..4 {
            threads.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
                    assert_eq!(client.connect(&format!("c-{n}")).unwrap(), 0);
                    client.disconnect();
                    clients.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let swaps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=5 {
                let before = clients.load(Ordering::Relaxed);
                gatemq_tests::wait_for("the load goes on", gatemq_tests::PATIENCE, || {
                    (clients.load(Ordering::Relaxed) > before + 20).then_some(())
                });
                // The last one by its configuration, which it takes only when it is loaded again.
                match number {
                    5 => broker.reload(|text| {
                        let classes = "config.classes = [\"security\", \"lifecycle\", \"system\"]\n";
                        let chain = "config.chain = \"pem\"\n";
                        text.replace(chain, &format!("{chain}{classes}config.kinds = [\"MessageReceived\"]\n"))
                    }),
                    _ => {
                        put_build("events-json", &library, number);
                        broker.reload(str::to_owned);
                    }
                }
                tape.wait_for("it is replaced", |e| is_replaced(e, "collector", number + 1));
            }
        }));
        ends.store(true, Ordering::Relaxed);
        swaps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let clients = clients.into_inner();
    let ended = broker.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let count = |tape: &mut gatemq_tests::tape::Tape, name: &str| {
        u64::try_from(tape.events().iter().filter(|e| e["event"] == name).count()).unwrap()
    };
    assert_eq!((count(&mut tape, "ClientConnected"), count(&mut tape, "EventsLost")), (clients, 0));
    let mut sequences: Vec<u64> = tape.events().iter().map(|e| e["sequence"].as_u64().unwrap()).collect();
    sequences.sort_unstable();
    let (first, last) = (sequences[0], sequences[sequences.len() - 1]);
    assert_eq!(sequences, (first..=last).collect::<Vec<_>>(), "each once");
}

/// Promise 6: a collector that hangs when it is replaced is left behind, and its successor gets what comes.
#[test]
fn promise_6_a_hanging_collector_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let collected = place.path().join("collected");
    let (setup, library) =
        setup(&format!("timeout_ms = 1000\nconfig.events_file = {collected:?}\nconfig.collect = \"hang\"\n"));
    let deadline = "listeners.mqtt.connect_ms_max=1000";
    let mut broker = setup.argument("--set").argument(deadline).start();
    let mut before = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(before.connect("before").unwrap(), 0, "what it hangs at");
    let names = || std::fs::read_to_string(&collected).unwrap_or_default();
    gatemq_tests::wait_for("it hangs", gatemq_tests::PATIENCE, || (!names().is_empty()).then_some(()));
    put_build("test-faults", &library, 1);
    let began = Instant::now();
    broker.reload(|text| text.replace("config.collect = \"hang\"\n", ""));
    broker.tape().wait_for("it is replaced", |e| is_replaced(e, "gate", 2));
    gatemq_tests::wait_for("the new one gets events", gatemq_tests::PATIENCE, || {
        names().contains("PluginReplaced").then_some(())
    });
    assert!(began.elapsed() >= Duration::from_secs(1), "the old one had its time");
}

/// Guards what an interrupted `gatemq plugin reload` left once: an instance that was started, put in no one's place and never
/// stopped. A reload goes on without whoever asked for it.
#[test]
fn a_reload_goes_on_without_whoever_asked() {
    let (setup, library) = setup("config.start = \"slow\"\n");
    let mut broker = setup.start();
    let mapped = |broker: &Broker| {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", broker.pid())).unwrap();
        maps.lines().filter(|line| line.contains("memfd:") && line.contains("r-xp")).count()
    };
    let before = mapped(&broker);
    put_build("test-faults", &library, 1);
    let config = broker.directory().join("gatemq.toml");
    let mut reloading = std::process::Command::new(Artifacts::get().broker())
        .args(["plugin", "reload", "gate", "--config"])
        .arg(config)
        .spawn()
        .unwrap();
    gatemq_tests::wait_for("the second instance starts", gatemq_tests::PATIENCE, || {
        (mapped(&broker) > before).then_some(())
    });
    reloading.kill().unwrap();
    assert!(!reloading.wait().unwrap().success(), "it was interrupted");
    broker.tape().wait_for("it is replaced", |e| is_replaced(e, "gate", 2));
}
