//! A DFS in the memory of this process, by name: for tests, and for state that ends with it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, OnceLock};

use crate::io::handoff::locked;
use crate::io::stored::{Listed, check_size};
use crate::types::{Error, ObjectName, Result};

/// Its objects. Every opening of the same name has the same ones.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    objects: Mutex<HashMap<ObjectName, Arc<Vec<u8>>>>,
}

impl Memory {
    /// The DFS of this name.
    pub(crate) fn named(name: String) -> Arc<Self> {
        static ROOTS: OnceLock<Mutex<HashMap<String, Arc<Memory>>>> = OnceLock::new();
        locked(ROOTS.get_or_init(Mutex::default)).entry(name).or_default().clone()
    }

    /// The bytes of an object.
    pub(crate) fn find(&self, name: &ObjectName) -> Result<Arc<Vec<u8>>> {
        locked(&self.objects).get(name).cloned().ok_or_else(|| {
            Error::missing(format!(
                "{name} is not in the memory of this process, which begins empty"
            ))
        })
    }

    /// A copy of an object of at most `bytes_max`.
    pub(crate) fn load(&self, name: &ObjectName, bytes_max: u64) -> Result<Vec<u8>> {
        let bytes = self.find(name)?;
        check_size(name, bytes.len() as u64, bytes_max)?;
        Ok(bytes.to_vec())
    }

    /// Puts `bytes` under a new name.
    pub(crate) fn put(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<()> {
        let mut objects = locked(&self.objects);
        match objects.get(name) {
            Some(there) if **there != bytes => Err(Error::invalid(format!(
                "{name} exists with other bytes: an object's name was used twice"
            ))),
            Some(_) => Ok(()),
            None => {
                objects.insert(*name, Arc::new(bytes));
                Ok(())
            }
        }
    }

    /// Puts `bytes` under a name that is not taken; false if it is.
    pub(crate) fn create(&self, name: &ObjectName, bytes: &[u8]) -> bool {
        match locked(&self.objects).entry(*name) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Arc::new(bytes.to_vec()));
                true
            }
        }
    }

    /// The objects of a store's number.
    pub(crate) fn list(&self, store: u64) -> Vec<Listed> {
        let objects = locked(&self.objects);
        let own = objects.iter().filter(|(name, _)| name.store == store);
        own.map(|(&name, bytes)| Listed { name, bytes: bytes.len() as u64, modified_s: None })
            .collect()
    }

    /// Removes an object.
    pub(crate) fn delete(&self, name: &ObjectName) {
        locked(&self.objects).remove(name);
    }
}
