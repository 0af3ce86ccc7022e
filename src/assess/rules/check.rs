//! A run of the rules: every rule, every machine and host, side by side.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use cel::common::value::Val;
use serde_json::{Map, Value as Json};

use super::evaluate::{Answer, Violated, ask, context};
use super::findings::{Findings, Silenced, Subject, Unknown, Violation};
use super::hosts::{HostValues, erased::Word as _, fleet, hosts, plan_values, vm_key};
use super::set::{Rule, RuleSet};
use super::values::{Fields, Scope, Value};
use crate::address::glob_matches;
use crate::diagnostic::{Diagnostic, Span};
use crate::hardware::Firmware;
use crate::inventory::model::Document;
use crate::inventory::{DiskFacts, KnownPlan, ResolvedPlan};
use crate::plan::{Convert, DeployBy, HostName, Machine, Nic, Plan};
use crate::provider::{Catalog, Provider, RulePlace, RuleScope};
use crate::units::ByteCount;

/// Whether the agent has a driver for a device. The rules only ask; who builds the agent answers.
pub trait Coverage: Sync {
    /// Whether it has one for that PCI id, of that class if it is known (`0106`); `None` if that cannot be told.
    fn has_driver(&self, pci: &str, class: Option<&str>) -> Option<bool>;
}

/// Nobody was asked about the agent's drivers.
pub struct NotAsked;

impl Coverage for NotAsked {
    fn has_driver(&self, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }
}

/// What is known of one machine, declared or seen.
pub(super) struct Known<'a> {
    pub memory: Option<ByteCount>,
    pub cpus: Option<u32>,
    pub firmware: Option<Firmware>,
    pub nics: &'a [Nic],
    pub disks: Option<&'a [DiskFacts]>,
    pub document: Option<&'a Document>,
}

/// What is to be checked.
pub struct Checked<'a> {
    plan: &'a Plan,
    known: Vec<Known<'a>>,
}

impl<'a> Checked<'a> {
    /// A plan with its facts.
    pub fn resolved(plan: &'a ResolvedPlan) -> Self {
        let known = plan.machines.iter().map(|machine| Known {
            memory: Some(machine.memory),
            cpus: Some(machine.cpus),
            firmware: Some(machine.firmware),
            nics: &machine.nics,
            disks: Some(&machine.disks),
            document: machine.document.as_deref(),
        });
        Self { plan: &plan.plan, known: known.collect() }
    }

    /// A plan alone: its disks were not looked at.
    pub fn unseen(known: &'a KnownPlan) -> Self {
        let plan = &known.plan;
        let documents = known.documents.iter().map(Option::as_deref).chain(std::iter::repeat(None));
        let known = plan.machines.iter().zip(documents).map(|(machine, document)| Known {
            memory: machine.target.memory.as_ref().map(|memory| memory.value).or(machine.inventory.memory),
            cpus: machine.target.cpus.as_ref().map(|cpus| cpus.value).or(machine.inventory.cpus),
            firmware: machine.target.firmware.or(machine.inventory.firmware),
            nics: &machine.inventory.nics,
            disks: None,
            document,
        });
        Self { plan, known: known.collect() }
    }
}

/// What one thread found, by position of the machine.
#[derive(Default)]
struct Part {
    violations: Vec<(usize, usize, Violated)>,
    unknown: BTreeMap<(usize, String), Vec<usize>>,
    broken: BTreeMap<(usize, String), usize>,
}

