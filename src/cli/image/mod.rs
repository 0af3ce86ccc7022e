//! `replant image`: what scripts call (capture, check, discard, seal, deploy) and what people call (ls, show, verify,
//! export, rm, gc, init).

mod capture;
mod collect;
mod deploy;
mod digest;
pub mod limits;
mod list;
mod repair;
mod reporter;
mod seal;
mod store_args;
mod verify;

pub use capture::OnReadErrorArg;
pub use limits::LimitArgs;
pub use reporter::Reporter;
pub use store_args::{CreateArgs, StoreArgs, parse_format};

use super::{Exit, Failure, Global};
use crate::image::ImageError;

/// The arguments of `replant image`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    verb: ImageVerb,
}

#[derive(Debug, clap::Subcommand)]
enum ImageVerb {
    /// Create an empty image store
    Init(store_args::InitArgs),
    /// Capture a source disk; run again to go on after an interruption
    Capture(capture::CaptureArgs),
    /// Tell whether a source disk is captured: exit 0 complete, 10 absent, 11 partly (--repair: `repair`)
    Check(capture::CheckArgs),
    /// Drop an unfinished capture; finished images stay
    Discard(capture::DiscardArgs),
    /// Seal the images of a machine's disks as one set
    Seal(seal::SealArgs),
    /// Write an image to an existing disk file; run again to go on after an interruption
    Deploy(deploy::DeployArgs),
    /// List images
    Ls(list::LsArgs),
    /// Show one image in full
    Show(list::ShowArgs),
    /// Verify that images are whole; with --deep, every byte of them
    Verify(verify::VerifyArgs),
    /// Read and prove every chunk, a bit at a time, from where the last run stopped
    Scrub(repair::ScrubArgs),
    /// Make indexes again from the packs, cut torn tails, and say what of which disk is lost
    Repair(repair::RepairArgs),
    /// Print a disk's digests: the one that images carry, and the plain BLAKE3 that `b3sum` prints
    Digest(digest::DigestArgs),
    /// Write an image to a new disk file
    Export(deploy::ExportArgs),
    /// Remove an image; `gc` gives its space back
    Rm(collect::RmArgs),
    /// Show what no image uses; with --yes, remove it
    Gc(collect::GcArgs),
}

/// Runs the verb.
pub fn run(args: &ImageArgs, global: &Global) -> Result<Exit, Failure> {
    let outcome = match &args.verb {
        ImageVerb::Init(args) => store_args::init(args, global),
        ImageVerb::Capture(args) => capture::run(args, global),
        ImageVerb::Check(args) => capture::check(args, global),
        ImageVerb::Discard(args) => capture::discard(args, global),
        ImageVerb::Seal(args) => seal::run(args, global),
        ImageVerb::Deploy(args) => deploy::run(args, global),
        ImageVerb::Ls(args) => list::ls(args, global),
        ImageVerb::Show(args) => list::show(args, global),
        ImageVerb::Verify(args) => verify::run(args, global),
        ImageVerb::Scrub(args) => repair::scrub(args, global),
        ImageVerb::Repair(args) => repair::repair(args, global),
        ImageVerb::Digest(args) => digest::run(args, global),
        ImageVerb::Export(args) => deploy::export(args, global),
        ImageVerb::Rm(args) => collect::rm(args, global),
        ImageVerb::Gc(args) => collect::gc(args, global),
    };
    outcome.map_err(|error| {
        let exit = match error.is_stop() || error.is_busy() {
            true => Exit::TryAgain,
            false => Exit::Error,
        };
        Failure::with(exit, error)
    })
}

type Outcome = Result<Exit, ImageError>;
