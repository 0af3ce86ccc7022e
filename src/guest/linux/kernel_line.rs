//! The kernel's command line inside a boot loader's line: words such as `root=/dev/sda1`.

use super::super::DeviceNames;

/// The line with `root=` and `resume=` named by UUID; `None` if nothing changes.
pub(super) fn stable_devices(line: &str, names: &DeviceNames<'_>) -> Option<String> {
    let mut out = line.to_owned();
    for key in ["root=", "resume="] {
        let mut from = 0;
        while let Some(found) = out[from..].find(key) {
            let (start, value) = (from + found, from + found + key.len());
            from = value;
            let begins_word =
                out[..start].chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '='));
            let end = out[value..]
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','))
                .map_or(out.len(), |end| value + end);
            if begins_word && let Some(stable) = names.stable(&out[value..end]) {
                out.replace_range(value..end, &stable);
                from = value + stable.len();
            }
        }
    }
    (out != line).then_some(out)
}

/// The words that put the kernel's console on the serial port and on the screen.
const SERIAL: &str = "console=tty0 console=ttyS0,115200n8";

/// The line with a serial console; `None` if it has one.
pub(super) fn with_serial(line: &str) -> Option<String> {
    if has_serial(line) {
        return None;
    }
    let end = line.trim_end().len();
    Some(format!("{} {SERIAL}{}", &line[..end], &line[end..]))
}

/// The assignment `NAME="words"` with a serial console inside the quotes; `None` if it has one.
pub(super) fn with_serial_quoted(line: &str) -> Option<String> {
    if has_serial(line) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let value = value.trim();
    let inner = value.trim_matches(['"', '\'']);
    let separator = if inner.is_empty() { "" } else { " " };
    Some(format!("{name}=\"{inner}{separator}{SERIAL}\""))
}

fn has_serial(line: &str) -> bool {
    line.contains("console=ttyS0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::disks::tests::two_disks;

    #[test]
    fn only_whole_words_change() {
        let disks = two_disks();
        let names = DeviceNames::new(&disks);
        let changed = |line| stable_devices(line, &names);
        assert_eq!(
            changed("\tlinux /vmlinuz root=/dev/sda1 ro resume=/dev/sda5 quiet").as_deref(),
            Some("\tlinux /vmlinuz root=UUID=aaaa-1 ro resume=UUID=aaaa-5 quiet")
        );
        assert_eq!(changed("X=\"root=/dev/hda1\"").as_deref(), Some("X=\"root=UUID=aaaa-1\""));
        assert_eq!(changed("linux /v nfsroot=/dev/sda1 root=/dev/mapper/x"), None);
        assert_eq!(changed("linux /v root=/dev/sdz9"), None);
    }

    #[test]
    fn the_serial_console_is_added_once() {
        let once = with_serial("linux /v ro  ").unwrap();
        assert_eq!(once, "linux /v ro console=tty0 console=ttyS0,115200n8  ");
        assert_eq!(with_serial(&once), None);
        assert_eq!(with_serial_quoted("A=\"\"").unwrap(), "A=\"console=tty0 console=ttyS0,115200n8\"");
        assert_eq!(with_serial_quoted("A='quiet'").unwrap(), "A=\"quiet console=tty0 console=ttyS0,115200n8\"");
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC{0,80}", prefix in "(root=|resume=| |\")*") {
            let disks = two_disks();
            let names = DeviceNames::new(&disks);
            let line = format!("{prefix}{line}");
            if let Some(new) = stable_devices(&line, &names) {
                proptest::prop_assert_eq!(stable_devices(&new, &names), None);
            }
            let _ = with_serial(&line);
            let _ = with_serial_quoted(&line);
        }
    }
}
