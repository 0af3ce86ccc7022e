//! What tasks and edges each phase adds to the graph.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::address::Address;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::inventory::{DiskFacts, ResolvedMachine, ResolvedPlan};
use crate::plan::{
    AgentSource, Allocation, Capture, CaptureRead, Compression, Convert, DeployBy, DiskFormat, Encryption, EndState,
    HostName, Machine, OnReadError, SecretRef, SnapshotUse, SshSource,
};
use crate::provider::{ArtifactSpec, Artifacts, Catalog, Provider, artifact_path, file_stem, host_folder};

use super::check::{PlannerError, verify};
use super::graph::TaskGraph;
use super::order::{Ordering, cycle_diagnostics};
use super::task::{Key, Phase, Reversal, ScriptCall, Task, TaskLimits};

/// Tasks in order, before the digests of what was rendered are in their keys.
#[derive(Debug)]
pub struct Draft {
    tasks: Vec<Task>,
    sides: Vec<Sides>,
}

/// What belongs to a task only until its key is complete.
#[derive(Debug, Default)]
struct Sides {
    /// Artifacts whose digests go into the key: name of the input, path.
    digests: Vec<(&'static str, String)>,
    /// Tasks whose keys go into the key.
    upstream: Vec<(&'static str, Vec<Address>)>,
    /// The disk that the task writes.
    writes: Option<String>,
}

/// Makes the tasks of a plan and puts them in order.
///
/// # Errors
/// Machines and waves that wait for each other, and names that would share a folder.
pub fn draft(plan: &ResolvedPlan, catalog: &Catalog) -> Result<Draft, Diagnostics> {
    let mut builder = Builder::new(plan, catalog);
    builder.folders()?;
    for index in 0..plan.plan.machines.len() {
        builder.machine(index);
    }
    builder.finish()
}

impl Draft {
    /// Puts the digests of rendered artifacts and the keys of earlier tasks into each key; `digest` gives an
    /// artifact's by its path.
    pub fn bind<'a>(self, digest: impl Fn(&str) -> Option<&'a str>) -> Result<TaskGraph, PlannerError> {
        verify(&self.tasks, |number| self.sides[number].writes.as_deref())?;
        let mut bound: Vec<Task> = Vec::with_capacity(self.tasks.len());
        let mut key_digests: HashMap<Address, blake3::Hash> = HashMap::with_capacity(self.tasks.len());
        for (mut task, sides) in self.tasks.into_iter().zip(self.sides) {
            for (input, path) in sides.digests {
                let Some(value) = digest(&path) else {
                    return Err(PlannerError::NoScript { address: task.address, script: path });
                };
                task.key.insert(input.to_owned(), short(value));
            }
            for (input, addresses) in sides.upstream {
                let mut hasher = blake3::Hasher::new();
                for address in &addresses {
                    hasher.update(key_digests[address].as_bytes());
                }
                task.key.insert(input.to_owned(), short(&format!("blake3:{}", hasher.finalize().to_hex())));
            }
            key_digests.insert(task.address.clone(), digest_of(&task.key));
            bound.push(task);
        }
        Ok(TaskGraph::from_ordered(bound))
    }
}

/// Enough of a digest to tell inputs apart, and short enough to read.
fn short(digest: &str) -> String {
    digest.chars().take("blake3:".len() + 32).collect()
}

fn digest_of(key: &Key) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in key {
        for text in [name, value] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    hasher.finalize()
}

struct Builder<'a> {
    plan: &'a ResolvedPlan,
    catalog: &'a Catalog,
    number: HashMap<&'a str, usize>,
    tasks: Vec<Task>,
    sides: Vec<Sides>,
    machine_of: Vec<Option<usize>>,
    /// Of each machine: its first task and the one after which it is done.
    first: Vec<usize>,
    last: Vec<usize>,
    host_agents: BTreeMap<&'a HostName, Address>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a ResolvedPlan, catalog: &'a Catalog) -> Self {
        let names = plan.plan.machines.iter().map(|machine| machine.name.value.0.as_ref());
        let number: HashMap<&str, usize> = names.zip(0..).collect();
        let expected = plan.plan.machines.len() * 8;
        let (tasks, sides, machine_of) =
            (Vec::with_capacity(expected), Vec::with_capacity(expected), Vec::with_capacity(expected));
        let (first, last, host_agents) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { plan, catalog, number, tasks, sides, machine_of, first, last, host_agents }
    }

    /// A machine called as a host's folder would overwrite its artifacts.
    fn folders(&self) -> Result<(), Diagnostics> {
        let mut found = Diagnostics::new();
        for host in self.plan.plan.hosts.values() {
            let folder = host_folder(&host.name.value.0);
            if let Some(machine) = self.number.get(folder.as_str()) {
                let name = &self.plan.plan.machines[*machine].name;
                let message = format!("machine `{folder}` is called as the folder of host `{}`", host.name.value);
                let diagnostic = Diagnostic::error("planner.folder-taken", message).at(name.span.clone(), "");
                found.push(diagnostic.help("give the machine or the host another name"));
            }
        }
        if found.has_errors() { Err(found) } else { Ok(()) }
    }

    fn push(&mut self, task: Task, sides: Sides, machine: Option<usize>) -> Address {
        let address = task.address.clone();
        self.tasks.push(task);
        self.sides.push(sides);
        self.machine_of.push(machine);
        address
    }

    /// The task that builds a host's agent, made when the first machine needs it.
    fn host_agent(&mut self, host: &'a HostName) -> Address {
        if let Some(address) = self.host_agents.get(host) {
            return address.clone();
        }
        let folder = host_folder(&host.0);
        let provider = self.catalog.get(&self.plan.plan.hosts[host].provider.value);
        let specs = provider.map(|provider| provider.manifest.artifacts.host.as_slice()).unwrap_or_default();
        let script = artifact_path(&folder, "agent", &Artifacts::script_extension(specs, "agent"));
        let task = Task {
            address: Address::within(&format!("host:{host}"), "agent"),
            phase: Phase::Host,
            what: "build the agent's kernel and initramfs, unless they are cached".into(),
            command: ScriptCall { script: script.clone(), item: None },
            key: Key::new(),
            reversal: Reversal::KeepsResult { why: "a cache that all machines share".into() },
            bytes: None,
            throughput: None,
            limits: limits(60, Some(20), 1),
            budgets: vec![format!("host:{host}")],
            depends_on: Vec::new(),
        };
        let sides = Sides { digests: vec![("script", script)], ..Sides::default() };
        let address = self.push(task, sides, None);
        self.host_agents.insert(host, address.clone());
        address
    }

    fn machine(&mut self, index: usize) {
        let (machine, facts) = (&self.plan.plan.machines[index], &self.plan.machines[index]);
        let host = &machine.target.host.value;
        let needs_agent = machine.source.agent.is_some()
            || machine.guest.convert == Convert::Auto
            || machine.post_deploy.action == EndState::Agent
            || machine.target.deploy == DeployBy::Agent;
        let agent = needs_agent.then(|| self.host_agent(host));
        let provider = self.catalog.get(&self.plan.plan.hosts[host].provider.value);
        let make = Make { plan: self.plan, machine, facts, provider };

        self.first.push(self.tasks.len());
        let (task, sides) = make.validate();
        let validate = self.push(task, sides, Some(index));
        let ready = match &machine.source.agent {
            Some(source) => {
                let precopied = machine.source.ssh.as_ref().map(|_| {
                    let (task, sides) = make.precopy(&validate);
                    self.push(task, sides, Some(index))
                });
                let (task, sides) = make.boot_source(source, precopied.as_ref().unwrap_or(&validate), agent.as_ref());
                self.push(task, sides, Some(index))
            }
            None => validate.clone(),
        };
        let mut captures = Vec::new();
        for disk in &facts.disks {
            let (task, sides) = make.capture(disk, &ready);
            captures.push(self.push(task, sides, Some(index)));
        }
        let (task, sides) = make.seal(&captures);
        let sealed = self.push(task, sides, Some(index));
        let released = machine.source.agent.as_ref().map(|_| {
            let (task, sides) = make.release_source(&sealed);
            self.push(task, sides, Some(index))
        });
        let (task, sides) = make.create(&validate);
        let created = self.push(task, sides, Some(index));
        let mut deployed = Vec::new();
        if machine.target.deploy == DeployBy::Agent {
            let (task, sides) = make.deploy_in_agent(&captures, [&sealed, &created], agent.as_ref());
            deployed.push(self.push(task, sides, Some(index)));
        } else {
            for (disk, capture) in facts.disks.iter().zip(&captures) {
                let (task, sides) = make.deploy(disk, capture, &sealed, &created);
                deployed.push(self.push(task, sides, Some(index)));
            }
        }
        if machine.guest.convert == Convert::Auto {
            let (task, sides) = make.guest(&deployed, agent.as_ref());
            deployed = vec![self.push(task, sides, Some(index))];
        }
        let extra = agent.filter(|_| machine.post_deploy.action == EndState::Agent);
        let (task, sides) = make.post_deploy(&deployed, extra.into_iter().chain(released).collect());
        self.last.push(self.tasks.len());
        self.push(task, sides, Some(index));
        let (task, sides) = make.cleanup();
        self.push(task, sides, Some(index));
    }

    fn finish(mut self) -> Result<Draft, Diagnostics> {
        for (index, machine) in self.plan.plan.machines.iter().enumerate() {
            let before = machine.after.iter().filter_map(|name| self.number.get(name.value.0.as_ref()));
            let before: Vec<Address> = before.map(|m| self.tasks[self.last[*m]].address.clone()).collect();
            self.tasks[self.first[index]].depends_on.extend(before);
        }
        let by_address: HashMap<&Address, usize> =
            self.tasks.iter().enumerate().map(|(number, task)| (&task.address, number)).collect();
        let edges = self.tasks.iter().map(|task| task.depends_on.len() + 1).sum();
        let mut ordering = Ordering::new(self.tasks.len(), edges);
        for (number, task) in self.tasks.iter().enumerate() {
            for dependency in &task.depends_on {
                ordering.edge(by_address[dependency], number);
            }
            if task.phase == Phase::Cleanup {
                // Not a dependency, for it runs when others have failed; but it stands at the machine's end.
                ordering.behind(number - 1, number);
            }
        }
        ordering.waves(&self.plan.plan, &self.number, &self.first, &self.last);
        drop(by_address);
        let order = match ordering.sort() {
            Ok(order) => order,
            Err(cycle) => return Err(cycle_diagnostics(&self.plan.plan, &cycle, &|task| self.machine_of[task])),
        };
        drop(ordering);
        let mut tasks: Vec<Option<(Task, Sides)>> = self.tasks.into_iter().zip(self.sides).map(Some).collect();
        let take = |number: usize| tasks[number].take().expect("an order names each task once");
        let (tasks, sides) = order.into_iter().map(take).unzip();
        Ok(Draft { tasks, sides })
    }
}

