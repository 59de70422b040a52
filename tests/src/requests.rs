//! Has `test-requests`, a plugin, ask the broker for something, and reads the answers.

use std::fs::{self, File};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::artifacts::Artifacts;
use crate::broker::{Broker, Setup};
use crate::{PATIENCE, wait_for};

/// Numbers of requests: none is used twice, also not by a broker that is started again.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Setup {
    /// With `test-requests` under the name `requests`, so that [`Broker::ask`] has somebody to ask with.
    pub fn requests(self) -> Setup {
        self.requests_as("requests")
    }

    /// As [`Setup::requests`], under another name: for [`Broker::ask_as`].
    pub fn requests_as(self, name: &str) -> Setup {
        let directory = self.directory().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let config = format!("config.directory = {directory:?}");
        self.plugin(name, &Artifacts::get().plugin("test-requests"), &config)
    }
}

impl Broker {
    /// Makes a request of the plugin `requests`: its answer, with `error` null or a name. See that plugin's page.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub fn ask(&self, call: &str, with: Value) -> Value {
        self.ask_as("requests", call, with)
    }

    /// As [`Broker::ask`], of another such plugin.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub fn ask_as(&self, plugin: &str, call: &str, with: Value) -> Value {
        let directory = self.directory().join(plugin);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut request = json!({"id": id, "call": call});
        let fields = with.as_object().expect("an object").clone();
        request.as_object_mut().expect("an object").extend(fields);
        let requests = File::options().create(true).append(true).open(directory.join("requests"));
        requests.expect("a file").write_all(format!("{request}\n").as_bytes()).expect("it is written");
        let what = format!("an answer to {request}");
        wait_for(&what, PATIENCE, || {
            let answers = fs::read_to_string(directory.join("answers")).ok()?;
            let whole = answers.rfind('\n').map_or("", |end| &answers[..end]);
            let answers = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            answers.into_iter().find(|answer| answer["id"] == id)
        })
    }

    /// As [`Broker::ask`], for what must be carried out.
    ///
    /// # Panics
    /// When it is not.
    pub fn done(&self, call: &str, with: Value) -> Value {
        let answer = self.ask(call, with.clone());
        assert_eq!(answer["error"], Value::Null, "{call} {with}");
        answer
    }

    /// As [`Broker::ask`], for what must not be carried out: the name of the error.
    ///
    /// # Panics
    /// When it is.
    pub fn not_done(&self, call: &str, with: Value) -> String {
        let answer = self.ask(call, with.clone());
        answer["error"].as_str().unwrap_or_else(|| panic!("{call} {with} is carried out: {answer}")).to_owned()
    }
}
