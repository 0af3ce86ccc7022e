//! Which firmware a disk's boot areas are made for.

use std::io::{Cursor, Read, Seek, SeekFrom};

use crate::plan::Firmware;

/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as GPT stores it.
const ESP: [u8; 16] = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// 21686148-6449-6E6F-744E-656564454649: where GRUB's core lies on a GPT disk that BIOS boots.
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// MBR type of the partition that protects a GPT.
const PROTECTIVE: u8 = 0xee;
/// MBR type of an EFI system partition.
const ESP_IN_MBR: u8 = 0xef;
/// Boot code of the first sector; behind it lie the disk's signature and the partition table.
const CODE: usize = 440;

/// Looks at the first sectors; `None` if nothing there boots or can be read.
pub(super) fn firmware<D: Read + Seek>(disk: &mut D) -> Option<Firmware> {
    let mut sector = [0; 512];
    disk.seek(SeekFrom::Start(0)).ok()?;
    disk.read_exact(&mut sector).ok()?;
    if sector[510..] != [0x55, 0xaa] {
        return None;
    }
    let table = mbrman::MBRHeader::read_from(&mut Cursor::new(&sector[..])).ok()?;
    let code = sector[..CODE].iter().any(|byte| *byte != 0);
    let types: Vec<u8> = table.iter().map(|(_, partition)| partition).filter(|p| p.is_used()).map(|p| p.sys).collect();
    if types.contains(&PROTECTIVE)
        && let Ok(gpt) = gptman::GPT::find_from(disk)
    {
        let has = |wanted: [u8; 16]| gpt.iter().any(|(_, partition)| partition.partition_type_guid == wanted);
        return match (has(ESP), code && has(BIOS_BOOT)) {
            // Made for both, as cloud images are: what the source most likely ran on is the older one.
            (_, true) => Some(Firmware::Bios),
            (true, false) => Some(Firmware::Uefi),
            (false, false) => (code && types.len() > 1).then_some(Firmware::Bios),
        };
    }
    match (types.contains(&ESP_IN_MBR), code && !types.is_empty()) {
        (_, true) => Some(Firmware::Bios),
        (true, false) => Some(Firmware::Uefi),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: usize = 4 << 20;

    fn mbr(code: bool, types: &[u8]) -> Vec<u8> {
        let mut disk = vec![0; DISK];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        if code {
            disk[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
        }
        for (slot, kind) in types.iter().enumerate() {
            let entry = &mut disk[446 + 16 * slot..][..16];
            entry[4] = *kind;
            entry[8..12].copy_from_slice(&2048u32.to_le_bytes());
            entry[12..16].copy_from_slice(&4096u32.to_le_bytes());
        }
        disk
    }

    fn gpt(code: bool, kinds: &[[u8; 16]]) -> Vec<u8> {
        let mut disk = Cursor::new(vec![0; DISK]);
        let mut table = gptman::GPT::new_from(&mut disk, 512, [7; 16]).unwrap();
        for (slot, kind) in kinds.iter().enumerate() {
            table[slot as u32 + 1] = gptman::GPTPartitionEntry {
                partition_type_guid: *kind,
                unique_partition_guid: [slot as u8 + 1; 16],
                starting_lba: 2048 + 512 * slot as u64,
                ending_lba: 2048 + 512 * slot as u64 + 511,
                attribute_bits: 0,
                partition_name: "".into(),
            };
        }
        table.write_into(&mut disk).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut disk, 512).unwrap();
        let mut disk = disk.into_inner();
        if code {
            disk[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
        }
        disk
    }

    fn boots(disk: Vec<u8>) -> Option<Firmware> {
        firmware(&mut Cursor::new(disk))
    }

    #[test]
    fn boot_areas_tell_bios_from_uefi() {
        assert_eq!(boots(vec![0; DISK]), None, "empty");
        assert_eq!(boots(vec![0; 100]), None, "shorter than a sector");
        assert_eq!(boots(mbr(true, &[0x83])), Some(Firmware::Bios));
        assert_eq!(boots(mbr(false, &[0x83])), None, "a data disk");
        assert_eq!(boots(mbr(true, &[])), None, "a file system without a partition table");
        assert_eq!(boots(mbr(false, &[ESP_IN_MBR, 0x83])), Some(Firmware::Uefi));
        assert_eq!(boots(gpt(false, &[ESP, [9; 16]])), Some(Firmware::Uefi));
        assert_eq!(boots(gpt(true, &[BIOS_BOOT, ESP])), Some(Firmware::Bios));
        assert_eq!(boots(gpt(false, &[[9; 16]])), None, "a data disk");
    }

    #[test]
    fn a_damaged_table_boots_nothing_and_does_no_harm() {
        let mut disk = gpt(false, &[ESP]);
        disk[512 + 8..512 + 90].fill(0xff);
        disk.truncate(64 << 10);
        assert_eq!(boots(disk), None);
    }
}
