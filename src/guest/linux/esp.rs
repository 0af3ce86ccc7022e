//! Starting without firmware variables: a machine that was moved has fresh NVRAM, and its firmware then knows one path
//! only, `\EFI\BOOT\BOOTX64.EFI`.

use super::super::{Content, Edit, FileChange, GuestTree, TreeError};

const WHY: &str = "fresh NVRAM has no boot entry, and firmware then tries this path only";

/// Why a guest cannot start from UEFI firmware.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// A file cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// There is no EFI system partition.
    #[error(
        "the target's firmware is UEFI and the guest has no boot loader for it: /boot/efi holds no \\EFI folder; give the VM `firmware: bios` if the source starts from BIOS"
    )]
    NoLoader,
    /// Only loaders of another processor are there.
    #[error(
        "the EFI system partition holds loaders for 32-bit firmware only ({found}); the target's firmware is 64-bit: give the VM `firmware: bios`, or install a 64-bit loader in the source"
    )]
    WrongWidth {
        /// What is there.
        found: String,
    },
}

/// Where guests mount the EFI system partition.
const MOUNTED: [&str; 3] = ["/boot/efi", "/efi", "/boot"];

/// The mount point of the EFI system partition and its `EFI` folder as the file system spells it.
pub fn find(tree: &GuestTree) -> Result<Option<(String, String)>, TreeError> {
    for point in MOUNTED {
        if let Some(name) = tree.list(point)?.into_iter().find(|name| name.eq_ignore_ascii_case("EFI")) {
            let folder = format!("{point}/{name}");
            // `/boot/efi` is a mount point, not the folder of a partition that is mounted on /boot.
            let holds_vendors = !tree.list(&folder)?.is_empty();
            let is_mount_point = tree.list(&folder)?.iter().any(|name| name.eq_ignore_ascii_case("EFI"));
            if holds_vendors && !is_mount_point {
                return Ok(Some((point.to_owned(), folder)));
            }
        }
    }
    Ok(None)
}

/// Copies the vendor's loader to the path that firmware tries by itself, if nothing is there.
pub fn plan(tree: &GuestTree) -> Result<Vec<FileChange>, EspError> {
    let Some((_, folder)) = find(tree)? else { return Err(EspError::NoLoader) };
    let vendors = tree.list(&folder)?;
    let boot = vendors.iter().find(|name| name.eq_ignore_ascii_case("BOOT")).map_or("BOOT", String::as_str);
    let fallback = format!("{folder}/{boot}");
    let present = tree.list(&fallback)?;
    if present.iter().any(|name| name.eq_ignore_ascii_case("BOOTX64.EFI")) {
        return Ok(Vec::new());
    }
    let mut narrow: Vec<String> = present.into_iter().filter(|name| is_narrow(name)).collect();
    for vendor in vendors.iter().filter(|name| !name.eq_ignore_ascii_case("BOOT")) {
        let at = format!("{folder}/{vendor}");
        let files = tree.list(&at)?;
        let named = |wanted: &str| files.iter().find(|name| name.eq_ignore_ascii_case(wanted)).cloned();
        let loader = ["shimx64.efi", "shim.efi", "grubx64.efi", "systemd-bootx64.efi", "elilo.efi", "refind_x64.efi"]
            .into_iter()
            .find_map(named);
        narrow.extend(files.iter().filter(|name| is_narrow(name)).map(|name| format!("{vendor}/{name}")));
        let Some(loader) = loader else { continue };
        let mut changes = vec![copy(tree, &format!("{at}/{loader}"), &format!("{fallback}/BOOTX64.EFI"))?];
        // Shim starts what lies beside it.
        if loader.to_ascii_lowercase().starts_with("shim") {
            for companion in ["grubx64.efi", "grub.efi", "mmx64.efi"].into_iter().filter_map(named) {
                changes.push(copy(tree, &format!("{at}/{companion}"), &format!("{fallback}/{companion}"))?);
            }
        }
        return Ok(changes);
    }
    match narrow.is_empty() {
        true => Err(EspError::NoLoader),
        false => Err(EspError::WrongWidth { found: narrow.join(", ") }),
    }
}

fn is_narrow(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("ia32.efi") || name == "elilo-ia32.efi"
}

fn copy(tree: &GuestTree, from: &str, to: &str) -> Result<FileChange, TreeError> {
    let bytes = tree.read(from)?.unwrap_or_default();
    let edit = Edit {
        id: "bootloader.fallback".to_owned(),
        path: to.to_owned(),
        before: None,
        after: Some(format!("a copy of {from} ({} bytes)", bytes.len())),
        why: WHY.to_owned(),
    };
    Ok(FileChange { path: to.to_owned(), content: Content::Whole(bytes), edits: vec![edit] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(files: &[&str]) -> (tempfile::TempDir, GuestTree) {
        let folder = tempfile::tempdir().unwrap();
        for path in files {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, path).unwrap();
        }
        let tree = GuestTree::new(folder.path());
        (folder, tree)
    }

    fn paths(changes: &[FileChange]) -> Vec<&str> {
        changes.iter().map(|change| change.path.as_str()).collect()
    }

    #[test]
    fn the_vendor_loader_is_copied_once() {
        let (_folder, tree) = guest(&["boot/efi/EFI/debian/grubx64.efi", "boot/efi/EFI/debian/grub.cfg"]);
        let changes = plan(&tree).unwrap();
        assert_eq!(paths(&changes), ["/boot/efi/EFI/BOOT/BOOTX64.EFI"]);
        for change in &changes {
            tree.write(change).unwrap();
        }
        assert_eq!(plan(&tree).unwrap(), []);
        assert_eq!(tree.read("/boot/efi/EFI/BOOT/BOOTX64.EFI").unwrap().unwrap(), b"boot/efi/EFI/debian/grubx64.efi");
    }

    #[test]
    fn shim_brings_its_companions_and_spelling_does_not_matter() {
        let (_folder, tree) = guest(&[
            "boot/efi/efi/redhat/shimx64.efi",
            "boot/efi/efi/redhat/grubx64.efi",
            "boot/efi/efi/redhat/mmx64.efi",
            "boot/efi/efi/Boot/fbx64.efi",
        ]);
        let changes = plan(&tree).unwrap();
        assert_eq!(
            paths(&changes),
            ["/boot/efi/efi/Boot/BOOTX64.EFI", "/boot/efi/efi/Boot/grubx64.efi", "/boot/efi/efi/Boot/mmx64.efi"]
        );
        let (_folder, tree) = guest(&["boot/efi/EFI/boot/bootx64.efi"]);
        assert_eq!(plan(&tree).unwrap(), []);
        let (_folder, tree) = guest(&["boot/EFI/systemd/systemd-bootx64.efi", "boot/loader/loader.conf"]);
        assert_eq!(paths(&plan(&tree).unwrap()), ["/boot/EFI/BOOT/BOOTX64.EFI"]);
    }

    #[test]
    fn what_cannot_start_is_refused() {
        let (_folder, tree) = guest(&["boot/grub/grub.cfg"]);
        assert!(matches!(plan(&tree), Err(EspError::NoLoader)));
        let (_folder, tree) = guest(&["boot/efi/EFI/debian/grubia32.efi"]);
        let error = plan(&tree).unwrap_err().to_string();
        assert!(error.contains("debian/grubia32.efi") && error.contains("firmware: bios"), "{error}");
    }
}
