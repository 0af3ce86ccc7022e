//! Reading a hive: every offset is checked, nothing is believed.

use super::RegValue;

/// Size of the base block, where cells begin to count.
const BASE: usize = 4096;
/// "No cell".
const NOWHERE: u32 = u32::MAX;
/// Most data of a value in one cell; more is split.
const SEGMENT: usize = 16344;
/// Deepest list of lists of subkeys.
const MAX_LISTS: usize = 4;
/// Flag of a name that has one byte for each character.
const NARROW_KEY: u16 = 0x20;
const NARROW_VALUE: u16 = 1;

/// Why bytes are no hive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HiveError {
    /// The base block is not one.
    #[error("it is no registry hive: {0}")]
    NotAHive(&'static str),
    /// Something points where it must not.
    #[error("the hive is damaged: {what} at {offset:#x}")]
    Damaged {
        /// What was looked for.
        what: &'static str,
        /// Where, from the first cell.
        offset: u32,
    },
}

/// A hive in memory.
#[derive(Clone)]
pub struct Hive {
    bytes: Vec<u8>,
    root: u32,
    clean: bool,
}

impl std::fmt::Debug for Hive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hive({} bytes)", self.bytes.len())
    }
}

/// A key of a hive.
#[derive(Clone, Copy, Debug)]
pub struct Key<'h> {
    hive: &'h Hive,
    offset: u32,
    cell: &'h [u8],
}

impl Hive {
    /// Looks at the base block and the root key.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, HiveError> {
        if bytes.len() < BASE || &bytes[..4] != b"regf" {
            return Err(HiveError::NotAHive("it does not begin with `regf`"));
        }
        let at = |offset| u32_at(&bytes, offset).unwrap_or(0);
        let sum = bytes[..508]
            .chunks_exact(4)
            .fold(0, |sum, word| sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let sum = match sum {
            0 => 1,
            u32::MAX => u32::MAX - 1,
            sum => sum,
        };
        if sum != at(508) {
            return Err(HiveError::NotAHive("the checksum of its first block is wrong"));
        }
        let (clean, root) = (at(4) == at(8), at(36));
        let hive = Self { bytes, root, clean };
        hive.key_at(root)?;
        Ok(hive)
    }

    /// Whether everything that was written to it is in it, and not in its log files.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// The root key.
    pub fn root(&self) -> Key<'_> {
        self.key_at(self.root).expect("`parse` has read the root key")
    }

    /// The key at a path such as `Select` or `ControlSet001\Services`; case does not matter.
    pub fn key(&self, path: &str) -> Result<Option<Key<'_>>, HiveError> {
        let mut key = self.root();
        for name in path.split('\\').filter(|name| !name.is_empty()) {
            match key.child(name)? {
                Some(child) => key = child,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// A value of the key at a path.
    pub fn value(&self, path: &str, name: &str) -> Result<Option<RegValue>, HiveError> {
        match self.key(path)? {
            Some(key) => key.value(name),
            None => Ok(None),
        }
    }

    /// The content of an allocated cell.
    fn cell(&self, offset: u32, what: &'static str) -> Result<&[u8], HiveError> {
        let damaged = HiveError::Damaged { what, offset };
        let at = BASE.checked_add(offset as usize).ok_or(damaged.clone())?;
        let size = u32_at(&self.bytes, at).ok_or(damaged.clone())? as i32;
        let size = usize::try_from(size.checked_neg().unwrap_or(0)).unwrap_or(0);
        if size < 4 {
            return Err(damaged);
        }
        self.bytes.get(at + 4..at + size).ok_or(damaged)
    }

    fn key_at(&self, offset: u32) -> Result<Key<'_>, HiveError> {
        let cell = self.cell(offset, "a key")?;
        if cell.len() < 0x4c || &cell[..2] != b"nk" {
            return Err(HiveError::Damaged { what: "a key", offset });
        }
        Ok(Key { hive: self, offset, cell })
    }

    fn collect(&self, list: u32, depth: usize, keys: &mut Vec<u32>) -> Result<(), HiveError> {
        let damaged = || HiveError::Damaged { what: "a list of keys", offset: list };
        let cell = self.cell(list, "a list of keys")?;
        let count = usize::from(u16_at(cell, 2).ok_or_else(damaged)?);
        let step = match &cell[..2] {
            b"lf" | b"lh" => 8,
            b"li" | b"ri" => 4,
            _ => return Err(damaged()),
        };
        for index in 0..count {
            let offset = u32_at(cell, 4 + index * step).ok_or_else(damaged)?;
            if &cell[..2] != b"ri" {
                keys.push(offset);
            } else if depth < MAX_LISTS {
                self.collect(offset, depth + 1, keys)?;
            } else {
                return Err(damaged());
            }
        }
        Ok(())
    }

    fn data(&self, size: u32, offset: u32) -> Result<Vec<u8>, HiveError> {
        const WHAT: &str = "the data of a value";
        let damaged = || HiveError::Damaged { what: WHAT, offset };
        let size = size as usize;
        let cell = self.cell(offset, WHAT)?;
        if let Some(data) = cell.get(..size) {
            return Ok(data.to_vec());
        }
        if size <= SEGMENT || cell.get(..2) != Some(b"db") {
            return Err(damaged());
        }
        let count = usize::from(u16_at(cell, 2).ok_or_else(damaged)?);
        let list = self.cell(u32_at(cell, 4).ok_or_else(damaged)?, WHAT)?;
        let mut data = Vec::new();
        for index in 0..count {
            let segment = self.cell(u32_at(list, index * 4).ok_or_else(damaged)?, WHAT)?;
            let wanted = SEGMENT.min(size - data.len());
            data.extend_from_slice(segment.get(..wanted).ok_or_else(damaged)?);
        }
        if data.len() == size { Ok(data) } else { Err(damaged()) }
    }
}

