//! LVM2 physical volumes: the linear logical volumes of a volume group that lies on one disk.
//!
//! Source: the lvm2 sources' `lib/format_text/layout.h` (label, headers) and lvm2's text metadata.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::bytes::{ReadAt, le32, le64};

/// One contiguous piece of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it stands in the logical volume.
    pub at: u64,
    /// Where it lies on the physical volume.
    pub on_volume: Range<u64>,
}

/// What a physical volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pv {
    /// Linear logical volumes.
    Linear {
        /// Bytes of labels and metadata before the first extent.
        metadata: u64,
        /// Where the last extent ends.
        end: u64,
        /// Each logical volume's name and pieces, in order.
        volumes: Vec<(String, Vec<Piece>)>,
    },
    /// Something that is not followed.
    Other(&'static str),
}

/// A logical volume as a disk of its own.
pub(super) struct Lv<'a> {
    /// The physical volume.
    pub volume: &'a dyn ReadAt,
    /// Its pieces, in order, without gaps.
    pub pieces: &'a [Piece],
}

impl ReadAt for Lv<'_> {
    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.at + piece.on_volume.end - piece.on_volume.start)
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let index = self.pieces.partition_point(|piece| piece.at <= offset);
            let piece = index.checked_sub(1).map(|i| &self.pieces[i]);
            let left = piece.map_or(0, |p| (p.on_volume.end - p.on_volume.start).saturating_sub(offset - p.at));
            let Some(piece) = piece.filter(|_| left > 0) else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of a logical volume"));
            };
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (now, rest) = buffer.split_at_mut(length);
            self.volume.read_exact_at(now, piece.on_volume.start + offset - piece.at)?;
            (buffer, offset) = (rest, offset + length as u64);
        }
        Ok(())
    }
}

impl Lv<'_> {
    /// Maps ranges of the logical volume to ranges of the physical one.
    pub(super) fn on_volume(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut mapped = Vec::new();
        for range in ranges {
            let first = self.pieces.partition_point(|piece| piece.at <= range.start).saturating_sub(1);
            for piece in &self.pieces[first..] {
                let length = piece.on_volume.end - piece.on_volume.start;
                let (start, end) = (range.start.max(piece.at), range.end.min(piece.at + length));
                if start >= range.end {
                    break;
                }
                if start < end {
                    mapped.push(piece.on_volume.start + start - piece.at..piece.on_volume.start + end - piece.at);
                }
            }
        }
        mapped
    }
}

/// Reads what the physical volume holds; `None` if it is none.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<Pv>> {
    if volume.size() < 1 << 20 {
        return Ok(None);
    }
    let labels = volume.read_vec(0, 2048)?;
    let Some(label) =
        labels.chunks_exact(512).find(|sector| sector[..8] == *b"LABELONE" && sector[24..32] == *b"LVM2 001")
    else {
        return Ok(None);
    };
    let other = |why| Ok(Some(Pv::Other(why)));
    let Some((uuid, area)) = header(label) else { return other("its physical volume label is damaged") };
    let Some(text) = metadata_text(volume, &area)? else { return other("its volume group metadata cannot be read") };
    let Some(group) = Parser::parse(&text) else { return other("its volume group metadata cannot be parsed") };
    Ok(Some(linear(&group, &uuid, volume.size()).unwrap_or_else(Pv::Other)))
}

/// The volume's id, and where its first metadata area lies.
fn header(label: &[u8]) -> Option<(String, Range<u64>)> {
    let at = le32(label, 20)? as usize;
    let uuid = String::from_utf8(label.get(at..at + 32)?.to_vec()).ok()?;
    let mut at = at + 40;
    while le64(label, at)? != 0 || le64(label, at + 8)? != 0 {
        at += 16;
    }
    at += 16;
    let (offset, size) = (le64(label, at)?, le64(label, at + 8)?);
    (offset > 0).then_some((uuid, offset..offset.checked_add(size)?))
}

