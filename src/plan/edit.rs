//! A plan's files with other targets: edited where the values stand, so that comments, order and style survive.

use std::collections::HashMap;
use std::sync::Arc;

use super::document::{self, Entry, Node, Value};
use super::{HostName, MachineName, Plan};
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span};
use crate::units::ByteCount;

/// What a machine's `target` is to say; what is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEdit {
    /// Which machine.
    pub machine: MachineName,
    /// Its host.
    pub host: Option<HostName>,
    /// Its memory.
    pub memory: Option<ByteCount>,
    /// Its processors.
    pub cpus: Option<u32>,
}

/// A plan file as it is to be.
#[derive(Clone, Debug)]
pub struct EditedFile {
    /// The file as it was read.
    pub source: Arc<SourceText>,
    /// Its new text.
    pub text: String,
}

/// An insertion or replacement.
struct Patch {
    start: usize,
    end: usize,
    text: String,
}

/// The files that change. A value that several machines share cannot be changed for one of them: that is an error,
/// with its place.
pub fn edit_targets(plan: &Plan, edits: &[TargetEdit]) -> Result<Vec<EditedFile>, Diagnostics> {
    let wanted: HashMap<&MachineName, &TargetEdit> = edits.iter().map(|edit| (&edit.machine, edit)).collect();
    let mut found = Diagnostics::new();
    let mut files = Vec::new();
    for source in &plan.files {
        let root = document::parse(source)?;
        let mut patches = Vec::new();
        for machine in list(&root, "machines") {
            let Some(Value::Text(name)) = entry(machine, "name").map(|entry| &entry.node.value) else { continue };
            if let Some(edit) = wanted.get(&MachineName(Arc::from(&**name))) {
                match patches_of(source, machine, edit) {
                    Ok(more) => patches.extend(more),
                    Err(problem) => found.push(*problem),
                }
            }
        }
        if patches.is_empty() {
            continue;
        }
        patches.sort_by_key(|patch| patch.start);
        let mut text = String::with_capacity(source.text.len() + patches.len() * 32);
        let mut at = 0;
        for patch in patches {
            text.push_str(&source.text[at..patch.start]);
            text.push_str(&patch.text);
            at = patch.end;
        }
        text.push_str(&source.text[at..]);
        // What is written must be read back as a plan file: otherwise nothing is written at all.
        document::parse(&Arc::new(SourceText { path: source.path.clone(), text: text.clone() }))?;
        files.push(EditedFile { source: Arc::clone(source), text });
    }
    if found.has_errors() { Err(found.finish()) } else { Ok(files) }
}

fn list<'a>(root: &'a Node, key: &str) -> &'a [Node] {
    match entry(root, key).map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Entry> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| &*entry.key == key),
        _ => None,
    }
}

fn patches_of(source: &Arc<SourceText>, machine: &Node, edit: &TargetEdit) -> Result<Vec<Patch>, Box<Diagnostic>> {
    let values = [
        ("host", edit.host.as_ref().map(ToString::to_string)),
        ("memory", edit.memory.map(written_size)),
        ("cpus", edit.cpus.map(|cpus| cpus.to_string())),
    ];
    let mut values: Vec<(&str, String)> = values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let text = source.text.as_str();
    let name = entry(machine, "name").filter(|name| is_own(text, name));
    let target = entry(machine, "target");
    let shared = |start: usize, end: usize| {
        Box::new(
            Diagnostic::error("plan.shared", format!("the target of `{}` cannot be changed alone", edit.machine))
                .at(Span::new(source, start, end), "an alias or a merge: other machines have it too")
                .help("write this machine's `target` out"),
        )
    };
    let mut patches = Vec::new();
    let Some(target) = target else {
        let Some(name) = name else {
            return Err(shared(machine.used.start as usize, machine.used.end as usize));
        };
        let pairs: Vec<String> = values.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        if !pairs.is_empty() {
            patches.push(beside(text, name, &format!("target: {{ {} }}", pairs.join(", "))));
        }
        return Ok(patches);
    };
    let place = target.node.place;
    if !is_own(text, target) || target.node.used != place {
        return Err(shared(target.node.used.start as usize, target.node.used.end as usize));
    }
    values.retain(|(key, value)| match entry(&target.node, key) {
        Some(known) if is_own(text, known) && known.node.used == known.node.place => {
            let (start, end) = (known.node.place.start as usize, known.node.place.end as usize);
            patches.push(Patch { start, end, text: value.clone() });
            false
        }
        _ => true,
    });
    if values.is_empty() {
        return Ok(patches);
    }
    let pairs: Vec<String> = values.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let start = place.start as usize;
    match &target.node.value {
        Value::Map(entries) if text[start..].starts_with('{') => {
            let comma = if entries.is_empty() { " " } else { "," };
            patches.push(Patch { start: start + 1, end: start + 1, text: format!(" {}{comma}", pairs.join(", ")) });
        }
        Value::Map(entries) => match entries.iter().find(|entry| is_own(text, entry)) {
            Some(first) => {
                let at = first.place.start as usize;
                let lines: Vec<String> = pairs.iter().map(|pair| format!("{pair}\n{}", indent(text, at))).collect();
                patches.push(Patch { start: at, end: at, text: lines.concat() });
            }
            None => return Err(shared(start, place.end as usize)),
        },
        _ => return Err(shared(start, place.end as usize)),
    }
    Ok(patches)
}

/// Whether a key is written where it is used: a merged key has the place of the merge.
fn is_own(text: &str, entry: &Entry) -> bool {
    let written = text.get(entry.place.start as usize..entry.place.end as usize).unwrap_or_default();
    written.trim_matches(['"', '\'']) == &*entry.key
}

/// A new entry after `name`: on the same line in a flow mapping, on the next one in a block.
fn beside(text: &str, name: &Entry, new: &str) -> Patch {
    let (key, end) = (name.place.start as usize, name.node.place.end as usize);
    let line = text[..key].rfind('\n').map_or(0, |at| at + 1);
    let flow = text[line..key].contains('{');
    match flow {
        true => Patch { start: end, end, text: format!(", {new}") },
        false => {
            let at = text[end..].find('\n').map_or(text.len(), |length| end + length);
            let at = if text[..at].ends_with('\r') { at - 1 } else { at };
            Patch { start: at, end: at, text: format!("\n{}{new}", indent(text, key)) }
        }
    }
}

/// The space that a line needs for its key to stand below the one at `at`.
fn indent(text: &str, at: usize) -> String {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    " ".repeat(text[line..at].chars().count())
}

/// A size as people write it, exactly.
fn written_size(size: ByteCount) -> String {
    match size.0 {
        bytes if bytes % (1 << 30) == 0 => format!("{}GiB", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("{}MiB", bytes >> 20),
        bytes => bytes.to_string(),
    }
}
