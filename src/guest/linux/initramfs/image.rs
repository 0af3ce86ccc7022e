//! What one initramfs lacks, and how it gets it: by an overlay, or by the guest's own tool.

use std::collections::BTreeMap;

use super::super::super::edit::Draft;
use super::super::super::{Content, DeviceNames, Edit, FileChange, GuestTree, SkipList};
use super::super::kernel_line::stable_devices;
use super::super::{fstab, storage};
use super::error::InitramfsError;
use super::kind::InitramfsKind;
use super::listing::{Listing, read_listing};
use super::modules::{ModuleTree, module_name};
use super::overlay::{held_modules, modules_folder, overlay};
use super::rebuild::{InitramfsChoice, Lack, Rebuild, RebuildTool};

/// Copies of the guest's configuration inside an initramfs, with what edits them.
type Embedded = (&'static str, fn(&str, &[u8], &DeviceNames<'_>) -> Option<FileChange>);
const EMBEDDED: &[Embedded] = &[
    ("etc/mdadm/mdadm.conf", |path, bytes, _| storage::mdadm(path, bytes).0),
    ("etc/mdadm.conf", |path, bytes, _| storage::mdadm(path, bytes).0),
    ("etc/lvm/lvm.conf", storage::lvm),
    ("conf/conf.d/resume", fstab::resume),
    ("conf/conf.d/zz-resume-auto", fstab::resume),
    ("cryptroot/crypttab", |_, bytes, names| fstab::crypttab(bytes, names).change),
    ("etc/crypttab", |_, bytes, names| fstab::crypttab(bytes, names).change),
    ("etc/cmdline.d/", command_line),
];

/// Words for the kernel that dracut keeps in its image.
fn command_line(path: &str, bytes: &[u8], names: &DeviceNames<'_>) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    draft.lines("initramfs.devices", "", |line| stable_devices(line, names));
    draft.finish()
}

fn embedded(path: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|(own, _)| path == *own || (own.ends_with('/') && path.starts_with(own)))
}

/// What every initramfs of a guest is to hold.
pub(super) struct Wanted<'a> {
    pub(super) names: &'a DeviceNames<'a>,
    /// The target's drivers.
    pub(super) drivers: &'a [&'a str],
    /// Files that give adapters their names, by name.
    pub(super) links: &'a [(String, Vec<u8>)],
    pub(super) skip: &'a SkipList,
    pub(super) choice: InitramfsChoice,
}

/// What is done about one initramfs.
pub(super) enum Step {
    /// Nothing.
    Fits,
    /// Bytes are appended.
    Overlay(FileChange),
    /// The guest's own tool makes it anew.
    Rebuild(Box<Rebuild>),
}