/// The current text of a metadata area, which is a ring behind its 512-byte header.
fn metadata_text(volume: &dyn ReadAt, area: &Range<u64>) -> io::Result<Option<String>> {
    let size = area.end - area.start;
    if area.end > volume.size() || !(1024..=64 << 20).contains(&size) {
        return Ok(None);
    }
    let ring = volume.read_vec(area.start, size as usize)?;
    if ring[4..20] != *b" LVM2 x[5A%r0N*>" {
        return Ok(None);
    }
    let (Some(offset), Some(length)) = (le64(&ring, 40), le64(&ring, 48)) else { return Ok(None) };
    let (offset, length) = (offset as usize, length as usize);
    if offset < 512 || offset >= ring.len() || length > ring.len() - 512 {
        return Ok(None);
    }
    let first = length.min(ring.len() - offset);
    let mut bytes = ring[offset..offset + first].to_vec();
    bytes.extend_from_slice(&ring[512..512 + length - first]);
    Ok(String::from_utf8(bytes).ok())
}

/// A value of the metadata's configuration language.
#[derive(Debug)]
enum Value {
    Section(BTreeMap<String, Value>),
    Number(u64),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Section(entries) => entries.get(name),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn sections(&self) -> impl Iterator<Item = (&String, &Self)> {
        let entries = if let Self::Section(entries) = self { Some(entries) } else { None };
        entries.into_iter().flatten().filter(|(_, value)| matches!(value, Self::Section(_)))
    }
}

fn linear(root: &Value, uuid: &str, size: u64) -> Result<Pv, &'static str> {
    const DAMAGED: &str = "its volume group metadata lacks something";
    let (_, group) = root.sections().next().ok_or(DAMAGED)?;
    let extent = group.number("extent_size").and_then(|sectors| sectors.checked_mul(512)).ok_or(DAMAGED)?;
    let mut pvs = group.get("physical_volumes").ok_or(DAMAGED)?.sections();
    let (Some((pv_name, pv)), None) = (pvs.next(), pvs.next()) else {
        return Err("its volume group spans several physical volumes");
    };
    match pv.get("id") {
        Some(Value::Text(id)) if id.replace('-', "") == uuid => {}
        _ => return Err("its volume group metadata belongs to another physical volume"),
    }
    let metadata = pv.number("pe_start").and_then(|sectors| sectors.checked_mul(512)).ok_or(DAMAGED)?;
    let count = pv.number("pe_count").ok_or(DAMAGED)?;
    let end = count.checked_mul(extent).and_then(|length| length.checked_add(metadata)).filter(|end| *end <= size);
    let end = end.ok_or("its extents lie outside the physical volume")?;
    let mut volumes = Vec::new();
    for (name, volume) in group.get("logical_volumes").into_iter().flat_map(Value::sections) {
        let mut pieces = Vec::new();
        for (_, segment) in volume.sections() {
            let is_linear = matches!(segment.get("type"), Some(Value::Text(kind)) if kind == "striped")
                && segment.number("stripe_count") == Some(1);
            let Some(Value::List(stripes)) = segment.get("stripes").filter(|_| is_linear) else {
                return Err("it has logical volumes that are not linear");
            };
            let [Value::Text(on), Value::Number(first)] = stripes.as_slice() else { return Err(DAMAGED) };
            let (start, extents) = segment.number("start_extent").zip(segment.number("extent_count")).ok_or(DAMAGED)?;
            if on != pv_name || first.checked_add(extents).is_none_or(|last| last > count) {
                return Err("a logical volume lies outside its physical volume");
            }
            let from = metadata + first * extent;
            let at = start.checked_mul(extent).ok_or(DAMAGED)?;
            pieces.push(Piece { at, on_volume: from..from + extents * extent });
        }
        pieces.sort_by_key(|piece| piece.at);
        let mut expected = 0;
        for piece in &pieces {
            if piece.at != expected {
                return Err("a logical volume has gaps");
            }
            expected += piece.on_volume.end - piece.on_volume.start;
        }
        volumes.push((name.clone(), pieces));
    }
    Ok(Pv::Linear { metadata, end, volumes })
}

