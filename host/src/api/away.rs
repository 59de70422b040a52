//! Sessions whose clients are away: whom messages wait for, and until when.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gatemq_broker::Session;
use gatemq_broker::sessions::Moment;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::routes::{Answer, Refusal};

/// Rows of a page, and sessions that are looked at for one.
const ROWS_MAX: usize = 256;
const LOOKED_AT_MAX: usize = 4096;
/// Sessions that are taken out of the registry, which everybody needs, at once.
const AT_ONCE: usize = 256;

/// Which; all that is given must hold.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    tenant: Option<String>,
    user: Option<String>,
    client_id: Option<String>,
    /// As `next_page` said it.
    page: Option<String>,
}

/// Lists them, in the order in which they expire. A page may have few rows, or none, and another one after it.
pub(super) async fn sessions(State(api): State<Api>, which: Result<Query<Which>, QueryRejection>) -> Answer {
    let Query(which) = which?;
    let page = which.page.as_deref().filter(|page| *page != "0");
    let mut from = page.map(read).transpose()?.unwrap_or_default();
    let (mut rows, mut looked_at, mut is_more) = (Vec::new(), 0, true);
    while is_more && rows.len() < ROWS_MAX && looked_at < LOOKED_AT_MAX {
        let some = api.node.sessions.away(from, AT_ONCE.min(ROWS_MAX - rows.len()));
        is_more = !some.is_empty();
        looked_at += some.len();
        for (at, session) in some {
            from = at;
            if which.names(&session) {
                rows.push(row(&session, at.0));
            }
        }
    }
    let next_page = if is_more { Value::from(format!("{}.{}", from.0, from.1)) } else { 0.into() };
    Ok(Json(json!({ "count": rows.len(), "rows": rows, "next_page": next_page })))
}

fn read(page: &str) -> Result<Moment, Refusal> {
    let parts = page.split_once('.').and_then(|(at, n)| Some((at.parse().ok()?, n.parse().ok()?)));
    parts.ok_or_else(|| Refusal::invalid("page is what next_page of the page before says"))
}

impl Which {
    fn names(&self, session: &Session) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let key = session.key();
        is(&self.tenant, key.tenant().name()) && is(&self.user, key.user()) && is(&self.client_id, key.client_id())
    }
}

fn row(session: &Session, expires_ms: u64) -> Value {
    let key = session.key();
    json!({
        "tenant": key.tenant().name(),
        "user": key.user(),
        "client_id": key.client_id(),
        "protocol": session.protocol().name(),
        "subscriptions": session.subscriptions(),
        "waiting": session.waiting(),
        "dropped": session.dropped(),
        // Never: no time.
        "expires_ms": if expires_ms == u64::MAX { Value::Null } else { expires_ms.into() },
    })
}