/// What one initramfs lacks, and how it gets it.
pub(super) fn image(
    tree: &GuestTree,
    path: &str,
    modules: &ModuleTree,
    wanted: &Wanted<'_>,
) -> Result<Step, InitramfsError> {
    let Wanted { names, drivers, links, skip, choice } = *wanted;
    let bytes = tree.read(path)?.unwrap_or_default();
    let old = bytes.len() as u64;
    // By the guest's own tool, if it has one and may be made anew.
    let anew = |kind: Option<InitramfsKind>, before: String, why: String, unpacked: u64| {
        if choice == InitramfsChoice::Overlay || skip.skips("initramfs.drivers") {
            return Ok(None);
        }
        let Some(tool) = RebuildTool::installed(tree, kind)? else { return Ok(None) };
        let lack = Lack { path, drivers, before, why, size: (old, unpacked) };
        Rebuild::new(tree, modules, tool, lack).map(|rebuild| Some(Step::Rebuild(Box::new(rebuild))))
    };
    let listing = match read_listing(&bytes, &|name| InitramfsKind::reads(name) || embedded(name).is_some()) {
        Ok(listing) => listing,
        Err(error) => {
            let before = format!("{old} bytes that cannot be looked into: {error}");
            // Most images unpack to three times their size.
            let rebuild = anew(None, before, "it cannot be looked into, so nothing is appended".to_owned(), old * 4)?;
            return rebuild.ok_or_else(|| InitramfsError::Listing { path: path.to_owned(), error });
        }
    };
    let mut edits = Vec::new();
    let mut extra = BTreeMap::new();
    if !skip.skips("initramfs.devices") {
        for (inside, content) in &listing.contents {
            let Some((_, editor)) = embedded(inside) else { continue };
            let Some(FileChange { content: Content::Whole(new), edits: changed, .. }) = editor(inside, content, names)
            else {
                continue;
            };
            edits.extend(changed.into_iter().map(|edit| Edit {
                id: "initramfs.devices".to_owned(),
                path: format!("{path}:{inside}"),
                before: edit.before,
                after: edit.after,
                why: "the initramfs has a copy of the configuration, and it names disks as the source did".to_owned(),
            }));
            extra.insert(inside.clone(), new);
        }
    }
    let held = held_modules(&listing, &modules_folder(&listing, &modules.release));
    let mut lacking = modules.closure(drivers);
    lacking.retain(|path| !held.contains(&module_name(path)));
    let mut files = BTreeMap::new();
    if !lacking.is_empty() && !skip.skips("initramfs.drivers") {
        let missing: Vec<String> = lacking.iter().map(|path| module_name(path)).collect();
        let kind = InitramfsKind::of(&listing);
        let maker = kind.map_or("an unknown tool", InitramfsKind::name);
        let before = format!("{old} bytes made by {maker}, {} modules, without {}", held.len(), missing.join(" "));
        if choice == InitramfsChoice::Rebuild || kind.is_none() {
            let why = match choice {
                InitramfsChoice::Rebuild => "the plan has it made anew".to_owned(),
                _ => "nobody knows how to add them to it, so it is made anew".to_owned(),
            };
            // All that it has now comes with it.
            let unpacked = listing.entries.values().map(|entry| entry.size).sum();
            if let Some(rebuild) = anew(kind, before.clone(), why, unpacked)? {
                return Ok(rebuild);
            }
            if choice == InitramfsChoice::Rebuild {
                return Err(InitramfsError::NoTool { path: path.to_owned() });
            }
        }
        let Some(kind) = kind else {
            return Err(InitramfsError::UnknownKind { path: path.to_owned(), missing });
        };
        let loaded: Vec<&str> = drivers.iter().copied().filter(|name| modules.has(name)).collect();
        extra.extend(kind.load(&listing, &loaded));
        for module in lacking {
            let content = tree.read(&format!("/lib/modules/{}/{module}", modules.release))?;
            let content = content.ok_or_else(|| InitramfsError::NoModuleFile {
                release: modules.release.clone(),
                module: module.clone(),
            })?;
            files.insert(module, content);
        }
        let added = files.values().map(Vec::len).sum::<usize>();
        edits.push(Edit {
            id: "initramfs.drivers".to_owned(),
            path: path.to_owned(),
            before: Some(before),
            after: Some(format!("{added} bytes of modules appended as an overlay archive: {}", missing.join(" "))),
            why: "without these drivers the kernel finds no disk on the target".to_owned(),
        });
    }
    for (inside, content) in new_links(&listing, links) {
        edits.push(Edit {
            id: "network.names".to_owned(),
            path: format!("{path}:{inside}"),
            before: None,
            after: Some(String::from_utf8_lossy(content).into_owned()),
            why: "udev in the initramfs names adapters whose driver is there, before the guest's own does".to_owned(),
        });
        extra.insert(inside, content.clone());
    }
    if files.is_empty() && extra.is_empty() {
        return Ok(Step::Fits);
    }
    let overlaid = |error| InitramfsError::Overlay { path: path.to_owned(), error };
    let mut archive = overlay(&listing, modules, &files, extra).map_err(overlaid)?;
    if listing.ends_in_lz4 {
        // The kernel takes zeros for the end of an LZ4 stream; four are there after every alignment.
        archive.splice(0..0, [0; 4]);
    }
    let content = Content::Append { bytes: archive, align: 4 };
    Ok(Step::Overlay(FileChange { path: path.to_owned(), content, edits }))
}

/// Link files that an initramfs lacks, by path; none if its udev names no adapters.
fn new_links<'a>(listing: &'a Listing, links: &'a [(String, Vec<u8>)]) -> impl Iterator<Item = (String, &'a Vec<u8>)> {
    let names_adapters = listing.entries.keys().any(|path| path.ends_with("/systemd/network/99-default.link"));
    let named = links.iter().map(|(name, content)| (format!("etc/systemd/network/{name}"), content));
    named.filter(move |(inside, _)| names_adapters && !listing.entries.contains_key(inside))
}
