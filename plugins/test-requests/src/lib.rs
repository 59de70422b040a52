//! NEVER PACKAGED, only for tests: asks the broker what a test tells it to.
//!
//! # Configuration
//! `directory`. Each line that a test appends to `requests` in there is a request, a JSON object with an `id`; its answer is a
//! line of `answers`: `id`, `error` (its name, or null), `count`, `rows`, `next_page`, `value` (text).
//!
//! | `call` | with |
//! |---|---|
//! | `deny` | `subject`, `ttl_ms`, `reason` |
//! | `allow` | `subject` |
//! | `denials` | `page` |
//! | `disconnect` | `selector`, `reason` |
//! | `sessions` | `selector`, `page` |
//! | `revoke` | `selector`; `retained`: `keep`, `withhold` or `remove` |
//! | `publish` | `tenant`, `topic`, `payload`, `qos`, `retain`; `times` (1): so often at once, the first error counts |
//! | `get`, `put`, `remove` | `key`, `value`, `ttl_ms`; `times` (1) of `put`: as many keys, `key` and a number |
//!
//! Subjects are as in the rows of `denials`. What is left out of a request is 0, empty, or any.

mod request;

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{serde, tokio, tracing};

use request::Request;

/// How often it looks for requests.
const LOOK: Duration = Duration::from_millis(5);

struct TestRequests;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, crate = "gatemq_plugin_api::serde")]
struct Config {
    directory: PathBuf,
}

impl Plugin for TestRequests {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let path = config.directory.join("answers");
        let answers = File::options().create(true).append(true).open(&path);
        let answers = Arc::new(Mutex::new(answers.map_err(|e| format!("{}: {e}", path.display()))?));
        let asking = host.clone();
        host.spawn(async move {
            let requests = config.directory.join("requests");
            let mut rest = Vec::new();
            // Those of before a restart are answered.
            let mut read = read_from(&requests, 0, &mut rest);
            rest.clear();
            loop {
                read += read_from(&requests, read, &mut rest);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let (host, answers) = (asking.clone(), answers.clone());
                    asking.spawn(async move {
                        let answer = match Request::read(&line) {
                            Ok(request) => request.make(&host).await,
                            Err(e) => return tracing::error!("{e}: {}", String::from_utf8_lossy(&line)),
                        };
                        let written = answers.lock().unwrap_or_else(PoisonError::into_inner).write_all(&answer);
                        if let Err(e) = written {
                            tracing::error!("answers: {e}");
                        }
                    });
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(TestRequests)
    }
}

/// Appends what the file has beyond its first `from` bytes; it need not be there yet.
fn read_from(path: &std::path::Path, from: usize, into: &mut Vec<u8>) -> usize {
    use std::io::{Seek, SeekFrom};
    let Ok(mut file) = File::open(path) else { return 0 };
    let sought = file.seek(SeekFrom::Start(from as u64));
    sought.and_then(|_| file.read_to_end(into)).unwrap_or(0)
}

impl EventCollector for TestRequests {
    fn interest(&self) -> Interest {
        Interest::none()
    }

    fn collect(&self, _: &[Event<'_>]) {}
}

gatemq_plugin_api::export_plugin!(TestRequests: events);
