//! A registry value: a type number and bytes.

use std::fmt;

/// A value without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegValue {
    /// Its type: 1 is text, 4 is a number, ...
    pub kind: u32,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Nothing.
const NONE: u32 = 0;
/// Text.
const SZ: u32 = 1;
/// Text with `%variables%`.
const EXPAND_SZ: u32 = 2;
/// Bytes.
const BINARY: u32 = 3;
/// A 32-bit number.
const DWORD: u32 = 4;
/// Several texts.
const MULTI_SZ: u32 = 7;
/// A 64-bit number.
const QWORD: u32 = 11;

impl RegValue {
    /// Text.
    pub fn text(text: &str) -> Self {
        Self { kind: SZ, data: wide(text) }
    }

    /// Text with `%variables%`.
    pub fn expandable(text: &str) -> Self {
        Self { kind: EXPAND_SZ, data: wide(text) }
    }

    /// A 32-bit number.
    pub fn number(number: u32) -> Self {
        Self { kind: DWORD, data: number.to_le_bytes().to_vec() }
    }

    /// Bytes.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind: BINARY, data: bytes.into() }
    }

    /// Several texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut data: Vec<u8> = texts.into_iter().flat_map(wide).collect();
        data.extend([0, 0]);
        Self { kind: MULTI_SZ, data }
    }

    /// The text, if it is one; what is not valid UTF-16 is replaced.
    pub fn as_text(&self) -> Option<String> {
        matches!(self.kind, SZ | EXPAND_SZ)
            .then(|| narrow(&self.data).split('\0').next().unwrap_or_default().to_owned())
    }

    /// The texts, of one text or of several.
    pub fn as_texts(&self) -> Option<Vec<String>> {
        match self.kind {
            MULTI_SZ => {
                Some(narrow(&self.data).split('\0').filter(|text| !text.is_empty()).map(str::to_owned).collect())
            }
            _ => Some(self.as_text().filter(|text| !text.is_empty()).into_iter().collect()),
        }
        .filter(|_| matches!(self.kind, SZ | EXPAND_SZ | MULTI_SZ))
    }

    /// The number, if it is a 32-bit number.
    pub fn as_number(&self) -> Option<u32> {
        let bytes = self.data.get(..4).filter(|_| self.kind == DWORD)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }
}

impl fmt::Display for RegValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.as_number() {
            return write!(f, "dword:{number:#x}");
        }
        if self.kind == MULTI_SZ {
            return write!(f, "[{}]", self.as_texts().unwrap_or_default().join("; "));
        }
        if let Some(text) = self.as_text() {
            return write!(f, "\"{text}\"");
        }
        match self.kind {
            NONE if self.data.is_empty() => return f.write_str("none"),
            QWORD => f.write_str("qword:")?,
            BINARY => f.write_str("hex:")?,
            kind => write!(f, "hex({kind:x}):")?,
        }
        let shown: Vec<String> = self.data.iter().take(48).map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&shown.join(","))?;
        if self.data.len() > 48 {
            write!(f, ",.. ({} bytes)", self.data.len())?;
        }
        Ok(())
    }
}

/// Text as the registry stores it.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn narrow(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_were_made_of() {
        assert_eq!(RegValue::text("Zürich").as_text().as_deref(), Some("Zürich"));
        assert_eq!(RegValue::texts(["a", "b c"]).as_texts().unwrap(), ["a", "b c"]);
        assert_eq!(RegValue::texts(["a"]).data, b"a\0\0\0\0\0");
        assert_eq!(RegValue::expandable("%x%").to_string(), "\"%x%\"");
        assert_eq!(RegValue::number(4).as_number(), Some(4));
        assert_eq!(RegValue::number(4).as_text(), None);
        assert_eq!(RegValue::binary([1, 255]).to_string(), "hex:01,ff");
        assert_eq!(RegValue { kind: 4, data: vec![1] }.as_number(), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(kind in 0u32..14, data in proptest::collection::vec(0u8.., 0..40)) {
            let value = RegValue { kind, data };
            let _ = (value.as_text(), value.as_texts(), value.as_number(), value.to_string());
        }
    }
}
