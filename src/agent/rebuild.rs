//! An initramfs made anew by the guest's own tool, in the restored system: into a file beside the old one, which stays what it
//! is until the new one was looked into.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::time::Duration;

use crate::guest::linux::initramfs::{Rebuild, RebuiltError, SCRATCH, WAY_OUT};
use crate::guest::{Edit, Guest, GuestTree, MountError, TreeError};

use super::chroot::{Chroot, ChrootError, LINES, Program};

/// Longest time of a tool; an emulated machine takes minutes.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// Longest time of the program that lists an image.
const LISTING: Duration = Duration::from_secs(5 * 60);

/// Why an initramfs was not made anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum RebuildError {
    /// The tool has not done its work.
    #[error("{path} was to be made anew by the guest's {program}, and the old one is kept; {WAY_OUT}")]
    Tool {
        /// The initramfs.
        path: String,
        /// The program.
        program: String,
        /// What has happened to it.
        #[source]
        error: ChrootError,
    },
    /// What it has made cannot be used.
    #[error(transparent)]
    Rebuilt(#[from] RebuiltError),
    /// The folder that it works in cannot be made or removed.
    #[error("{SCRATCH} in the guest cannot be made ready for {program}")]
    Scratch {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file of the guest cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its file systems do not let programs run.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// Makes it anew. `told` hears of every line that the tool says. Without success the old one is there as it was, and nothing
/// else is left of the attempt.
pub(super) fn rebuild(guest: &Guest, wanted: &Rebuild, told: &dyn Fn(&str)) -> Result<Edit, RebuildError> {
    let beside = guest.tree.beside(&wanted.path)?;
    guest.mounted.allow_programs(true)?;
    let outcome = in_chroot(&guest.tree, wanted, &beside, told);
    let cleaned = clear(&guest.tree, wanted, &beside, outcome.is_err());
    guest.mounted.allow_programs(false)?;
    let edit = outcome?;
    cleaned?;
    Ok(edit)
}

fn in_chroot(tree: &GuestTree, wanted: &Rebuild, beside: &str, told: &dyn Fn(&str)) -> Result<Edit, RebuildError> {
    let failed = |error| match error {
        ChrootError::Tree(error) => RebuildError::Tree(error),
        error => RebuildError::Tool { path: wanted.path.clone(), program: wanted.program.clone(), error },
    };
    // What an attempt that was cut off has left.
    clear(tree, wanted, beside, true)?;
    let scratch = |error| RebuildError::Scratch { program: wanted.program.clone(), error };
    fs::create_dir_all(tree.resolve(SCRATCH)?).map_err(scratch)?;
    let chroot = Chroot::new(tree, &["/run", "/tmp"]).map_err(failed)?;
    let outcome = attempt(&chroot, tree, wanted, beside, told);
    chroot.release().map_err(failed)?;
    outcome
}

fn attempt(
    chroot: &Chroot<'_>,
    tree: &GuestTree,
    wanted: &Rebuild,
    beside: &str,
    told: &dyn Fn(&str),
) -> Result<Edit, RebuildError> {
    let failed = |error| RebuildError::Tool { path: wanted.path.clone(), program: wanted.program.clone(), error };
    let environment = [("TMPDIR", SCRATCH)];
    let words = wanted.words(beside);
    let program = Program { words: &words, environment: &environment, network: false, timeout: TIMEOUT, lines: LINES };
    let tail = chroot.run(&program, told).map_err(failed)?;
    let bytes = tree.read(beside)?.unwrap_or_default();
    let listed = || {
        let words = wanted.lister_words(beside)?;
        let program =
            Program { words: &words, environment: &environment, network: false, timeout: LISTING, lines: usize::MAX };
        let lines = RefCell::new(Vec::new());
        chroot.run(&program, &|line| lines.borrow_mut().push(line.to_owned())).ok()?;
        Some(lines.into_inner())
    };
    let edit = wanted.check(&bytes, listed, &tail)?;
    tree.adopt(&wanted.path)?;
    Ok(edit)
}

/// Removes what the tool worked in, and `with_image` what it has made.
fn clear(tree: &GuestTree, wanted: &Rebuild, beside: &str, with_image: bool) -> Result<(), RebuildError> {
    let scratch = |error| RebuildError::Scratch { program: wanted.program.clone(), error };
    let absent = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    fs::remove_dir_all(tree.resolve(SCRATCH)?).or_else(absent).map_err(scratch)?;
    if with_image {
        let at = tree.root().join(beside.trim_start_matches('/'));
        fs::remove_file(at).or_else(absent).map_err(scratch)?;
    }
    Ok(())
}
