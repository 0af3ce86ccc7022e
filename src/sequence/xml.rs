//! The XML form of a sequence: a parser that says line and column of every mistake, and the writer.

use std::collections::HashSet;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::name::QName;
use roxmltree::{Document, Node as Element};

use crate::units::parse_duration;

use super::model::{Condition, Group, Node, Parameter, Sequence, Step, Test};

/// The namespace of every element; a later, incompatible form gets another.
pub const NAMESPACE: &str = "urn:replant:sequence:1";

/// The XML Schema of sequences.
pub const SCHEMA: &str = include_str!("sequence.xsd");

/// A group stands in at most this many groups.
const MAX_DEPTH: usize = 64;

/// Why a text is not a sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// It is not well-formed XML.
    #[error("not well-formed: {message}")]
    Malformed {
        /// What the XML parser says, with line and column.
        message: String,
    },
    /// It is XML, but not a sequence.
    #[error("line {line}, column {column}: {message}")]
    Invalid {
        /// 1-based.
        line: u32,
        /// 1-based.
        column: u32,
        /// What is wrong.
        message: String,
    },
}

/// Reads a sequence.
pub fn parse(text: &str) -> Result<Sequence, SequenceError> {
    let document = Document::parse(text).map_err(|error| SequenceError::Malformed { message: error.to_string() })?;
    let root = document.root_element();
    let mut reader = Reader { ids: HashSet::new() };
    if root.tag_name().namespace() != Some(NAMESPACE) || root.tag_name().name() != "sequence" {
        return Err(at(root, format!("the root element is not `sequence` in the namespace `{NAMESPACE}`")));
    }
    known_attributes(root, &["id", "description"])?;
    let (conditions, nodes) = reader.children(root, 0)?;
    if !conditions.is_empty() {
        return Err(at(root, "a sequence takes no `when`; put it on a group or a step"));
    }
    Ok(Sequence { id: required(root, "id")?, description: optional(root, "description"), nodes })
}

struct Reader {
    ids: HashSet<String>,
}

impl Reader {
    fn children(
        &mut self,
        parent: Element<'_, '_>,
        depth: usize,
    ) -> Result<(Vec<Condition>, Vec<Node>), SequenceError> {
        if depth > MAX_DEPTH {
            return Err(at(parent, format!("groups stand in more than {MAX_DEPTH} groups")));
        }
        let (mut conditions, mut nodes) = (Vec::new(), Vec::new());
        for child in elements(parent)? {
            match child.tag_name().name() {
                "when" if nodes.is_empty() => conditions.push(condition(child)?),
                "when" => return Err(at(child, "`when` stands before the steps")),
                "group" => nodes.push(Node::Group(self.group(child, depth)?)),
                "step" => nodes.push(Node::Step(self.step(child)?)),
                other => return Err(at(child, format!("`{other}` is not one of `when`, `group`, `step`"))),
            }
        }
        Ok((conditions, nodes))
    }

    fn group(&mut self, element: Element<'_, '_>, depth: usize) -> Result<Group, SequenceError> {
        known_attributes(element, &["id", "description"])?;
        let id = self.id(element)?;
        let (conditions, nodes) = self.children(element, depth + 1)?;
        Ok(Group { id, description: optional(element, "description"), conditions, nodes })
    }

    fn step(&mut self, element: Element<'_, '_>) -> Result<Step, SequenceError> {
        const KNOWN: [&str; 8] =
            ["id", "description", "command", "timeout", "retries", "continue-on-error", "success-codes", "reboot"];
        known_attributes(element, &KNOWN)?;
        let mut step = Step::new(self.id(element)?, name(element, "command")?);
        step.description = optional(element, "description");
        if let Some(text) = element.attribute("timeout") {
            step.timeout = Some(parse_duration(text).map_err(|error| at(element, format!("`timeout`: {error}")))?);
        }
        if let Some(text) = element.attribute("retries") {
            let retries = text.trim().parse().ok().filter(|n| *n <= 1000);
            step.retries = retries.ok_or_else(|| at(element, format!("`retries` is `{text}`, not 0 to 1000")))?;
        }
        step.continue_on_error = flag(element, "continue-on-error")?.unwrap_or(false);
        step.reboot = flag(element, "reboot")?.unwrap_or(false);
        if let Some(text) = element.attribute("success-codes") {
            let codes: Result<Vec<i32>, _> = text.split_whitespace().map(str::parse).collect();
            step.success_codes = codes
                .ok()
                .filter(|codes| !codes.is_empty())
                .ok_or_else(|| at(element, format!("`success-codes` is `{text}`, not a list of numbers")))?;
        }
        for child in elements(element)? {
            match child.tag_name().name() {
                "when" if step.parameters.is_empty() => step.conditions.push(condition(child)?),
                "when" => return Err(at(child, "`when` stands before the parameters")),
                "parameter" => step.parameters.push(parameter(child)?),
                other => return Err(at(child, format!("`{other}` is not one of `when`, `parameter`"))),
            }
        }
        Ok(step)
    }

