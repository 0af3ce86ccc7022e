//! Files to documents.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::detect::{FileKind, detect};
use super::error::{ImportError, Place};
use super::table::{Table, separated, workbook};
use super::{device, inspection, libvirt, ovf, rvtools, scripts, vmx};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inventory::document::load_document;
use crate::inventory::model::{Document, Facts, Method, Observation};

/// Largest file that is read.
const SIZE_LIMIT: u64 = 512 << 20;

/// Who imports, for facts whose file does not say.
#[derive(Clone, Debug)]
pub struct Observer {
    /// The program and its version.
    pub by: String,
    /// The name of the machine, where a file holds one machine and the user says how it is called.
    pub name: Option<String>,
}

/// What files say.
#[derive(Clone, Debug)]
pub struct Imported {
    /// One document per machine, in the files' order.
    pub documents: Vec<Document>,
    /// What should be read, though it refuses nothing.
    pub warnings: Diagnostics,
}

/// Reads files; those that speak of one machine are joined. Every flaw of every file at once.
pub fn import(files: &[Utf8PathBuf], kind: Option<FileKind>, observer: &Observer) -> Result<Imported, Diagnostics> {
    let mut all: Vec<Document> = Vec::new();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Diagnostics::new();
    let mut tables: Vec<(Utf8PathBuf, Option<Timestamp>, Vec<Table>)> = Vec::new();
    for file in files {
        match one(file, kind, observer) {
            Err(problems) => found.extend(problems),
            Ok(One::Documents(documents)) => documents.into_iter().for_each(|one| add(&mut all, &mut by_name, one)),
            Ok(One::Tables(written, new)) => tables.push((file.clone(), written, new)),
        }
    }
    match sheets(tables, observer) {
        Ok(documents) => documents.into_iter().for_each(|one| add(&mut all, &mut by_name, one)),
        Err(problems) => found.extend(problems),
    }
    if let Some(name) = &observer.name {
        match all.as_mut_slice() {
            [one] => one.name = name.clone(),
            _ => {
                let message = format!("the files speak of {} machines, and one name is given", all.len());
                found.push(Diagnostic::error("import.name", message).help("leave `--name` out"));
            }
        }
    }
    let (documents, warnings) = found.into_result(Some(all))?;
    Ok(Imported { documents, warnings })
}

fn add(all: &mut Vec<Document>, by_name: &mut BTreeMap<String, usize>, one: Document) {
    match by_name.get(&one.name) {
        Some(at) => all[*at].merge(one),
        None => {
            by_name.insert(one.name.clone(), all.len());
            all.push(one);
        }
    }
}

enum One {
    Documents(Vec<Document>),
    Tables(Option<Timestamp>, Vec<Table>),
}

fn one(path: &Utf8Path, kind: Option<FileKind>, observer: &Observer) -> Result<One, Vec<Diagnostic>> {
    let file = path.as_str();
    let flaw = |message: String, help: &str| vec![ImportError::new(file, Place::File, message, help).diagnostic()];
    let unreadable =
        |error: std::io::Error| flaw(format!("it cannot be read: {error}"), "check the path and who may read it");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > SIZE_LIMIT {
        return Err(flaw("it is no regular file of reasonable size".to_owned(), "name a file that another tool wrote"));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let written = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let Some(kind) = kind.or_else(|| detect(file, &bytes)) else {
        let names: Vec<&str> = FileKind::ALL.iter().map(|(name, _)| *name).collect();
        let help = format!("say what it is: `--from {}`", names.join("|"));
        return Err(flaw("nothing tells what kind of file it is".to_owned(), &help));
    };
    let errors = |errors: Vec<ImportError>| errors.iter().map(ImportError::diagnostic).collect::<Vec<_>>();
    if kind == FileKind::Document {
        let loaded = load_document(path).map_err(Vec::from)?;
        return Ok(One::Documents(vec![loaded.document]));
    }
    if kind == FileKind::Rvtools {
        let tables = match bytes.starts_with(b"PK") {
            true => workbook(file, bytes),
            false => separated(file, path.file_name().unwrap_or(file), &bytes).map(|table| vec![table]),
        };
        return tables.map(|tables| One::Tables(written, tables)).map_err(|error| errors(vec![error]));
    }
    let text =
        text(bytes).ok_or_else(|| flaw("it is not UTF-8 text".to_owned(), "`iconv -t utf-8` converts older files"))?;
    let (how, machines, when): (Method, Vec<(String, Facts)>, Option<Timestamp>) = match kind {
        FileKind::Vmx => (Method::Vmx, vmx::read(file, &text).map_err(errors)?, None),
        FileKind::Ovf => (Method::Ovf, ovf::read(file, &text).map_err(errors)?, None),
        FileKind::Libvirt => (Method::Libvirt, libvirt::read(file, &text).map_err(errors)?, None),
        FileKind::Linux | FileKind::Windows => {
            let (name, facts, when) = scripts::parse_output(file, kind, &text).map_err(errors)?;
            let how = if kind == FileKind::Linux { Method::LinuxScript } else { Method::WindowsScript };
            (how, vec![(name, facts)], when)
        }
        FileKind::Inspection => (Method::Inspection, inspection::read(file, &text).map_err(errors)?, None),
        FileKind::Device => {
            let (name, facts, when) = device::read(file, &text).map_err(errors)?;
            (Method::Agent, vec![(name, facts)], when)
        }
        FileKind::Document | FileKind::Rvtools => (Method::Declared, Vec::new(), None),
    };
    let documents = machines.into_iter().map(|(name, facts)| {
        let observation =
            Observation { by: observer.by.clone(), how, source: Some(file.to_owned()), when: when.or(written) };
        Document::new(name, observation, facts)
    });
    Ok(One::Documents(documents.collect()))
}

/// Text as it was written; what Windows writes may be UTF-16.
fn text(bytes: Vec<u8>) -> Option<String> {
    let units = |bytes: &[u8], read: fn([u8; 2]) -> u16| -> Option<String> {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| read(*pair)).collect();
        String::from_utf16(&units).ok()
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// All tables together: the tabs of one export may be several files.
fn sheets(
    files: Vec<(Utf8PathBuf, Option<Timestamp>, Vec<Table>)>,
    observer: &Observer,
) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let Some((first, written, _)) = files.first() else { return Ok(Vec::new()) };
    let (first, written) = (first.to_string(), *written);
    let tables: Vec<Table> = files.into_iter().flat_map(|(_, _, tables)| tables).collect();
    let when = rvtools::made(&tables).or(written);
    let found = rvtools::read(&first, &tables)
        .map_err(|errors| errors.iter().map(ImportError::diagnostic).collect::<Vec<_>>())?;
    let documents = found.into_iter().map(|machine| {
        let source = Some(format!("{first}, {}", machine.source));
        let observation = Observation { by: observer.by.clone(), how: Method::Rvtools, source, when };
        Document::new(machine.name, observation, machine.facts)
    });
    Ok(documents.collect())
}
