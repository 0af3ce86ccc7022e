//! The build itself: inputs, the key they make, and the files that come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::drivers::DriverTable;
use super::elf::{ElfError, ElfFile};
use super::extras::{ExtraFiles, Extras};
use super::modules::{file_name, loading};
use super::packages::{self, Flavour, PackageError, PackageFile, digest};
use super::tree::AgentTree;

const INIT: &str = include_str!("init.sh");
const MODPROBE: &str = include_str!("modprobe.sh");
const UDHCPC_EVENT: &str = include_str!("udhcpc-event.sh");
/// Changes when the same inputs are put together in another way.
const RECIPE: u32 = 4;
/// Compression of the initramfs: unpacking is quick at any level, packing is not.
const ZSTD_LEVEL: i32 = 9;

/// Where the C library of this machine, which the agent carries, looks for conversions of characters.
const CONVERSIONS_FOLDER: &str = "/usr/lib/x86_64-linux-gnu/gconv";
/// Those that names in a registry need.
const CONVERSIONS: [&str; 3] = ["gconv-modules", "ISO8859-1.so", "UTF-16.so"];

/// The programs of busybox that the agent calls.
const APPLETS: &[&str] = &[
    "sh", "mount", "umount", "cat", "echo", "ls", "ip", "udhcpc", "insmod", "sleep", "sync", "poweroff", "reboot",
    "uname", "dmesg", "ps", "kill", "vi", "wget", "setsid", "tr", "xz", "gzip", "df", "blkid", "less", "mkdir", "rm",
    "cp", "sed", "grep", "cut",
];

/// What to build, and where.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Where the files go.
    pub out: PathBuf,
    /// Which kernel.
    pub flavour: Flavour,
    /// Where downloaded packages are kept.
    pub cache: PathBuf,
    /// Ask apt for newer packages.
    pub refresh: bool,
    /// The `replant` program that goes into the agent; the running one.
    pub program: PathBuf,
    /// What the user adds.
    pub extras: Extras,
}

/// `agent.json`: what the agent was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Version of the recipe.
    pub recipe: u32,
    /// Which kernel.
    pub flavour: Flavour,
    /// The kernel's release.
    pub kernel: String,
    /// Version of the `replant` inside.
    pub version: String,
    /// Digests of what went in: packages, the program, libraries, scripts.
    pub inputs: BTreeMap<String, String>,
    /// Digests of what came out.
    pub outputs: BTreeMap<String, String>,
}

/// Whether the files of a folder are what a build would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// They are.
    Current,
    /// They are of other inputs, or damaged.
    Outdated,
    /// There is nothing.
    Absent,
}

