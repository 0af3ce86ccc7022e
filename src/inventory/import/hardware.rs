//! Spellings of hardware that the files share.

use crate::inventory::model::Fact;
use crate::units::ByteCount;

const MIB: u64 = 1 << 20;

/// A MAC address in one spelling; `None` if it is none.
pub(super) fn mac(written: &str) -> Option<Fact<String>> {
    let canonical = written.trim().to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = canonical.split(':').collect();
    let whole =
        parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    (whole && canonical != "00:00:00:00:00:00").then(|| Fact::of(canonical))
}

/// A number of mebibytes, in bytes.
pub(super) fn mebibytes(number: u64) -> Option<ByteCount> {
    number.checked_mul(MIB).map(ByteCount)
}

/// A UUID in lower case with dashes, however it was written: `56 4d 0f.. .. ..-..`.
pub(super) fn uuid(written: &str) -> Option<Fact<String>> {
    let digits: String = written.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
    if digits.len() != 32 || digits.bytes().all(|b| b == b'0') {
        return None;
    }
    Some(Fact::of(format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )))
}

/// The program of a command line, without its arguments: people put passwords there.
pub(in crate::inventory) fn program(command: &str) -> Option<Fact<String>> {
    let command = command.trim();
    if let Some(rest) = command.strip_prefix('"') {
        return crate::inventory::model::text(rest.split('"').next().unwrap_or_default());
    }
    // A path of Windows may hold spaces without quotes: it ends with its extension.
    let lower = command.to_ascii_lowercase();
    let end = [".exe", ".sys", ".cmd", ".bat", ".dll", ".com"]
        .iter()
        .filter_map(|extension| {
            let at = lower.find(extension)? + extension.len();
            lower[at..].chars().next().is_none_or(|c| c.is_whitespace() || c == ',').then_some(at)
        })
        .min()
        .filter(|_| command.contains('\\'));
    let end = end.unwrap_or_else(|| command.find(char::is_whitespace).unwrap_or(command.len()));
    crate::inventory::model::text(&command[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_identities_have_one_spelling() {
        assert_eq!(mac("00-50-56-AB-CD-EF").map(|fact| fact.value).as_deref(), Some("00:50:56:ab:cd:ef"));
        assert_eq!(mac("nonsense"), None);
        let written = "56 4d 0f 11 22 33 44 55-66 77 88 99 aa bb cc dd";
        assert_eq!(uuid(written).map(|fact| fact.value).as_deref(), Some("564d0f11-2233-4455-6677-8899aabbccdd"));
    }

    #[test]
    fn arguments_of_commands_are_left_out() {
        let program = |command: &str| super::program(command).map(|fact| fact.value).unwrap_or_default();
        assert_eq!(program(r#""C:\Program Files\a b.exe" --password=x"#), r"C:\Program Files\a b.exe");
        assert_eq!(program(r"C:\Program Files\a b.exe --password=x"), r"C:\Program Files\a b.exe");
        assert_eq!(program(r"C:\Windows\system32\svchost.exe -k netsvcs"), r"C:\Windows\system32\svchost.exe");
        assert_eq!(program("/usr/bin/backup --token abc"), "/usr/bin/backup");
    }
}
