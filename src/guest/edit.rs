//! An edit: what is changed in a guest, said before and after, so that it can be reviewed, skipped and journaled.

use serde::{Deserialize, Serialize};

/// One change inside a guest, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Which edit, such as `fstab` or `grub.console`; `skip` lists name it, or its part before the dot.
    pub id: String,
    /// The file, as the guest names it.
    pub path: String,
    /// What was there; `None` if there was nothing.
    pub before: Option<String>,
    /// What is there now; `None` if it is gone.
    pub after: Option<String>,
    /// Why it is needed.
    pub why: String,
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The whole file.
    Whole(Vec<u8>),
    /// These bytes at the file's end, after zeros up to a multiple of `align`.
    Append {
        /// The bytes.
        bytes: Vec<u8>,
        /// The alignment.
        align: u64,
    },
    /// A symbolic link to this text.
    Link(String),
    /// The whole file, which can be run as a program if it is new.
    Program(Vec<u8>),
    /// The whole file, which only the superuser can read if it is new.
    Private(Vec<u8>),
    /// The file is gone.
    Remove,
}

/// A file's new content, with the edits that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The file, as the guest names it.
    pub path: String,
    /// What is written.
    pub content: Content,
    /// Why, in order.
    pub edits: Vec<Edit>,
}

/// Edits that the plan leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipList(Vec<String>);

impl SkipList {
    /// From the ids of a plan.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        Self(ids.into_iter().collect())
    }

    /// Whether the edit is left out: by its id or by the part before a dot.
    pub fn skips(&self, id: &str) -> bool {
        self.0
            .iter()
            .any(|skipped| skipped == id || id.strip_prefix(skipped.as_str()).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl FileChange {
    /// A new or replaced file that is one edit.
    pub fn whole(id: &str, path: &str, before: Option<&[u8]>, after: &str, why: impl Into<String>) -> Self {
        let readable = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            path: path.to_owned(),
            content: Content::Whole(after.as_bytes().to_vec()),
            edits: vec![Edit {
                id: id.to_owned(),
                path: path.to_owned(),
                before: before.map(readable),
                after: Some(after.to_owned()),
                why: why.into(),
            }],
        }
    }

    /// A file that goes, as one edit.
    pub fn removed(id: &str, path: &str, before: &[u8], why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::Remove,
            edits: vec![Edit {
                id: id.to_owned(),
                path: path.to_owned(),
                before: Some(String::from_utf8_lossy(before).into_owned()),
                after: None,
                why: why.into(),
            }],
        }
    }

    /// A symbolic link that is one edit.
    pub fn linked(id: &str, path: &str, before: Option<String>, to: &str, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::Link(to.to_owned()),
            edits: vec![Edit {
                id: id.to_owned(),
                path: path.to_owned(),
                before,
                after: Some(to.to_owned()),
                why: why.into(),
            }],
        }
    }
}

/// Collects what editors change in one file, one editor after the other.
pub(super) struct Draft {
    path: String,
    original: super::Text,
    text: super::Text,
    edits: Vec<Edit>,
}

impl Draft {
    /// Begins with what the file holds.
    pub(super) fn new(path: impl Into<String>, bytes: &[u8]) -> Self {
        let text = super::Text::from_bytes(bytes);
        Self { path: path.into(), original: text.clone(), text, edits: Vec::new() }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &super::Text {
        &self.text
    }

    /// Runs one editor over every line; each changed line is one edit.
    pub(super) fn lines(&mut self, id: &str, why: &str, rewrite: impl FnMut(&str) -> Option<String>) {
        let (text, changed) = self.text.rewrite(rewrite);
        self.text = text;
        self.edits.extend(changed.into_iter().map(|(before, after)| Edit {
            id: id.to_owned(),
            path: self.path.clone(),
            before: Some(before),
            after: Some(after),
            why: why.to_owned(),
        }));
    }

    /// Appends a line, as one edit.
    pub(super) fn append(&mut self, id: &str, why: &str, line: &str) {
        self.text.push_line(line);
        self.edits.push(Edit {
            id: id.to_owned(),
            path: self.path.clone(),
            before: None,
            after: Some(line.to_owned()),
            why: why.to_owned(),
        });
    }

    /// The change, if there is one.
    pub(super) fn finish(self) -> Option<FileChange> {
        (self.text != self.original).then(|| FileChange {
            path: self.path,
            content: Content::Whole(self.text.to_bytes()),
            edits: self.edits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_names_an_edit_or_its_family() {
        let skip = SkipList::new(["grub".to_owned(), "initramfs.config".to_owned()]);
        assert!(skip.skips("grub") && skip.skips("grub.console") && skip.skips("initramfs.config"));
        assert!(!skip.skips("grubby") && !skip.skips("initramfs") && !skip.skips("initramfs.drivers"));
    }
}
