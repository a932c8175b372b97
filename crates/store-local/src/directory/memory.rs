//! Answers that are still true: until the next change of anything in the directory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use postroad_store::directory::{AddressKey, Entry};
use postroad_types::Address;

/// Addresses that are remembered. Whoever tries more names than this gets the memory emptied, not filled.
const ADDRESSES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<AddressKey, Entry>,
    /// Changes of the directory so far.
    changes: u64,
}

/// A question whose answer may be kept, if nothing changes meanwhile.
#[derive(Debug)]
pub struct Asked {
    key: AddressKey,
    changes: u64,
}

impl Memory {
    pub fn find(&self, address: &Address) -> Result<Entry, Asked> {
        let key = AddressKey::of(address);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.entries.get(&key) {
            Some(entry) => Ok(entry.clone()),
            None => Err(Asked { key, changes: state.changes }),
        }
    }

    pub fn keep(&self, asked: Asked, entry: Entry) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.changes != asked.changes {
            return;
        }
        if state.entries.len() >= ADDRESSES_MAX {
            state.entries.clear();
        }
        state.entries.insert(asked.key, entry);
    }

    /// Something has changed.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changes += 1;
        state.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let memory = Memory::default();
        let address: Address = "Bob@beta.test".parse().unwrap();
        let asked = memory.find(&address).unwrap_err();
        memory.forget();
        memory.keep(asked, Entry::Unknown);
        let asked = memory.find(&address).unwrap_err();
        memory.keep(asked, Entry::NotOurs);
        assert_eq!(memory.find(&"bob@BETA.test".parse().unwrap()).unwrap(), Entry::NotOurs);
        memory.forget();
        assert!(memory.find(&address).is_err());
    }

    #[test]
    fn it_is_bounded() {
        let memory = Memory::default();
        for i in 0..ADDRESSES_MAX + 5 {
            let asked = memory.find(&format!("u{i}@beta.test").parse().unwrap()).unwrap_err();
            memory.keep(asked, Entry::Unknown);
        }
        assert!(memory.state.lock().unwrap().entries.len() <= ADDRESSES_MAX);
    }
}
