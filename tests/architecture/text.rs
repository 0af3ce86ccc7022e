//! What a reader finds: files of a readable length, printing in one place, escaping that cannot be switched off.

use super::{files, read, root, shown};

#[test]
fn files_are_rooms_not_halls() {
    let mut lengths = Vec::new();
    for path in files("src", &[".rs"]) {
        let length = read(&path).lines().count();
        assert!(length <= 700, "{} has {length} lines: split it", shown(&path));
        lengths.push(length);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 300, "the median file has {median} lines");
}

#[test]
fn only_the_command_line_prints() {
    for path in files("src", &[".rs"]) {
        let name = shown(&path);
        let prints = read(&path).lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            code.contains("println!(") || code.contains("eprint!(") || code.contains("process::exit")
        });
        assert!(!prints || name.starts_with("src/cli"), "{name} prints or exits; only src/cli does");
    }
}

#[test]
fn unsafe_code_lives_in_device() {
    for path in files("src", &[".rs"]) {
        let name = shown(&path);
        let has = read(&path).lines().any(|line| line.split("//").next().unwrap_or("").contains("unsafe {"));
        assert!(!has || name.starts_with("src/device"), "{name} has an unsafe block; only src/device may");
    }
}

#[test]
fn templates_never_switch_escaping_off() {
    for folder in ["templates", "providers"] {
        for path in files(folder, &[".hbs"]) {
            let text = read(&path);
            assert!(!text.contains("{{{") && !text.contains("{{&"), "{} has a raw expression", shown(&path));
        }
    }
}

#[test]
fn every_folder_of_the_map_is_there() {
    let map = read(&root().join("ARCHITECTURE.md"));
    for line in map.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap_or("");
        for name in cell.split('`').skip(1).step_by(2).filter(|name| name.contains('/')) {
            assert!(root().join(name).exists(), "ARCHITECTURE.md names {name}, which is not there");
        }
    }
}
