//! What tasks and edges each phase adds to the graph.

use std::collections::{BTreeMap, HashMap};

use crate::address::Address;
use crate::inventory::ResolvedPlan;
use crate::plan::{Convert, DeployBy, EndState, HostName};
use crate::provider::{Artifacts, Catalog, artifact_path, host_folder};

use crate::diagnostic::{Diagnostic, Diagnostics};

use super::check::{PlannerError, verify};
use super::graph::TaskGraph;
use super::order::{Ordering, cycle_diagnostics};
use super::task::{Key, Phase, Reversal, ScriptCall, Task};
use super::tasks::{Make, limits, short};

/// Tasks in order, before the digests of what was rendered are in their keys.
#[derive(Debug)]
pub struct Draft {
    tasks: Vec<Task>,
    sides: Vec<Sides>,
}

/// What belongs to a task only until its key is complete.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// Artifacts whose digests go into the key: name of the input, path.
    pub(super) digests: Vec<(&'static str, String)>,
    /// Tasks whose keys go into the key.
    pub(super) upstream: Vec<(&'static str, Vec<Address>)>,
    /// The disk that the task writes.
    pub(super) writes: Option<String>,
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
