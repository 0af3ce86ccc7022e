//! The overlay: an archive of the missing modules, with the indexes that make them known and the list that loads them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::cpio::{FOLDER, LINK, Writer};
use super::index::write_index;
use super::listing::Listing;
use super::modules::{ModuleTree, module_name};

/// Builds the archive. `files` are the missing modules by path below `/lib/modules/RELEASE`; `extra` are other files, by
/// path, that take the place of what the initramfs has. Archives unpack over each other, so an index that the initramfs
/// has must be replaced by one with both.
pub fn overlay(
    listing: &Listing,
    tree: &ModuleTree,
    files: &BTreeMap<String, Vec<u8>>,
    extra: BTreeMap<String, Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    if files.is_empty() {
        return archive(listing, &extra);
    }
    let folder = modules_folder(listing, &tree.release);
    let held = held_modules(listing, &folder);
    let all: BTreeSet<String> = held.iter().cloned().chain(files.keys().map(|path| module_name(path))).collect();
    let known: Vec<(&str, String)> = all
        .iter()
        .filter_map(|name| tree.modules.get_key_value(name))
        .map(|(name, (path, needs))| (name.as_str(), format!("{path}:{}", spaced(needs))))
        .collect();
    let aliases: Vec<(&str, &str)> = tree
        .aliases
        .iter()
        .filter(|(_, module)| all.contains(module))
        .map(|(alias, module)| (alias.as_str(), module.as_str()))
        .collect();

    let mut out: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, content) in files {
        out.insert(format!("{folder}/{path}"), content.clone());
    }
    let dep: String = known.iter().map(|(_, line)| format!("{line}\n")).collect();
    out.insert(format!("{folder}/modules.dep"), dep.into_bytes());
    out.insert(
        format!("{folder}/modules.dep.bin"),
        write_index(known.iter().map(|(name, line)| (*name, line.as_str()))),
    );
    let text: String = aliases.iter().map(|(alias, module)| format!("alias {alias} {module}\n")).collect();
    out.insert(format!("{folder}/modules.alias"), text.into_bytes());
    out.insert(format!("{folder}/modules.alias.bin"), write_index(aliases.iter().copied()));
    out.extend(extra);
    archive(listing, &out)
}

/// The folder of modules as the initramfs has it: a path whose parents are folders, never a link. The kernel replaces a
/// link by a folder when an archive names it as one, and all behind the link would be lost.
pub fn modules_folder(listing: &Listing, release: &str) -> String {
    let is_link = |path: &str| listing.entries.get(path).is_some_and(|entry| entry.mode & 0o170_000 == LINK);
    let own = [format!("usr/lib/modules/{release}"), format!("lib/modules/{release}")];
    let held = own.iter().find(|folder| listing.entries.contains_key(*folder));
    match held {
        Some(folder) => folder.clone(),
        None if is_link("lib") => own[0].clone(),
        None => own[1].clone(),
    }
}

/// Names of the modules in the initramfs.
pub fn held_modules(listing: &Listing, folder: &str) -> BTreeSet<String> {
    let files = listing.entries.keys().filter(|path| path.starts_with(folder) && path.contains(".ko"));
    files.map(|path| module_name(path)).collect()
}

fn archive(listing: &Listing, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    let mut made = BTreeSet::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            let held = listing.entries.get(folder).is_some_and(|entry| entry.mode & 0o170_000 == FOLDER);
            if !held && made.insert(folder.to_owned()) {
                writer.folder(folder, 0o755)?;
            }
        }
        writer.file(path, 0o644, content)?;
    }
    writer.finish()
}

fn spaced(words: &[String]) -> String {
    words.iter().map(|word| format!(" {word}")).collect()
}
