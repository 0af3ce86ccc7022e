//! The binary index that kmod's modprobe reads (`modules.dep.bin`, `modules.alias.bin`): a trie of keys, big endian.
//!
//! ```text
//! magic, version, offset of the root
//! node = [prefix NUL] [first char, last char, an offset for each] [count, { priority, text NUL }...]
//! offset = 28 bits, and a bit for each part that the node has
//! ```

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

#[derive(Default)]
struct Node {
    children: BTreeMap<u8, Node>,
    values: Vec<(u32, String)>,
}

/// Writes the index of `(key, value)` pairs; the first of equal keys comes first. Keys that are not ASCII are left out,
/// as the format cannot hold them.
pub fn write_index<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut root = Node::default();
    for (priority, (key, value)) in (0..).zip(pairs) {
        if !key.is_ascii() || key.is_empty() {
            continue;
        }
        let node = key.bytes().fold(&mut root, |node, byte| node.children.entry(byte).or_default());
        node.values.push((priority, value.to_owned()));
    }
    let mut out = Vec::new();
    out.extend(MAGIC.to_be_bytes());
    out.extend(VERSION.to_be_bytes());
    out.extend([0; 4]);
    let at = write(&root, &mut out);
    out[8..12].copy_from_slice(&at.to_be_bytes());
    out
}

/// Writes the node's children and then the node; returns its offset with flags. Keys bound the depth.
fn write(node: &Node, out: &mut Vec<u8>) -> u32 {
    // A run of nodes with one child and no value is this node's prefix.
    let (mut node, mut prefix) = (node, Vec::new());
    while node.values.is_empty() && node.children.len() == 1 {
        let Some((byte, child)) = node.children.iter().next() else { break };
        prefix.push(*byte);
        node = child;
    }
    let offsets: BTreeMap<u8, u32> = node.children.iter().map(|(byte, child)| (*byte, write(child, out))).collect();
    let mut at = out.len() as u32;
    if !prefix.is_empty() {
        out.extend(&prefix);
        out.push(0);
        at |= HAS_PREFIX;
    }
    if let (Some((first, _)), Some((last, _))) = (offsets.first_key_value(), offsets.last_key_value()) {
        out.extend([*first, *last]);
        for byte in *first..=*last {
            out.extend(offsets.get(&byte).copied().unwrap_or(0).to_be_bytes());
        }
        at |= HAS_CHILDREN;
    }
    if !node.values.is_empty() {
        out.extend((node.values.len() as u32).to_be_bytes());
        for (priority, value) in &node.values {
            out.extend(priority.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
        at |= HAS_VALUES;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a key up as kmod does, without wildcards.
    fn find(index: &[u8], key: &str) -> Vec<String> {
        let number = |at: usize| u32::from_be_bytes(index[at..at + 4].try_into().unwrap());
        let mut offset = number(8);
        let mut key = key.as_bytes();
        loop {
            let mut at = (offset & 0x0fff_ffff) as usize;
            let text = |at: usize| index[at..].iter().position(|b| *b == 0).map(|len| &index[at..at + len]).unwrap();
            if offset & HAS_PREFIX != 0 {
                let prefix = text(at);
                let Some(rest) = key.strip_prefix(prefix) else { return vec![] };
                (key, at) = (rest, at + prefix.len() + 1);
            }
            let mut next = 0;
            if offset & HAS_CHILDREN != 0 {
                let (first, last) = (index[at], index[at + 1]);
                if let Some(byte) = key.first().filter(|byte| (first..=last).contains(*byte)) {
                    next = number(at + 2 + usize::from(byte - first) * 4);
                }
                at += 2 + usize::from(last - first + 1) * 4;
            }
            if key.is_empty() {
                if offset & HAS_VALUES == 0 {
                    return vec![];
                }
                let mut values = Vec::new();
                let count = number(at);
                at += 4;
                for _ in 0..count {
                    let value = text(at + 4);
                    values.push(String::from_utf8(value.to_vec()).unwrap());
                    at += 5 + value.len();
                }
                return values;
            }
            if next == 0 {
                return vec![];
            }
            (offset, key) = (next, &key[1..]);
        }
    }

    #[test]
    fn keys_are_found_again() {
        let pairs = [("virtio_blk", "a"), ("virtio", "b"), ("virtio_pci", "c"), ("ext4", "d"), ("virtio", "e")];
        let index = write_index(pairs);
        assert_eq!(find(&index, "virtio_blk"), ["a"]);
        assert_eq!(find(&index, "virtio"), ["b", "e"]);
        assert_eq!(find(&index, "virtio_pci"), ["c"]);
        assert_eq!(find(&index, "ext4"), ["d"]);
        assert!(find(&index, "ext").is_empty() && find(&index, "zzz").is_empty() && find(&index, "virtio_").is_empty());
        assert_eq!(find(&write_index([]), "x"), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn every_key_is_found(keys in proptest::collection::btree_set("[a-d_]{1,6}", 1..40)) {
            let index = write_index(keys.iter().map(|key| (key.as_str(), key.as_str())));
            for key in &keys {
                proptest::prop_assert_eq!(find(&index, key), [key.clone()]);
            }
        }
    }
}
