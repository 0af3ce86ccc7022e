//! Where the store is and how it opens.

use std::path::PathBuf;

use super::Outcome;
use crate::cli::{Exit, Global};
use crate::hardware::DiskFormat;
use crate::image::{Cipher, DEFAULT_CHUNK_SIZE, DiskName, ImageError, ImageId, Store, StoreKey, StoreSettings};
use crate::units::{ByteCount, ByteRate};

/// The store, for every verb.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// The image store's folder
    #[arg(long, value_name = "FOLDER", default_value = "store")]
    store: PathBuf,
    /// Where the store's key is: env:NAME, file:PATH or command:CMD
    #[arg(long, value_name = "REFERENCE", env = "REPLANT_STORE_KEY")]
    key: Option<String>,
}

/// What a store is created with.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Encryption of a store that is created now
    #[arg(long, value_enum, env = "REPLANT_STORE_ENCRYPTION", default_value_t = EncryptionArg::Aes256Gcm)]
    encryption: EncryptionArg,
    /// Chunk size of a store that is created now
    #[arg(long, value_name = "SIZE", default_value_t = ByteCount(DEFAULT_CHUNK_SIZE.into()), value_parser = parse_size)]
    chunk_size: ByteCount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EncryptionArg {
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    None,
}

/// For sizes.
pub fn parse_size(text: &str) -> Result<ByteCount, String> {
    ByteCount::parse(text).map_err(|error| error.to_string())
}

/// For `--limit`.
pub fn parse_rate(text: &str) -> Result<ByteRate, String> {
    ByteRate::parse(text).map_err(|error| error.to_string())
}

/// For `--format`.
pub fn parse_format(text: &str) -> Result<DiskFormat, String> {
    DiskFormat::parse(text).ok_or_else(|| format!("write one of {}", DiskFormat::ALL.map(DiskFormat::name).join(", ")))
}

/// For an image's id.
pub fn parse_id(text: &str) -> Result<ImageId, String> {
    ImageId::parse(text).ok_or_else(|| "not an image id; `replant image ls` lists them".into())
}

/// One machine's disk, for the verbs that scripts call.
#[derive(Debug, clap::Args)]
pub struct DiskArgs {
    /// The machine's name
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// The disk's name, such as disk0
    #[arg(long, value_name = "NAME")]
    disk: String,
}

impl DiskArgs {
    /// The two names as one.
    pub fn name(&self) -> Result<DiskName, ImageError> {
        DiskName::new(&self.machine, &self.disk)
    }
}

/// For `MACHINE[/DISK]`: the machine's disks in the store, or one.
pub fn disks_named(store: &Store, name: &str) -> Result<Vec<DiskName>, ImageError> {
    let found: Vec<DiskName> =
        store.disks()?.into_iter().filter(|disk| disk.machine() == name || disk.to_string() == name).collect();
    match found.is_empty() {
        true => Err(ImageError::Refused {
            what: format!("the store has no image of `{name}`; `replant image ls` lists them"),
        }),
        false => Ok(found),
    }
}

impl StoreArgs {
    fn key(&self) -> Result<Option<StoreKey>, ImageError> {
        self.key.as_deref().filter(|reference| !reference.is_empty()).map(StoreKey::resolve).transpose()
    }

    /// Whether there is a store.
    pub fn exists(&self) -> bool {
        Store::exists(&self.store)
    }

    /// Opens the store.
    pub fn open(&self) -> Result<Store, ImageError> {
        match self.exists() {
            true => Store::open(&self.store, self.key()?.as_ref()),
            false => Err(ImageError::NoStore { path: self.store.clone() }),
        }
    }

    /// Opens the store; creates it if there is none.
    pub fn open_or_create(&self, create: &CreateArgs) -> Result<Store, ImageError> {
        match self.exists() {
            true => self.open(),
            false => self.create(create),
        }
    }

    fn create(&self, create: &CreateArgs) -> Result<Store, ImageError> {
        let cipher = match create.encryption {
            EncryptionArg::Aes256Gcm => Cipher::Aes256Gcm,
            EncryptionArg::None => {
                anstream::eprintln!("warning: the image store at {} is NOT encrypted", self.store.display());
                Cipher::None
            }
        };
        let chunk_size = u32::try_from(create.chunk_size.0).unwrap_or(u32::MAX);
        Store::create(&self.store, StoreSettings { cipher, chunk_size }, self.key()?.as_ref())
    }
}

/// The arguments of `replant image init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    create: CreateArgs,
}

/// Runs `replant image init`.
pub fn init(args: &InitArgs, global: &Global) -> Outcome {
    if args.store.exists() {
        return Err(ImageError::Refused {
            what: format!("there is a store at {} already", args.store.store.display()),
        });
    }
    let store = args.store.create(&args.create)?;
    if !global.json {
        anstream::println!("created an image store at {}", store.root().display());
    }
    Ok(Exit::Done)
}
