//! Export: an image as a disk file of its own.

use std::path::Path;

use super::chunk::DiskDigest;
use super::control::Control;
use super::deploy::Restore;
use super::error::{ImageError, Result};
use super::format::{ImageFormat, Qcow2Disk, open_target};
use super::manifest::{ImageId, folder_of, sync_folder};
use super::name::DiskName;
use super::store::Store;
use super::stream::Stream;

/// Writes an image to a new file, which appears under its name only when it is whole.
pub fn export(
    store: &Store,
    disk: &DiskName,
    image: Option<ImageId>,
    path: &Path,
    format: ImageFormat,
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
        create(&draft, format, manifest.size)?;
        let target = open_target(&draft, format)?;
        let restore =
            Restore { stream: Stream { store, manifest: &manifest, control }, target: &*target, path: &draft };
        let written = restore.prepare().and_then(|()| restore.run(Restore::head_chunks(&manifest), &|_| Ok(())));
        drop(target);
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

fn create(path: &Path, format: ImageFormat, size: u64) -> Result<()> {
    match format {
        ImageFormat::Qcow2 => Qcow2Disk::create(path, size),
        ImageFormat::Raw => std::fs::File::create(path)
            .and_then(|file| file.set_len(size))
            .map_err(ImageError::target("creating", path)),
    }
}