    fn id(&mut self, element: Element<'_, '_>) -> Result<String, SequenceError> {
        let id = required(element, "id")?;
        match self.ids.insert(id.clone()) {
            true => Ok(id),
            false => Err(at(element, format!("the id `{id}` stands twice"))),
        }
    }
}

fn condition(element: Element<'_, '_>) -> Result<Condition, SequenceError> {
    known_attributes(element, &["fact", "equals", "differs", "known"])?;
    let fact = name(element, "fact")?;
    let test = match (element.attribute("equals"), element.attribute("differs"), flag(element, "known")?) {
        (Some(value), None, None) => Test::Equals(value.to_owned()),
        (None, Some(value), None) => Test::Differs(value.to_owned()),
        (None, None, Some(known)) => Test::Known(known),
        _ => return Err(at(element, "`when` takes exactly one of `equals`, `differs` and `known`")),
    };
    Ok(Condition { fact, test })
}

fn parameter(element: Element<'_, '_>) -> Result<Parameter, SequenceError> {
    known_attributes(element, &["name"])?;
    if let Some(child) = element.children().find(Element::is_element) {
        return Err(at(child, "a parameter holds text only"));
    }
    let value: String = element.children().filter(Element::is_text).filter_map(|text| text.text()).collect();
    Ok(Parameter { name: name(element, "name")?, value })
}

fn elements<'a, 'i>(parent: Element<'a, 'i>) -> Result<Vec<Element<'a, 'i>>, SequenceError> {
    let mut found = Vec::new();
    for child in parent.children() {
        if child.is_element() {
            if child.tag_name().namespace() != Some(NAMESPACE) {
                return Err(at(child, format!("`{}` is not in the namespace `{NAMESPACE}`", child.tag_name().name())));
            }
            found.push(child);
        } else if child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty()) {
            return Err(at(child, format!("text between the elements of `{}`", parent.tag_name().name())));
        }
    }
    Ok(found)
}

fn known_attributes(element: Element<'_, '_>, known: &[&str]) -> Result<(), SequenceError> {
    match element.attributes().find(|a| a.namespace().is_none() && !known.contains(&a.name())) {
        Some(attribute) => {
            let tag = element.tag_name().name();
            Err(at(element, format!("`{tag}` takes no attribute `{}`", attribute.name())))
        }
        None => Ok(()),
    }
}

fn required(element: Element<'_, '_>, attribute: &str) -> Result<String, SequenceError> {
    let value = element.attribute(attribute).filter(|value| !value.is_empty());
    value
        .map(str::to_owned)
        .ok_or_else(|| at(element, format!("`{}` needs the attribute `{attribute}`", element.tag_name().name())))
}

fn optional(element: Element<'_, '_>, attribute: &str) -> String {
    element.attribute(attribute).unwrap_or_default().to_owned()
}

/// A name as commands, facts and parameters have it.
fn name(element: Element<'_, '_>, attribute: &str) -> Result<String, SequenceError> {
    let value = required(element, attribute)?;
    let valid = value.starts_with(|c: char| c.is_ascii_lowercase())
        && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c));
    match valid {
        true => Ok(value),
        false => Err(at(element, format!("`{attribute}` is `{value}`; it takes a-z, 0-9, `_`, `.` and `-`"))),
    }
}

fn flag(element: Element<'_, '_>, attribute: &str) -> Result<Option<bool>, SequenceError> {
    match element.attribute(attribute) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(at(element, format!("`{attribute}` is `{other}`, not `true` or `false`"))),
    }
}

fn at(element: Element<'_, '_>, message: impl Into<String>) -> SequenceError {
    let position = element.document().text_pos_at(element.range().start);
    SequenceError::Invalid { line: position.row, column: position.col, message: message.into() }
}

/// Writes a sequence; [`parse`] reads the same one back.
pub fn write(sequence: &Sequence) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let promise = "writing to memory does not fail";
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None))).expect(promise);
    let mut root = BytesStart::new("sequence");
    root.push_attribute(("xmlns", NAMESPACE));
    push(&mut root, "id", &sequence.id);
    push_text(&mut root, "description", &sequence.description);
    writer.write_event(Event::Start(root)).expect(promise);
    // What is still to be written, last first; `None` closes a group.
    let mut open: Vec<Option<&Node>> = sequence.nodes.iter().rev().map(Some).collect();
    while let Some(node) = open.pop() {
        match node {
            None => writer.write_event(Event::End(BytesEnd::new("group"))).expect(promise),
            Some(Node::Group(group)) => {
                let mut start = BytesStart::new("group");
                push(&mut start, "id", &group.id);
                push_text(&mut start, "description", &group.description);
                writer.write_event(Event::Start(start)).expect(promise);
                group.conditions.iter().for_each(|c| write_condition(&mut writer, c));
                open.push(None);
                open.extend(group.nodes.iter().rev().map(Some));
            }
            Some(Node::Step(step)) => write_step(&mut writer, step),
        }
    }
    writer.write_event(Event::End(BytesEnd::new("sequence"))).expect(promise);
    let mut text = String::from_utf8(writer.into_inner()).expect("the writer keeps UTF-8");
    text.push('\n');
    text
}

