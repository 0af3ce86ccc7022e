//! Sorted, disjoint byte ranges.

use std::ops::Range;

/// Byte ranges, sorted and disjoint; neighbours are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// No range.
    pub fn new() -> Self {
        Self::default()
    }

    /// One range from `start` to `end`; none if that is empty.
    pub fn one(range: Range<u64>) -> Self {
        Self::from_unsorted([range].into())
    }

    /// Sorts and joins ranges in any order; empty ones are dropped.
    pub fn from_unsorted(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| range.start < range.end);
        ranges.sort_unstable_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many bytes they cover.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether `offset` lies in one of them.
    pub fn contains(&self, offset: u64) -> bool {
        let after = self.0.partition_point(|range| range.start <= offset);
        after > 0 && self.0[after - 1].end > offset
    }

    /// What they leave of `whole`.
    pub fn complement(&self, whole: Range<u64>) -> Self {
        let mut gaps = Vec::new();
        let mut at = whole.start;
        for range in &self.0 {
            if range.start > at {
                gaps.push(at..range.start.min(whole.end));
            }
            at = at.max(range.end);
        }
        gaps.push(at..whole.end);
        Self::from_unsorted(gaps)
    }

    /// The ranges moved up by `offset` bytes.
    pub fn shifted(&self, offset: u64) -> Vec<Range<u64>> {
        self.0.iter().map(|range| range.start + offset..range.end + offset).collect()
    }
}

/// Appends the runs of set bits of `bitmap` (least significant bit first) to `out`: bit `i` stands for block
/// `first + i` of `block` bytes; only the first `bits` bits count.
pub(super) fn push_set_bits(bitmap: &[u8], bits: u64, first: u64, block: u64, out: &mut Vec<Range<u64>>) {
    let is_set = |bit: u64| bitmap.get((bit / 8) as usize).is_none_or(|byte| byte >> (bit % 8) & 1 == 1);
    let mut bit = 0;
    while bit < bits {
        if bit % 8 == 0 && bitmap.get((bit / 8) as usize) == Some(&0) {
            bit += 8;
            continue;
        }
        if !is_set(bit) {
            bit += 1;
            continue;
        }
        let start = bit;
        while bit < bits && is_set(bit) {
            bit += if bit % 8 == 0 && bits - bit >= 8 && bitmap.get((bit / 8) as usize) == Some(&0xff) { 8 } else { 1 };
        }
        out.push((first + start) * block..(first + bit) * block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_complemented() {
        let ranges = Ranges::from_unsorted(vec![30..40, 0..10, 10..20, 35..50, 60..60]);
        assert_eq!(ranges.as_slice(), &[0..20, 30..50]);
        assert_eq!(ranges.complement(5..70).as_slice(), &[20..30, 50..70]);
        assert_eq!(ranges.bytes(), 40);
        assert!(ranges.contains(19) && !ranges.contains(20) && ranges.contains(30));
    }

    #[test]
    fn set_bits_become_runs_and_missing_bytes_count_as_set() {
        let mut out = Vec::new();
        push_set_bits(&[0b0000_0110, 0xff, 0x00], 26, 100, 10, &mut out);
        assert_eq!(Ranges::from_unsorted(out).as_slice(), &[1010..1030, 1080..1160, 1240..1260]);
    }
}
