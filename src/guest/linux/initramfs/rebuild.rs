//! The second choice: an initramfs is made anew by the guest's own tool, inside the guest's own tree. Here is what is to be
//! run and what its result must hold; whoever runs it keeps the old file until the new one has been looked at.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::super::tree::Room;
use super::super::super::{Edit, GuestTree, TreeError};
use super::kind::InitramfsKind;
use super::listing::{ListingError, read_listing};
use super::modules::{ModuleTree, module_name};
use super::overlay::{held_modules, modules_folder};

/// How an initramfs gets the drivers that it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitramfsChoice {
    /// By an overlay; where none can be made, by the guest's own tool.
    #[default]
    Auto,
    /// By an overlay only: no program of the guest runs.
    Overlay,
    /// By the guest's own tool.
    Rebuild,
}

impl InitramfsChoice {
    /// As a plan and a sequence write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Overlay => "overlay",
            Self::Rebuild => "rebuild",
        }
    }

    /// From the word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Overlay, Self::Rebuild].into_iter().find(|choice| choice.word() == word)
    }
}

/// A tool of the guest that makes an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildTool {
    /// Of initramfs-tools; `update-initramfs` calls the same.
    Mkinitramfs,
    /// dracut.
    Dracut,
    /// mkinitcpio.
    Mkinitcpio,
    /// mkinitfs.
    Mkinitfs,
}

const TOOLS: [RebuildTool; 4] =
    [RebuildTool::Mkinitramfs, RebuildTool::Dracut, RebuildTool::Mkinitcpio, RebuildTool::Mkinitfs];

impl RebuildTool {
    /// What each is called.
    pub fn programs() -> [&'static str; 4] {
        TOOLS.map(Self::name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mkinitramfs => "mkinitramfs",
            Self::Dracut => "dracut",
            Self::Mkinitcpio => "mkinitcpio",
            Self::Mkinitfs => "mkinitfs",
        }
    }

    /// What lists an image's content, a path at the end of each line.
    fn lister(self) -> Option<&'static str> {
        match self {
            Self::Mkinitramfs => Some("lsinitramfs"),
            Self::Dracut => Some("lsinitrd"),
            Self::Mkinitcpio => Some("lsinitcpio"),
            Self::Mkinitfs => None,
        }
    }

    /// The one that makes images of this kind.
    fn of(kind: InitramfsKind) -> Self {
        match kind {
            InitramfsKind::InitramfsTools => Self::Mkinitramfs,
            InitramfsKind::Dracut => Self::Dracut,
            InitramfsKind::Mkinitcpio => Self::Mkinitcpio,
            InitramfsKind::Mkinitfs => Self::Mkinitfs,
        }
    }

    /// The tool that is installed in the guest, and its program: the one that has made the image if that is known.
    pub(super) fn installed(
        tree: &GuestTree,
        kind: Option<InitramfsKind>,
    ) -> Result<Option<(Self, String)>, TreeError> {
        let first = kind.map(Self::of);
        for tool in first.into_iter().chain(TOOLS) {
            if let Some(program) = program(tree, tool.name())? {
                return Ok(Some((tool, program)));
            }
        }
        Ok(None)
    }
}

/// Where the guest has a program.
fn program(tree: &GuestTree, name: &str) -> Result<Option<String>, TreeError> {
    for folder in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        let path = format!("{folder}/{name}");
        if tree.exists(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// An initramfs that is to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The initramfs, as the guest names it.
    pub path: String,
    /// Its kernel.
    pub release: String,
    /// What is reported, before it has run.
    pub edit: Edit,
    /// The guest's program.
    pub program: String,
    tool: RebuildTool,
    lister: Option<String>,
    drivers: Vec<String>,
    /// Names of the modules that it must hold.
    wanted: Vec<String>,
    /// What it needs while it is made.
    pub(in super::super::super) rooms: Vec<Room>,
}

/// Why what the guest's own tool has made cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RebuiltError {
    /// A module is not there.
    #[error(
        "{path} was made anew by the guest's {program}, which ended well, and still lacks {}: the old one is kept; {way_out}; it said last:\n{tail}", missing.join(", ")
    )]
    StillMissing {
        /// The initramfs.
        path: String,
        /// The program.
        program: String,
        /// What is not in it.
        missing: Vec<String>,
        /// What to do.
        way_out: &'static str,
        /// What the program said last.
        tail: String,
    },
    /// It cannot be looked into.
    #[error("what the guest's {program} has made of {path} cannot be looked into; the old one is kept")]
    Unreadable {
        /// The initramfs.
        path: String,
        /// The program.
        program: String,
        /// Why.
        #[source]
        error: ListingError,
    },
}

/// What helps when a guest's own tool does not do its work.
pub const WAY_OUT: &str =
    "mend its configuration in the source and capture again, or leave the edit out with `guest.skip: [initramfs]`";

