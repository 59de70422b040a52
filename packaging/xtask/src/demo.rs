//! `cargo xtask dev --demo`: first light, checked step by step.
//!
//! A client shows a chain of three certificates; the plugin sees it byte for byte; the client is admitted; its message
//! arrives; a stranger is refused; the next good client is served. Each step is one line. Exit 0 only if every step did what
//! it should.

pub(crate) mod cluster;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::{Credentials, Pki, from_pem};
use serde_json::Value;
use sha2::{Digest, Sha256};

const TOPIC: &str = "devices/sensor-1/temperature";

pub(crate) fn run() -> ExitCode {
    tell(Demo::run)
}

/// Every step of `demo`, and what came of them.
fn tell(steps: impl FnOnce(&mut Demo)) -> ExitCode {
    // What goes wrong in a step is told in its line.
    std::panic::set_hook(Box::new(|_| {}));
    let mut demo = Demo { failed: 0 };
    let whole = catch_unwind(AssertUnwindSafe(|| steps(&mut demo)));
    if let Err(panic) = whole {
        demo.failed += 1;
        println!("FAILED  {}", message(&*panic));
    }
    match demo.failed {
        0 => {
            println!("demo: every step did what it should");
            ExitCode::SUCCESS
        }
        failed => {
            println!("demo: {failed} steps FAILED");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    failed: usize,
}

impl Demo {
    /// One step: what it found, or what went wrong, is shown.
    fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<(T, String), String>) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| Err(message(&*panic)));
        match result {
            Ok((value, found)) => {
                println!("ok      {name}: {found}");
                Some(value)
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED  {name}: {why}");
                None
            }
        }
    }

    fn run(&mut self) {
        let (acme, stranger) = (Pki::new("Acme"), Pki::new("Stranger"));
        let (sensor, second) = (acme.client("sensor-1"), acme.client("sensor-2"));
        let Some(mut broker) = self.step("the broker starts", || {
            let setup = Setup::new().log("info,gatemq::plugin=debug").mqtts("secure", &acme, "required", "");
            let broker = setup.fleet(&acme).tape().start();
            let found = format!("pid {}, mqtts on {}", broker.pid(), broker.address("secure"));
            Ok((broker, found))
        }) else {
            return;
        };
        let publisher = self.step("a client with a chain of three certificates is admitted", || {
            let client = admitted(&broker, &acme, &sensor, "sensor-1")?;
            Ok((client, format!("CONNACK 0 for {} certificates sent", sensor.chain.len())))
        });
        self.step("the plugin saw the chain", || Ok(((), chain_in_log(&broker, &sensor)?)));
        self.step("the chain arrived byte for byte", || Ok(((), chain_in_event(&mut broker, &sensor)?)));
        let subscriber = self.step("a second good client is served", || {
            let mut client = admitted(&broker, &acme, &second, "sensor-2")?;
            match client.subscribe("devices/#", 0) {
                0 => Ok((client, "CONNACK 0, SUBACK 0 for devices/#".into())),
                code => Err(format!("SUBACK {code:#04x}")),
            }
        });
        if let (Some(mut publisher), Some(mut subscriber)) = (publisher, subscriber) {
            self.step("a message arrives", || message_arrives(&mut publisher, &mut subscriber));
            self.step("a message that is not granted does not", || {
                denied(&mut broker, &mut publisher, &mut subscriber)
            });
        }
        self.step("a client of another authority is refused", || refused(&mut broker, &acme, &stranger));
        self.step("the next good client is served", || {
            admitted(&broker, &acme, &acme.client("sensor-3"), "sensor-3")?;
            Ok(((), "CONNACK 0".into()))
        });
        self.step("the broker stops", || match broker.stop().code {
            Some(0) => Ok(((), "exit 0 after SIGTERM".into())),
            code => Err(format!("exit {code:?}")),
        });
    }
}

