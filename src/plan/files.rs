//! Reading a plan's files: the first one and everything it includes, each once.

use std::fs;
use std::io::{self, Read as _};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::document::{self, Node, Value};
use super::grammar;
use super::lower::lower;
use super::model::Plan;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};

/// Largest plan file that is read; 20,000 machines take about 8 MB.
const SIZE_LIMIT: u64 = 128 << 20;

/// One plan file.
pub(super) struct File {
    /// Its text.
    pub source: Arc<SourceText>,
    /// Its values; `None` if it is not YAML.
    pub root: Option<Node>,
    /// Where it really is, for recognising it again.
    canonical: Utf8PathBuf,
}

/// A file on the way from the first one to the one being read.
struct Step {
    file: usize,
    /// Its next `include` entry.
    next: usize,
}

/// Reads, checks and lowers a plan; the diagnostics beside the plan are warnings.
pub fn load(path: &Utf8Path) -> Result<(Plan, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::new();
    let (files, root, complete) = read_all(path, &mut found)?;
    for file in &files {
        if let Some(root) = &file.root {
            grammar::check(&file.source, root, &mut found);
        }
    }
    let plan = lower(&files, root, complete, &mut found);
    found.into_result(plan)
}

/// One plan file as JSON, without its includes: what a JSON Schema validator sees of it.
pub fn document_as_json(path: &Utf8Path) -> Result<serde_json::Value, Diagnostics> {
    let file = read_first(path)?;
    let root = document::parse(&file.source)?;
    root.value.to_json().ok_or_else(|| {
        let whole = Span::new(&file.source, 0, 0);
        Diagnostic::error("plan.value", "the file holds a number that JSON does not have").at(whole, "").into()
    })
}

impl From<Box<Diagnostic>> for Diagnostics {
    fn from(one: Box<Diagnostic>) -> Self {
        (*one).into()
    }
}

/// The first file and what it includes, depth first; the folder of the first one; whether all could be read.
fn read_all(path: &Utf8Path, found: &mut Diagnostics) -> Result<(Vec<File>, Utf8PathBuf, bool), Box<Diagnostic>> {
    let first = read_first(path)?;
    let folder = folder_of(&first.canonical);
    let mut files = vec![first];
    let mut complete = true;
    parse(&mut files[0], found);
    let mut way = vec![Step { file: 0, next: 0 }];
    while let Some(step) = way.last_mut() {
        let file = step.file;
        let Some((written, span)) = include(&files[file], step.next) else {
            way.pop();
            continue;
        };
        step.next += 1;
        match read_included(&files[file], &written, span.clone()) {
            Err(diagnostic) => {
                complete = false;
                found.push(*diagnostic);
            }
            Ok(included) => {
                let known = files.iter().position(|file| file.canonical == included.canonical);
                match known {
                    Some(known) if way.iter().any(|step| step.file == known) => {
                        found.push(cycle(&files, &way, known));
                    }
                    Some(_) => {}
                    None => {
                        files.push(included);
                        let new = files.len() - 1;
                        parse(&mut files[new], found);
                        way.push(Step { file: new, next: 0 });
                    }
                }
            }
        }
    }
    complete &= files.iter().all(|file| file.root.is_some());
    Ok((files, folder, complete))
}

fn parse(file: &mut File, found: &mut Diagnostics) {
    match document::parse(&file.source) {
        Ok(root) => file.root = Some(root),
        Err(diagnostic) => found.push(diagnostic),
    }
}

/// The text and place of a file's `include` entry of that number.
fn include(file: &File, number: usize) -> Option<(String, Span)> {
    let Value::Map(entries) = &file.root.as_ref()?.value else { return None };
    let Value::List(items) = &entries.iter().find(|entry| &*entry.key == "include")?.node.value else { return None };
    let mut texts = items.iter().filter_map(|item| match &item.value {
        Value::Text(text) if !text.is_empty() && !text.contains('\0') => Some((text, item.place)),
        _ => None,
    });
    let (text, place) = texts.nth(number)?;
    Some((text.to_string(), Span::new(&file.source, place.start as usize, place.end as usize)))
}

