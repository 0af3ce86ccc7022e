//! The provider folders and shared templates that the binary carries.

/// A file below the project's folder, with its text.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// Path and text of every embedded file.
pub const FILES: &[(&str, &str)] = files![
    "providers/common/rules.yaml",
    "providers/qemu/provider.yaml",
    "providers/qemu/service-modes.yaml",
    "providers/qemu/templates/scripts/create-vm.sh.hbs",
    "providers/qemu/templates/scripts/provider-init.sh.hbs",
    "providers/qemu/templates/scripts/start.sh.hbs",
    "providers/qemu/templates/scripts/vm.json.hbs",
    "providers/qemu/windows.yaml",
    "providers/virtual-server-2005/provider.yaml",
    "providers/virtual-server-2005/rules.yaml",
    "providers/virtual-server-2005/templates/scripts/capture.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/cleanup-vm.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/common-init.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/create-vm.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/deploy-vm.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/host-agent.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/post-deploy.cmd.hbs",
    "providers/virtual-server-2005/templates/scripts/validate.cmd.hbs",
    "providers/virtual-server-2005/templates/sequences/vs2005-capture-disk.xml.hbs",
    "providers/virtual-server-2005/templates/sequences/vs2005-deploy-vm.xml.hbs",
    "providers/virtual-server-2005/templates/sequences/vs2005-internal-state.xml.hbs",
    "providers/virtual-server-2005/templates/sequences/vs2005-service-driver.xml.hbs",
    "templates/netboot/agent.ipxe.hbs",
    "templates/netboot/dnsmasq.conf.hbs",
    "templates/netboot/first.ipxe.hbs",
    "templates/netboot/grub.cfg.hbs",
    "templates/netboot/local.ipxe.hbs",
    "templates/reports/assess.html.hbs",
    "templates/scripts/capture.sh.hbs",
    "templates/scripts/cleanup-vm.sh.hbs",
    "templates/scripts/common-init.sh.hbs",
    "templates/scripts/deploy-vm.sh.hbs",
    "templates/scripts/host-agent.sh.hbs",
    "templates/scripts/post-deploy.sh.hbs",
    "templates/scripts/validate.sh.hbs",
    "templates/sequences/capture-disk.xml.hbs",
    "templates/sequences/deploy-vm.xml.hbs",
    "templates/sequences/guest-disks.xml.hbs",
    "templates/sequences/internal-state.xml.hbs",
    "templates/sequences/script.xml.hbs",
    "templates/sequences/service-driver.xml.hbs",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_file_and_template_is_embedded() {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut found: Vec<String> = ["providers", "templates"]
            .iter()
            .flat_map(|folder| walkdir::WalkDir::new(format!("{root}/{folder}")))
            .map(|entry| entry.expect("the project's folder can be read"))
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(root).expect("below the root").display().to_string())
            .filter(|path| path.ends_with(".hbs") || path.ends_with(".yaml"))
            .collect();
        found.sort();
        let embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, embedded);
    }
}
