//! OVA: a tar file of an OVF description and the disks that it names.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use super::HeaderFault;

/// A description is some pages of XML; more is none.
const MOST_TEXT: u64 = 16 << 20;

/// A disk of an appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image::format) struct Member {
    /// Its file's name in the archive.
    pub(in crate::image::format) name: String,
    /// Where the file begins in the archive.
    pub(in crate::image::format) offset: u64,
    /// Bytes of the file.
    pub(in crate::image::format) len: u64,
}

/// Parts `appliance.ova/disk1.vmdk` into the archive and the disk's name in it.
pub(in crate::image::format) fn split(path: &Path) -> (PathBuf, Option<String>) {
    let archive = path.ancestors().skip(1).find(|above| above.is_file());
    match archive.and_then(|archive| Some((archive, path.strip_prefix(archive).ok()?.to_str()?))) {
        Some((archive, name)) => (archive.to_owned(), Some(name.to_owned())),
        None => (path.to_owned(), None),
    }
}

/// The disks that the description lists, in its order.
pub(in crate::image::format) fn members<R: Read + Seek>(archive: R) -> Result<Vec<Member>, HeaderFault> {
    let broken = |error: std::io::Error| HeaderFault::broken(format!("is no sound tar archive: {error}"));
    let (mut description, mut files) = (None, Vec::new());
    for entry in tar::Archive::new(archive).entries_with_seek().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if name.to_ascii_lowercase().ends_with(".ovf") && description.is_none() {
            if entry.size() > MOST_TEXT {
                return Err(HeaderFault::broken(format!("has a description of {} bytes", entry.size())));
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(broken)?;
            description = Some(text);
        }
        files.push(Member { name, offset: entry.raw_file_position(), len: entry.size() });
    }
    let Some(text) = description else {
        return Err(HeaderFault::broken("holds no description (`*.ovf`)"));
    };
    listed(&text)?
        .into_iter()
        .map(|name| {
            let found = files.iter().find(|file| file.name.trim_start_matches("./") == name);
            found.cloned().map(|file| Member { name: name.clone(), ..file }).ok_or_else(|| {
                HeaderFault::broken(format!("does not hold `{name}`, a disk that its description lists"))
            })
        })
        .collect()
}

/// The files of the disks in an OVF description.
fn listed(text: &str) -> Result<Vec<String>, HeaderFault> {
    let document = roxmltree::Document::parse(text)
        .map_err(|error| HeaderFault::broken(format!("has a description that is no sound XML: {error}")))?;
    let value = |node: &roxmltree::Node<'_, '_>, name: &str| {
        node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value().to_owned())
    };
    let named = |name: &'static str| document.descendants().filter(move |node| node.tag_name().name() == name);
    let mut disks = Vec::new();
    // A disk without a file is an empty one: there is nothing to capture.
    for file in named("Disk").filter_map(|disk| value(&disk, "fileRef")) {
        let node = named("File").find(|node| value(node, "id").as_ref() == Some(&file));
        let Some((node, name)) = node.and_then(|node| Some((node, value(&node, "href")?))) else {
            return Err(HeaderFault::broken(format!("has a disk of the file `{file}`, which its description lacks")));
        };
        if value(&node, "compression").is_some_and(|kind| kind != "identity") || value(&node, "chunkSize").is_some() {
            return Err(HeaderFault::unknown(
                format!("keeps the disk `{name}` compressed as a whole or in pieces"),
                "unpack the archive with `tar`, join and decompress the disk, and name that file as the source",
            ));
        }
        disks.push(name);
    }
    match disks.is_empty() {
        true => Err(HeaderFault::broken("has a description without disks")),
        false => Ok(disks),
    }
}