impl<'h> Key<'h> {
    /// Its name.
    pub fn name(&self) -> String {
        let len = usize::from(u16_at(self.cell, 0x48).unwrap_or(0));
        let narrow = u16_at(self.cell, 2).unwrap_or(0) & NARROW_KEY != 0;
        name(self.cell.get(0x4c..).unwrap_or_default(), len, narrow)
    }

    /// Where it lies; unique in its hive.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Its subkeys, as they are stored.
    pub fn subkeys(&self) -> Result<Vec<Key<'h>>, HiveError> {
        let mut offsets = Vec::new();
        let (count, list) = (self.field(0x14), self.field(0x1c));
        if count > 0 && list != NOWHERE {
            self.hive.collect(list, 0, &mut offsets)?;
        }
        offsets.into_iter().map(|offset| self.hive.key_at(offset)).collect()
    }

    /// The subkey of that name; case does not matter.
    pub fn child(&self, name: &str) -> Result<Option<Key<'h>>, HiveError> {
        let wanted = folded(name);
        Ok(self.subkeys()?.into_iter().find(|key| folded(&key.name()) == wanted))
    }

    /// Its values with their names; the default value's name is empty.
    pub fn values(&self) -> Result<Vec<(String, RegValue)>, HiveError> {
        let (count, list) = (self.field(0x24), self.field(0x28));
        if count == 0 || list == NOWHERE {
            return Ok(Vec::new());
        }
        let damaged = || HiveError::Damaged { what: "a list of values", offset: list };
        let list_cell = self.hive.cell(list, "a list of values")?;
        if count as usize > list_cell.len() / 4 {
            return Err(damaged());
        }
        let mut values = Vec::with_capacity(count as usize);
        for index in 0..count as usize {
            let offset = u32_at(list_cell, index * 4).ok_or_else(damaged)?;
            let cell = self.hive.cell(offset, "a value")?;
            let damaged = || HiveError::Damaged { what: "a value", offset };
            if cell.len() < 0x14 || &cell[..2] != b"vk" {
                return Err(damaged());
            }
            let size = u32_at(cell, 4).ok_or_else(damaged)?;
            let kind = u32_at(cell, 0xc).ok_or_else(damaged)?;
            // Up to four bytes stand where the offset of the data would.
            let data = match size & 0x8000_0000 {
                0 if size == 0 => Vec::new(),
                0 => self.hive.data(size, u32_at(cell, 8).ok_or_else(damaged)?)?,
                _ => cell[8..].get(..(size & 0x7fff_ffff).min(4) as usize).ok_or_else(damaged)?.to_vec(),
            };
            let len = usize::from(u16_at(cell, 2).unwrap_or(0));
            let narrow = u16_at(cell, 0x10).unwrap_or(0) & NARROW_VALUE != 0;
            values.push((name(&cell[0x14..], len, narrow), RegValue { kind, data }));
        }
        Ok(values)
    }

    /// The value of that name; case does not matter.
    pub fn value(&self, name: &str) -> Result<Option<RegValue>, HiveError> {
        let wanted = folded(name);
        Ok(self.values()?.into_iter().find(|(own, _)| folded(own) == wanted).map(|(_, value)| value))
    }

    /// A value that is text.
    pub fn text(&self, name: &str) -> Result<Option<String>, HiveError> {
        Ok(self.value(name)?.and_then(|value| value.as_text()))
    }

    /// A value that is a number.
    pub fn number(&self, name: &str) -> Result<Option<u32>, HiveError> {
        Ok(self.value(name)?.and_then(|value| value.as_number()))
    }

    /// What may be done with it by whom, as bytes.
    pub fn security(&self) -> Result<Vec<u8>, HiveError> {
        let offset = self.field(0x2c);
        if offset == NOWHERE {
            return Ok(Vec::new());
        }
        let damaged = HiveError::Damaged { what: "a security descriptor", offset };
        let cell = self.hive.cell(offset, "a security descriptor")?;
        let len = u32_at(cell, 0x10).ok_or(damaged.clone())? as usize;
        cell.get(0x14..).and_then(|bytes| bytes.get(..len)).map(<[u8]>::to_vec).ok_or(damaged)
    }

    /// Its class name, as bytes.
    pub fn class(&self) -> Result<Vec<u8>, HiveError> {
        let len = u16_at(self.cell, 0x4a).unwrap_or(0);
        match self.field(0x30) {
            NOWHERE => Ok(Vec::new()),
            _ if len == 0 => Ok(Vec::new()),
            offset => self.hive.data(u32::from(len), offset),
        }
    }

    fn field(&self, at: usize) -> u32 {
        u32_at(self.cell, at).unwrap_or(NOWHERE)
    }
}

