//! Forms of texts, each said twice: as a function for the check and as a pattern for the schema. A test holds the two
//! together.

/// A form of a text.
#[derive(Debug)]
pub(super) struct TextRule {
    /// What it is, with the article.
    pub what: &'static str,
    /// What several are.
    pub what_many: &'static str,
    /// What it must look like, for the help line.
    pub form: &'static str,
    /// The form as a regular expression of ECMA 262.
    pub pattern: &'static str,
    /// Whether a text has the form.
    pub accepts: fn(&str) -> bool,
}

/// Any text, also an empty one.
pub(super) static FREE: TextRule = TextRule {
    what: "a text",
    what_many: "texts",
    form: "control characters cannot be carried into every artifact; only tab and line breaks can",
    pattern: r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]*$",
    accepts: carried_everywhere,
};

/// A text with something in it.
pub(super) static NONEMPTY: TextRule = TextRule {
    what: "a text",
    what_many: "texts",
    form: "it must not be empty and must not hold control characters other than tab and line breaks",
    pattern: r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]+$",
    accepts: |text| !text.is_empty() && carried_everywhere(text),
};

/// A path of a file or folder.
pub(super) static PATH: TextRule = TextRule { what: "a path", what_many: "paths", ..NONEMPTY };

/// The name of a machine or host.
pub(super) static NAME: TextRule = TextRule {
    what: "a name",
    what_many: "names",
    form: "a name begins with a letter or digit and goes on with letters, digits, `.`, `_` and `-`; 63 characters at most",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    accepts: is_name,
};

/// The id of a rule.
pub(super) static RULE: TextRule = TextRule {
    what: "the id of a rule",
    what_many: "ids of rules",
    form: "lower case letters, digits and `-`; 80 characters at most",
    pattern: r"^[a-z0-9-]{1,80}$",
    accepts: |text| {
        (1..=80).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    },
};

/// A name of a machine, or a glob over names.
pub(super) static GLOB: TextRule = TextRule {
    what: "a machine's name or a glob over names",
    what_many: "names or globs",
    form: "names are made of letters, digits, `.`, `_` and `-`; `*` stands for any text, `?` for one character",
    pattern: r"^[A-Za-z0-9._*?-]{1,63}$",
    accepts: |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*' | b'?'))
    },
};

/// A name that becomes a folder or a file as it is.
pub(super) static FILE_NAME: TextRule = TextRule {
    what: "a name",
    what_many: "names",
    form: "it becomes a folder's name: no `/`, not `.` or `..`, no control characters, 200 characters at most",
    pattern: r"^(?!\.{1,2}$)[^/\u0000-\u001F\u007F\uFFFE\uFFFF]{1,200}$",
    accepts: |text| {
        (1..=200).contains(&text.chars().count())
            && text != "."
            && text != ".."
            && !text.chars().any(|c| matches!(c, '/' | '\0'..='\x1f' | '\x7f' | '\u{fffe}' | '\u{ffff}'))
    },
};

/// The address of a network adapter.
pub(super) static MAC: TextRule = TextRule {
    what: "a MAC address such as `52:54:00:12:34:56`",
    what_many: "MAC addresses",
    form: "six pairs of hexadecimal digits with `:` or `-` between them, not a multicast address",
    pattern: r"^[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}$",
    accepts: is_mac,
};

/// The name of an environment variable.
pub(super) static VARIABLE: TextRule = TextRule {
    what: "the name of an environment variable",
    what_many: "names of environment variables",
    form: "letters, digits and `_`, not beginning with a digit",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]*$",
    accepts: |text| {
        !text.starts_with(|c: char| c.is_ascii_digit())
            && !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    },
};

/// Whether XML, JSON, shell arguments and files can all carry it.
fn carried_everywhere(text: &str) -> bool {
    !text.chars().any(|c| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}'))
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_mac(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 17
        && bytes.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => matches!(byte, b':' | b'-'),
            _ => byte.is_ascii_hexdigit(),
        })
        && (bytes[1] as char).to_digit(16).is_some_and(|digit| digit % 2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> [&'static TextRule; 9] {
        [&FREE, &NONEMPTY, &PATH, &NAME, &GLOB, &FILE_NAME, &MAC, &VARIABLE, &RULE]
    }

    fn agree(text: &str) {
        for rule in rules() {
            let schema = serde_json::json!({ "type": "string", "pattern": rule.pattern });
            let by_pattern = jsonschema::draft202012::new(&schema).unwrap().is_valid(&text.into());
            assert_eq!((rule.accepts)(text), by_pattern, "{text:?} as {} ({})", rule.what, rule.pattern);
        }
    }

    #[test]
    fn pattern_and_function_agree_on_the_edges() {
        for text in
            ["", ".", "..", "...", "a", "-a", "a/b", "web01", "52:54:00:12:34:56", "01:00:5e:00:00:01", "A_B", "9A"]
        {
            agree(text);
        }
        agree(&"a".repeat(63));
        agree(&"a".repeat(64));
        agree(&"ü".repeat(200));
        agree(&"ü".repeat(201));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pattern_and_function_agree(text in "[ -~\\t\\n\\x00\\x0b\\x7fü\u{fffe}]{0,6}|[0-9a-f]{2}(:[0-9a-f]{2}){4,6}") {
            agree(&text);
        }
    }
}
