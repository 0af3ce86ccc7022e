//! Export: an image as a disk file of its own.

use std::path::Path;

use super::chunk::DiskDigest;
use super::control::Control;
use super::deploy::Restore;
use super::error::{ImageError, Result};
use super::format::{Subformat, create, finish, open_written};
use super::manifest::{ImageId, folder_of, sync_folder};
use super::name::DiskName;
use super::store::Store;
use super::stream::Stream;
use crate::hardware::DiskFormat;

/// Writes an image to a new file, which appears under its name only when it is whole.
pub fn export(
    store: &Store,
    disk: &DiskName,
    image: Option<ImageId>,
    path: &Path,
    (format, subformat): (DiskFormat, Subformat),
    control: &Control<'_>,
) -> Result<DiskDigest> {
    let run = || {
        let _lease = store.lease(&format!("export {disk}"))?;
        let manifest = store.chosen(disk, image)?;
        let digest = store.believed_digest(&manifest)?;
        if path.exists() {
            return Err(ImageError::Refused { what: format!("{} is there already", path.display()) });
        }
        let draft = path.with_file_name(format!(".new-{}", manifest.id));
        create(&draft, format, subformat, manifest.size)?;
        let target = open_written(&draft, format, subformat)?;
        let stream = Stream { store, manifest: &manifest, control };
        let restore = Restore { stream, target: &*target, path: &draft, hold_head: false };
        let written = restore.prepare().and_then(|()| restore.run(0, &|_| Ok(())));
        drop(target);
        let written = written.and_then(|_| finish(&draft, subformat, manifest.size));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&draft);
            return Err(error);
        }
        std::fs::rename(&draft, path).map_err(ImageError::target("naming", path))?;
        sync_folder(folder_of(path))?;
        Ok(digest)
    };
    run().map_err(ImageError::of("export", disk))
}