/// Makes the tasks of one machine.
struct Make<'a> {
    plan: &'a ResolvedPlan,
    machine: &'a Machine,
    facts: &'a ResolvedMachine,
    provider: Option<&'a Provider>,
}

impl Make<'_> {
    fn name(&self) -> &str {
        &self.machine.name.value.0
    }

    fn path(&self, id: &str, extension: &str) -> String {
        artifact_path(&file_stem(self.name()), id, extension)
    }

    fn specs(&self) -> &[ArtifactSpec] {
        self.provider.map(|provider| provider.manifest.artifacts.machine.as_slice()).unwrap_or_default()
    }

    /// The path of a script, in the provider's language.
    fn script(&self, id: &str) -> String {
        self.path(id, &Artifacts::script_extension(self.specs(), id))
    }

    /// A task without inputs or dependencies.
    fn task(&self, address: &str, phase: Phase, what: String, script: &str, item: Option<String>) -> Task {
        Task {
            address: Address::within(self.name(), address),
            phase,
            what,
            command: ScriptCall { script: self.script(script), item },
            key: Key::new(),
            reversal: Reversal::Nothing,
            bytes: None,
            throughput: None,
            limits: TaskLimits::default(),
            budgets: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    fn template(&self, id: &str) -> String {
        let spec = self.specs().iter().find(|spec| spec.id == id && spec.is_script());
        let digest = spec.zip(self.provider).and_then(|(spec, provider)| provider.template_digest(&spec.template));
        short(digest.unwrap_or_default())
    }

    fn host_budget(&self) -> String {
        format!("host:{}", self.machine.target.host.value)
    }

    fn common(&self) -> (&'static str, String) {
        ("settings", self.script("common-init"))
    }

    fn validate(&self) -> (Task, Sides) {
        let disks = count(self.facts.disks.len(), "source disk");
        let what = format!("look again at {disks} and the host's tools");
        let mut task = self.task("validate", Phase::Validate, what, "validate", None);
        task.limits = limits(10, None, 1);
        for disk in &self.facts.disks {
            task.key.insert(disk.index.to_string(), disk.identity.clone());
        }
        let script = task.command.script.clone();
        (task, Sides { digests: vec![("script", script), self.common()], ..Sides::default() })
    }

    /// Most of the disks goes into the store while the source works, so that the agent's capture is short.
    fn precopy(&self, validate: &Address) -> (Task, Sides) {
        let disks = count(self.facts.disks.len(), "disk");
        let snapshots = self.machine.source.ssh.as_ref().map(snapshots).unwrap_or_default();
        let what = format!("pre-copy {disks} over ssh while the source works (not consistent){snapshots}");
        let mut task = self.task("precopy", Phase::Capture, what, "capture", Some("precopy".into()));
        task.key.insert("template".into(), self.template("capture"));
        task.key.extend(self.facts.disks.iter().map(|disk| (disk.index.to_string(), disk.identity.clone())));
        let why = "what it put into the store is of value to any later capture";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.bytes = Some(self.facts.disks.iter().map(|disk| disk.allocated.0).sum());
        task.throughput = Some("precopy".into());
        task.limits = limits(0, Some(10), 2);
        task.budgets = vec!["store".into()];
        task.depends_on = vec![validate.clone()];
        (task, Sides::default())
    }

    /// The source machine comes into the agent.
    fn boot_source(&self, source: &AgentSource, validate: &Address, agent: Option<&Address>) -> (Task, Sides) {
        let named = [("MAC", &source.mac), ("UUID", &source.uuid), ("serial number", &source.serial)];
        let named = named.into_iter().filter_map(|(what, value)| Some((what, value.as_ref()?)));
        let finds: Vec<String> = named.clone().map(|(what, value)| format!("{what} {value}")).collect();
        let what = format!("have the machine with {} boot into the agent, and wait for it", finds.join(", "));
        let mut task = self.task("boot", Phase::Capture, what, "capture", Some("boot".into()));
        task.key = named.map(|(what, value)| (what.to_owned(), value.clone())).collect();
        task.key.insert("template".into(), self.template("capture"));
        task.reversal = Reversal::Undo;
        task.limits = TaskLimits { retries: 2, ..TaskLimits::default() };
        task.depends_on = std::iter::once(validate.clone()).chain(agent.cloned()).collect();
        (task, Sides::default())
    }

    /// The source machine goes off; nobody needs it any more.
    fn release_source(&self, sealed: &Address) -> (Task, Sides) {
        let what = "switch the source machine off and release it".to_owned();
        let mut task = self.task("release", Phase::Capture, what, "capture", Some("release".into()));
        task.key.insert("template".into(), self.template("capture"));
        let why = "the source is only off; switch it on to have it back";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.limits = limits(30, None, 2);
        task.depends_on = vec![sealed.clone()];
        (task, Sides { upstream: vec![("images", vec![sealed.clone()])], ..Sides::default() })
    }

    fn capture(&self, disk: &DiskFacts, validate: &Address) -> (Task, Sides) {
        let id = disk.index.to_string();
        let format = DiskFormat::name(disk.format);
        let live = match (&self.machine.source.ssh, &self.machine.source.agent) {
            (Some(ssh), None) if ssh.accept_inconsistent => ", while it is in use: consistent or marked as not",
            (Some(_), None) => ", while it is in use: consistent or refused",
            _ => "",
        };
        let only_ssh = self.machine.source.ssh.as_ref().filter(|_| self.machine.source.agent.is_none());
        let snapshots = only_ssh.map(snapshots).unwrap_or_default();
        let what = format!("capture {id} ({}, {format}) of {}{live}{snapshots}", disk.size, disk.path);
        let mut task = self.task(&format!("capture/{id}"), Phase::Capture, what, "capture", Some(id.clone()));
        task.key = Key::from([
            ("source".into(), disk.path.to_string()),
            ("format".into(), format.into()),
            ("identity".into(), disk.identity.clone()),
            ("store".into(), self.plan.plan.store.path.to_string()),
            ("encryption".into(), encryption(&self.plan.plan.store.encryption)),
            ("compression".into(), compression(self.machine.capture.compression).into()),
            ("template".into(), self.template("capture")),
        ]);
        let Capture { read, on_read_error, .. } = self.machine.capture;
        if read == CaptureRead::Whole {
            task.key.insert("read".into(), "whole".into());
        }
        if on_read_error == OnReadError::ZeroAndReport {
            task.key.insert("on_read_error".into(), "zero-and-report".into());
        }
        let why = "a finished image is of value; remove it with `replant image rm`";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.bytes = Some(disk.allocated.0.min(disk.size.0));
        // What travels from an agent, and what is left to travel after a pre-copy, have rates of their own.
        let kind = match (&self.machine.source.agent, &self.machine.source.ssh) {
            (Some(_), Some(_)) => "capture-warm",
            (Some(_), None) => "capture-agent",
            (None, Some(_)) => "capture-ssh",
            (None, None) => "capture",
        };
        task.throughput = Some(kind.into());
        task.limits = limits(0, Some(10), 2);
        task.budgets = vec!["store".into()];
        task.depends_on = vec![validate.clone()];
        let store = &self.plan.plan.store.path;
        (task, Sides { writes: Some(format!("image {}/{id} in {store}", self.name())), ..Sides::default() })
    }

    fn seal(&self, captures: &[Address]) -> (Task, Sides) {
        let what = match captures.len() {
            1 => "seal the image".to_owned(),
            disks => format!("seal the images of {disks} disks as one set"),
        };
        let mut task = self.task("capture", Phase::Capture, what, "capture", Some("seal".into()));
        task.key.insert("template".into(), self.template("capture"));
        let why = "a sealed image is of value; remove it with `replant image rm`";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.limits = limits(30, None, 2);
        task.depends_on = captures.to_vec();
        (task, Sides { upstream: vec![("images", captures.to_vec())], ..Sides::default() })
    }

    fn create(&self, validate: &Address) -> (Task, Sides) {
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
    fn renders(&self, path: &str) -> bool {
        self.specs().iter().any(|spec| self.path(&spec.id, spec.extension()) == path)
    }

    fn layout(&self, disk: &DiskFacts) -> String {
        let target = &self.machine.target;
        format!("{} {} {}", allocation(target.allocation), DiskFormat::name(target.disk_format), disk.size.0)
    }

    fn deploy(&self, disk: &DiskFacts, capture: &Address, sealed: &Address, created: &Address) -> (Task, Sides) {
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
    fn deploy_in_agent(
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

    fn guest(&self, deployed: &[Address], agent: Option<&Address>) -> (Task, Sides) {
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

    fn post_deploy(&self, deployed: &[Address], also: Vec<Address>) -> (Task, Sides) {
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

    fn cleanup(&self) -> (Task, Sides) {
        let what = "after a failure: stop jobs, power off, undo what was made".to_owned();
        let mut task = self.task("cleanup", Phase::Cleanup, what, "cleanup-vm", Some("stop".into()));
        task.limits = limits(15, None, 1);
        task.budgets = vec![self.host_budget()];
        let digests = vec![("script", task.command.script.clone())];
        (task, Sides { digests, ..Sides::default() })
    }
}

/// Minutes of timeout (0: none) and of stall, and retries.
fn limits(timeout: u64, stall: Option<u64>, retries: u32) -> TaskLimits {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let timeout = (timeout > 0).then(|| minutes(timeout));
    TaskLimits { timeout, stall: stall.map(minutes), retries, ..TaskLimits::default() }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn allocation(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::Fixed => "fixed",
        Allocation::Dynamic => "growing",
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "zstd",
        Compression::None => "none",
    }
}

/// The cipher and where the key comes from; never the key.
/// What is done on a running machine besides reading, for people.
fn snapshots(ssh: &SshSource) -> String {
    let room = match ssh.snapshot_size {
        Some(size) => format!("{size} each"),
        None => "a tenth of each".to_owned(),
    };
    match ssh.snapshot {
        SnapshotUse::Never => "; no snapshots".to_owned(),
        SnapshotUse::Auto => format!(
            "; LVM volumes from snapshots where their group has {room} free, taken there (lvcreate -s) and removed again"
        ),
        SnapshotUse::Required => format!(
            "; every LVM volume in use from a snapshot, taken there (lvcreate -s, {room}) and removed again, or nothing is read"
        ),
    }
}

fn encryption(encryption: &Encryption) -> String {
    match encryption {
        Encryption::None => "none".into(),
        Encryption::Aes256Gcm { key: SecretRef::Env(name) } => format!("aes-256-gcm, key from env {name}"),
        Encryption::Aes256Gcm { key: SecretRef::File(path) } => format!("aes-256-gcm, key from file {path}"),
        Encryption::Aes256Gcm { key: SecretRef::Command(_) } => "aes-256-gcm, key from a command".into(),
    }
}
