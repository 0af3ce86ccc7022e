//! Disk space: what a virtual machine needs, whether it is there, and how to lay it out.

use super::derivation::{WHOLE, narrow};
use super::{Derived, Formula, SizingError, Sourced};
use crate::plan::{Allocation, DiskLoad};
use crate::units::{ByteCount, Percent};

/// The space a VM needs: its disks, its saved state (as big as its memory), and every snapshot, undo or differencing
/// disk, each of which may grow to the size of what it is based on.
pub fn storage_need(
    disks: &Sourced<ByteCount>,
    saved_state: &Sourced<ByteCount>,
    snapshots: &Sourced<u64>,
    headroom: &Sourced<Percent>,
) -> Result<Derived<ByteCount>, SizingError> {
    let formula = Formula::StorageNeed;
    let copies = 1 + u128::from(snapshots.value);
    let sum = u128::from(disks.value.0) * copies + u128::from(saved_state.value.0);
    let scaled = sum.checked_mul(WHOLE + u128::from(headroom.value.0)).ok_or(SizingError::TooLarge { formula })?;
    let need = narrow(formula, scaled.div_ceil(WHOLE))?;
    let inputs = vec![
        disks.input("disk size"),
        saved_state.input("saved state"),
        snapshots.input("snapshots"),
        headroom.input("headroom"),
    ];
    Ok(Derived::new(formula, ByteCount(need), inputs))
}

/// Whether disks fit where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Even when every disk has grown to its size.
    Enough,
    /// What is in use fits, but the sizes together do not: it may run full.
    Overcommitted,
    /// Not even what is in use fits.
    Full,
}

/// Compares the sizes and the used bytes of all disks with the space for them.
pub fn space(sizes: ByteCount, used: ByteCount, available: ByteCount) -> Space {
    match () {
        () if used > available => Space::Full,
        () if sizes > available => Space::Overcommitted,
        () => Space::Enough,
    }
}

/// Good practice for disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageAdvice {
    /// Preallocate a busy disk.
    Preallocate,
    /// Give a busy disk a physical one of its own.
    DedicatedDisk,
    /// Fast disks or SAN.
    FastDisks,
    /// RAID 10, or 5.
    Raid,
    /// The host's own system on its own disk.
    HostSystemApart,
    /// A paravirtual or SCSI bus.
    Bus,
}

impl StorageAdvice {
    /// The advice for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Preallocate => {
                "preallocate the disks (`target.disks.allocation: fixed`): growing costs a busy disk time"
            }
            Self::DedicatedDisk => "give the busy disks physical disks of their own",
            Self::FastDisks => "put the disks on fast local disks or on a SAN",
            Self::Raid => "use RAID 10, or RAID 5 where writes are few",
            Self::HostSystemApart => "keep the host's own system on a disk without virtual machines",
            Self::Bus => "attach the disks to a paravirtual or SCSI bus, not to IDE",
        }
    }
}

/// The advice that applies to a machine's disks, most important first.
pub fn storage_advice(load: DiskLoad, allocation: Allocation) -> Vec<StorageAdvice> {
    use StorageAdvice as Advice;
    match (load, allocation) {
        (DiskLoad::Light, _) => Vec::new(),
        (DiskLoad::Heavy, Allocation::Dynamic) => vec![
            Advice::Preallocate,
            Advice::DedicatedDisk,
            Advice::FastDisks,
            Advice::Raid,
            Advice::HostSystemApart,
            Advice::Bus,
        ],
        (DiskLoad::Heavy, Allocation::Fixed) => {
            vec![Advice::DedicatedDisk, Advice::FastDisks, Advice::Raid, Advice::HostSystemApart, Advice::Bus]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn given<T>(value: T) -> Sourced<T> {
        Sourced::assumed(value, "test")
    }

    fn need(disks: u64, memory: u64, snapshots: u64, headroom: u32) -> Result<ByteCount, SizingError> {
        storage_need(&given(ByteCount(disks)), &given(ByteCount(memory)), &given(snapshots), &given(Percent(headroom)))
            .map(|d| d.value)
    }

    /// (100 GB + 4 GB of saved state) x 1.25 = 130 GB; with an undo disk (204 GB) x 1.25 = 255 GB.
    #[test]
    fn worked_example_storage() {
        assert_eq!(need(100 * GIB, 4 * GIB, 0, 2500), Ok(ByteCount(130 * GIB)));
        assert_eq!(need(100 * GIB, 4 * GIB, 1, 2500), Ok(ByteCount(255 * GIB)));
    }

    #[test]
    fn a_thin_store_is_overcommitted_before_it_is_full() {
        assert_eq!(space(ByteCount(100), ByteCount(40), ByteCount(100)), Space::Enough);
        assert_eq!(space(ByteCount(101), ByteCount(40), ByteCount(100)), Space::Overcommitted);
        assert_eq!(space(ByteCount(300), ByteCount(101), ByteCount(100)), Space::Full);
    }

    #[test]
    fn busy_growing_disks_are_advised_to_be_preallocated() {
        assert_eq!(storage_advice(DiskLoad::Heavy, Allocation::Dynamic)[0], StorageAdvice::Preallocate);
        assert!(!storage_advice(DiskLoad::Heavy, Allocation::Fixed).contains(&StorageAdvice::Preallocate));
        assert!(storage_advice(DiskLoad::Light, Allocation::Dynamic).is_empty());
    }

    proptest! {
        #[test]
        fn never_panics_and_grows_with_each_input(disks: u64, memory: u64, snapshots: u64, headroom in 0u32..1 << 30) {
            let low = need(disks, memory, snapshots, headroom);
            for high in [
                need(disks.saturating_add(1), memory, snapshots, headroom),
                need(disks, memory.saturating_add(1), snapshots, headroom),
                need(disks, memory, snapshots.saturating_add(1), headroom),
                need(disks, memory, snapshots, headroom + 1),
            ] {
                match (low, high) {
                    (Ok(low), Ok(high)) => prop_assert!(low <= high),
                    (Err(_), Ok(_)) => prop_assert!(false, "more cannot fit where less does not"),
                    (_, Err(_)) => {}
                }
            }
        }
    }
}
