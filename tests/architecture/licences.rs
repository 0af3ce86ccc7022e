//! Every dependency that is built in has a licence that `deny.toml` allows.

use std::process::Command;

use super::{read, root};

#[test]
fn dependencies_carry_allowed_licences() {
    let deny = read(&root().join("deny.toml"));
    let list = deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("deny.toml has a list");
    let allowed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 100, "the dependencies are listed");
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str().unwrap_or(""));
        assert!(satisfied(licence, &allowed), "{name}: licence `{licence}` is not in deny.toml's list");
    }
}

/// Evaluates an SPDX expression (`AND` binds tighter than `OR`; `/` is an old spelling of `OR`).
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let value = either(&tokens, &mut at, allowed);
    value && at == tokens.len()
}

fn either(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut value = both(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        value |= both(tokens, at, allowed);
    }
    value
}

fn both(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut value = single(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        value &= single(tokens, at, allowed);
    }
    value
}

fn single(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let value = either(tokens, at, allowed);
        *at += 1;
        return value;
    }
    let mut name = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).copied().unwrap_or(""));
        *at += 2;
    }
    allowed.contains(&name.as_str())
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    assert!(satisfied("MIT OR GPL-3.0", &allowed));
    assert!(satisfied("ISC AND (GPL-2.0 OR MIT)", &allowed));
    assert!(satisfied("Apache-2.0 WITH LLVM-exception", &allowed));
    assert!(satisfied("Unlicense/MIT", &allowed));
    assert!(!satisfied("MIT AND GPL-3.0", &allowed));
    assert!(!satisfied("", &allowed));
}
