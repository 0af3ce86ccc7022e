//! Short looks into XML.

use roxmltree::{Document, Node, ParsingOptions};

use super::error::{ImportError, Place};

/// Parses a file's text.
pub(super) fn parse<'a>(file: &str, text: &'a str) -> Result<Document<'a>, ImportError> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 2_000_000, ..Default::default() };
    Document::parse_with_options(text, options).map_err(|error| {
        let line = error.pos().row as usize;
        let message = format!("it is not well-formed XML: {error}");
        ImportError::new(
            file,
            Place::Line(line.max(1)),
            message,
            "write the file again; `xmllint` names what is wrong with one",
        )
    })
}

/// The child element of that name, whatever its namespace.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

/// The child elements of that name, whatever their namespace.
pub(super) fn children<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// The text of the child element of that name.
pub(super) fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let text = child(node, name)?.text()?.trim();
    (!text.is_empty()).then_some(text)
}

/// An attribute, whatever its namespace.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name() == name).map(|attribute| attribute.value())
}

/// The line of a node.
pub(super) fn line(node: Node<'_, '_>) -> Place {
    Place::Line(node.document().text_pos_at(node.range().start).row as usize)
}