fn write_step(writer: &mut Writer<Vec<u8>>, step: &Step) {
    let promise = "writing to memory does not fail";
    let mut start = BytesStart::new("step");
    push(&mut start, "id", &step.id);
    push_text(&mut start, "description", &step.description);
    push(&mut start, "command", &step.command);
    if let Some(timeout) = step.timeout {
        push(&mut start, "timeout", &whole_unit(timeout));
    }
    if step.retries > 0 {
        push(&mut start, "retries", &step.retries.to_string());
    }
    if step.continue_on_error {
        push(&mut start, "continue-on-error", "true");
    }
    if step.success_codes != [0] {
        let codes: Vec<String> = step.success_codes.iter().map(i32::to_string).collect();
        push(&mut start, "success-codes", &codes.join(" "));
    }
    if step.reboot {
        push(&mut start, "reboot", "true");
    }
    if step.conditions.is_empty() && step.parameters.is_empty() {
        writer.write_event(Event::Empty(start)).expect(promise);
        return;
    }
    writer.write_event(Event::Start(start)).expect(promise);
    step.conditions.iter().for_each(|c| write_condition(writer, c));
    for parameter in &step.parameters {
        let mut start = BytesStart::new("parameter");
        push(&mut start, "name", &parameter.name);
        writer.write_event(Event::Start(start)).expect(promise);
        writer.write_event(Event::Text(BytesText::from_escaped(escape(&parameter.value)))).expect(promise);
        writer.write_event(Event::End(BytesEnd::new("parameter"))).expect(promise);
    }
    writer.write_event(Event::End(BytesEnd::new("step"))).expect(promise);
}

fn write_condition(writer: &mut Writer<Vec<u8>>, condition: &Condition) {
    let mut start = BytesStart::new("when");
    push(&mut start, "fact", &condition.fact);
    match &condition.test {
        Test::Equals(value) => push(&mut start, "equals", value),
        Test::Differs(value) => push(&mut start, "differs", value),
        Test::Known(known) => push(&mut start, "known", if *known { "true" } else { "false" }),
    }
    writer.write_event(Event::Empty(start)).expect("writing to memory does not fail");
}

fn push(start: &mut BytesStart<'_>, name: &str, value: &str) {
    start.push_attribute(Attribute { key: QName(name), value: escape(value).into() });
}

fn push_text(start: &mut BytesStart<'_>, name: &str, value: &str) {
    if !value.is_empty() {
        push(start, name, value);
    }
}

/// Escapes for text and attributes alike; white space that a parser would change becomes a character reference.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            '\t' => escaped.push_str("&#9;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn whole_unit(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        parse(&format!("<sequence xmlns=\"{NAMESPACE}\" id=\"s\">\n{body}\n</sequence>")).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_reads_back_whatever_the_values_are() {
        let hostile = "a<b>&\"'$(x)\r\n\t ]]> é \u{1F980}";
        let mut step = Step::new("one", "guest.convert");
        step.description = hostile.into();
        step.parameters.push(Parameter { name: "text".into(), value: hostile.into() });
        step.parameters.push(Parameter { name: "empty".into(), value: String::new() });
        step.timeout = Some(Duration::from_millis(1500));
        step.retries = 3;
        step.success_codes = vec![0, 10];
        step.conditions.push(Condition { fact: "kind".into(), test: Test::Differs(hostile.into()) });
        let group = Group {
            id: "g".into(),
            description: String::new(),
            conditions: vec![Condition { fact: "a.b".into(), test: Test::Known(false) }],
            nodes: vec![Node::Step(step)],
        };
        let last = Step { reboot: true, continue_on_error: true, ..Step::new("two", "shutdown") };
        let nodes = vec![Node::Group(group), Node::Step(last)];
        let sequence = Sequence { id: hostile.into(), description: "d".into(), nodes };
        assert_eq!(parse(&write(&sequence)), Ok(sequence));
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        assert_eq!(error("  <stpe/>"), "line 2, column 3: `stpe` is not one of `when`, `group`, `step`");
        assert_eq!(error("<step id='a'/>"), "line 2, column 1: `step` needs the attribute `command`");
        assert_eq!(
            error("<step id='a' command='x'/>\n<step id='a' command='x'/>"),
            "line 3, column 1: the id `a` stands twice"
        );
        assert!(error("<step id='a' command='x' timeout='soon'/>").contains("`timeout`: `soon`"));
        assert!(error("<step id='a' command='rm -rf'/>").contains("`command` is `rm -rf`"));
        assert!(error("<step id='a' command='x' colour='red'/>").contains("takes no attribute `colour`"));
        assert!(
            error("<step id='a' command='x'><when fact='f' equals='1' known='true'/></step>").contains("exactly one")
        );
        assert!(error("oops").contains("text between the elements"));
        assert!(error("<step").starts_with("not well-formed"));
    }

    #[test]
    fn entities_and_deep_nesting_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><sequence/>";
        assert!(matches!(parse(bomb), Err(SequenceError::Malformed { .. })));
        let deep = (0..100).map(|i| format!("<group id='{i}'>")).collect::<String>() + &"</group>".repeat(100);
        assert!(error(&deep).contains("more than 64 groups"));
    }
}
