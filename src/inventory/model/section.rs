//! Sections of facts: the typed structs of the model and, from the same words, the shape that XML, JSON, the schema,
//! merging and comparing go by. A fact is declared once, in `facts/`.

use super::fact::Fact;
use super::value::{Form, Word};

/// What a section holds.
#[derive(Debug)]
pub struct Shape {
    /// Its name in the schema.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its fields in their order.
    pub fields: &'static [Field],
}

/// A field of a section.
#[derive(Debug)]
pub struct Field {
    /// Its name: of the XML element and, unless it is a list, of the JSON key.
    pub element: &'static str,
    /// Its name in JSON and in Rust.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    /// A value, or nothing.
    One(Form),
    /// Values.
    Values(Form),
    /// A section.
    Group(&'static Shape),
    /// Sections.
    Many(&'static Shape),
}

/// A piece of a document between the typed facts and their spelling.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The element's name.
    pub element: String,
    /// Where it was read, in bytes of its file.
    pub place: std::ops::Range<usize>,
    /// What it holds.
    pub content: Content,
}

/// What a branch holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A value and the place of its observation in the document's list.
    Value(String, u16),
    /// A section; with the text that tells it from others of its kind.
    Section(Vec<Branch>, Option<String>),
}

/// What is wrong with a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    /// Where.
    pub place: std::ops::Range<usize>,
    /// What, with the value.
    pub message: String,
    /// The way out.
    pub help: String,
}

impl Branch {
    fn value(element: &'static str, text: String, from: u16) -> Self {
        Self { element: element.to_owned(), place: 0..0, content: Content::Value(text, from) }
    }

    fn section(element: &'static str, branches: Vec<Branch>, key: Option<String>) -> Self {
        Self { element: element.to_owned(), place: 0..0, content: Content::Section(branches, key) }
    }
}

/// A section of facts.
pub trait Section: Default + Clone + PartialEq + std::fmt::Debug {
    /// What it holds.
    const SHAPE: &'static Shape;
    /// What tells it from others of its kind.
    fn key(&self) -> Option<String>;
    /// Its facts, as branches.
    fn branches(&self) -> Vec<Branch>;
    /// Takes what a branch says; `false` if the section has no such field.
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>) -> bool;
    /// What a newer observation says replaces what was known; what it does not mention stays.
    fn merge(&mut self, newer: Self);
    /// Moves the observations of all its facts by that many places in the list.
    fn shift(&mut self, by: u16);
}

/// Reads a section from its branches.
pub fn read_section<T: Section>(branches: &[Branch], flaws: &mut Vec<Flaw>) -> T {
    let mut section = T::default();
    for branch in branches {
        if !section.take(branch, flaws) {
            let names = T::SHAPE.fields.iter().map(|field| field.element);
            let near = crate::diagnostic::closest(&branch.element, names.clone());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it takes {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("`{}` is not a fact of `{}`", branch.element.escape_debug(), T::SHAPE.name);
            flaws.push(Flaw { place: branch.place.clone(), message, help });
        }
    }
    section
}

pub(super) trait Slot {
    const KIND: Kind;
    fn put(&self, element: &'static str, out: &mut Vec<Branch>);
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>);
    fn merge(&mut self, newer: Self);
    fn shift(&mut self, by: u16);
    fn key(&self) -> Option<String>;
}

fn read_value<T: Word>(branch: &Branch, flaws: &mut Vec<Flaw>) -> Option<Fact<T>> {
    let Content::Value(text, from) = &branch.content else {
        let message = format!("`{}` holds further elements", branch.element);
        let help = format!("write {} alone", T::FORM.describe());
        flaws.push(Flaw { place: branch.place.clone(), message, help });
        return None;
    };
    let value = T::read(text);
    if value.is_none() {
        let shown: String = text.chars().take(60).collect();
        let message = format!("`{}` cannot be `{}`", branch.element, shown.escape_debug());
        flaws.push(Flaw { place: branch.place.clone(), message, help: format!("write {}", T::FORM.describe()) });
    }
    value.map(|value| Fact { value, from: *from })
}

fn read_group<T: Section>(branch: &Branch, flaws: &mut Vec<Flaw>) -> T {
    match &branch.content {
        Content::Section(branches, _) => read_section(branches, flaws),
        Content::Value(text, _) if text.is_empty() => T::default(),
        Content::Value(..) => {
            let names: Vec<&str> = T::SHAPE.fields.iter().map(|field| field.element).collect();
            let message = format!("`{}` holds a text", branch.element);
            let help = format!("it takes {}", names.join(", "));
            flaws.push(Flaw { place: branch.place.clone(), message, help });
            T::default()
        }
    }
}

impl<T: Word> Slot for Option<Fact<T>> {
    const KIND: Kind = Kind::One(T::FORM);
    fn put(&self, element: &'static str, out: &mut Vec<Branch>) {
        out.extend(self.as_ref().map(|fact| Branch::value(element, fact.value.write(), fact.from)));
    }
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>) {
        if self.is_some() {
            let message = format!("`{}` is given twice", branch.element);
            flaws.push(Flaw { place: branch.place.clone(), message, help: "keep one of the two".to_owned() });
        }
        *self = read_value(branch, flaws).or(self.take());
    }
    fn merge(&mut self, newer: Self) {
        *self = newer.or(self.take());
    }
    fn shift(&mut self, by: u16) {
        if let Some(fact) = self {
            fact.from = fact.from.saturating_add(by);
        }
    }
    fn key(&self) -> Option<String> {
        self.as_ref().map(|fact| fact.value.write())
    }
}

