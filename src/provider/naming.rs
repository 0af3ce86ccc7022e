//! How artifacts are named: `NAME/NAME_ID.EXTENSION`, `host_NAME/host_NAME_ID.EXTENSION`.

use std::borrow::Cow;

/// A name as it stands in file names. Names in plans are safe; one that is not loses its meaning for the file system.
pub fn file_stem(name: &str) -> Cow<'_, str> {
    let safe = |(index, byte): (usize, &u8)| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (*byte == b'.' && index > 0)
    };
    if !name.is_empty() && name.as_bytes().iter().enumerate().all(safe) {
        return Cow::Borrowed(name);
    }
    let mut stem = String::new();
    for (index, byte) in name.bytes().enumerate() {
        match safe((index, &byte)) {
            true => stem.push(char::from(byte)),
            false => stem.push_str(&format!("%{byte:02X}")),
        }
    }
    Cow::Owned(stem)
}

/// The folder of a host's artifacts.
pub fn host_folder(host: &str) -> String {
    format!("host_{}", file_stem(host))
}

/// The path below `artifacts/` of the artifact `id` of a machine or of a [`host_folder`].
pub fn artifact_path(folder: &str, id: &str, extension: &str) -> String {
    format!("{folder}/{folder}_{id}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        assert_eq!(file_stem("web-01.example_x"), "web-01.example_x");
        assert_eq!(file_stem("../../etc"), "%2E.%2F..%2Fetc");
        assert_eq!(file_stem(".."), "%2E.");
        assert_eq!(file_stem(""), "");
    }
}