/// Reads the metadata's text: `name = value`, `name { ... }`, `# comment`.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn parse(text: &str) -> Option<Value> {
        let mut parser = Parser { rest: text.trim_end_matches('\0') };
        let mut open: Vec<(String, BTreeMap<String, Value>)> = vec![(String::new(), BTreeMap::new())];
        loop {
            parser.skip_space();
            if parser.rest.is_empty() {
                let (_, root) = open.pop()?;
                return open.is_empty().then_some(Value::Section(root));
            }
            if parser.take('}') {
                let (name, section) = open.pop()?;
                open.last_mut()?.1.insert(name, Value::Section(section));
                continue;
            }
            let name = parser.word()?;
            parser.skip_space();
            if parser.take('{') {
                if open.len() > 16 {
                    return None;
                }
                open.push((name.to_owned(), BTreeMap::new()));
            } else if parser.take('=') {
                let value = parser.value()?;
                open.last_mut()?.1.insert(name.to_owned(), value);
            } else {
                return None;
            }
        }
    }

    fn skip_space(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.find('\n').map_or("", |end| &comment[end..]),
                None => return,
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.strip_prefix(wanted).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+_.-".contains(c))?;
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        if !self.take('[') {
            return self.scalar();
        }
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(']') {
                return Some(Value::List(items));
            }
            items.push(self.scalar()?);
            self.skip_space();
            self.take(',');
        }
    }

    fn scalar(&mut self) -> Option<Value> {
        if self.take('"') {
            let mut text = String::new();
            let mut characters = self.rest.char_indices();
            while let Some((at, c)) = characters.next() {
                match c {
                    '"' => {
                        self.rest = &self.rest[at + 1..];
                        return Some(Value::Text(text));
                    }
                    '\\' => text.push(characters.next()?.1),
                    c => text.push(c),
                }
            }
            return None;
        }
        self.word()?.parse().ok().map(Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranges::Ranges;
    use super::*;

    const TEXT: &str = r#"vg0 { id = "x" # a comment { [
        extent_size = 8192
        physical_volumes { pv0 { id = "ab-cd" pe_start = 2048 pe_count = 10 } }
        logical_volumes { root { segment_count = 2
            segment1 { start_extent = 0 extent_count = 2 type = "striped" stripe_count = 1 stripes = [ "pv0", 4 ] }
            segment2 { start_extent = 2 extent_count = 1 type = "striped" stripe_count = 1 stripes = [ "pv0", 0 ] } } }
        }
        contents = "Text Format Volume Group"
        creation_time = 1700000000	# Tue
        "#;

    #[test]
    fn linear_volumes_are_followed_and_mapped_back() {
        let group = Parser::parse(TEXT).expect("well-formed");
        let extent = 4 << 20;
        let Ok(Pv::Linear { metadata, end, volumes }) = linear(&group, "abcd", 64 << 20) else { panic!("linear") };
        assert_eq!((metadata, end), (1 << 20, (1 << 20) + 10 * extent));
        let base = 1 << 20;
        let (name, pieces) = &volumes[0];
        assert_eq!(name, "root");
        struct Nothing;
        impl ReadAt for Nothing {
            fn size(&self) -> u64 {
                0
            }
            fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
                Ok(())
            }
        }
        let lv = Lv { volume: &Nothing, pieces };
        assert_eq!(lv.size(), 3 * extent);
        let mapped = lv.on_volume(Ranges::one(extent..3 * extent).as_slice());
        assert_eq!(mapped, [base + 5 * extent..base + 6 * extent, base..base + extent]);
    }

    #[test]
    fn damaged_text_is_refused() {
        for text in ["vg {", "}", "a = [ 1", "a = \"x", "= 3", "a b"] {
            assert!(Parser::parse(text).is_none(), "{text}");
        }
    }
}