impl<T: Word> Slot for Vec<Fact<T>> {
    const KIND: Kind = Kind::Values(T::FORM);
    fn put(&self, element: &'static str, out: &mut Vec<Branch>) {
        out.extend(self.iter().map(|fact| Branch::value(element, fact.value.write(), fact.from)));
    }
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>) {
        self.extend(read_value(branch, flaws));
    }
    fn merge(&mut self, newer: Self) {
        if !newer.is_empty() {
            *self = newer;
        }
    }
    fn shift(&mut self, by: u16) {
        self.iter_mut().for_each(|fact| fact.from = fact.from.saturating_add(by));
    }
    fn key(&self) -> Option<String> {
        None
    }
}

/// A section inside a section.
impl<T: Section> Slot for Box<T> {
    const KIND: Kind = Kind::Group(T::SHAPE);
    fn put(&self, element: &'static str, out: &mut Vec<Branch>) {
        let branches = self.branches();
        if !branches.is_empty() {
            out.push(Branch::section(element, branches, None));
        }
    }
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>) {
        Section::merge(&mut **self, read_group(branch, flaws));
    }
    fn merge(&mut self, newer: Self) {
        Section::merge(&mut **self, *newer);
    }
    fn shift(&mut self, by: u16) {
        Section::shift(&mut **self, by);
    }
    fn key(&self) -> Option<String> {
        None
    }
}

/// Sections of one kind; those with the same key are the same thing.
impl<T: Section> Slot for Vec<T> {
    const KIND: Kind = Kind::Many(T::SHAPE);
    fn put(&self, element: &'static str, out: &mut Vec<Branch>) {
        out.extend(self.iter().map(|one| Branch::section(element, one.branches(), one.key())));
    }
    fn take(&mut self, branch: &Branch, flaws: &mut Vec<Flaw>) {
        self.push(read_group(branch, flaws));
    }
    fn merge(&mut self, newer: Self) {
        for one in newer {
            let key = one.key();
            match self.iter_mut().find(|known| key.is_some() && known.key() == key) {
                Some(known) => known.merge(one),
                None => self.push(one),
            }
        }
    }
    fn shift(&mut self, by: u16) {
        self.iter_mut().for_each(|one| Section::shift(one, by));
    }
    fn key(&self) -> Option<String> {
        None
    }
}

/// Declares a section: a struct whose fields are facts (`Option<Fact<T>>`, `Vec<Fact<T>>`) or sections (`Box<T>`,
/// `Vec<T>`). `by` names the fields that tell one such section from another; the first that is known counts.
macro_rules! section {
    ($(#[doc = $doc:literal])+ $name:ident as $shown:literal by ($($key:ident),*) {
        $($(#[doc = $what:literal])+ $field:ident / $element:literal : $type:ty,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[doc = $what])+ pub $field: $type,)+
        }

        impl $crate::inventory::model::Section for $name {
            const SHAPE: &'static $crate::inventory::model::Shape = &$crate::inventory::model::Shape {
                name: $shown,
                doc: concat!($($doc),+).trim_ascii_start(),
                fields: &[$($crate::inventory::model::Field {
                    element: $element,
                    name: stringify!($field),
                    doc: concat!($($what),+).trim_ascii_start(),
                    kind: <$type as $crate::inventory::model::section::Slot>::KIND,
                }),+],
            };

            fn key(&self) -> Option<String> {
                None$(.or_else(|| $crate::inventory::model::section::Slot::key(&self.$key)))*
            }

            fn branches(&self) -> Vec<$crate::inventory::model::Branch> {
                let mut out = Vec::new();
                $($crate::inventory::model::section::Slot::put(&self.$field, $element, &mut out);)+
                out
            }

            fn take(
                &mut self,
                branch: &$crate::inventory::model::Branch,
                flaws: &mut Vec<$crate::inventory::model::Flaw>,
            ) -> bool {
                match branch.element.as_str() {
                    $($element => $crate::inventory::model::section::Slot::take(&mut self.$field, branch, flaws),)+
                    _ => return false,
                }
                true
            }

            fn merge(&mut self, newer: Self) {
                $($crate::inventory::model::section::Slot::merge(&mut self.$field, newer.$field);)+
            }

            fn shift(&mut self, by: u16) {
                $($crate::inventory::model::section::Slot::shift(&mut self.$field, by);)+
            }
        }
    };
}
pub(super) use section;
