//! `replant init`.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Exit, Failure, Global};
use crate::controller::{Authority, PkiError};
use crate::plan;

const PLAN: &str = include_str!("init/plan.yaml");
const GITIGNORE: &str = include_str!("init/gitignore");

/// Where keys and state lie.
const STATE: &str = ".replant";
/// Mode of what everybody may read, within the user's mask.
const PUBLIC: u32 = 0o644;
/// Mode of keys.
const SECRET: u32 = 0o600;

/// The arguments of `replant init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The folder to fill; made if it is missing. What exists is kept as it is
    #[arg(default_value = ".", value_name = "DIR")]
    folder: Utf8PathBuf,
}

/// Why a folder could not be filled.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("cannot make `{path}`")]
    Make { path: Utf8PathBuf, source: io::Error },
    #[error(transparent)]
    Authority(#[from] PkiError),
    #[error("cannot make a key: {0}")]
    Key(String),
}

/// Runs the verb.
pub fn run(args: &InitArgs, global: &Global) -> Result<Exit, Failure> {
    let folder = if args.folder.as_str().is_empty() { Utf8Path::new(".") } else { &args.folder };
    let scaffold = Scaffold::fill(folder)?;
    if global.json {
        anstream::println!("{}", json!({ "type": "init", "created": scaffold.created, "kept": scaffold.kept }));
        return Ok(Exit::Done);
    }
    for path in &scaffold.kept {
        anstream::println!("kept     {path}  (it was there)");
    }
    for path in &scaffold.created {
        anstream::println!("created  {path}");
    }
    if scaffold.created.is_empty() {
        anstream::println!("Nothing to do.");
    } else {
        let plan = folder.join("plan.yaml");
        let plan = plan.strip_prefix(".").unwrap_or(&plan);
        anstream::println!(
            "\nNext: describe your machines in {plan}, then\n  replant validate {plan}\n  replant plan {plan}"
        );
    }
    Ok(Exit::Done)
}

/// What was made and what was found.
struct Scaffold {
    folder: Utf8PathBuf,
    created: Vec<Utf8PathBuf>,
    kept: Vec<Utf8PathBuf>,
}

impl Scaffold {
    fn fill(folder: &Utf8Path) -> Result<Self, InitError> {
        let mut scaffold = Self { folder: folder.to_owned(), created: Vec::new(), kept: Vec::new() };
        make_folder(folder, 0o777)?;
        make_folder(&folder.join(STATE), 0o700)?;
        let mut schema = serde_json::to_string_pretty(&plan::json_schema()).expect("a schema is always JSON");
        schema.push('\n');
        scaffold.make("plan.yaml", PUBLIC, || Ok(Zeroizing::new(PLAN.to_owned())))?;
        scaffold.make("plan.schema.json", PUBLIC, || Ok(Zeroizing::new(schema)))?;
        scaffold.make(".gitignore", PUBLIC, || Ok(Zeroizing::new(GITIGNORE.to_owned())))?;
        scaffold.make(".replant/store.key", SECRET, store_key)?;
        scaffold.authority()?;
        Ok(scaffold)
    }

    /// Makes a file with its final mode and content at once, or keeps the one that is there.
    fn make(
        &mut self,
        name: &str,
        mode: u32,
        content: impl FnOnce() -> Result<Zeroizing<String>, InitError>,
    ) -> Result<bool, InitError> {
        let path = self.folder.join(name);
        let shown = path.strip_prefix(".").unwrap_or(&path).to_owned();
        // A link that leads nowhere is there as well.
        let made = match path.symlink_metadata() {
            Ok(_) => false,
            Err(_) => {
                let content = content()?;
                write_new(&path, mode, content.as_bytes())
                    .map_err(|source| InitError::Make { path: shown.clone(), source })?
            }
        };
        match made {
            true => self.created.push(shown),
            false => self.kept.push(shown),
        }
        Ok(made)
    }

    /// The CA that agents and controllers trust: both halves or none.
    fn authority(&mut self) -> Result<(), InitError> {
        let state = self.folder.join(STATE);
        let there = state.join("ca.pem").exists() && state.join("ca.key").exists();
        Authority::open(state.as_std_path())?;
        let list = if there { &mut self.kept } else { &mut self.created };
        for name in ["ca.key", "ca.pem"] {
            let path = state.join(name);
            list.push(path.strip_prefix(".").unwrap_or(&path).to_owned());
        }
        Ok(())
    }
}

fn make_folder(path: &Utf8Path, mode: u32) -> Result<(), InitError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| InitError::Make { path: path.to_owned(), source })
}

/// Writes beside the place and links the finished file to it; `false` if somebody else was faster.
fn write_new(path: &Utf8Path, mode: u32, content: &[u8]) -> io::Result<bool> {
    let folder = path.parent().expect("every file of a scaffold lies in its folder");
    let mut file = tempfile::Builder::new()
        .prefix(".replant-init-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            fs::File::open(folder)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// 256 random bits as hexadecimal digits.
fn store_key() -> Result<Zeroizing<String>, InitError> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| InitError::Key("the system has no random numbers".into()))?;
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are one digit"));
        }
    }
    text.push('\n');
    Ok(text)
}