fn admitted(broker: &Broker, pki: &Pki, shown: &Credentials, client_id: &str) -> Result<Client, String> {
    let tls = Tls::new(pki, Some(shown)).alpn(&["mqtt"]);
    let mut client = Client::tls(broker.address("secure"), &tls, Version::V5).map_err(|e| format!("TLS: {e}"))?;
    match client.connect(client_id).map_err(|e| format!("CONNECT: {e}"))? {
        0 => Ok(client),
        code => Err(format!("CONNACK {code:#04x}")),
    }
}

/// The lines of `auth-certificate`, shown as they are; each certificate's SHA-256 must be there.
fn chain_in_log(broker: &Broker, sent: &Credentials) -> Result<String, String> {
    broker.wait_for_log("the verified path", |line| line.contains("verified path"));
    let log = broker.log();
    let lines: Vec<String> =
        log.lines().filter(|l| l.contains("from=\"auth_certificate\"")).map(|l| l.replace("\\\"", "\"")).collect();
    for (n, der) in sent.chain.iter().enumerate() {
        let sha256 = hex(&Sha256::digest(der));
        if !lines.iter().any(|l| l.contains(&sha256) && l.contains(&format!("n={n}")) && l.contains("verified=true")) {
            return Err(format!("certificate {n} ({sha256}) is not among\n{}", lines.join("\n")));
        }
    }
    let path = lines.iter().find(|l| l.contains("verified path")).map_or("", String::as_str);
    if !path.contains("[0, 1, 2]") || !path.contains("Acme Root") {
        return Err(format!("another path or anchor: {path}"));
    }
    Ok(format!("verified path [0, 1, 2] to the anchor Acme Root\n        {}", lines.join("\n        ")))
}

fn chain_in_event(broker: &mut Broker, sent: &Credentials) -> Result<String, String> {
    let event = broker.tape().wait_for_client("ClientConnected", "sensor-1");
    let pem: Vec<&str> = event["fields"]["chain"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let arrived = from_pem(&pem.concat());
    if arrived != sent.chain {
        return Err(format!("{} certificates arrived, other ones than the {} sent", arrived.len(), sent.chain.len()));
    }
    let sizes: Vec<String> = arrived.iter().map(|der| der.len().to_string()).collect();
    Ok(format!(
        "{} bytes, as event ClientConnected carries them; anchor {}",
        sizes.join(" + "),
        event["fields"]["anchor"]
    ))
}

fn message_arrives(publisher: &mut Client, subscriber: &mut Client) -> Result<((), String), String> {
    publisher.publish(TOPIC, 0, b"21.5").map_err(|e| e.to_string())?;
    let (topic, payload) = subscriber.message();
    match topic == TOPIC && payload == b"21.5" {
        true => Ok(((), format!("{topic} = {}", String::from_utf8_lossy(&payload)))),
        false => Err(format!("{topic:?}: {payload:?}")),
    }
}

fn denied(broker: &mut Broker, publisher: &mut Client, subscriber: &mut Client) -> Result<((), String), String> {
    publisher.publish("devices/sensor-2/temperature", 0, b"forged").map_err(|e| e.to_string())?;
    publisher.publish(TOPIC, 0, b"21.6").map_err(|e| e.to_string())?;
    let (topic, payload) = subscriber.message();
    if payload != b"21.6" {
        return Err(format!("{topic}: {payload:?} came through"));
    }
    let event = broker.tape().wait_for_client("PublishDenied", "sensor-1");
    Ok(((), format!("event PublishDenied {}", event["fields"])))
}

fn refused(broker: &mut Broker, acme: &Pki, stranger: &Pki) -> Result<((), String), String> {
    let theirs = stranger.client("sensor-1");
    let tls = Tls::new(acme, Some(&theirs));
    let client = Client::tls(broker.address("secure"), &tls, Version::V5);
    let error = match client.and_then(|mut client| client.connect("sensor-1")) {
        Ok(code) => return Err(format!("CONNACK {code:#04x} where the handshake had to fail")),
        Err(e) => e,
    };
    let event = broker.tape().wait_for("TlsHandshakeFailed", |e| e["event"] == "TlsHandshakeFailed");
    Ok(((), format!("{error}; event TlsHandshakeFailed {}", event["fields"]["error"])))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
