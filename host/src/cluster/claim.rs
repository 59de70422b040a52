//! A client's session is claimed from the whole cluster before it is opened here.

use std::sync::Arc;

use gatemq_broker::SessionKey;
use gatemq_cluster::core::{ClaimRefusal, Input, SessionKey as Key};
use gatemq_types::ReasonCode;
use tokio::sync::oneshot;

use super::Cluster;
use super::told::Told;

/// A key as the core knows it.
pub(super) fn key_of(key: &SessionKey) -> Key {
    Key::new(key.tenant().name(), key.user(), key.client_id())
}

/// The session is this node's to open. While this is kept it does not count as gone, though it is not there yet.
pub(crate) struct Claimed {
    cluster: Arc<Cluster>,
    key: Arc<SessionKey>,
    /// `Some`: it was not answered.
    request: Option<u64>,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            self.cluster.inbox.tell(Told::Core(Input::ClaimAbandoned { request }));
        }
        {
            let mut opening = self.cluster.opening.lock();
            if let Some(count) = opening.get_mut(&*self.key) {
                *count -= 1;
                if *count == 0 {
                    opening.remove(&*self.key);
                }
            }
        }
        // It may have come to nothing.
        self.cluster.inbox.tell(Told::Settle(self.key.clone()));
    }
}

impl Cluster {
    /// Claims a session. Dropped, it is let go.
    ///
    /// # Errors
    /// The code for the CONNACK, and why.
    pub(crate) async fn claim(self: &Arc<Self>, key: &Arc<SessionKey>) -> Result<Claimed, (ReasonCode, &'static str)> {
        let request = self.requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        *self.opening.lock().entry(key.clone()).or_default() += 1;
        let mut claimed = Claimed { cluster: self.clone(), key: key.clone(), request: Some(request) };
        let (answer, answered) = oneshot::channel();
        self.inbox.tell(Told::Claim { request, key: key_of(key), answer });
        let granted = answered.await;
        claimed.request = None;
        match granted {
            Ok(Ok(())) => Ok(claimed),
            Ok(Err(why)) => Err(refusal(why)),
            Err(_) => Err((ReasonCode::SERVER_UNAVAILABLE, "the broker stops")),
        }
    }
}

fn refusal(why: ClaimRefusal) -> (ReasonCode, &'static str) {
    match why {
        ClaimRefusal::NotSettled => {
            (ReasonCode::SERVER_UNAVAILABLE, "the nodes do not agree yet who has which session")
        }
        ClaimRefusal::HandOverUnfinished => {
            (ReasonCode::SERVER_BUSY, "another node has the session and did not hand it over")
        }
        ClaimRefusal::Contested => (ReasonCode::SERVER_BUSY, "the session is claimed elsewhere at this moment"),
        ClaimRefusal::Full => (ReasonCode::QUOTA_EXCEEDED, "too many sessions are claimed at this moment"),
    }
}