/// Prints the way round, edge by edge, beginning with the entry that closes it.
fn cycle(files: &[File], way: &[Step], closes_at: usize) -> Diagnostic {
    let begin = way.iter().position(|step| step.file == closes_at).unwrap_or_default();
    let round = &way[begin..];
    let edge = |at: usize| {
        let step = &round[at];
        let next = round.get(at + 1).map_or(closes_at, |step| step.file);
        let (_, span) = include(&files[step.file], step.next - 1)?;
        Some((span, format!("`{}` includes `{}`", files[step.file].source.path, files[next].source.path)))
    };
    let last = round.len() - 1;
    let name = &files[closes_at].source.path;
    let message = match last {
        0 => format!("`{name}` includes itself"),
        _ => format!("`{name}` includes itself, by way of {}", counted(last, "other file")),
    };
    let order = std::iter::once(last).chain(0..last);
    let diagnostic = Diagnostic::error("plan.include-cycle", message).help("take one of these `include` entries out");
    order.filter_map(edge).fold(diagnostic, |diagnostic, (span, text)| diagnostic.at(span, text))
}

/// `1 file`, `2 files`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn read_first(path: &Utf8Path) -> Result<File, Box<Diagnostic>> {
    let shown = shown_path(path);
    let refuse = |message: String, help: &str| Box::new(Diagnostic::error("plan.unreadable", message).help(help));
    let canonical = path.canonicalize_utf8().map_err(|error| {
        let (message, help) = explain(&shown, &error);
        refuse(message, help)
    })?;
    match read(&canonical) {
        Ok(bytes) => text_of(shown, canonical, bytes),
        Err(error) => {
            let (message, help) = explain(&shown, &error);
            Err(refuse(message, help))
        }
    }
}

fn read_included(from: &File, written: &str, span: Span) -> Result<File, Box<Diagnostic>> {
    let path = folder_of(&from.canonical).join(written);
    let shown = shown_path(&path);
    let outcome = path.canonicalize_utf8().and_then(|canonical| read(&canonical).map(|bytes| (canonical, bytes)));
    match outcome {
        Ok((canonical, bytes)) => text_of(shown, canonical, bytes),
        Err(error) => {
            let (message, help) = explain(&shown, &error);
            let label = format!("paths of `include` begin at the folder of `{}`", from.source.path);
            Err(Box::new(Diagnostic::error("plan.unreadable", message).at(span, label).help(help)))
        }
    }
}

/// The bytes of a regular file of reasonable size: a device or a pipe would never end.
fn read(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if metadata.len() > SIZE_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    fs::File::open(path)?.take(SIZE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn explain(shown: &str, error: &io::Error) -> (String, &'static str) {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "check the path; `replant init` makes a plan to begin with",
        io::ErrorKind::PermissionDenied => "let this user read the file",
        io::ErrorKind::IsADirectory => "name the plan file in that folder",
        io::ErrorKind::FileTooLarge => "spread the plan over several files with `include`",
        _ => "a plan is a regular file that this user may read",
    };
    (format!("cannot read `{shown}`: {error}"), help)
}

fn text_of(path: String, canonical: Utf8PathBuf, bytes: Vec<u8>) -> Result<File, Box<Diagnostic>> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { source: Arc::new(SourceText { path, text }), root: None, canonical }),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = Arc::new(SourceText { path, text });
            let span = Span::new(&source, at, at + '\u{fffd}'.len_utf8());
            Err(Box::new(
                Diagnostic::error("plan.syntax", "the file is not UTF-8 text")
                    .at(span, "this byte begins no character")
                    .help("save it as UTF-8; `iconv -f latin1 -t utf-8` converts older files"),
            ))
        }
    }
}

fn folder_of(canonical: &Utf8Path) -> Utf8PathBuf {
    canonical.parent().unwrap_or(Utf8Path::new("/")).to_owned()
}

/// The path as people see it: relative to where the command runs if it lies below.
fn shown_path(path: &Utf8Path) -> String {
    let here = std::env::current_dir().ok().and_then(|here| Utf8PathBuf::from_path_buf(here).ok());
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    without_dots(relative.unwrap_or(path)).into_string()
}

/// The path without its `.` parts; `..` is kept, since links make it mean what only the file system knows.
pub(super) fn without_dots(path: &Utf8Path) -> Utf8PathBuf {
    path.components().filter(|part| !matches!(part, camino::Utf8Component::CurDir)).collect()
}
