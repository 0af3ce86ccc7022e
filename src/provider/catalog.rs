//! Every provider that a plan can name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use super::embedded;
use super::manifest::Manifest;
use super::rules::{RuleSpec, parse_rules};
use super::settings::{SettingError, SettingsSchema};
use super::windows;
use crate::guest::windows::TargetTables;

/// Why a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A folder or file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A path that is not text.
    #[error("{path} is not valid UTF-8")]
    NotUtf8 {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// The manifest cannot be understood.
    #[error("{path} is not a provider description: {message}")]
    Manifest {
        /// The file.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// The rules cannot be understood.
    #[error("{path} is not a file of rules: {message}")]
    Rules {
        /// The file.
        path: String,
        /// What is wrong, with line and column where known.
        message: String,
    },
    /// The manifest contradicts its folder or itself.
    #[error("{path}: {message}")]
    Inconsistent {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// A provider: its description, its schemas ready to use, and its templates.
#[derive(Debug)]
pub struct Provider {
    /// The description.
    pub manifest: Manifest,
    host_schema: SettingsSchema,
    target_schema: SettingsSchema,
    templates: BTreeMap<String, String>,
    digests: BTreeMap<String, String>,
    rules: Vec<RuleSpec>,
    windows: TargetTables,
}

/// The folder of what all providers share.
const COMMON: &str = "common";

/// Every provider that a plan can name.
#[derive(Debug)]
pub struct Catalog {
    providers: BTreeMap<String, Provider>,
    rules: Vec<RuleSpec>,
    files: Vec<(Utf8PathBuf, String)>,
}

/// The files of one provider, by path below its folder.
#[derive(Clone, Default)]
struct Folder {
    manifest: Option<(String, String)>,
    rules: Option<(String, String)>,
    hardware: Option<(String, String)>,
    services: Option<(String, String)>,
    templates: BTreeMap<String, String>,
}

impl Catalog {
    /// The embedded providers alone.
    pub fn embedded() -> Result<Self, ProviderError> {
        Self::assemble(embedded_folders(), Vec::new())
    }

    /// The embedded providers, and those that lie in `providers/` below `root`: a file there replaces the embedded
    /// one of the same path.
    pub fn open(root: &Utf8Path) -> Result<Self, ProviderError> {
        let mut folders = embedded_folders();
        let mut files = Vec::new();
        let base = root.join("providers");
        if !base.is_dir() {
            return Self::assemble(folders, files);
        }
        for entry in walkdir::WalkDir::new(&base).sort_by_file_name() {
            let entry = entry.map_err(|error| ProviderError::Unreadable {
                path: base.clone(),
                error: error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of symbolic links")),
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = Utf8PathBuf::from_path_buf(entry.into_path())
                .map_err(|path| ProviderError::NotUtf8 { path: path.display().to_string() })?;
            let below = path.strip_prefix(&base).expect("the walk stays below its base");
            let Some((name, rest)) = below.as_str().split_once('/') else { continue };
            let kept = ["provider.yaml", "rules.yaml", windows::HARDWARE, windows::SERVICES].contains(&rest)
                || (rest.starts_with("templates/") && rest.ends_with(".hbs"));
            if !kept {
                continue;
            }
            let text =
                fs::read_to_string(&path).map_err(|error| ProviderError::Unreadable { path: path.clone(), error })?;
            files.push((path.clone(), digest(text.as_bytes())));
            folders.entry(name.to_owned()).or_default().add(rest, path.as_str(), text);
        }
        Self::assemble(folders, files)
    }

    fn assemble(
        mut folders: BTreeMap<String, Folder>,
        files: Vec<(Utf8PathBuf, String)>,
    ) -> Result<Self, ProviderError> {
        let shared = shared_templates();
        let common = folders.remove(COMMON).unwrap_or_default();
        let rules = common.rules()?;
        let mut providers = BTreeMap::new();
        for (name, folder) in folders {
            let provider = Provider::assemble(&name, folder, &shared)?;
            providers.insert(name, provider);
        }
        unique(&rules, &providers)?;
        Ok(Self { providers, rules, files })
    }

    /// The provider of that name.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }

    /// The names of all providers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// The rules that hold whatever the provider is.
    pub fn common_rules(&self) -> &[RuleSpec] {
        &self.rules
    }

    /// Files beside the plan that went into the catalog, with their digests.
    pub fn files(&self) -> &[(Utf8PathBuf, String)] {
        &self.files
    }
}

impl Folder {
    fn add(&mut self, below: &str, shown: &str, text: String) {
        if below == "provider.yaml" {
            self.manifest = Some((shown.to_owned(), text));
        } else if below == "rules.yaml" {
            self.rules = Some((shown.to_owned(), text));
        } else if below == windows::HARDWARE {
            self.hardware = Some((shown.to_owned(), text));
        } else if below == windows::SERVICES {
            self.services = Some((shown.to_owned(), text));
        } else if let Some(name) = below.strip_prefix("templates/").and_then(|name| name.strip_suffix(".hbs")) {
            self.templates.insert(name.to_owned(), text);
        }
    }

    fn rules(&self) -> Result<Vec<RuleSpec>, ProviderError> {
        let Some((path, text)) = &self.rules else { return Ok(Vec::new()) };
        parse_rules(text).map_err(|message| ProviderError::Rules { path: path.clone(), message })
    }
}

/// A rule is silenced and reported by its id: it names one rule.
fn unique(common: &[RuleSpec], providers: &BTreeMap<String, Provider>) -> Result<(), ProviderError> {
    let mut seen: BTreeMap<&str, &str> = common.iter().map(|rule| (rule.id.as_str(), COMMON)).collect();
    for (name, provider) in providers {
        for rule in &provider.rules {
            if let Some(first) = seen.insert(&rule.id, name) {
                let message = format!("the rule `{}` stands in providers/{first}/rules.yaml, too", rule.id);
                return Err(ProviderError::Rules { path: format!("providers/{name}/rules.yaml"), message });
            }
        }
    }
    Ok(())
}

impl Provider {
    fn assemble(name: &str, folder: Folder, shared: &BTreeMap<String, String>) -> Result<Self, ProviderError> {
        let rules = folder.rules()?;
        let (path, text) = folder.manifest.ok_or_else(|| ProviderError::Inconsistent {
            path: format!("providers/{name}"),
            message: "it has no provider.yaml, and no provider of that name is built in".to_owned(),
        })?;
        let manifest: Manifest = serde_saphyr::from_str(&text)
            .map_err(|error| ProviderError::Manifest { path: path.clone(), message: error.to_string() })?;
        let wrong = |message: String| ProviderError::Inconsistent { path: path.clone(), message };
        if manifest.provider != 1 {
            return Err(wrong(format!("format {} is not known to this version; 1 is", manifest.provider)));
        }
        if manifest.name != name {
            return Err(wrong(format!("its name is `{}`, its folder is `{name}`", manifest.name)));
        }
        let windows = windows::tables(folder.hardware.as_ref(), folder.services.as_ref())?;
        let mut templates = shared.clone();
        templates.extend(folder.templates);
        let specs = manifest.artifacts.host.iter().chain(&manifest.artifacts.machine);
        if let Some(missing) = specs.map(|spec| &spec.template).find(|template| !templates.contains_key(*template)) {
            return Err(wrong(format!("there is no template `{missing}.hbs`")));
        }
        let compile = |what: &str, schema: &Value| {
            SettingsSchema::compile(schema.clone()).map_err(|error| wrong(format!("settings.{what}: {error}")))
        };
        let host_schema = compile("host", &manifest.settings.host)?;
        let target_schema = compile("target", &manifest.settings.target)?;
        let digests = templates.keys().map(|name| (name.clone(), digest_with_partials(name, &templates))).collect();
        Ok(Self { host_schema, target_schema, templates, digests, rules, windows, manifest })
    }

    /// Its own rules.
    pub fn rules(&self) -> &[RuleSpec] {
        &self.rules
    }

    /// What it says about Windows guests: devices of its machines, start modes of services.
    pub fn windows(&self) -> &TargetTables {
        &self.windows
    }

    /// Every template that it can use, by name without `.hbs`.
    pub fn templates(&self) -> &BTreeMap<String, String> {
        &self.templates
    }

    /// A digest of a template and of all that it takes in: how the artifact is made, whatever its values are.
    pub fn template_digest(&self, template: &str) -> Option<&str> {
        self.digests.get(template).map(String::as_str)
    }

    /// What the schema refuses in a host's settings: path and message.
    pub fn check_host_settings(&self, settings: &Map<String, Value>) -> Vec<(Vec<String>, String)> {
        flatten(self.host_schema.check(settings))
    }

    /// What the schema refuses in a machine's target settings: path and message.
    pub fn check_target_settings(&self, settings: &Map<String, Value>) -> Vec<(Vec<String>, String)> {
        flatten(self.target_schema.check(settings))
    }

    /// A host's settings with the schema's defaults.
    pub fn host_settings(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        self.host_schema.with_defaults(settings)
    }

    /// A machine's target settings with the schema's defaults.
    pub fn target_settings(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        self.target_schema.with_defaults(settings)
    }

    /// The network of that name on a host with these (complete) settings.
    pub fn network<'a>(&'a self, host: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
        let declared = host.get(&self.manifest.networks.setting).and_then(|networks| networks.get(name));
        declared.or_else(|| self.manifest.networks.builtin.get(name))
    }

    /// The names of all networks on a host with these (complete) settings.
    pub fn network_names(&self, host: &Map<String, Value>) -> Vec<String> {
        let declared = host.get(&self.manifest.networks.setting).and_then(Value::as_object);
        let mut names: Vec<String> = self.manifest.networks.builtin.keys().cloned().collect();
        names.extend(declared.into_iter().flat_map(|networks| networks.keys().cloned()));
        names.sort();
        names.dedup();
        names
    }
}

fn flatten(errors: Vec<SettingError>) -> Vec<(Vec<String>, String)> {
    errors.into_iter().map(|error| (error.path, error.message)).collect()
}

/// The digest of a template and of the partials it names, theirs included.
fn digest_with_partials(name: &str, templates: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
    while let Some(name) = open.pop() {
        let Some(text) = templates.get(name).filter(|_| seen.insert(name)) else { continue };
        hasher.update(text.as_bytes());
        let partials = text.split("{{>").skip(1).filter_map(|rest| rest.split("}}").next());
        open.extend(partials.map(str::trim));
    }
    format!("blake3:{}", hasher.finalize().to_hex())
}

fn embedded_folders() -> BTreeMap<String, Folder> {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for (path, text) in embedded::FILES {
        if let Some((name, below)) = path.strip_prefix("providers/").and_then(|rest| rest.split_once('/')) {
            folders.entry(name.to_owned()).or_default().add(below, path, (*text).to_owned());
        }
    }
    folders
}

fn shared_templates() -> BTreeMap<String, String> {
    let named = |path: &&'static str| path.strip_prefix("templates/").and_then(|name| name.strip_suffix(".hbs"));
    let files = embedded::FILES.iter();
    files.filter_map(|(path, text)| named(path).map(|name| (name.to_owned(), (*text).to_owned()))).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn the_embedded_provider_is_complete() {
        let catalog = Catalog::embedded().unwrap();
        assert_eq!(catalog.names().collect::<Vec<_>>(), ["qemu", "virtual-server-2005"]);
        let qemu = catalog.get("qemu").unwrap();
        let settings = qemu.host_settings(&Map::new());
        assert_eq!(settings["folder"], "vms");
        assert!(qemu.check_host_settings(&settings).is_empty());
        assert_eq!(qemu.network_names(&settings), ["none", "user"]);
    }

    #[test]
    fn settings_are_checked_with_their_path() {
        let catalog = Catalog::embedded().unwrap();
        let settings = serde_json::json!({ "accel": "warp", "networks": { "lan": { "type": "bridge" } }, "x": 1 });
        let errors = catalog.get("qemu").unwrap().check_host_settings(settings.as_object().unwrap());
        let paths: Vec<String> = errors.iter().map(|(path, _)| path.join(".")).collect();
        assert!(paths.contains(&"accel".to_owned()), "{errors:?}");
        assert!(paths.contains(&"networks.lan".to_owned()), "{errors:?}");
        assert!(paths.contains(&String::new()), "{errors:?}");
    }

    #[test]
    fn a_folder_beside_the_plan_overrides_one_template_or_adds_a_provider() {
        let manifest = include_str!("../../providers/qemu/provider.yaml").replace("name: qemu", "name: bhyve");
        let (_folder, root) = plan_folder(&[
            ("providers/qemu/templates/scripts/start.sh.hbs", "#!/bin/sh\necho mine\n"),
            ("providers/bhyve/provider.yaml", &manifest),
            ("providers/bhyve/templates/scripts/start.sh.hbs", "x"),
            ("providers/bhyve/templates/scripts/create-vm.sh.hbs", "x"),
            ("providers/bhyve/templates/scripts/vm.json.hbs", "x"),
        ]);
        let catalog = Catalog::open(&root).unwrap();
        assert_eq!(catalog.names().collect::<Vec<_>>(), ["bhyve", "qemu", "virtual-server-2005"]);
        assert!(catalog.get("qemu").unwrap().templates()["scripts/start.sh"].contains("mine"));
        assert_eq!(catalog.files().len(), 5);
    }

    #[test]
    fn broken_descriptions_are_named() {
        let (_folder, root) = plan_folder(&[("providers/x/provider.yaml", "provider: 1\nname: x\ncolour: red\n")]);
        let error = Catalog::open(&root).unwrap_err().to_string();
        assert!(error.contains("colour") && error.contains("providers/x/provider.yaml"), "{error}");
        let other = include_str!("../../providers/qemu/provider.yaml");
        let (_folder, root) = plan_folder(&[("providers/y/provider.yaml", other)]);
        let error = Catalog::open(&root).unwrap_err().to_string();
        assert!(error.contains("its name is `qemu`, its folder is `y`"), "{error}");
    }
}
