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

/// Hours of a day, from and to.
pub(super) static HOURS: TextRule = TextRule {
    what: "hours",
    what_many: "hours",
    form: "from and to, such as `08:00-18:00`; `22:00-06:00` goes across midnight",
    pattern: r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
    accepts: |text| {
        let time = |text: &str| match text.as_bytes() {
            [a, b, b':', c, d] => {
                let digits = [a, b, c, d].into_iter().all(u8::is_ascii_digit);
                digits && text[..2] < *"24" && text[3..] < *"60"
            }
            _ => false,
        };
        text.split_once('-').is_some_and(|(from, to)| time(from) && time(to))
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

/// A network interface of Linux.
pub(super) static INTERFACE: TextRule = TextRule {
    what: "the name of a network interface",
    what_many: "names of network interfaces",
    form: "letters, digits, `.`, `_` and `-`; 15 characters at most",
    pattern: r"^[A-Za-z0-9._-]{1,15}$",
    accepts: |text| {
        (1..=15).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    },
};

/// A serial port of a Linux, as its command line names it.
pub(super) static SERIAL_PORT: TextRule = TextRule {
    what: "a serial port",
    what_many: "serial ports",
    form: "`ttyS` and a number, and a speed if it is not 9600: `ttyS0`, `ttyS1,115200`",
    pattern: r"^ttyS[0-9]{1,2}(,[0-9]{3,7})?$",
    accepts: |text| {
        let digits = |text: &str, least: usize, most: usize| {
            (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        let Some(rest) = text.strip_prefix("ttyS") else { return false };
        match rest.split_once(',') {
            Some((port, speed)) => digits(port, 1, 2) && digits(speed, 3, 7),
            None => digits(rest, 1, 2),
        }
    },
};

/// First and last address.
pub(super) static RANGE: TextRule = TextRule {
    what: "a range of addresses such as `10.0.0.100-10.0.0.200`",
    what_many: "ranges of addresses",
    form: "write the first and the last IPv4 address with `-` between them",
    pattern: r"^[0-9]{1,3}(\.[0-9]{1,3}){3}-[0-9]{1,3}(\.[0-9]{1,3}){3}$",
    accepts: |text| {
        let quad = |text: &str| {
            text.split('.').count() == 4
                && text.split('.').all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
        };
        text.split_once('-').is_some_and(|(first, last)| quad(first) && quad(last))
    },
};

/// The address of a Redfish service or of one of its systems.
pub(super) static HTTPS: TextRule = TextRule {
    what: "the address of a Redfish service",
    what_many: "addresses",
    form: "write https://HOST, or a system of it as https://HOST/redfish/v1/Systems/1",
    pattern: r"^https://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~:/-]*)?$",
    accepts: |text| {
        let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let Some(rest) = text.strip_prefix("https://") else { return false };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        !host.is_empty() && plain(host, "._:[]-") && plain(path, "._~:/-")
    },
};

/// A host, with a port if need be.
pub(super) static HOST_PORT: TextRule = TextRule {
    what: "a host, such as `10.0.0.5` or `bmc7.example:623`",
    what_many: "hosts",
    form: "letters, digits, `.`, `_` and `-`, and a port after `:` if it is not the usual one",
    pattern: r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}(:[0-9]{1,5})?$",
    accepts: |text| {
        let (host, port) = text.split_once(':').map_or((text, "1"), |(host, port)| (host, port));
        (1..=253).contains(&host.len())
            && host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && (1..=5).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_digit())
    },
};

/// A certificate's fingerprint.
pub(super) static FINGERPRINT: TextRule = TextRule {
    what: "a certificate's fingerprint",
    what_many: "fingerprints",
    form: "write `sha256:` and 64 lower-case hexadecimal digits",
    pattern: r"^sha256:[0-9a-f]{64}$",
    accepts: |text| {
        text.strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    },
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

    fn rules() -> [&'static TextRule; 15] {
        [
            &FREE,
            &NONEMPTY,
            &PATH,
            &NAME,
            &GLOB,
            &FILE_NAME,
            &MAC,
            &VARIABLE,
            &INTERFACE,
            &SERIAL_PORT,
            &RANGE,
            &HTTPS,
            &HOST_PORT,
            &FINGERPRINT,
            &RULE,
        ]
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