/// Asks every rule of every machine and host.
pub fn check(checked: &Checked<'_>, catalog: &Catalog, set: &RuleSet, coverage: &dyn Coverage) -> Findings {
    let plan = checked.plan;
    let sides = hosts(plan, &checked.known, catalog);
    let (fleet, whole) = (fleet(plan, catalog), plan_values(plan));
    let asked = |scope: RuleScope, provider: &str| -> Vec<usize> {
        let rules = set.rules.iter().enumerate();
        rules.filter(|(_, rule)| rule.spec.scope == scope && rule.holds_for(provider)).map(|(at, _)| at).collect()
    };
    let by_provider: BTreeMap<&str, Vec<usize>> = sides
        .values()
        .map(|side| side.provider.manifest.name.as_str())
        .map(|name| (name, asked(RuleScope::Machine, name)))
        .collect();
    let world = World { set, fleet: fleet.as_ref(), plan: whole.as_ref() };
    let mut findings = Findings { rules: set.rules.len(), machines: plan.machines.len(), ..Findings::default() };

    let mut of_hosts = Part::default();
    let names: Vec<&HostName> = sides.keys().copied().collect();
    for (at, side) in sides.values().enumerate() {
        let rules = asked(RuleScope::Host, &side.provider.manifest.name);
        world.ask(&rules, side, None, side.longest, at, &mut of_hosts);
    }
    let host_subject = |at: usize| Subject::Host(Arc::clone(&names[at].0));
    let host_span = |at: usize, _: &Rule, _: Option<usize>| plan.hosts[names[at]].name.span.clone();
    collect(of_hosts, set, &host_subject, &host_span, &mut findings);

    let one = |at: usize, part: &mut Part| {
        let (machine, known) = (&plan.machines[at], &checked.known[at]);
        let Some(side) = sides.get(&machine.target.host.value) else { return };
        let (values, longest) = machine_values(machine, known, vm_key(plan, catalog, machine), side.provider, coverage);
        let rules = &by_provider[side.provider.manifest.name.as_str()];
        world.ask(rules, side, Some(values.as_ref()), longest.max(side.longest), at, part);
    };
    let count = plan.machines.len();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(count.max(1));
    let size = count.div_ceil(threads).max(1);
    let parts: Vec<Part> = thread::scope(|scope| {
        let begins = (0..count).step_by(size);
        let started: Vec<_> = begins
            .map(|begin| {
                scope.spawn(move || {
                    let mut part = Part::default();
                    (begin..(begin + size).min(count)).for_each(|at| one(at, &mut part));
                    part
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().expect("evaluating rules does not panic")).collect()
    });
    let subject = |at: usize| Subject::Machine(Arc::clone(&plan.machines[at].name.value.0));
    let span = |at: usize, rule: &Rule, item: Option<usize>| place(&plan.machines[at], rule.spec.at, item);
    for part in parts {
        collect(part, set, &subject, &span, &mut findings);
    }
    silence(plan, &mut findings);
    findings
}

/// What every evaluation shares.
struct World<'a> {
    set: &'a RuleSet,
    fleet: &'a dyn Val,
    plan: &'a dyn Val,
}

impl World<'_> {
    fn ask(
        &self,
        rules: &[usize],
        side: &HostValues<'_>,
        machine: Option<&dyn Val>,
        longest: usize,
        at: usize,
        part: &mut Part,
    ) {
        let scope = Scope {
            machine,
            host: side.host.as_ref(),
            provider: side.provider_values.as_ref(),
            fleet: self.fleet,
            plan: self.plan,
            item: None,
        };
        let plain = context(&scope);
        for rule in rules {
            let Answer { violations, unknown, broken } = ask(&self.set.rules[*rule], &scope, &plain, longest);
            part.violations.extend(violations.into_iter().map(|violation| (at, *rule, violation)));
            if let Some(fact) = unknown {
                part.unknown.entry((*rule, fact)).or_default().push(at);
            }
            if let Some(why) = broken {
                part.broken.entry((*rule, why)).or_insert(at);
            }
        }
    }
}

fn collect(
    part: Part,
    set: &RuleSet,
    subject: &dyn Fn(usize) -> Subject,
    span: &dyn Fn(usize, &Rule, Option<usize>) -> Span,
    findings: &mut Findings,
) {
    for (at, rule, (message, help, item)) in part.violations {
        let rule = &set.rules[rule];
        let span = span(at, rule, item);
        findings.violations.push(Violation { rule: Arc::clone(rule), subject: subject(at), message, help, span });
    }
    for ((rule, fact), subjects) in part.unknown {
        let rule = &set.rules[rule];
        let subjects: Vec<Subject> = subjects.into_iter().map(subject).collect();
        match findings.unknown.iter_mut().find(|known| Arc::ptr_eq(&known.rule, rule) && known.fact == fact) {
            Some(known) => known.subjects.extend(subjects),
            None => findings.unknown.push(Unknown { rule: Arc::clone(rule), fact, subjects }),
        }
    }
    for ((rule, why), at) in part.broken {
        let rule = &set.rules[rule];
        let message = format!("rule `{}` cannot be evaluated for {}: {why}", rule.spec.id, subject(at));
        let diagnostic = Diagnostic::error("rules.broken", message).at(span(at, rule, None), "");
        findings.broken.push(diagnostic.help("a rule that cannot be evaluated never passes: correct or silence it"));
    }
}

/// Takes accepted violations out, and reports silences that accept nothing.
fn silence(plan: &Plan, findings: &mut Findings) {
    let silences = &plan.rules.silence;
    if silences.is_empty() {
        return;
    }
    let mut used = vec![false; silences.len()];
    let (mut kept, mut silenced) = (Vec::new(), Vec::new());
    for violation in std::mem::take(&mut findings.violations) {
        let matching = silences.iter().position(|silence| {
            let name = violation.subject.name();
            silence.id.value == violation.rule.spec.id
                && (silence.machines.is_empty() || silence.machines.iter().any(|glob| glob_matches(&glob.value, name)))
        });
        match matching {
            Some(at) => {
                used[at] = true;
                silenced.push(Silenced { violation, reason: silences[at].reason.clone() });
            }
            None => kept.push(violation),
        }
    }
    (findings.violations, findings.silenced) = (kept, silenced);
    for (silence, used) in silences.iter().zip(used) {
        if !used {
            let message = format!("nothing violates `{}` where it is silenced", silence.id.value);
            let diagnostic = Diagnostic::advice("rules.idle-silence", message).at(silence.id.span.clone(), "");
            findings.idle.push(diagnostic.help("take the entry out, so that it does not hide a later mistake"));
        }
    }
}

/// The value of the plan that a message points at.
fn place(machine: &Machine, place: RulePlace, item: Option<usize>) -> Span {
    let target = &machine.target;
    let found = match place {
        RulePlace::Name => None,
        RulePlace::Memory => target.memory.as_ref().map(|memory| &memory.span),
        RulePlace::Cpus => target.cpus.as_ref().map(|cpus| &cpus.span),
        RulePlace::Network => Some(&target.network.span),
        RulePlace::Host => Some(&target.host.span),
        RulePlace::Disk => machine.source.disks.get(item.unwrap_or(0)).map(|disk| &disk.path.span),
    };
    found.unwrap_or(&machine.name.span).clone()
}

/// What rules see of a machine, and its longest list.
fn machine_values(
    machine: &Machine,
    known: &Known<'_>,
    vm_key: String,
    provider: &Provider,
    coverage: &dyn Coverage,
) -> (Value, usize) {
    let facts = super::document::known_facts(machine, known.document);
    let declared = &facts;
    let mut target = Fields::default();
    target
        .text("host", &machine.target.host.value.0)
        .text("network", &machine.target.network.value)
        .text("format", &machine.target.disk_format.word())
        .text("allocation", &machine.target.allocation.word())
        .text("deploy", if machine.target.deploy == DeployBy::Agent { "agent" } else { "host" });
    let mut longest = 0;
    target.put(
        "settings",
        super::values::json(&Json::Object(provider.target_settings(&machine.target.settings)), &mut longest),
    );

    let mut system = Fields::default();
    if let Some(Json::Object(facts)) = declared.get("system") {
        system.facts(facts);
    }
    if let (Some(memory), false) = (machine.inventory.memory, system.has("installed_memory")) {
        system.whole("installed_memory", memory.0);
    }

    let source = match (&machine.source.ssh, &machine.source.agent) {
        (Some(_), _) => "ssh",
        (None, Some(_)) => "agent",
        (None, None) => "disks",
    };
    let mut values = Fields::default();
    values
        .text("name", &machine.name.value.0)
        .text("source", source)
        .text("vm_name", &machine.target.vm_name)
        .text("vm_key", &vm_key)
        .text("role", &machine.workload.role.word())
        .text("action", &machine.post_deploy.action.word())
        .flag("convert", machine.guest.convert == Convert::Auto)
        .flag("boots_agent", provider.manifest.boots_source || machine.source.agent.is_some())
        .maybe("memory", known.memory.map(|memory| memory.0))
        .maybe("cpus", known.cpus.map(u64::from))
        .maybe("source_cpus", machine.inventory.cpus.map(u64::from))
        .put("target", target.finish())
        .put("system", system.finish())
        .list("disks", disk_values(machine, known, declared))
        .list("nics", nic_values(machine, known, declared, coverage));
    if let Some(firmware) = known.firmware {
        values.text("firmware", &firmware.word());
    }
    if let Some(Json::Array(controllers)) = declared.get("controllers") {
        let controllers = controllers.iter().filter_map(Json::as_object);
        values.list("controllers", controllers.map(|facts| with_driver(facts, None, coverage).finish()).collect());
    }
    // What only rules read is handed over as declared; operating systems without a service level have none.
    if let Some(Json::Object(os)) = declared.get("os") {
        let mut facts = Fields::default();
        facts.facts(os);
        if facts.has("name") && !facts.has("service_level") {
            facts.text("service_level", "");
        }
        values.put("os", facts.finish());
    }
    values.facts(declared);
    let longest = values.longest().max(longest);
    (values.finish(), longest)
}

fn disk_values(machine: &Machine, known: &Known<'_>, declared: &Map<String, Json>) -> Vec<Value> {
    let facts = declared.get("disks").and_then(Json::as_array);
    let disks = machine.source.disks.iter().enumerate().map(|(at, disk)| {
        let id = disk.index.to_string();
        let mut values = Fields::default();
        values.whole("index", at as u64).text("id", &id).text("path", disk.path.value.as_str());
        if let Some(seen) = known.disks.and_then(|disks| disks.get(at)) {
            values
                .text("format", &seen.format.word())
                .text("kind", &seen.kind.word())
                .whole("size", seen.size.0)
                .whole("allocated", seen.allocated.0);
            if let Some(boots) = seen.boots {
                values.text("boots", &boots.word());
            }
        }
        let own = facts.into_iter().flatten().filter_map(Json::as_object);
        for facts in own.filter(|facts| facts.get("disk").and_then(Json::as_str) == Some(id.as_str())) {
            values.facts(facts);
        }
        values.finish()
    });
    disks.collect()
}

fn nic_values(
    machine: &Machine,
    known: &Known<'_>,
    declared: &Map<String, Json>,
    coverage: &dyn Coverage,
) -> Vec<Value> {
    let booted_by = machine.source.agent.as_ref().and_then(|agent| agent.mac.as_deref());
    let facts: Vec<&Map<String, Json>> =
        declared.get("nics").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_object).collect();
    let mac = |facts: &Map<String, Json>| facts.get("mac").and_then(Json::as_str).unwrap_or_default().to_owned();
    let list: Vec<(String, Option<&str>)> = match known.nics.is_empty() {
        true => facts.iter().map(|facts| (mac(facts), None)).collect(),
        false => known.nics.iter().map(|nic| (nic.mac.clone(), nic.name.as_deref())).collect(),
    };
    let empty = Map::new();
    let values = list.into_iter().enumerate().map(|(at, (address, name))| {
        let own = facts.iter().find(|facts| mac(facts) == address).copied().unwrap_or(&empty);
        let mut values = with_driver(own, Some(ETHERNET), coverage);
        values.whole("index", at as u64).text("mac", &address);
        if let (Some(mac), false) = (booted_by, values.has("boots_agent")) {
            values.flag("boots_agent", mac.eq_ignore_ascii_case(&address));
        }
        if let Some(name) = name {
            values.text("name", name);
        }
        values.finish()
    });
    values.collect()
}

/// The PCI class of Ethernet adapters.
const ETHERNET: &str = "0200";

fn with_driver(facts: &Map<String, Json>, class: Option<&str>, coverage: &dyn Coverage) -> Fields {
    let mut values = Fields::default();
    let class = facts.get("class").and_then(Json::as_str).or(class);
    if let Some(known) = facts.get("pci").and_then(Json::as_str).and_then(|pci| coverage.has_driver(pci, class)) {
        values.flag("agent_driver", known);
    }
    values.facts(facts);
    values
}
