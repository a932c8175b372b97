//! Small messages that were just accepted, kept in memory for their first attempt, so that the usual message
//! is written to the spool and never read from it.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use postroad_types::{QueueId, limits};

#[derive(Debug, Default)]
pub struct Fresh(Mutex<(HashMap<QueueId, Bytes>, usize)>);

impl Fresh {
    /// Keeps a message, if there is room.
    pub fn put(&self, id: &QueueId, content: Bytes) {
        if let Ok(mut kept) = self.0.lock()
            && kept.1 + content.len() <= limits::FRESH_OCTETS_MAX
        {
            kept.1 += content.len();
            if let Some(earlier) = kept.0.insert(id.clone(), content) {
                kept.1 -= earlier.len();
            }
        }
    }

    pub fn get(&self, id: &QueueId) -> Option<Bytes> {
        self.0.lock().ok()?.0.get(id).cloned()
    }

    pub fn forget(&self, id: &QueueId) {
        if let Ok(mut kept) = self.0.lock()
            && let Some(content) = kept.0.remove(id)
        {
            kept.1 -= content.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_given_back() {
        let fresh = Fresh::default();
        let half = Bytes::from(vec![0; limits::FRESH_OCTETS_MAX / 2]);
        let ids: Vec<QueueId> = (0..3).map(|i| QueueId::new(i, 0)).collect();
        ids.iter().for_each(|id| fresh.put(id, half.clone()));
        assert!(fresh.get(&ids[1]).is_some());
        assert!(fresh.get(&ids[2]).is_none());
        fresh.forget(&ids[0]);
        fresh.put(&ids[2], half);
        assert!(fresh.get(&ids[2]).is_some());
    }
}
