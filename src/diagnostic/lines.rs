//! From byte offsets to lines and columns.

use std::ops::Range;
use std::sync::Arc;

use super::SourceText;

/// A place as people count: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
}

/// Where each line of a text begins; built once per file, so that a thousand messages about a large plan stay cheap.
#[derive(Debug)]
pub struct LineIndex {
    starts: Vec<usize>,
    length: usize,
}

impl LineIndex {
    /// Indexes the text.
    pub fn new(source: &SourceText) -> Self {
        let newlines = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(newlines).collect(), length: source.text.len() }
    }

    /// Which line holds the byte, from 0.
    pub fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The bytes of the lines `first..=last` (from 0), without the last line break.
    pub fn bytes_of(&self, source: &SourceText, first: usize, last: usize) -> Range<usize> {
        let start = self.starts.get(first).copied().unwrap_or(self.length);
        let end = self.starts.get(last + 1).map_or(self.length, |next| next - 1);
        let end = end.max(start);
        match source.text[start..end].ends_with('\r') {
            true => start..end - 1,
            false => start..end,
        }
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.starts.len()
    }

    /// The position of a byte; offsets beyond the text or inside a character are moved to the nearest before.
    pub fn position(&self, source: &SourceText, offset: usize) -> Position {
        let offset = floor_boundary(&source.text, offset);
        let line = self.line_of(offset);
        let column = source.text[self.starts[line]..offset].chars().count() + 1;
        Position { line: line + 1, column }
    }
}

/// The line indexes of the files that one run speaks of, each built once.
#[derive(Debug, Default)]
pub struct LineIndexes {
    list: Vec<(Arc<SourceText>, LineIndex)>,
}

impl LineIndexes {
    /// The index of a file.
    pub fn of(&mut self, source: &Arc<SourceText>) -> &LineIndex {
        let known = self.list.iter().position(|(known, _)| Arc::ptr_eq(known, source));
        let at = known.unwrap_or_else(|| {
            self.list.push((Arc::clone(source), LineIndex::new(source)));
            self.list.len() - 1
        });
        &self.list[at].1
    }
}

/// The nearest character boundary at or before `offset`.
pub(super) fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_survive_any_offset() {
        let source = SourceText { path: "a".into(), text: "ab\r\nüx\n".into() };
        let index = LineIndex::new(&source);
        assert_eq!(index.position(&source, 6), Position { line: 2, column: 2 });
        assert_eq!(index.position(&source, 5), Position { line: 2, column: 1 }, "inside a character");
        assert_eq!(index.position(&source, 999), Position { line: 3, column: 1 });
        assert_eq!(&source.text[index.bytes_of(&source, 0, 0)], "ab");
        assert_eq!(&source.text[index.bytes_of(&source, 1, 1)], "üx");
    }
}
