//! A document as XML.
//!
//! An element without `from` comes from the observation of the element around it; so a document of one observation
//! names it once.

use std::fmt::Write as _;

use super::NAMESPACE;
use crate::inventory::model::{
    Branch, Content, Document, Facts, Flaw, Method, Observation, Section as _, Word as _, read_section,
};

const MAX_DEPTH: usize = 12;

/// Writes a document.
pub fn to_xml(document: &Document) -> String {
    let mut out = String::with_capacity(4096);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let from = if document.observations.is_empty() { "" } else { " from=\"o1\"" };
    push(
        &mut out,
        format_args!("<machine xmlns=\"{NAMESPACE}\" version=\"1\" name=\"{}\"{from}>\n", Escaped(&document.name)),
    );
    for (at, observation) in document.observations.iter().enumerate() {
        let Observation { by, how, source, when } = observation;
        push(
            &mut out,
            format_args!("  <observation id=\"o{}\" how=\"{}\" by=\"{}\"", at + 1, how.write(), Escaped(by)),
        );
        if let Some(when) = when {
            push(&mut out, format_args!(" when=\"{when}\""));
        }
        if let Some(source) = source {
            push(&mut out, format_args!(" source=\"{}\"", Escaped(source)));
        }
        out.push_str("/>\n");
    }
    for branch in &document.facts.branches() {
        write_branch(&mut out, branch, 1, 0);
    }
    out.push_str("</machine>\n");
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a text takes everything");
}

fn write_branch(out: &mut String, branch: &Branch, depth: usize, around: u16) {
    let Branch { element, content, .. } = branch;
    let indent = depth * 2;
    let attribute = |from: u16| if from == around { String::new() } else { format!(" from=\"o{}\"", from + 1) };
    match content {
        Content::Value(text, from) => {
            let from = attribute(*from);
            push(out, format_args!("{:indent$}<{element}{from}>{}</{element}>\n", "", Escaped(text)));
        }
        Content::Section(inner, _) if inner.is_empty() => push(out, format_args!("{:indent$}<{element}/>\n", "")),
        Content::Section(inner, _) => {
            let own = common(inner).unwrap_or(around);
            let from = attribute(own);
            push(out, format_args!("{:indent$}<{element}{from}>\n", ""));
            for branch in inner {
                write_branch(out, branch, depth + 1, own);
            }
            push(out, format_args!("{:indent$}</{element}>\n", ""));
        }
    }
}

/// The observation that the first value of a section comes from.
fn common(branches: &[Branch]) -> Option<u16> {
    branches.iter().find_map(|branch| match &branch.content {
        Content::Value(_, from) => Some(*from),
        Content::Section(inner, _) => common(inner),
    })
}

/// A text in XML; line ends and tabs survive in attributes too.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\n' | '\r' | '\t' => write!(f, "&#{};", c as u32)?,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Reads a document; every flaw at once, each with its place in the text.
pub fn from_xml(text: &str) -> Result<Document, Vec<Flaw>> {
    read_xml(text).map(|(document, _)| document)
}

/// Reads a document, and where its facts are written.
pub fn read_xml(text: &str) -> Result<(Document, Vec<Branch>), Vec<Flaw>> {
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: 2_000_000, ..Default::default() };
    let tree = roxmltree::Document::parse_with_options(text, options).map_err(|error| {
        let place = offset(text, error.pos());
        vec![Flaw {
            place: place..place,
            message: format!("the file is not well-formed XML: {error}"),
            help: "`replant inventory import` writes such a file; `xmllint` names what is wrong with one".to_owned(),
        }]
    })?;
    let root = tree.root_element();
    let mut flaws = Vec::new();
    if root.tag_name().name() != "machine" || root.tag_name().namespace() != Some(NAMESPACE) {
        return Err(vec![Flaw {
            place: head(text, &root),
            message: format!("`{}` is not an inventory document", root.tag_name().name()),
            help: format!(
                "its root is `<machine xmlns=\"{NAMESPACE}\">`; `replant inventory import` reads other kinds"
            ),
        }]);
    }
    if root.attribute("version") != Some("1") {
        flaws.push(Flaw {
            place: head(text, &root),
            message: "the document's version is not 1".to_owned(),
            help: "a newer document needs a newer `replant`".to_owned(),
        });
    }
    let name = root.attribute("name").unwrap_or_default().to_owned();
    if name.is_empty() {
        let help = "write `name=\"...\"`".to_owned();
        flaws.push(Flaw { place: head(text, &root), message: "the machine has no name".to_owned(), help });
    }
    let mut reader = Reader { text, ids: Vec::new(), flaws };
    let mut observations = Vec::new();
    let elements = || root.children().filter(roxmltree::Node::is_element);
    for node in elements().filter(|node| node.tag_name().name() == "observation") {
        if let Some(observation) = reader.observation(&node) {
            observations.push(observation);
        }
    }
    let around = reader.from(&root, 0);
    let branches: Vec<Branch> = elements()
        .filter(|node| node.tag_name().name() != "observation")
        .map(|node| reader.branch(&node, around, 0))
        .collect();
    let mut flaws = reader.flaws;
    let facts: Facts = read_section(&branches, &mut flaws);
    match flaws.is_empty() {
        true => Ok((Document { name, observations, facts }, branches)),
        false => Err(flaws),
    }
}