/// Why the agent cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A package is missing.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A program cannot be used.
    #[error("{path} cannot go into the agent")]
    Program {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        error: ElfError,
    },
    /// The loader did not say which libraries the program needs.
    #[error("the libraries of {path} cannot be found: {message}")]
    Libraries {
        /// The program.
        path: PathBuf,
        /// What the loader said.
        message: String,
    },
    /// The program does not run with the copied libraries.
    #[error("the copied {path} does not run with its copied libraries: {message}")]
    DoesNotRun {
        /// The program.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// A package does not hold what it should.
    #[error("the packages hold no {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// An addition holds nothing that could be added.
    #[error("{path} holds no {what}")]
    Nothing {
        /// The folder or package.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A module is compressed.
    #[error("{file} of {path} is compressed, and the agent loads modules as they are: uncompress it first")]
    Packed {
        /// The folder or package.
        path: PathBuf,
        /// The module's file.
        file: String,
    },
    /// A module was built for another kernel.
    #[error("{module} was built for kernel `{found}`, and the agent's kernel is `{wanted}`: build it for that one")]
    OtherKernel {
        /// The module.
        module: String,
        /// Its kernel.
        found: String,
        /// The agent's.
        wanted: String,
    },
    /// A named module is not there.
    #[error("kernel {release} has no module `{module}`, or has it built in")]
    NoModule {
        /// The module.
        module: String,
        /// The agent's kernel.
        release: String,
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
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::Io { path, error }
}

/// Builds the agent; nothing is done if `out` holds the files of the same inputs. Returns the record, and whether
/// something was built.
pub fn build(options: &BuildOptions) -> Result<(AgentRecord, bool), BuildError> {
    let files = packages::obtain(options.flavour, &options.cache, options.refresh)?;
    let (program, libraries) = program(&options.program)?;
    let extras = ExtraFiles::read(&options.extras)?;
    let inputs = inputs(&files, &program, &libraries, &extras);
    if let Some(record) = current(&options.out, options.flavour, &inputs) {
        return Ok((record, false));
    }
    fs::create_dir_all(&options.out).map_err(io_at(&options.out))?;
    let work = tempfile::Builder::new().prefix(".building-").tempdir_in(&options.out).map_err(io_at(&options.out))?;
    let root = work.path();
    for file in &files {
        packages::unpack(&options.cache.join(&file.file), root)?;
    }
    let release = kernel_release(root)?;
    let kernel = read(&root.join(format!("boot/vmlinuz-{release}")))?;
    extras.fit(&release)?;
    let folder = root.join("lib/modules").join(&release).join("extra");
    fs::create_dir_all(&folder).map_err(io_at(&folder))?;
    for (name, bytes) in &extras.modules {
        fs::write(folder.join(name), bytes).map_err(io_at(&folder.join(name)))?;
    }
    depmod(root, &release)?;
    let (tree, carried) = assemble(root, &release, &program, &libraries, &extras)?;
    let aliases = read(&root.join("lib/modules").join(&release).join("modules.alias"))?;
    let drivers = DriverTable::new(&release, carried, &String::from_utf8_lossy(&aliases));
    let drivers = serde_json::to_vec(&drivers).expect("texts are JSON");
    prove(&program, &libraries, root)?;
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(io_at(Path::new("agent.img")))?;
    encoder.include_checksum(true).map_err(io_at(Path::new("agent.img")))?;
    let image = tree.archive(encoder).and_then(zstd::Encoder::finish).map_err(io_at(Path::new("agent.img")))?;
    let outputs = BTreeMap::from([
        ("vmlinuz".to_owned(), digest(&kernel)),
        ("agent.img".to_owned(), digest(&image)),
        ("drivers.json".to_owned(), digest(&drivers)),
    ]);
    let record = AgentRecord {
        recipe: RECIPE,
        flavour: options.flavour,
        kernel: release,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        inputs,
        outputs,
    };
    // The record comes last: without it the files count as not built.
    let text = serde_json::to_vec_pretty(&record).expect("texts and numbers are JSON");
    for (name, bytes) in
        [("vmlinuz", &kernel), ("agent.img", &image), ("drivers.json", &drivers), ("agent.json", &text)]
    {
        replace(&options.out.join(name), bytes)?;
    }
    Ok((record, true))
}

/// Whether `out` holds what a build would make now. Downloads nothing.
pub fn state(options: &BuildOptions) -> Result<BuildState, BuildError> {
    if !options.out.join("agent.json").exists() {
        return Ok(BuildState::Absent);
    }
    let record = options.cache.join(format!("packages-{}.json", options.flavour.name()));
    let Some(files) = packages::remembered(&record, &options.cache) else { return Ok(BuildState::Outdated) };
    let (program, libraries) = program(&options.program)?;
    let inputs = inputs(&files, &program, &libraries, &ExtraFiles::read(&options.extras)?);
    Ok(match current(&options.out, options.flavour, &inputs) {
        Some(_) => BuildState::Current,
        None => BuildState::Outdated,
    })
}

/// The record of the folder, if it is of these inputs and its files are undamaged.
fn current(out: &Path, flavour: Flavour, inputs: &BTreeMap<String, String>) -> Option<AgentRecord> {
    let record: AgentRecord = serde_json::from_slice(&fs::read(out.join("agent.json")).ok()?).ok()?;
    let same = record.recipe == RECIPE && record.flavour == flavour && record.inputs == *inputs;
    let intact =
        |(name, wanted): (&String, &String)| fs::read(out.join(name)).is_ok_and(|bytes| digest(&bytes) == *wanted);
    (same && record.outputs.iter().all(intact)).then_some(record)
}

fn inputs(
    files: &[PackageFile],
    program: &[u8],
    libraries: &Libraries,
    extras: &ExtraFiles,
) -> BTreeMap<String, String> {
    let mut inputs: BTreeMap<String, String> =
        files.iter().map(|file| (format!("package {}", file.file), file.digest.clone())).collect();
    inputs.insert("replant".to_owned(), digest(program));
    inputs.extend(libraries.iter().map(|(path, bytes)| (format!("library {path}"), digest(bytes))));
    inputs.extend(extras.inputs());
    inputs.insert("init".to_owned(), digest(INIT.as_bytes()));
    inputs.insert("modprobe".to_owned(), digest(MODPROBE.as_bytes()));
    inputs
}

/// The content of each shared library, by the path it is loaded from.
type Libraries = BTreeMap<String, Vec<u8>>;

/// The program without debug data, and every library it loads, by the path it loads it from.
fn program(path: &Path) -> Result<(Vec<u8>, Libraries), BuildError> {
    let bytes = read(path)?;
    let elf = ElfFile::parse(&bytes).map_err(|error| BuildError::Program { path: path.to_owned(), error })?;
    let mut libraries = BTreeMap::new();
    if let Some(loader) = elf.interpreter() {
        let no_libraries = |message: String| BuildError::Libraries { path: path.to_owned(), message };
        let output = Command::new(loader)
            .arg("--list")
            .arg(path)
            .env_remove("LD_PRELOAD")
            .output()
            .map_err(|error| no_libraries(error.to_string()))?;
        if !output.status.success() {
            return Err(no_libraries(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        libraries.insert(loader.to_owned(), read(Path::new(loader))?);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(found) = line.split_once("=>").and_then(|(_, rest)| rest.split_whitespace().next()) else {
                continue;
            };
            if found.starts_with('/') && !libraries.contains_key(found) {
                libraries.insert(found.to_owned(), read(Path::new(found))?);
            }
        }
    }
    // hivexsh converts names of the registry through these, which nothing names that could be listed.
    for name in CONVERSIONS {
        let path = format!("{CONVERSIONS_FOLDER}/{name}");
        if let Ok(bytes) = fs::read(&path) {
            libraries.insert(path, bytes);
        }
    }
    Ok((elf.stripped(), libraries))
}

fn kernel_release(root: &Path) -> Result<String, BuildError> {
    let folder = root.join("lib/modules");
    let names = fs::read_dir(&folder).map_err(|_| BuildError::Incomplete { what: "kernel modules" })?;
    let mut names: Vec<String> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names.pop().ok_or(BuildError::Incomplete { what: "kernel modules" })
}

/// Debian's kernel packages leave the dependency list to the installing machine.
fn depmod(root: &Path, release: &str) -> Result<(), BuildError> {
    let tool =
        ["/sbin/depmod", "/usr/sbin/depmod"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("depmod");
    let output = Command::new(tool).arg("-b").arg(root).arg(release).output().map_err(|error| PackageError::Tool {
        tool: "depmod",
        package: "kmod",
        error,
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(BuildError::Incomplete { what: "modules that depmod can read" }),
    }
}

fn assemble(
    root: &Path,
    release: &str,
    program: &[u8],
    libraries: &Libraries,
    extras: &ExtraFiles,
) -> Result<(AgentTree, BTreeSet<String>), BuildError> {
    let mut tree = AgentTree::default();
    for folder in ["dev", "etc", "mnt", "proc", "run", "sys", "tmp"] {
        tree.folder(folder);
    }
    tree.char_device("dev/console", 5, 1);
    tree.char_device("dev/null", 1, 3);
    let busybox = find(root, &["usr/bin/busybox", "bin/busybox"]).ok_or(BuildError::Incomplete { what: "busybox" })?;
    tree.file("bin/busybox", 0o755, read(&busybox)?);
    for applet in APPLETS {
        tree.link(&format!("bin/{applet}"), "busybox");
    }
    for name in ["e2fsck", "lz4", "lvm", "mdadm", "cryptsetup", "ntfs-3g", "hivexsh"] {
        let from = ["usr/sbin", "sbin", "usr/bin", "bin"].map(|folder| format!("{folder}/{name}"));
        let path = find(root, &from.each_ref().map(String::as_str));
        let path =
            path.ok_or(BuildError::Incomplete { what: "e2fsck, lz4, lvm, mdadm, cryptsetup, ntfs-3g and hivexsh" })?;
        tree.file(&format!("bin/{name}"), 0o755, read(&path)?);
    }
    for path in shared_libraries(root) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tree.file(&format!("lib/{name}"), 0o755, read(&path)?);
    }
    tree.file("bin/replant", 0o755, program.to_vec());
    for (path, bytes) in libraries {
        tree.file(path.trim_start_matches('/'), 0o755, bytes.clone());
    }
    let own = extras.modules.keys().map(|name| name.trim_end_matches(".ko").to_owned());
    let more: Vec<String> = extras.with.iter().cloned().chain(own).collect();
    let modules = root.join("lib/modules").join(release);
    let loading = loading(root, release, &more).map_err(io_at(&modules))?;
    let carried: BTreeSet<String> = loading.carried().into_iter().map(|path| module_name(path)).collect();
    if let Some(module) = more.iter().find(|module| !carried.contains(&module.replace('-', "_"))) {
        return Err(BuildError::NoModule { module: module.clone(), release: release.to_owned() });
    }
    for (name, bytes) in &extras.firmware {
        tree.file(&format!("lib/firmware/{name}"), 0o644, bytes.clone());
    }
    for path in loading.carried() {
        tree.file(&format!("lib/modules/{}", file_name(path)), 0o644, read(&modules.join(path))?);
    }
    tree.folder("etc/modules.asked");
    for (path, text) in loading.files() {
        tree.file(&path, 0o644, text.into_bytes());
    }
    tree.folder("sbin");
    tree.file("sbin/modprobe", 0o755, MODPROBE.as_bytes().to_vec());
    tree.file("etc/replant-agent", 0o644, format!("replant {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    tree.file("init", 0o755, INIT.as_bytes().to_vec());
    tree.file("bin/udhcpc-event", 0o755, UDHCPC_EVENT.as_bytes().to_vec());
    Ok((tree, carried))
}

/// `kernel/drivers/ata/ahci.ko` is `ahci`.
fn module_name(path: &str) -> String {
    let file = file_name(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The libraries of the unpacked tools, under the name that programs load them by.
fn shared_libraries(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            // `libuuid.so.1` is the name, `libuuid.so.1.3.0` the file behind it.
            // The device-mapper's is loaded as `libdevmapper.so.1.02.1`.
            let version = name.split(".so.").nth(1);
            if version.is_some_and(|version| version == "1.02.1" || version.bytes().all(|byte| byte.is_ascii_digit())) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Runs the copied program through the copied loader: what goes into the agent works.
fn prove(program: &[u8], libraries: &Libraries, work: &Path) -> Result<(), BuildError> {
    let folder = work.join("prove");
    fs::create_dir_all(&folder).map_err(io_at(&folder))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(io_at(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io_at(&path))?;
        Ok::<_, BuildError>(path)
    };
    let copy = write("replant", program)?;
    let mut loader = None;
    for (path, bytes) in libraries {
        let name = path.rsplit('/').next().unwrap_or(path);
        let at = write(name, bytes)?;
        if name.starts_with("ld-") {
            loader = Some(at);
        }
    }
    let mut command = match &loader {
        Some(loader) => {
            let mut command = Command::new(loader);
            command.arg("--inhibit-cache").arg("--library-path").arg(&folder).arg(&copy);
            command
        }
        None => Command::new(&copy),
    };
    let fails = |message: String| BuildError::DoesNotRun { path: copy.clone(), message };
    let output = command.arg("--version").output().map_err(|error| fails(error.to_string()))?;
    match output.status.success() && output.stdout.starts_with(b"replant ") {
        true => Ok(()),
        false => Err(fails(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

fn find(root: &Path, paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(|path| root.join(path)).find(|path| path.exists())
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(io_at(path))?;
    Ok(bytes)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let fresh = path.with_extension("new");
    let mut file = fs::File::create(&fresh).map_err(io_at(&fresh))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_at(&fresh))?;
    fs::rename(&fresh, path).map_err(io_at(path))
}
