//! Documents on disk.

use std::fs;
use std::io::{self, Read as _};
use std::sync::Arc;

use camino::Utf8Path;

use super::{from_json, read_xml};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};
use crate::inventory::model::{Branch, Content, Document, Flaw};

/// Largest document that is read.
const SIZE_LIMIT: u64 = 64 << 20;

/// A document with where its facts are written.
#[derive(Clone, Debug)]
pub struct LoadedDocument {
    /// The document.
    pub document: Document,
    source: Arc<SourceText>,
    branches: Vec<Branch>,
}

impl LoadedDocument {
    /// Where a fact is written; the beginning of the file if that is not known.
    pub fn span(&self, path: &[&str]) -> Span {
        let mut branches = self.branches.as_slice();
        let mut place = 0..0;
        for name in path {
            let Some(branch) = branches.iter().find(|branch| branch.element == *name) else { break };
            place = branch.place.clone();
            match &branch.content {
                Content::Section(inner, _) => branches = inner,
                Content::Value(..) => break,
            }
        }
        let text = &self.source.text[place.clone()];
        let end = place.start + text.find('\n').unwrap_or(text.len());
        Span::new(&self.source, place.start, end)
    }
}

/// Reads a document, XML or JSON by its first character.
pub fn load_document(path: &Utf8Path) -> Result<LoadedDocument, Diagnostics> {
    let source = read_text(path, SIZE_LIMIT)?;
    let text = source.text.trim_start_matches('\u{feff}');
    let outcome = match text.trim_start().starts_with('{') {
        true => from_json(text).map(|document| (document, Vec::new())),
        // A mark at the beginning counts in the places.
        false => read_xml(&source.text),
    };
    match outcome {
        Ok((document, branches)) => Ok(LoadedDocument { document, source, branches }),
        Err(flaws) => Err(flaws.into_iter().map(|flaw| diagnostic(&source, flaw)).collect::<Vec<_>>().into()),
    }
}

fn diagnostic(source: &Arc<SourceText>, flaw: Flaw) -> Diagnostic {
    let Flaw { place, message, help } = flaw;
    let text = source.text.get(place.clone()).unwrap_or_default();
    let end = place.start + text.find('\n').unwrap_or(text.len());
    Diagnostic::error("inventory.document", message).at(Span::new(source, place.start, end), "").help(help)
}

/// A text file of reasonable size.
pub fn read_text(path: &Utf8Path, limit: u64) -> Result<Arc<SourceText>, Diagnostics> {
    let outcome = read(path, limit).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
    });
    match outcome {
        Ok(text) => Ok(Arc::new(SourceText { path: path.to_string(), text })),
        Err(error) => {
            let help = match error.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::InvalidData => "save it as UTF-8; `iconv -f latin1 -t utf-8` converts older files",
                _ => "a file of facts is a regular file that this user may read",
            };
            Err(Diagnostic::error("inventory.unreadable", format!("cannot read `{path}`: {error}")).help(help).into())
        }
    }
}

fn read(path: &Utf8Path, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
