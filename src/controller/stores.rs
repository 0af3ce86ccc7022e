//! Stores that are open, so that all that travels into one or out of one shares it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::image::{ImageError, Store, StoreKey};

static STORES: Mutex<Option<HashMap<PathBuf, Weak<Store>>>> = Mutex::new(None);

/// Opens a store, or shares the one that is open.
pub(super) fn open(path: &Path, key: Option<&str>) -> Result<Arc<Store>, ImageError> {
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    // Whoever may open it has its key: a job that brings another one gets no store by its path alone.
    let key = key.map(StoreKey::resolve).transpose()?;
    let opened = Store::open(path, key.as_ref())?;
    if let Some(store) = stores.get(path).and_then(Weak::upgrade) {
        return Ok(store);
    }
    let store = Arc::new(opened);
    stores.insert(path.to_owned(), Arc::downgrade(&store));
    Ok(store)
}
