//! How a value is written in each language that templates are in, so that it is that value and nothing else.

/// The language of a template, by the extension before `.hbs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// POSIX shell: a value is one word.
    Shell,
    /// XML text or attribute value.
    Xml,
    /// PowerShell: a value is one single-quoted string.
    PowerShell,
    /// cmd.exe: a value stands inside `"..."` that the template writes.
    Cmd,
    /// YAML: a value is one double-quoted scalar.
    Yaml,
    /// JSON: a value is one string.
    Json,
    /// An iPXE script: a value is one word, or part of one.
    Ipxe,
    /// A GRUB menu: a value is one word, or part of one.
    Grub,
    /// dnsmasq's configuration: a value is one word, or part of one.
    Conf,
    /// A page for browsers: a value is text, or the value of an attribute in quotes.
    Html,
}

/// Stands for a character that the language cannot say; the engine refuses a text that has it.
pub const UNSPEAKABLE: char = '\0';

impl Language {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Shell,
        Self::Xml,
        Self::PowerShell,
        Self::Cmd,
        Self::Yaml,
        Self::Json,
        Self::Ipxe,
        Self::Grub,
        Self::Conf,
        Self::Html,
    ];

    /// The language of a template's name without `.hbs`, such as `scripts/capture.sh`.
    pub fn of(template: &str) -> Option<Self> {
        Some(match template.rsplit_once('.')?.1 {
            "sh" => Self::Shell,
            "xml" => Self::Xml,
            "ps1" => Self::PowerShell,
            "cmd" => Self::Cmd,
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "ipxe" => Self::Ipxe,
            "cfg" => Self::Grub,
            "conf" => Self::Conf,
            "html" => Self::Html,
            _ => return None,
        })
    }

    /// Whether a file in this language is started as a program.
    pub fn is_executable(self) -> bool {
        matches!(self, Self::Shell)
    }

    /// The value as it stands in a text of this language.
    pub fn escape(self, value: &str) -> String {
        match self {
            Self::Shell => shell(value),
            Self::Xml => xml(value),
            Self::PowerShell => powershell(value),
            Self::Cmd => cmd(value),
            Self::Yaml => yaml(value),
            Self::Json => serde_json::Value::from(value).to_string(),
            Self::Ipxe | Self::Grub => word(value, "@%+=:,./-_"),
            Self::Conf => word(value, "@%+=:./-_"),
            Self::Html => html(value),
        }
    }

    /// The first character that a text in this language cannot have.
    pub fn unspeakable(self, text: &str) -> Option<char> {
        match self {
            Self::Xml => text.chars().find(|c| !is_xml(*c)),
            _ => text.contains(UNSPEAKABLE).then_some(UNSPEAKABLE),
        }
    }
}

/// One word: as it is where that is safe, else in single quotes.
fn shell(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !value.is_empty() && value.chars().all(safe) {
        return value.to_owned();
    }
    let mut word = String::with_capacity(value.len() + 2);
    word.push('\'');
    for c in value.chars() {
        match c {
            '\'' => word.push_str("'\\''"),
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

/// For text and attributes alike. White space that a parser would normalise becomes a character reference.
fn xml(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            '\n' => text.push_str("&#10;"),
            '\r' => text.push_str("&#13;"),
            '\t' => text.push_str("&#9;"),
            c => text.push(c),
        }
    }
    text
}

/// As in XML; a character that no text should have is shown as one that cannot be.
fn html(value: &str) -> String {
    let shown: String = value.chars().map(|c| if is_xml(c) && c != '\r' { c } else { '\u{FFFD}' }).collect();
    xml(&shown)
}

/// The characters of XML 1.0.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// PowerShell takes the typographic single quotes for quotes, too.
fn powershell(value: &str) -> String {
    let mut text = String::from("'");
    for c in value.chars() {
        if matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201A}' | '\u{201B}') {
            text.push(c);
        }
        text.push(c);
    }
    text.push('\'');
    text
}

/// cmd.exe has no way to say a double quote, a line break or, with delayed expansion, `!` inside quotes.
fn cmd(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '%' => text.push_str("%%"),
            '"' | '\n' | '\r' | '!' => text.push(UNSPEAKABLE),
            c => text.push(c),
        }
    }
    text
}

/// As it is; iPXE and dnsmasq have no way to quote what would end a word, begin a comment or expand.
fn word(value: &str, safe: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || safe.contains(c) { c } else { UNSPEAKABLE };
    value.chars().map(safe).collect()
}

/// A JSON string is a YAML scalar, if what YAML takes for a line break or cannot print is escaped, too.
fn yaml(value: &str) -> String {
    let json = serde_json::Value::from(value).to_string();
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_quoted_only_where_they_must_be() {
        assert_eq!(shell("web01/disk0.qcow2"), "web01/disk0.qcow2");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's $(x)"), "'it'\\''s $(x)'");
        assert_eq!(powershell("a'b\u{2019}c"), "'a''b\u{2019}\u{2019}c'");
        assert_eq!(cmd("100%"), "100%%");
        assert_eq!(Language::Cmd.unspeakable(&cmd("a\"b")), Some('\0'));
        assert_eq!(Language::Xml.unspeakable("a\u{1}"), Some('\u{1}'));
        assert_eq!(html("<b a='\u{1}'>&"), "&lt;b a=&apos;\u{FFFD}&apos;&gt;&amp;");
    }

    proptest! {
        #[test]
        fn json_and_yaml_read_back(value in any::<String>()) {
            let json: String = serde_json::from_str(&Language::Json.escape(&value)).unwrap();
            prop_assert_eq!(&json, &value);
            let yaml: String = serde_yaml::from_str(&Language::Yaml.escape(&value)).unwrap();
            prop_assert_eq!(&yaml, &value);
        }

        #[test]
        fn xml_reads_back_from_text_and_attribute(value in any::<String>()) {
            let escaped = Language::Xml.escape(&value);
            if Language::Xml.unspeakable(&escaped).is_none() {
                let text = format!("<a b=\"{escaped}\">{escaped}</a>");
                let document = roxmltree::Document::parse(&text).unwrap();
                let root = document.root_element();
                prop_assert_eq!(root.attribute("b").unwrap(), &value);
                prop_assert_eq!(root.text().unwrap_or(""), &value);
            }
        }
    }
}
