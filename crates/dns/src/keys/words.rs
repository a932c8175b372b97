//! A key's state, and what it waits for, in words for people.

use super::KeyState;
use super::roll::{Event, Next};

/// One word for what a key does.
pub fn state(key: &KeyState) -> &'static str {
    match key {
        KeyState { withdrawn: Some(_), .. } => "removed",
        KeyState { replaced: Some(_), .. } => "retired",
        KeyState { published: None, .. } => "generated",
        key if key.active().is_some() => "active",
        // A key that signs everything waits for nothing but its parent.
        KeyState { ds_asked: Some(_), .. } => "ready",
        _ => "published",
    }
}

/// What a key waits for, without the time.
pub fn awaited(key: &KeyState, event: &Event) -> &'static str {
    match event.next {
        Next::Publish => "its DNSKEY comes into the zone, when every cache has its signatures",
        Next::Sign => "it begins to sign the zone, when every cache has its DNSKEY",
        Next::AskForDs => "the parent is asked for its DS, when every cache has its DNSKEY",
        Next::DsSeen => "the parent must publish its DS",
        Next::Replace => "it is replaced, as its lifetime is over",
        Next::DsGone => "the parent must drop its DS",
        Next::SignaturesGone => "the last of its signatures is made anew by its successor",
        Next::Withdraw if key.role.signs_keys() => {
            "its DNSKEY is withdrawn, when no cache has its DS or signatures"
        }
        Next::Withdraw => "its DNSKEY is withdrawn, when no cache has its signatures",
        Next::StopSigning => "its signatures go, when no cache has its DNSKEY",
        Next::Remove => "it is deleted, when no cache has its DNSKEY",
    }
}

/// The event of a key that comes first; what has no time comes last.
pub fn first(events: &[Event], tag: u16) -> Option<&Event> {
    let own = events.iter().filter(|event| event.tag == tag);
    own.min_by_key(|event| event.at.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::Algorithm;
    use crate::keys::Role;

    #[test]
    fn states_follow_a_life() {
        let mut key = KeyState::new(1, Algorithm::ED25519, Role::Csk, 0);
        let mut states = vec![state(&key)];
        let lives: [fn(&mut KeyState); 5] = [
            |key| key.published = Some(1),
            |key| key.ds_asked = Some(2),
            |key| key.ds_seen = Some(3),
            |key| key.replaced = Some(4),
            |key| key.withdrawn = Some(5),
        ];
        for live in lives {
            live(&mut key);
            states.push(state(&key));
        }
        assert_eq!(states, ["generated", "published", "ready", "active", "retired", "removed"]);
        let event = |next, at| Event { tag: 1, next, at };
        let events =
            [event(Next::DsGone, None), event(Next::Withdraw, Some(9)), event(Next::Remove, Some(10))];
        assert_eq!(first(&events, 1), Some(&events[1]));
        assert!(awaited(&key, &events[1]).contains("DS or signatures"));
        assert_eq!(first(&events, 2), None);
    }
}
