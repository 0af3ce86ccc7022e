//! The XML schema of documents, made from the model's own shapes; `schemas/inventory-1.xsd` is a copy of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::NAMESPACE;
use crate::inventory::model::{Facts, Field, Form, Kind, Method, Section as _, Shape, Word as _};

/// The schema.
pub fn xml_schema() -> String {
    let mut types: BTreeMap<&'static str, &'static Shape> = BTreeMap::new();
    collect(Facts::SHAPE, &mut types);
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{text}").expect("a text takes every line");
    line("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    line("<!-- Made from the model by `replant schema inventory`; do not edit. -->");
    line(&format!("<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns=\"{NAMESPACE}\""));
    line(&format!("    targetNamespace=\"{NAMESPACE}\" elementFormDefault=\"qualified\" version=\"1\">"));
    line("  <xs:element name=\"machine\">");
    line(&documentation(4, "What is known of one machine, and who observed it when and how."));
    line("    <xs:complexType>");
    line("      <xs:sequence>");
    line("        <xs:element name=\"observation\" type=\"observation\" minOccurs=\"0\" maxOccurs=\"unbounded\"/>");
    for field in fields(Facts::SHAPE, 8) {
        line(&field);
    }
    line("      </xs:sequence>");
    line("      <xs:attribute name=\"version\" use=\"required\" fixed=\"1\"/>");
    line("      <xs:attribute name=\"name\" type=\"filled\" use=\"required\"/>");
    line("      <xs:attribute name=\"from\" type=\"xs:IDREF\"/>");
    line("    </xs:complexType>");
    line("  </xs:element>");
    line("  <xs:complexType name=\"observation\">");
    line(&documentation(4, "Who observed, how, from what and when."));
    line("    <xs:attribute name=\"id\" type=\"xs:ID\" use=\"required\"/>");
    line("    <xs:attribute name=\"how\" use=\"required\">");
    line(&simple_type(Method::FORM, "", 6));
    line("    </xs:attribute>");
    line("    <xs:attribute name=\"by\" type=\"xs:string\" use=\"required\"/>");
    line("    <xs:attribute name=\"when\" type=\"xs:dateTime\"/>");
    line("    <xs:attribute name=\"source\" type=\"xs:string\"/>");
    line("  </xs:complexType>");
    line("  <xs:simpleType name=\"filled\">");
    line("    <xs:restriction base=\"xs:string\"><xs:minLength value=\"1\"/></xs:restriction>");
    line("  </xs:simpleType>");
    line("  <xs:simpleType name=\"percentage\">");
    line("    <xs:restriction base=\"xs:decimal\">");
    line("      <xs:minInclusive value=\"0\"/><xs:fractionDigits value=\"2\"/>");
    line("    </xs:restriction>");
    line("  </xs:simpleType>");
    for shape in types.values().filter(|shape| shape.name != Facts::SHAPE.name) {
        for word in words(shape) {
            line(&word);
        }
        line(&format!("  <xs:complexType name=\"{}\">", type_name(shape)));
        line(&documentation(4, shape.doc));
        line("    <xs:sequence>");
        for field in fields(shape, 6) {
            line(&field);
        }
        line("    </xs:sequence>");
        line("    <xs:attribute name=\"from\" type=\"xs:IDREF\"/>");
        line("  </xs:complexType>");
    }
    line("</xs:schema>");
    out
}

fn type_name(shape: &Shape) -> String {
    format!("{}-section", shape.name)
}

fn collect(shape: &'static Shape, types: &mut BTreeMap<&'static str, &'static Shape>) {
    if types.insert(shape.name, shape).is_none() {
        for field in shape.fields {
            if let Kind::Group(inner) | Kind::Many(inner) = field.kind {
                collect(inner, types);
            }
        }
    }
}

fn fields(shape: &Shape, indent: usize) -> Vec<String> {
    shape.fields.iter().map(|field| self::field(shape, field, indent)).collect()
}

fn field(shape: &Shape, field: &Field, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let element = field.element;
    let many = match field.kind {
        Kind::Values(_) | Kind::Many(_) => " maxOccurs=\"unbounded\"",
        Kind::One(_) | Kind::Group(_) => "",
    };
    let doc = documentation(indent + 2, field.doc);
    match field.kind {
        Kind::Group(inner) | Kind::Many(inner) => format!(
            "{pad}<xs:element name=\"{element}\" type=\"{}\" minOccurs=\"0\"{many}>\n{doc}\n{pad}</xs:element>",
            type_name(inner)
        ),
        Kind::One(form) | Kind::Values(form) => {
            let base = match form {
                Form::Choice(_) => word_name(shape, element),
                form => base(form).to_owned(),
            };
            format!(
                "{pad}<xs:element name=\"{element}\" minOccurs=\"0\"{many}>\n{doc}\n{pad}  <xs:complexType><xs:simpleContent>\n\
                 {pad}    <xs:extension base=\"{base}\"><xs:attribute name=\"from\" type=\"xs:IDREF\"/></xs:extension>\n\
                 {pad}  </xs:simpleContent></xs:complexType>\n{pad}</xs:element>"
            )
        }
    }
}

/// The closed sets of words of a section, as types of their own.
fn words(shape: &Shape) -> Vec<String> {
    let of_field = |field: &Field| match field.kind {
        Kind::One(form @ Form::Choice(_)) | Kind::Values(form @ Form::Choice(_)) => {
            let name = format!(" name=\"{}\"", word_name(shape, field.element));
            Some(simple_type(form, &name, 2))
        }
        _ => None,
    };
    shape.fields.iter().filter_map(of_field).collect()
}

fn word_name(shape: &Shape, element: &str) -> String {
    format!("{}-{element}-word", shape.name)
}

fn base(form: Form) -> &'static str {
    match form {
        Form::Text | Form::Choice(_) => "xs:string",
        Form::Flag => "xs:boolean",
        Form::Whole | Form::Bytes | Form::Hertz | Form::BitsPerSecond => "xs:unsignedLong",
        Form::Percent => "percentage",
        Form::Time => "xs:dateTime",
    }
}

fn simple_type(form: Form, name: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let Form::Choice(words) = form else { return String::new() };
    let words: Vec<String> = words
        .iter()
        .map(|(word, doc)| {
            format!(
                "{pad}    <xs:enumeration value=\"{word}\">\n{}\n{pad}    </xs:enumeration>",
                documentation(indent + 6, doc)
            )
        })
        .collect();
    format!(
        "{pad}<xs:simpleType{name}>\n{pad}  <xs:restriction base=\"xs:string\">\n{}\n{pad}  </xs:restriction>\n{pad}</xs:simpleType>",
        words.join("\n")
    )
}

fn documentation(indent: usize, text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("{:indent$}<xs:annotation><xs:documentation>{escaped}</xs:documentation></xs:annotation>", "")
}
