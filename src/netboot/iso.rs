//! The agent on a medium: one image that boots from CD or USB stick, with BIOS and with UEFI.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command_line::CommandLine;
use super::script::grub_menu;
use crate::render::RenderError;

/// Where the boot loader's parts are, and the Debian packages that have them.
const PARTS: [(&str, &str); 2] = [
    ("/usr/lib/grub/i386-pc/boot_hybrid.img", "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/linux.mod", "grub-efi-amd64-bin"),
];
const TOOLS: [(&str, &str); 3] = [("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")];

/// Why there is no medium.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// A program or a part of the boot loader is missing.
    #[error("`{what}` is missing: install the Debian package {package}")]
    Missing {
        /// What.
        what: String,
        /// The package that has it.
        package: &'static str,
    },
    /// The agent is not built.
    #[error("{path} is missing: build the agent with `replant agent build`")]
    NoAgent {
        /// The missing file.
        path: PathBuf,
    },
    /// The image is there already.
    #[error("{path} is there already: remove it, or choose another name")]
    Exists {
        /// The image.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The boot menu cannot be rendered.
    #[error(transparent)]
    Menu(#[from] RenderError),
    /// The tool that puts it together fails.
    #[error("grub-mkrescue could not make the image: {message}")]
    Tool {
        /// What it said.
        message: String,
    },
}

/// Writes the image. `agent` is the folder of a built agent; whoever has the image has the order's words, its token among
/// them, and so its file is made for its owner only.
pub fn write_iso(agent: &Path, order: &CommandLine, out: &Path) -> Result<(), IsoError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| IsoError::Io { path, error }
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (tool, package) in TOOLS {
        if !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()) {
            return Err(IsoError::Missing { what: tool.to_owned(), package });
        }
    }
    if let Some((part, package)) = PARTS.into_iter().find(|(part, _)| !Path::new(part).is_file()) {
        return Err(IsoError::Missing { what: part.to_owned(), package });
    }
    if out.exists() {
        return Err(IsoError::Exists { path: out.to_owned() });
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let work = tempfile::Builder::new().prefix(".replant-iso-").tempdir_in(folder).map_err(io(folder))?;
    let tree = work.path().join("tree");
    fs::create_dir_all(tree.join("boot/grub")).map_err(io(&tree))?;
    for name in ["vmlinuz", "agent.img"] {
        let from = agent.join(name);
        if !from.is_file() {
            return Err(IsoError::NoAgent { path: from });
        }
        fs::copy(&from, tree.join("boot").join(name)).map_err(io(&from))?;
    }
    let menu = tree.join("boot/grub/grub.cfg");
    fs::write(&menu, grub_menu(order.words())?).map_err(io(&menu))?;
    let image = work.path().join("agent.iso");
    let output = Command::new("grub-mkrescue")
        .arg("-o")
        .arg(&image)
        .arg(&tree)
        .args(["--", "-volid", "REPLANT"])
        .env("LC_ALL", "C")
        .output()
        .map_err(io(Path::new("grub-mkrescue")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
        return Err(IsoError::Tool { message });
    }
    restrict(&image).and_then(|()| fs::File::open(&image)?.sync_all()).map_err(io(&image))?;
    fs::rename(&image, out).map_err(io(out))
}

fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}
