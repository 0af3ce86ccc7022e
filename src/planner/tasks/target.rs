//! Tasks at the target: make the VM, restore, convert, connect, clean up.

use std::time::Duration;

use crate::address::Address;
use crate::inventory::DiskFacts;
use crate::plan::{DiskFormat, EndState};

use super::super::phases::Sides;
use super::super::task::{Key, Phase, Reversal, Task, TaskLimits};
use super::{Make, allocation, count, limits};

impl Make<'_> {
    pub(in super::super) fn create(&self, validate: &Address) -> (Task, Sides) {
        let target = &self.machine.target;
        let what = format!(
            "make VM `{}` on {}: {}, {}, {}, {}",
            target.vm_name.escape_debug(),
            target.host.value,
            self.facts.memory,
            count(self.facts.cpus as usize, "CPU"),
            format!("{:?}", self.facts.firmware).to_uppercase(),
            count(
                self.facts.disks.len(),
                &format!("{} {} disk", allocation(target.allocation), DiskFormat::name(target.disk_format))
            ),
        );
        let mut task = self.task("create", Phase::Create, what, "create-vm", None);
        task.key = Key::from([
            ("memory".into(), self.facts.memory.to_string()),
            ("cpus".into(), self.facts.cpus.to_string()),
            ("firmware".into(), format!("{:?}", self.facts.firmware).to_lowercase()),
        ]);
        for disk in &self.facts.disks {
            task.key.insert(disk.index.to_string(), self.layout(disk));
        }
        task.reversal = Reversal::Undo;
        task.limits = limits(60, None, 1);
        task.budgets = vec![self.host_budget()];
        task.depends_on = vec![validate.clone()];
        let digests = vec![
            ("script", task.command.script.clone()),
            ("start-script", self.script("start")),
            ("description", self.path("vm", "json")),
            self.common(),
        ];
        let digests = digests.into_iter().filter(|(_, path)| self.renders(path)).collect();
        (task, Sides { digests, ..Sides::default() })
    }

    /// Whether the provider makes that artifact.
    pub(in super::super) fn renders(&self, path: &str) -> bool {
        self.specs().iter().any(|spec| self.path(&spec.id, spec.extension()) == path)
    }

    pub(in super::super) fn layout(&self, disk: &DiskFacts) -> String {
        let target = &self.machine.target;
        format!("{} {} {}", allocation(target.allocation), DiskFormat::name(target.disk_format), disk.size.0)
    }

    pub(in super::super) fn deploy(
        &self,
        disk: &DiskFacts,
        capture: &Address,
        sealed: &Address,
        created: &Address,
    ) -> (Task, Sides) {
        let id = disk.index.to_string();
        let target = &self.machine.target;
        let what = format!("restore {id} ({}) to {id}.{} of the VM", disk.size, DiskFormat::name(target.disk_format));
        let mut task = self.task(&format!("deploy/{id}"), Phase::Deploy, what, "deploy-vm", Some(id.clone()));
        task.key = Key::from([
            ("vm".into(), format!("{} on {}", target.vm_name, target.host.value)),
            ("disk".into(), self.layout(disk)),
            ("template".into(), self.template("deploy-vm")),
        ]);
        task.reversal = Reversal::Undo;
        task.bytes = Some(disk.allocated.0.min(disk.size.0));
        task.throughput = Some("deploy".into());
        task.limits = limits(0, Some(10), 2);
        task.budgets = vec!["store".into(), self.host_budget()];
        task.depends_on = vec![sealed.clone(), created.clone()];
        let writes = Some(format!("{id} of VM `{}` on {}", target.vm_name, target.host.value));
        (task, Sides { upstream: vec![("image", vec![capture.clone()])], writes, ..Sides::default() })
    }

    /// All disks in one boot of the VM: it cannot run twice at once.
    pub(in super::super) fn deploy_in_agent(
        &self,
        captures: &[Address],
        [sealed, created]: [&Address; 2],
        agent: Option<&Address>,
    ) -> (Task, Sides) {
        let (disks, target) = (&self.facts.disks, &self.machine.target);
        let what = format!("have the agent in the VM fetch {} from the store", count(disks.len(), "image"));
        let mut task = self.task("deploy/disks", Phase::Deploy, what, "deploy-vm", Some("disks".into()));
        task.key = Key::from([
            ("vm".into(), format!("{} on {}", target.vm_name, target.host.value)),
            ("template".into(), self.template("deploy-vm")),
        ]);
        task.key.extend(disks.iter().map(|disk| (disk.index.to_string(), self.layout(disk))));
        task.reversal = Reversal::Undo;
        task.bytes = Some(disks.iter().map(|disk| disk.allocated.0.min(disk.size.0)).sum());
        task.throughput = Some("deploy-in-agent".into());
        task.limits = limits(0, Some(20), 2);
        task.budgets = vec!["store".into(), self.host_budget()];
        task.depends_on = [sealed.clone(), created.clone()].into_iter().chain(agent.cloned()).collect();
        let writes = Some(format!("the disks of VM `{}` on {}", target.vm_name, target.host.value));
        let digests = vec![("sequence", self.path("deploy-vm", "xml"))];
        (task, Sides { digests, upstream: vec![("images", captures.to_vec())], writes })
    }

    pub(in super::super) fn guest(&self, deployed: &[Address], agent: Option<&Address>) -> (Task, Sides) {
        let provider = self.provider.map_or("?", |provider| provider.manifest.name.as_str());
        let what = format!("convert the operating system for {provider}, in the agent, before its first boot");
        let mut task = self.task("deploy/guest", Phase::Deploy, what, "deploy-vm", Some("guest".into()));
        task.key.insert("template".into(), self.template("deploy-vm"));
        task.reversal = Reversal::Undo;
        task.limits = limits(90, Some(20), 1);
        task.budgets = vec![self.host_budget()];
        task.depends_on = deployed.iter().cloned().chain(agent.cloned()).collect();
        let digests = vec![("sequence", self.path("deploy-vm", "xml"))];
        (task, Sides { digests, upstream: vec![("disks", deployed.to_vec())], ..Sides::default() })
    }

    pub(in super::super) fn post_deploy(&self, deployed: &[Address], also: Vec<Address>) -> (Task, Sides) {
        let post = &self.machine.post_deploy;
        let network = &self.machine.target.network.value;
        let wait = post.wait_for.as_ref().filter(|_| post.action == EndState::Start);
        let wait = wait.map(|text| format!(" and wait for {text:?}")).unwrap_or_default();
        let what = match post.action {
            EndState::Start => format!("prove that the source is off, connect to `{network}`, start{wait}"),
            EndState::Stop => format!("prove that the source is off, connect to `{network}`, leave it off"),
            EndState::Agent => "leave the VM in the agent, not connected".to_owned(),
        };
        let mut task = self.task("post-deploy", Phase::PostDeploy, what, "post-deploy", None);
        task.key.insert("action".into(), format!("{:?}", post.action).to_lowercase());
        task.key.insert("network".into(), network.clone());
        task.reversal = match post.action {
            EndState::Agent => Reversal::Undo,
            _ => Reversal::PointOfNoReturn { why: "the VM takes the source's place on the network".into() },
        };
        task.limits = TaskLimits { timeout: Some(post.timeout + Duration::from_secs(900)), ..TaskLimits::default() };
        task.budgets = vec![self.host_budget()];
        task.depends_on = deployed.iter().cloned().chain(also).collect();
        let digests = vec![("script", task.command.script.clone())];
        (task, Sides { digests, upstream: vec![("disks", deployed.to_vec())], ..Sides::default() })
    }

    pub(in super::super) fn cleanup(&self) -> (Task, Sides) {
        let what = "after a failure: stop jobs, power off, undo what was made".to_owned();
        let mut task = self.task("cleanup", Phase::Cleanup, what, "cleanup-vm", Some("stop".into()));
        task.limits = limits(15, None, 1);
        task.budgets = vec![self.host_budget()];
        let digests = vec![("script", task.command.script.clone())];
        (task, Sides { digests, ..Sides::default() })
    }
}
