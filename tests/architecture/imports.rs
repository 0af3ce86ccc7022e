//! Imports point left in the data flow, or beneath.

use super::{files, read, root, shown};

/// What lies beneath the stages; a module may use those that stand before it here.
const BENEATH: [&str; 13] = [
    "hardware",
    "units",
    "diagnostic",
    "address",
    "progress",
    "device",
    "image",
    "sequence",
    "guest",
    "patch",
    "vm",
    "journal",
    "provider",
];

/// The stages in the order of the data flow; a stage may use those before it and all that lies beneath.
const STAGES: [&str; 13] = [
    "plan",
    "inventory",
    "assess",
    "planner",
    "render",
    "freeze",
    "execute",
    "netboot",
    "controller",
    "live",
    "agent",
    "power",
    "cli",
];

/// Uses that the order does not allow, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

fn module_of(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split(['/', '.']).next().unwrap_or(rest)
}

fn allowed(user: &str, used: &str) -> bool {
    let place = |list: &[&str], name: &str| list.iter().position(|module| *module == name);
    match (place(&STAGES, user), place(&STAGES, used), place(&BENEATH, user), place(&BENEATH, used)) {
        (Some(user), Some(used), ..) => used <= user,
        (Some(_), None, _, Some(_)) => true,
        (None, None, Some(user), Some(used)) => used <= user,
        _ => EXCEPTIONS.iter().any(|(a, b, _)| *a == user && *b == used),
    }
}

#[test]
fn every_module_has_its_place() {
    let lib = read(&root().join("src/lib.rs"));
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(
            BENEATH.contains(&module) || STAGES.contains(&module),
            "`{module}` of src/lib.rs stands in no list of this test"
        );
    }
}

#[test]
fn imports_point_left_or_down() {
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]) {
        let name = shown(&path);
        let user = module_of(&name);
        if matches!(user, "lib" | "main") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for part in code.split("crate::").skip(1) {
                let used = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
                if used != user && !allowed(user, used) && !used.is_empty() {
                    wrong.push(format!("{name}:{}: `{user}` uses `{used}`", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the flow:\n{}", wrong.join("\n"));
}

/// Whether a line names a library: `cel::`, but not `parcel::`.
fn names(line: &str, library: &str) -> bool {
    let path = format!("{library}::");
    let whole = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
    line.match_indices(&path).any(|(at, _)| whole(at))
}

#[test]
fn petgraph_handlebars_and_yaml_are_named_at_home_alone() {
    // Plans and providers are the YAML that people write.
    let homes: [(&str, &[&str]); 4] = [
        ("petgraph", &["src/planner"]),
        ("handlebars", &["src/render"]),
        ("cel", &["src/assess/rules"]),
        ("serde_saphyr", &["src/plan", "src/provider"]),
    ];
    for (library, homes) in homes {
        for path in files("src", &[".rs"]) {
            let uses = read(&path).lines().any(|line| names(line, library));
            let name = shown(&path);
            let home = homes.iter().any(|home| name.starts_with(home));
            assert!(!uses || home, "{name} names {library}, which belongs to {homes:?} alone");
        }
    }
}