struct Reader<'a> {
    text: &'a str,
    ids: Vec<String>,
    flaws: Vec<Flaw>,
}

impl Reader<'_> {
    fn flaw(&mut self, node: &roxmltree::Node<'_, '_>, message: String, help: &str) {
        self.flaws.push(Flaw { place: head(self.text, node), message, help: help.to_owned() });
    }

    fn observation(&mut self, node: &roxmltree::Node<'_, '_>) -> Option<Observation> {
        let (id, how) = (node.attribute("id").unwrap_or_default(), node.attribute("how").unwrap_or_default());
        if id.is_empty() || self.ids.iter().any(|known| known == id) {
            self.flaw(
                node,
                "an observation needs an `id` of its own".to_owned(),
                "write `id=\"o1\"`, `id=\"o2\"`, ...",
            );
        }
        self.ids.push(id.to_owned());
        let when = node.attribute("when").map(jiff::Timestamp::read);
        if when == Some(None) {
            self.flaw(node, "`when` is no time".to_owned(), "write it as `2026-11-22T20:10:55Z`");
        }
        let Some(how) = Method::read(how) else {
            let message = format!("`{}` is no way to observe", how.escape_debug());
            self.flaw(node, message, &format!("`how` is {}", Method::FORM.describe()));
            return None;
        };
        Some(Observation {
            by: node.attribute("by").unwrap_or_default().to_owned(),
            how,
            source: node.attribute("source").map(str::to_owned),
            when: when.flatten(),
        })
    }

    /// The observation of an element: its own or that of the element around it.
    fn from(&mut self, node: &roxmltree::Node<'_, '_>, around: u16) -> u16 {
        let Some(id) = node.attribute("from") else { return around };
        match self.ids.iter().position(|known| known == id) {
            Some(at) => u16::try_from(at).unwrap_or(u16::MAX),
            None => {
                let message = format!("no observation has the id `{}`", id.escape_debug());
                self.flaw(node, message, "add an `observation`, or name one that is there");
                around
            }
        }
    }

    fn branch(&mut self, node: &roxmltree::Node<'_, '_>, around: u16, depth: usize) -> Branch {
        let from = self.from(node, around);
        let element = node.tag_name().name().to_owned();
        if depth > MAX_DEPTH {
            self.flaw(node, format!("`{element}` lies too deep"), "no fact lies that deep");
            return Branch { element, place: node.range(), content: Content::Value(String::new(), from) };
        }
        let inner: Vec<_> = node.children().filter(roxmltree::Node::is_element).collect();
        let content = match inner.is_empty() {
            true => Content::Value(node.text().unwrap_or_default().to_owned(), from),
            false => Content::Section(inner.iter().map(|node| self.branch(node, from, depth + 1)).collect(), None),
        };
        Branch { element, place: node.range(), content }
    }
}

/// The first line of an element.
fn head(text: &str, node: &roxmltree::Node<'_, '_>) -> std::ops::Range<usize> {
    let range = node.range();
    let length = text[range.clone()].find(['\n', '>']).map_or(range.len(), |at| at + 1);
    range.start..range.start + length
}

fn offset(text: &str, position: roxmltree::TextPos) -> usize {
    let line = text.split_inclusive('\n').take(position.row.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let column = text[line..].chars().take(position.col.saturating_sub(1) as usize).map(char::len_utf8).sum::<usize>();
    (line + column).min(text.len())
}
