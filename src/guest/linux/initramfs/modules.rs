//! The modules of one of the guest's kernels: paths and dependencies, from what the guest's own depmod wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::{GuestTree, TreeError};

/// The modules below `/lib/modules/KERNEL`.
#[derive(Clone, Debug, Default)]
pub struct ModuleTree {
    /// The kernel's release.
    pub release: String,
    /// By name: path below the folder, and the paths it depends on, nearest first.
    pub modules: BTreeMap<String, (String, Vec<String>)>,
    /// Names of modules that are part of the kernel.
    pub builtin: BTreeSet<String>,
    /// `modules.alias`, line by line: alias and module name.
    pub aliases: Vec<(String, String)>,
}

impl ModuleTree {
    /// Reads the folder of one kernel; `None` if there are no modules for it.
    pub fn read(tree: &GuestTree, release: &str) -> Result<Option<Self>, TreeError> {
        let text = |name: &str| {
            let bytes = tree.read(&format!("/lib/modules/{release}/{name}"))?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let Some(dep) = text("modules.dep")? else { return Ok(None) };
        let builtin = text("modules.builtin")?.unwrap_or_default();
        let alias = text("modules.alias")?.unwrap_or_default();
        Ok(Some(Self::parse(release, &dep, &builtin, &alias)))
    }

    /// From the texts of `modules.dep`, `modules.builtin` and `modules.alias`.
    pub fn parse(release: &str, dep: &str, builtin: &str, alias: &str) -> Self {
        let modules = dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(path, needs)| {
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                (module_name(path), (path.trim().to_owned(), needs))
            })
            .collect();
        let aliases = alias
            .lines()
            .filter_map(|line| line.strip_prefix("alias ")?.rsplit_once(' '))
            .map(|(alias, module)| (alias.to_owned(), module.to_owned()))
            .collect();
        Self { release: release.to_owned(), modules, builtin: builtin.lines().map(module_name).collect(), aliases }
    }

    /// Whether the kernel has the driver, as a module or built in.
    pub fn has(&self, name: &str) -> bool {
        let name = module_name(name);
        self.builtin.contains(&name) || self.modules.contains_key(&name)
    }

    /// The paths of the named modules and of all they depend on, dependencies first; built-in ones are left out.
    pub fn closure(&self, names: &[&str]) -> Vec<String> {
        let mut paths = Vec::new();
        for name in names {
            let Some((path, needs)) = self.modules.get(&module_name(name)) else { continue };
            // depmod lists the nearest dependency first, so loading goes from the end.
            for path in needs.iter().rev().chain([path]) {
                if !paths.contains(path) {
                    paths.push(path.clone());
                }
            }
        }
        paths
    }
}

/// The name of a module by its path: `kernel/drivers/block/virtio_blk.ko.xz` is `virtio_blk`.
pub(super) fn module_name(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn small_tree() -> ModuleTree {
        ModuleTree::parse(
            "6.1.0-1-test",
            "kernel/drivers/virtio/virtio.ko:\n\
             kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
             kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
             kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
             kernel/fs/ext4/ext4.ko:\n",
            "kernel/drivers/scsi/sd_mod.ko\nkernel/drivers/scsi/scsi-mod.ko\n",
            "# comment\nalias virtio:d00000002v* virtio_blk\nalias fs-ext4 ext4\nalias fs-xfs xfs\n",
        )
    }

    #[test]
    fn closures_are_in_loading_order_and_leave_out_what_is_built_in() {
        let tree = small_tree();
        assert_eq!(
            tree.closure(&["virtio-pci", "virtio_blk", "sd_mod", "absent"]),
            [
                "kernel/drivers/virtio/virtio.ko",
                "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/drivers/virtio/virtio_pci.ko",
                "kernel/drivers/block/virtio_blk.ko",
            ]
        );
        assert!(tree.has("sd_mod") && tree.has("scsi_mod") && tree.has("virtio_blk") && !tree.has("absent"));
        assert_eq!(module_name("kernel/x/snd-hda.ko.xz"), "snd_hda");
    }
}
