//! What the tests of plan files share.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use replant::diagnostic::{Diagnostics, Renderer};
use replant::plan::{Plan, load};
use tempfile::TempDir;

/// The plan files of a folder of the project (relative, as tests run in the project's folder), sorted.
pub fn plans_in(folder: &str) -> Vec<Utf8PathBuf> {
    let entries = Utf8Path::new(folder).read_dir_utf8().unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut plans: Vec<Utf8PathBuf> =
        entries.map(|entry| entry.unwrap().into_path()).filter(|path| path.extension() == Some("yaml")).collect();
    plans.sort();
    plans
}

/// What a person sees of diagnostics, without colours.
pub fn rendered(found: &Diagnostics) -> String {
    Renderer::new(false).render_all(found)
}

/// A folder with a plan in it.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// A folder with `plan.yaml`.
    pub fn new(plan: &str) -> Self {
        let scratch = Self { folder: TempDir::new().unwrap() };
        scratch.file("plan.yaml", plan.as_bytes());
        scratch
    }

    /// Its path, links resolved.
    pub fn path(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().canonicalize_utf8().unwrap()
    }

    /// Adds a file.
    pub fn file(&self, name: &str, content: &[u8]) -> Utf8PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Loads the plan.
    pub fn load(&self) -> Result<(Plan, Diagnostics), Diagnostics> {
        load(&self.path().join("plan.yaml"))
    }

    /// Loads a plan that must be valid.
    pub fn plan(&self) -> Plan {
        match self.load() {
            Ok((plan, _)) => plan,
            Err(found) => panic!("{}", rendered(&found)),
        }
    }

    /// Loads a plan that must be refused.
    pub fn refused(&self) -> Diagnostics {
        match self.load() {
            Ok(_) => panic!("the plan was accepted"),
            Err(found) => found,
        }
    }
}

/// A plan of one host and these machines, a mapping in one line each.
pub fn plan_of(machines: &[&str]) -> String {
    let machines: String = machines.iter().map(|machine| format!("  - {machine}\n")).collect();
    format!(
        "replant: 1\nname: test\nhosts: {{ local: {{ provider: qemu }} }}\ndefaults: {{ target: {{ host: local }} }}\n\
         machines:\n{machines}"
    )
}
