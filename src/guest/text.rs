//! Configuration text of unknown encoding: every byte survives, lines keep their ends.

/// A text whose bytes are kept as they are; each byte is one `char` while we look at it, so that a comment in Latin-1
/// or broken UTF-8 comes out as it went in. What we search for and write is ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Wraps bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| char::from(*byte)).collect())
    }

    /// The bytes again.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes(&self.0)
    }

    /// Rewrites line by line: `rewrite` sees a line without its end and returns the new one, or `None` to keep it.
    /// Returns the new text with every changed line as `(before, after)`.
    pub fn rewrite(&self, mut rewrite: impl FnMut(&str) -> Option<String>) -> (Self, Vec<(String, String)>) {
        let mut out = String::with_capacity(self.0.len());
        let mut changed = Vec::new();
        for whole in self.0.split_inclusive('\n') {
            let line = whole.strip_suffix('\n').unwrap_or(whole);
            let line = line.strip_suffix('\r').unwrap_or(line);
            match rewrite(line).filter(|new| new != line) {
                Some(new) => {
                    out.push_str(&new);
                    out.push_str(&whole[line.len()..]);
                    changed.push((readable(line), readable(&new)));
                }
                None => out.push_str(whole),
            }
        }
        (Self(out), changed)
    }

    /// The lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    /// Appends a line, after a line end if the text does not end with one.
    pub fn push_line(&mut self, line: &str) {
        if !self.0.is_empty() && !self.0.ends_with('\n') {
            self.0.push('\n');
        }
        self.0.push_str(line);
        self.0.push('\n');
    }
}

fn bytes(text: &str) -> Vec<u8> {
    // Only characters that came from a byte, and ASCII that we wrote, are in there.
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// A line as people should see it in a report.
fn readable(line: &str) -> String {
    String::from_utf8_lossy(&bytes(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_line_end_survives() {
        let all: Vec<u8> = (0..=255).chain(*b"\r\n# caf\xe9\r\nlast").collect();
        let text = Text::from_bytes(&all);
        assert_eq!(text.to_bytes(), all);
        let (same, changed) = text.rewrite(|_| None);
        assert_eq!((same.to_bytes(), changed.len()), (all, 0));
        let (new, changed) = Text::from_bytes(b"a\r\nb").rewrite(|line| (line == "a").then(|| "x".into()));
        assert_eq!(new.to_bytes(), b"x\r\nb");
        assert_eq!(changed, [("a".to_owned(), "x".to_owned())]);
    }
}
