//! Providers: adapters to hypervisors as data. A provider is a folder with a `provider.yaml` and templates; the
//! binary carries the ones that ship, a folder `providers/NAME` beside the plan overrides or adds one. Rules, too, are
//! data: `providers/common/rules.yaml` and `providers/NAME/rules.yaml`.
//!
//! ```text
//! providers/NAME/provider.yaml, templates/**, and templates/** that all providers share --Catalog--> Provider
//! ```
//!
//! It never holds code for one hypervisor.

mod catalog;
mod embedded;
mod manifest;
mod naming;
mod rules;
mod settings;
mod windows;

pub use catalog::{Catalog, Provider, ProviderError};
pub use manifest::{
    ArtifactSpec, Artifacts, Constants, DiskLimits, GuestSpec, Limits, Manifest, Networks, Range, ServiceMode,
    SettingsSchemas, Size, ToolSpec, VmNameLimits,
};
pub use naming::{artifact_path, file_stem, host_folder};
pub use rules::{RulePlace, RuleScope, RuleSpec, Section, parse_rules};
