//! Whether this machine has the tools that rendered scripts call.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inventory::ResolvedPlan;
use crate::provider::Catalog;

/// A warning for each tool that PATH does not have, with the Debian package that has it.
pub fn missing_tools(plan: &ResolvedPlan, catalog: &Catalog) -> Diagnostics {
    let path = env::var_os("PATH").unwrap_or_default();
    let has = |tool: &str| env::split_paths(&path).any(|folder| is_program(&folder.join(tool)));
    let used: BTreeSet<&str> = plan
        .plan
        .machines
        .iter()
        .filter_map(|machine| plan.plan.hosts.get(&machine.target.host.value))
        .map(|host| host.provider.value.as_str())
        .collect();
    let mut found = Diagnostics::new();
    for provider in used.into_iter().filter_map(|name| catalog.get(name)) {
        for spec in provider.manifest.tools.iter().filter(|spec| !has(&spec.tool)) {
            let message = format!("`{}` is missing here; provider `{}` needs it", spec.tool, provider.manifest.name);
            let help = format!("apt-get install {}", spec.package);
            found.push(Diagnostic::warning("plan.missing-tool", message).help(help));
        }
    }
    found
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
