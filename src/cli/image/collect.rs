//! `replant image rm | gc`.

use serde_json::json;

use super::Outcome;
use super::store_args::{StoreArgs, disks_named, parse_id};
use crate::cli::{Exit, Global};
use crate::image::{ImageError, ImageId, collect_garbage, plan_garbage, remove};
use crate::units::ByteCount;

/// The arguments of `replant image rm`.
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Whose disk: MACHINE/DISK
    name: String,
    /// Which image of it
    #[arg(value_parser = parse_id)]
    image: ImageId,
    /// Also if it belongs to a sealed set, which is removed with it
    #[arg(long)]
    force: bool,
}

/// Runs `replant image rm`.
pub fn rm(args: &RmArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let disks = disks_named(&store, &args.name)?;
    let [disk] = &disks[..] else {
        return Err(ImageError::Refused {
            what: format!("{} has {} disks: write MACHINE/DISK", args.name, disks.len()),
        });
    };
    remove(&store, disk, args.image, args.force)?;
    if !global.json {
        anstream::println!("removed image {} of {disk}; `replant image gc --yes` gives its space back", args.image);
    }
    Ok(Exit::Done)
}

/// The arguments of `replant image gc`.
#[derive(Debug, clap::Args)]
pub struct GcArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Remove it, not only show it
    #[arg(long)]
    yes: bool,
}

/// Runs `replant image gc`.
pub fn gc(args: &GcArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let plan = match args.yes {
        true => collect_garbage(&store)?,
        false => plan_garbage(&store)?,
    };
    if global.json {
        let names = |packs: &[crate::image::PackId]| packs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let plan = json!({
            "applied": args.yes, "remove": names(&plan.remove), "repack": names(&plan.repack), "strays": plan.strays,
            "bytes_used": plan.live, "bytes_freed": plan.freed,
        });
        anstream::println!("{plan}");
        return Ok(Exit::Done);
    }
    let (remove, repack, stray) = match args.yes {
        true => ("removed", "repacked", "removed"),
        false => ("would remove", "would repack", "would remove"),
    };
    plan.remove.iter().for_each(|pack| anstream::println!("{remove} pack {pack}: no image uses it"));
    plan.repack.iter().for_each(|pack| anstream::println!("{repack} pack {pack}: less than half of it is in use"));
    plan.strays.iter().for_each(|path| anstream::println!("{stray} {}: nothing refers to it", path.display()));
    let freed = if args.yes { "freed" } else { "to free" };
    anstream::println!("{} in use, {} {freed}", ByteCount(plan.live), ByteCount(plan.freed));
    if !args.yes && !plan.is_empty() {
        anstream::println!("nothing was removed; to remove it: --yes");
    }
    Ok(Exit::Done)
}