/// What an initramfs is told to hold.
pub(super) struct Lack<'a> {
    pub(super) path: &'a str,
    pub(super) drivers: &'a [&'a str],
    /// What was there, for people.
    pub(super) before: String,
    /// Why no overlay is made.
    pub(super) why: String,
    /// Bytes of the old image, and of what it holds.
    pub(super) size: (u64, u64),
}

impl Rebuild {
    /// What the tool that was found is to do.
    pub(super) fn new(
        tree: &GuestTree,
        modules: &ModuleTree,
        (tool, program): (RebuildTool, String),
        lack: Lack<'_>,
    ) -> Result<Self, TreeError> {
        let closure = modules.closure(lack.drivers);
        let mut added = 0;
        for module in &closure {
            let file = tree.resolve(&format!("/lib/modules/{}/{module}", modules.release))?;
            added += std::fs::metadata(file).map_or(0, |file| file.len());
        }
        let wanted: Vec<String> = closure.iter().map(|path| module_name(path)).collect();
        let lister = match tool.lister() {
            Some(name) => self::program(tree, name)?,
            None => None,
        };
        let (old, unpacked) = lack.size;
        Ok(Self {
            path: lack.path.to_owned(),
            release: modules.release.clone(),
            edit: Edit {
                id: "initramfs.drivers".to_owned(),
                path: lack.path.to_owned(),
                before: Some(lack.before),
                after: Some(format!("made anew by the guest's {program}, with {}", wanted.join(" "))),
                why: format!("without these drivers the kernel finds no disk on the target; {}", lack.why),
            },
            program,
            tool,
            lister,
            drivers: lack.drivers.iter().copied().filter(|name| modules.has(name)).map(str::to_owned).collect(),
            wanted,
            // The new image stands beside the old one, and the tool collects its content in a folder first.
            rooms: vec![
                Room { path: lack.path.to_owned(), bytes: old + added },
                Room { path: format!("{SCRATCH}/x"), bytes: unpacked + added },
            ],
        })
    }

    /// The program and its words, for a new file at `out`.
    pub fn words(&self, out: &str) -> Vec<String> {
        let words: Vec<&str> = match self.tool {
            RebuildTool::Mkinitramfs => vec!["-o", out, &self.release],
            RebuildTool::Mkinitfs => vec!["-o", out, &self.release],
            RebuildTool::Dracut => {
                let drivers = self.drivers.join(" ");
                let words = ["--force", "--tmpdir", SCRATCH, "--add-drivers", &drivers, out, &self.release];
                return [self.program.as_str()].into_iter().chain(words).map(str::to_owned).collect();
            }
            // Its second image is the one without what this machine does not need left out.
            RebuildTool::Mkinitcpio if self.path.ends_with("-fallback.img") => {
                vec!["-k", &self.release, "-g", out, "-S", "autodetect"]
            }
            RebuildTool::Mkinitcpio => vec!["-k", &self.release, "-g", out],
        };
        [self.program.as_str()].into_iter().chain(words).map(str::to_owned).collect()
    }

    /// The guest's program that lists an image, for one that we cannot read ourselves.
    pub fn lister_words(&self, image: &str) -> Option<Vec<String>> {
        self.lister.as_ref().map(|lister| vec![lister.clone(), image.to_owned()])
    }

    /// Looks into the new image; the edit that was made. `listed` asks the guest's own program if we cannot read it; `tail` is
    /// what the tool said last.
    pub fn check(
        &self,
        bytes: &[u8],
        listed: impl FnOnce() -> Option<Vec<String>>,
        tail: &[String],
    ) -> Result<Edit, RebuiltError> {
        let held: BTreeSet<String> = match read_listing(bytes, &|_| false) {
            Ok(listing) => held_modules(&listing, &modules_folder(&listing, &self.release)),
            Err(error) => match listed() {
                Some(lines) => {
                    lines.iter().filter(|line| line.contains(".ko")).map(|line| listed_module(line)).collect()
                }
                None => {
                    let (path, program) = (self.path.clone(), self.program.clone());
                    return Err(RebuiltError::Unreadable { path, program, error });
                }
            },
        };
        let missing: Vec<String> = self.wanted.iter().filter(|name| !held.contains(*name)).cloned().collect();
        if !missing.is_empty() {
            return Err(RebuiltError::StillMissing {
                path: self.path.clone(),
                program: self.program.clone(),
                missing,
                way_out: WAY_OUT,
                tail: tail.join("\n"),
            });
        }
        let after = format!(
            "made anew by the guest's {}: {} bytes, {} modules, with {}",
            self.program,
            bytes.len(),
            held.len(),
            self.wanted.join(" ")
        );
        Ok(Edit { after: Some(after), ..self.edit.clone() })
    }
}

