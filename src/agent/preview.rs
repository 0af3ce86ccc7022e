//! What a guest step would change, told beforehand: the agent looks at the source's disks with the very steps that will run,
//! and changes nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::guest::{self, Access, ConvertError, ConvertOptions, DetectError, Edit, choose_root, open, survey};
use crate::sequence::{self, Node, Sequence, Step};

/// The edits of a guest step that has not run yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestPreview {
    /// The system's own name.
    pub system: String,
    /// Its root in plan words.
    pub root: String,
    /// Every edit, in order.
    pub edits: Vec<Edit>,
    /// What would be told as a warning.
    pub warnings: Vec<String>,
}

/// Why nothing can be said beforehand.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreviewError {
    /// There is no such guest.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// It cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
}

/// Looks at the disks of this system; nothing is written.
pub(super) fn preview(
    folder: &Path,
    root: Option<&str>,
    options: &ConvertOptions,
) -> Result<GuestPreview, PreviewError> {
    let survey = survey(folder)?;
    guest::refuse_unusable(&survey.disks)?;
    let root = choose_root(&survey.disks, survey.roots, root, &survey.closed)?;
    let found = open(folder, survey.disks, root, Access::ReadOnly)?;
    let conversion = guest::plan(&found.tree, &found.disks, options)?;
    Ok(GuestPreview {
        system: found.root.system.clone(),
        root: found.root.name.clone(),
        edits: conversion.edits(),
        warnings: conversion.warnings,
    })
}

/// The steps of a guest step's sequence that say what is wanted, as one that only looks; `None` if it converts nothing.
pub(super) fn looking_only(text: &str) -> Result<Option<String>, sequence::SequenceError> {
    let whole = sequence::parse(text)?;
    let steps = whole.steps();
    let named = |command: &'static str| steps.iter().copied().filter(move |step| step.command == command);
    let Some(convert) = named("guest.convert").next() else { return Ok(None) };
    let mut look = Step::new("preview", "guest.preview");
    let root = named("guest.detect").flat_map(|step| &step.parameters).filter(|parameter| parameter.name == "root");
    look.parameters = root.take(1).chain(convert.parameters.iter().filter(|own| own.name != "root")).cloned().collect();
    let mut nodes: Vec<Node> = named("guest.first-boot").cloned().map(Node::Step).collect();
    nodes.push(Node::Step(look));
    nodes.push(Node::Step(Step::new("shutdown", "shutdown")));
    let looking =
        Sequence { id: whole.id.clone(), description: "Looks at the disks; writes nothing".to_owned(), nodes };
    Ok(Some(sequence::write(&looking)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_asks_for_what_will_run() {
        let text = "<sequence xmlns=\"urn:replant:sequence:1\" id=\"x\"><step id=\"a\" command=\"guest.detect\">\
            <parameter name=\"root\">LABEL=r</parameter></step><step id=\"r\" command=\"guest.run\"/>\
            <step id=\"b\" command=\"guest.convert\"><parameter name=\"root\">LABEL=r</parameter>\
            <parameter name=\"skip\">tools</parameter></step><step id=\"c\" command=\"disk.flush\"/></sequence>";
        let looking = sequence::parse(&looking_only(text).unwrap().unwrap()).unwrap();
        let commands: Vec<&str> = looking.steps().iter().map(|step| step.command.as_str()).collect();
        assert_eq!(commands, ["guest.preview", "shutdown"]);
        let step = looking.steps()[0];
        assert_eq!((step.parameter("root"), step.list("skip")), (Some("LABEL=r"), vec!["tools"]));
        assert_eq!(looking_only("<sequence xmlns=\"urn:replant:sequence:1\" id=\"x\"/>").unwrap(), None);
    }
}
