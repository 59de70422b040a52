//! What an ended session leaves is taken away bit by bit, so that no group waits for a long queue.

use super::Engine;
use super::keys;
use super::staging::Staging;
use crate::StoreError;

/// Keys that one group takes away.
const KEYS_MAX: usize = 1_000;

/// See [`Engine::purge`].
pub(super) fn some(engine: &mut Engine, staging: &mut Staging<'_>) -> Result<bool, StoreError> {
    let mut room = KEYS_MAX;
    while room > 0
        && let Some(session) = engine.ended.first().copied()
    {
        for prefix in [keys::queue(session), keys::session(session)] {
            let is_queue = prefix.first() == Some(&b'q');
            let found = staging.collect(&prefix, &keys::behind(&prefix), room)?;
            room -= found.len();
            for (key, value) in found {
                if is_queue {
                    engine.remove_entry(staging, session, key, &value)?;
                } else {
                    staging.remove(key);
                }
            }
            if room == 0 {
                return Ok(true);
            }
        }
        staging.remove(keys::ended(session));
        engine.ended.remove(&session);
    }
    Ok(!engine.ended.is_empty())
}