/// Where a tool of the guest keeps what it collects: gone again when it has ended.
pub const SCRATCH: &str = "/var/tmp/replant-initramfs";

/// The module of a line such as `-rw-r--r-- 1 root root 9 Jan  1 1970 usr/lib/modules/6.1/kernel/fs/ext4.ko.xz`.
fn listed_module(line: &str) -> String {
    module_name(line.split_whitespace().last().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::Writer;
    use super::*;

    fn rebuild(tool: RebuildTool, path: &str) -> Rebuild {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let lack = Lack {
            path,
            drivers: &["virtio_pci", "virtio_blk"],
            before: String::new(),
            why: String::new(),
            size: (1000, 5000),
        };
        let modules = super::super::modules::tests::small_tree();
        Rebuild::new(&tree, &modules, (tool, format!("/usr/bin/{}", tool.name())), lack).unwrap()
    }

    #[test]
    fn every_tool_is_told_where_to_put_it_and_for_which_kernel() {
        let words = |tool, path| rebuild(tool, path).words("/boot/new").join(" ");
        assert_eq!(words(RebuildTool::Mkinitramfs, "/boot/i"), "/usr/bin/mkinitramfs -o /boot/new 6.1.0-1-test");
        assert_eq!(
            rebuild(RebuildTool::Dracut, "/boot/i").words("/boot/new")[1..],
            ["--force", "--tmpdir", SCRATCH, "--add-drivers", "virtio_pci virtio_blk", "/boot/new", "6.1.0-1-test"]
        );
        assert_eq!(
            words(RebuildTool::Mkinitcpio, "/boot/initramfs-linux-fallback.img"),
            "/usr/bin/mkinitcpio -k 6.1.0-1-test -g /boot/new -S autodetect"
        );
        assert_eq!(words(RebuildTool::Mkinitfs, "/boot/i"), "/usr/bin/mkinitfs -o /boot/new 6.1.0-1-test");
    }

    #[test]
    fn the_tool_that_made_an_image_comes_before_others() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        assert_eq!(RebuildTool::installed(&tree, None).unwrap(), None);
        std::fs::create_dir_all(folder.path().join("usr/sbin")).unwrap();
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        std::fs::write(folder.path().join("usr/sbin/mkinitramfs"), "").unwrap();
        std::fs::write(folder.path().join("usr/bin/dracut"), "").unwrap();
        let found = |kind| RebuildTool::installed(&tree, kind).unwrap().unwrap().1;
        assert_eq!(found(None), "/usr/sbin/mkinitramfs");
        assert_eq!(found(Some(InitramfsKind::Dracut)), "/usr/bin/dracut");
        assert_eq!(found(Some(InitramfsKind::Mkinitcpio)), "/usr/sbin/mkinitramfs", "what made it is gone");
    }

    #[test]
    fn a_new_image_is_looked_into() {
        let rebuild = rebuild(RebuildTool::Mkinitramfs, "/boot/i");
        let image = |names: &[&str]| {
            let mut writer = Writer::new(Vec::new());
            for name in names {
                writer.file(&format!("lib/modules/6.1.0-1-test/kernel/{name}.ko"), 0o644, b"x").unwrap();
            }
            writer.finish().unwrap()
        };
        let all = ["virtio", "virtio_ring", "virtio_pci", "virtio_blk"];
        let edit = rebuild.check(&image(&all), || None, &[]).unwrap();
        assert!(edit.after.unwrap().contains("4 modules, with virtio virtio_ring virtio_pci virtio_blk"));
        let error = rebuild.check(&image(&all[..3]), || None, &["W: no such module".into()]).unwrap_err().to_string();
        for part in ["/boot/i", "still lacks virtio_blk:", "old one is kept", "guest.skip", "W: no such module"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        // One that only the guest's own program can read.
        let lines = all.map(|name| format!("-rw-r--r-- 1 root 9 lib/modules/x/kernel/{name}.ko.xz")).to_vec();
        assert!(rebuild.check(b"BZh9", || Some(lines.clone()), &[]).is_ok());
        assert!(matches!(
            rebuild.check(b"BZh9", || Some(lines[1..].to_vec()), &[]),
            Err(RebuiltError::StillMissing { .. })
        ));
        assert!(matches!(rebuild.check(b"BZh9", || None, &[]), Err(RebuiltError::Unreadable { .. })));
    }

    #[test]
    fn words_are_read_back() {
        for choice in [InitramfsChoice::Auto, InitramfsChoice::Overlay, InitramfsChoice::Rebuild] {
            assert_eq!(InitramfsChoice::parse(choice.word()), Some(choice));
        }
        assert_eq!(InitramfsChoice::parse("rebuilt"), None);
    }
}
