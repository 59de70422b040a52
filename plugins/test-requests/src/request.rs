//! Requests as JSON.

use std::net::IpAddr;

use gatemq_plugin_api::service::{Message, Reply, RevokeRetained, Selector, ServiceError};
use gatemq_plugin_api::{Host, QoS, Subject};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
pub(crate) struct Request {
    id: u64,
    #[serde(flatten)]
    call: Call,
}

#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
enum Call {
    Deny {
        subject: SubjectJson,
        #[serde(default)]
        ttl_ms: u64,
        #[serde(default)]
        reason: String,
    },
    Allow {
        subject: SubjectJson,
    },
    Denials {
        #[serde(default)]
        page: u64,
    },
    Disconnect {
        #[serde(default)]
        selector: SelectorJson,
        #[serde(default)]
        reason: String,
    },
    Sessions {
        #[serde(default)]
        selector: SelectorJson,
        #[serde(default)]
        page: u64,
    },
    Revoke {
        #[serde(default)]
        selector: SelectorJson,
        #[serde(default)]
        retained: RetainedJson,
    },
    Publish(Publish),
    Get {
        key: String,
    },
    Put(Put),
    Remove {
        key: String,
    },
}

#[derive(Deserialize)]
struct Publish {
    tenant: String,
    topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default = "once")]
    times: u64,
}

#[derive(Deserialize)]
struct Put {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    ttl_ms: u64,
    #[serde(default = "once")]
    times: u64,
}

fn once() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum SubjectJson {
    Address { address: IpAddr, bits: u8 },
    Certificate { sha256: String },
    Key { sha256: String },
    Issuer { sha256: String },
    User { tenant: String, user: String },
    Client { tenant: String, user: String, client_id: String },
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SelectorJson {
    tenant: Option<String>,
    user: Option<String>,
    client_id: Option<String>,
    connection: Option<u64>,
    tag: Option<String>,
    leaf_sha256: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum RetainedJson {
    #[default]
    Keep,
    Withhold,
    Remove,
}

/// 64 hexadecimal digits.
fn hash(hex: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = hex.get(at * 2..at * 2 + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        *byte = digits.unwrap_or_else(|| panic!("no SHA-256: {hex}"));
    }
    bytes
}

impl From<SubjectJson> for Subject {
    fn from(subject: SubjectJson) -> Subject {
        match subject {
            SubjectJson::Address { address, bits } => Subject::Address { address, bits },
            SubjectJson::Certificate { sha256 } => Subject::Certificate(hash(&sha256)),
            SubjectJson::Key { sha256 } => Subject::Key(hash(&sha256)),
            SubjectJson::Issuer { sha256 } => Subject::Issuer(hash(&sha256)),
            SubjectJson::User { tenant, user } => Subject::User { tenant, user },
            SubjectJson::Client { tenant, user, client_id } => Subject::Client { tenant, user, client_id },
        }
    }
}

impl From<SelectorJson> for Selector {
    fn from(s: SelectorJson) -> Selector {
        Selector {
            tenant: s.tenant,
            user: s.user,
            client_id: s.client_id,
            connection: s.connection,
            tag: s.tag,
            leaf_sha256: s.leaf_sha256.as_deref().map(hash),
        }
    }
}

impl Request {
    /// From a line.
    pub(crate) fn read(line: &[u8]) -> Result<Request, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Makes it; the line for its answer.
    pub(crate) async fn make(self, host: &Host) -> Vec<u8> {
        let (error, reply) = match self.call.make(host).await {
            Ok(reply) => (None, reply),
            Err(error) => (Some(format!("{error:?}")), Reply::default()),
        };
        let value = reply.value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let Reply { count, rows, next_page, .. } = reply;
        let answer = json!({"id": self.id, "error": error, "count": count, "rows": rows, "next_page": next_page, "value": value});
        format!("{answer}\n").into_bytes()
    }
}

impl Call {
    async fn make(self, host: &Host) -> Result<Reply, ServiceError> {
        match self {
            Call::Deny { subject, ttl_ms, reason } => host.deny(subject.into(), ttl_ms, reason).await,
            Call::Allow { subject } => host.allow(subject.into()).await,
            Call::Denials { page } => host.denials(page).await,
            Call::Disconnect { selector, reason } => host.disconnect(selector.into(), reason).await,
            Call::Sessions { selector, page } => host.sessions(selector.into(), page).await,
            Call::Revoke { selector, retained } => {
                let retained = match retained {
                    RetainedJson::Keep => RevokeRetained::Keep,
                    RetainedJson::Withhold => RevokeRetained::Withhold,
                    RetainedJson::Remove => RevokeRetained::Remove,
                };
                host.revoke(selector.into(), retained).await
            }
            Call::Publish(Publish { tenant, topic, payload, qos, retain, times }) => {
                let qos = QoS::from_bits(qos).ok_or(ServiceError::Invalid)?;
                let message = Message { tenant, topic, payload: payload.into_bytes(), qos, retain };
                let mut last = Reply::default();
                for _ in 0..times {
                    last = host.publish(message.clone()).await?;
                }
                Ok(last)
            }
            Call::Get { key } => host.get(key).await.map(|value| Reply { value: Some(value), ..Reply::default() }),
            Call::Put(Put { key, value, ttl_ms, times: 1 }) => host.put(key, value.into_bytes(), ttl_ms).await,
            Call::Put(Put { key, value, ttl_ms, times }) => {
                let mut last = Reply::default();
                for n in 0..times {
                    last = host.put(format!("{key}{n}"), value.clone().into_bytes(), ttl_ms).await?;
                }
                Ok(last)
            }
            Call::Remove { key } => host.remove(key).await,
        }
    }
}
