//! The words the table is written in.

use super::text::TextRule;

/// What a value looks like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A text of a certain form.
    Text(&'static TextRule),
    /// A whole number within bounds, both included.
    Whole(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of a few words.
    Choice(&'static [Word]),
    /// An amount with a unit.
    Amount(Amount),
    /// A whole number, or a percentage up to `100%`.
    WholeOrPercent,
    /// A list of at least that many values.
    List(&'static Shape, usize),
    /// A mapping with known keys.
    Object(&'static Object),
    /// A mapping with known keys, or the value of its first key alone.
    ObjectOr(&'static Object),
    /// A mapping with exactly one of the known keys.
    OneOf(&'static Object),
    /// One of a few words, or a mapping with exactly one of the known keys.
    WordOr(&'static [Word], &'static Object),
    /// A mapping from free names to values.
    Named(&'static TextRule, &'static Shape),
    /// Any mapping: somebody else declares what is in it.
    Settings,
}

/// A kind of amount, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    /// Bytes.
    Size(u64, u64),
    /// Milliseconds.
    Duration(u64, u64),
    /// Bytes per second, at least.
    Rate(u64),
    /// Hundredths of a percent.
    Percent(u32, u32),
    /// Hertz.
    Frequency(u64, u64),
}

/// One of a few words.
#[derive(Debug)]
pub(super) struct Word {
    /// The word.
    pub text: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Object {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its name in messages, with the article: `a machine`.
    pub what: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its keys, in the order they are best written.
    pub keys: &'static [Key],
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    /// The key.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// Whether the mapping is wrong without it.
    pub required: bool,
    /// What it means, in a sentence or two for editors.
    pub doc: &'static str,
}

/// A key that may be left out.
pub(super) const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: false, doc }
}

/// A key that may not be left out.
pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: true, doc }
}

/// A word of a choice.
pub(super) const fn word(text: &'static str, doc: &'static str) -> Word {
    Word { text, doc }
}

impl Object {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of its keys, for a help line.
    pub fn key_list(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        names.join(", ")
    }
}

impl Shape {
    /// What is wanted, with the article.
    pub fn describe(&self) -> String {
        match self {
            Self::Text(rule) => rule.what.to_owned(),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Choice(words) => {
                let names: Vec<String> = words.iter().map(|word| format!("`{}`", word.text)).collect();
                match names.split_last() {
                    Some((last, [])) => last.clone(),
                    Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                    None => String::new(),
                }
            }
            Self::Amount(Amount::Size(..)) => "a size such as `512MiB` or `4GiB`".to_owned(),
            Self::Amount(Amount::Duration(..)) => "a duration such as `90s`, `15m` or `2h`".to_owned(),
            Self::Amount(Amount::Rate(..)) => "a rate such as `100Mbps` (bits) or `200MBps` (bytes)".to_owned(),
            Self::Amount(Amount::Percent(..)) => "a percentage such as `10%`".to_owned(),
            Self::Amount(Amount::Frequency(..)) => "a frequency such as `2000MHz` or `2.4GHz`".to_owned(),
            Self::WholeOrPercent => "a whole number or a percentage such as `10%`".to_owned(),
            Self::List(..) => "a list".to_owned(),
            Self::Named(rule, _) => format!("a mapping, its keys being {}", rule.what_many),
            Self::WordOr(words, object) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.text)).collect();
                format!("{} or a mapping with {}", words.join(", "), object.key_list())
            }
            Self::ObjectOr(object) => match object.keys.first() {
                Some(Key { shape: first, .. }) => format!("a mapping or {}", first.describe()),
                None => "a mapping".to_owned(),
            },
            Self::Object(_) | Self::OneOf(_) | Self::Settings => "a mapping".to_owned(),
        }
    }
}
