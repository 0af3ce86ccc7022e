//! Removing images: only when asked by name, never by rollback; space comes back when garbage is collected.

use super::error::{ImageError, Result};
use super::manifest::{ImageId, sync_folder};
use super::name::DiskName;
use super::set;
use super::store::Store;

/// Removes one finished image. One that belongs to a sealed set is refused unless `with_set`, which removes the set, too.
pub fn remove(store: &Store, disk: &DiskName, id: ImageId, with_set: bool) -> Result<()> {
    let _lease = store.lease(&format!("remove an image of {disk}"))?;
    let manifest = store.manifest_path(disk, id);
    if !manifest.exists() {
        return Err(ImageError::NoImage { disk: disk.clone(), id: Some(id.to_string()) });
    }
    for set in set::sets(store, disk.machine())? {
        if !set.disks.iter().any(|member| member.disk == disk.disk() && member.image == id) {
            continue;
        }
        if !with_set {
            return Err(ImageError::InSet { id: id.to_string(), disk: disk.clone(), set: set.id.to_string() });
        }
        let path = store.set_folder(disk.machine()).join(format!("{}.json", set.id));
        std::fs::remove_file(&path).map_err(ImageError::file("removing", &path))?;
    }
    // The manifest first: without it there is no image, and its map is garbage.
    std::fs::remove_file(&manifest).map_err(ImageError::file("removing", &manifest))?;
    sync_folder(&store.disk_folder(disk))?;
    let map = store.map_path(disk, id);
    std::fs::remove_file(&map).map_err(ImageError::file("removing", &map))
}