/// How names are compared.
pub(super) fn folded(name: &str) -> String {
    name.to_uppercase()
}

fn name(bytes: &[u8], len: usize, narrow: bool) -> String {
    let bytes = &bytes[..len.min(bytes.len())];
    match narrow {
        true => bytes.iter().map(|byte| char::from(*byte)).collect(),
        false => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest hive: a root key `ROOT` with an open security descriptor, from scratch.
    pub(crate) fn empty_hive() -> Vec<u8> {
        let cell = |content: &[u8]| {
            let size = (content.len() + 4).next_multiple_of(8);
            let mut cell = (-(size as i32)).to_le_bytes().to_vec();
            cell.extend(content);
            cell.resize(size, 0);
            cell
        };
        let key = |security: u32| {
            let mut key = b"nk\x2c\0".to_vec();
            key.resize(0x4c, 0);
            for (at, value) in [(0x1c, NOWHERE), (0x20, NOWHERE), (0x28, NOWHERE), (0x2c, security), (0x30, NOWHERE)] {
                key[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            key[0x48] = 4;
            key.extend(b"ROOT");
            key
        };
        let security_at = 0x20 + cell(&key(0)).len() as u32;
        let mut descriptor = vec![1, 0, 4, 0x80];
        descriptor.resize(20, 0);
        let mut security = b"sk\0\0".to_vec();
        for value in [security_at, security_at, 1, descriptor.len() as u32] {
            security.extend(value.to_le_bytes());
        }
        security.extend(descriptor);
        let body = [cell(&key(security_at)), cell(&security)].concat();
        let mut bin = b"hbin\0\0\0\0\0\x10\0\0".to_vec();
        bin.resize(32, 0);
        bin.extend(&body);
        bin.extend((4096 - 32 - body.len() as i32).to_le_bytes());
        bin.resize(4096, 0);
        let mut base = b"regf".to_vec();
        base.resize(4096, 0);
        for (at, value) in [(4, 1u32), (8, 1), (20, 1), (24, 3), (32, 1), (36, 0x20), (40, 4096), (44, 1)] {
            base[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        seal(&mut base);
        [base, bin].concat()
    }

    fn seal(base: &mut [u8]) {
        let sum = base[..508].chunks_exact(4).fold(0, |sum, word| sum ^ u32::from_le_bytes(word.try_into().unwrap()));
        base[508..512].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn the_smallest_hive_is_read() {
        let hive = Hive::parse(empty_hive()).unwrap();
        assert!(hive.is_clean());
        assert_eq!(hive.root().name(), "ROOT");
        assert!(hive.root().subkeys().unwrap().is_empty() && hive.root().values().unwrap().is_empty());
        assert_eq!(hive.root().security().unwrap().len(), 20);
        assert!(hive.key("Select").unwrap().is_none());
    }

    #[test]
    fn an_unfinished_write_is_seen_and_other_bytes_are_refused() {
        let mut bytes = empty_hive();
        bytes[4] = 2;
        assert!(matches!(Hive::parse(bytes.clone()), Err(HiveError::NotAHive(_))));
        seal(&mut bytes);
        assert!(!Hive::parse(bytes).unwrap().is_clean());
        assert!(Hive::parse(vec![0; 8192]).is_err());
        assert!(Hive::parse(b"regf".to_vec()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn damage_is_survived(changes in proptest::collection::vec((4096usize..8192, 0u8..), 1..30)) {
            let mut bytes = empty_hive();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Ok(hive) = Hive::parse(bytes) {
                let root = hive.root();
                let _ = (root.name(), root.values(), root.security(), root.class());
                for key in root.subkeys().unwrap_or_default() {
                    let _ = (key.name(), key.values());
                }
            }
        }
    }
}
