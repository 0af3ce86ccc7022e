//! `machines:` with `defaults:` applied.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;

use super::access::{At, Layers};
use super::scripts::{ScriptFiles, scripts};
use super::store::{absolute, secret};
use super::unique::check_macs;
use super::{agent, boot, budgets, capacity};
use crate::diagnostic::{Diagnostic, Diagnostics, Span, Spanned, closest};
use crate::guest::linux::network::AddressMap;
use crate::plan::document::shortened;
use crate::plan::grammar;
use crate::plan::{
    Allocation, Budget, Capture, CaptureRead, Compression, Convert, DeployBy, DiskFormat, EndState, Guest, Host,
    HostName, Inventory, Machine, MachineName, Nic, OnFailure, OnReadError, PostDeploy, Role, SecretRef, Target,
    Workload,
};
use crate::vm::Probe;

const DEFAULT_NETWORK: &str = "user";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The `defaults:` of all files, section by section.
#[derive(Default)]
struct Defaults<'a> {
    all: Vec<At<'a>>,
    workload: Vec<At<'a>>,
    target: Vec<At<'a>>,
    target_disks: Vec<At<'a>>,
    capture: Vec<At<'a>>,
    guest: Vec<At<'a>>,
    post_deploy: Vec<At<'a>>,
}

impl<'a> Defaults<'a> {
    fn new(roots: &[At<'a>]) -> Self {
        let all: Vec<At<'a>> = roots.iter().filter_map(|root| root.get("defaults")).collect();
        let section = |name: &str| -> Vec<At<'a>> { all.iter().filter_map(|defaults| defaults.get(name)).collect() };
        let target = section("target");
        Self {
            workload: section("workload"),
            target_disks: target.iter().filter_map(|target| target.get("disks")).collect(),
            target,
            capture: section("capture"),
            guest: section("guest"),
            post_deploy: section("post_deploy"),
            all,
        }
    }
}

/// What the machines refer to.
struct Context<'a> {
    folder: &'a Utf8Path,
    hosts: &'a BTreeMap<HostName, Host>,
    budgets: &'a BTreeMap<String, Budget>,
    defaults: Defaults<'a>,
    /// Every machine name that is written anywhere, with its place.
    names: HashMap<&'a str, Span>,
    /// Whether every file could be read: if not, a name may be declared in one that could not.
    complete: bool,
    scripts: ScriptFiles,
}

/// The machines of all files, and how many were written, broken ones among them.
pub(super) fn lower(
    roots: &[At<'_>],
    folder: &Utf8Path,
    (hosts, budgets): (&BTreeMap<HostName, Host>, &BTreeMap<String, Budget>),
    complete: bool,
    found: &mut Diagnostics,
) -> (Vec<Machine>, usize) {
    let written: Vec<At<'_>> =
        roots.iter().filter_map(|root| root.get("machines")).flat_map(|machines| machines.items()).collect();
    let mut names = HashMap::with_capacity(written.len());
    for machine in &written {
        let Some(name) = machine.get("name") else { continue };
        let Some(text) = name.text() else { continue };
        if let Some(first) = names.insert(text, name.span()) {
            found.push(
                Diagnostic::error("plan.duplicate-name", format!("two machines are named `{}`", shortened(text)))
                    .at(name.span(), "this name is taken")
                    .at(first.clone(), "by this machine")
                    .help("a machine's name is its address in reports, scripts and the journal: give each its own"),
            );
            names.insert(text, first);
        }
    }
    for (name, span) in &names {
        let host = name.strip_prefix("host_").filter(|host| hosts.keys().any(|known| &*known.0 == *host));
        if let Some(host) = host {
            found.push(
                Diagnostic::error("plan.value", format!("`{name}` cannot be a machine's name here"))
                    .at(span.clone(), format!("the work of host `{host}` lies in a folder of that name"))
                    .help("choose another name for the machine or for the host"),
            );
        }
    }
    check_macs(&written, found);
    let context = Context {
        folder,
        hosts,
        budgets,
        defaults: Defaults::new(roots),
        names,
        complete,
        scripts: ScriptFiles::default(),
    };
    let machines = written.iter().filter_map(|at| machine(*at, &context, found)).collect();
    (machines, written.len())
}

/// One machine; `None` if it has no name or no place for its VM, which has been reported.
fn machine(at: At<'_>, context: &Context<'_>, found: &mut Diagnostics) -> Option<Machine> {
    let defaults = &context.defaults;
    let target = target(at, context, found);
    let after = after(at, context, found);
    let name = at.get("name")?.spanned(|name| Some(MachineName(name.text()?.into())))?;
    let host = target?;
    let workload = Layers::new(at.get("workload"), &defaults.workload);
    let capture = Layers::new(at.get("capture"), &defaults.capture);
    let guest = Layers::new(at.get("guest"), &defaults.guest);
    Some(Machine {
        source: agent::source(at, context.folder, &name.value, found),
        inventory: inventory(at, context.folder),
        workload: Workload {
            role: workload.get("role").and_then(At::choice).unwrap_or(Role::Production),
            description: owned(workload.get("description")),
        },
        target: Target { vm_name: owned(vm_name(at)).unwrap_or_else(|| name.value.to_string()), ..host },
        capture: Capture {
            compression: capture.get("compression").and_then(At::choice).unwrap_or(Compression::Zstd),
            limit: capture.get("limit").and_then(At::rate),
            budget: budgets::named(capture.get("budget"), context.budgets, context.complete, found),
            read: capture.get("read").and_then(At::choice).unwrap_or(CaptureRead::Used),
            on_read_error: capture.get("on_read_error").and_then(At::choice).unwrap_or(OnReadError::Fail),
        },
        guest: Guest {
            convert: guest.get("convert").and_then(At::choice).unwrap_or(Convert::Auto),
            root: owned(guest.get("root")),
            initramfs: guest.get("initramfs").and_then(At::choice).unwrap_or_default(),
            serial_console: guest.get("serial_console").and_then(At::flag).unwrap_or(false),
            skip: guest.get("skip").into_iter().flat_map(At::items).filter_map(|edit| owned(Some(edit))).collect(),
            addresses: addresses(guest.get("addresses"), found),
            keys: guest
                .get("keys")
                .into_iter()
                .flat_map(At::items)
                .filter_map(|key| luks_key(key, context.folder))
                .collect(),
            run: scripts(guest.get("run"), context.folder, &context.scripts, found),
        },
        post_deploy: post_deploy(at, defaults, found),
        on_failure: Layers::new(Some(at), &defaults.all)
            .get("on_failure")
            .and_then(At::choice)
            .unwrap_or(OnFailure::Keep),
        after,
        placement: capacity::placement(at.get("placement")),
        power: boot::power(at.get("power"), context.folder),
        name,
    })
}

/// Signs of life; what is no such probe is reported.
fn probes(written: Option<At<'_>>, found: &mut Diagnostics) -> Vec<String> {
    let mut probes = Vec::new();
    for at in written.into_iter().flat_map(At::items) {
        let Some(text) = at.text() else { continue };
        match text.parse::<Probe>() {
            Ok(probe) => probes.push(probe.to_string()),
            Err(error) => found.push(
                Diagnostic::error("plan.value", "a sign of life cannot be asked for")
                    .at(at.span(), error.to_string())
                    .help("write for example `tcp:10.0.0.5:22`"),
            ),
        }
    }
    probes
}

/// Pairs of addresses; what is no such pair is reported.
fn addresses(written: Option<At<'_>>, found: &mut Diagnostics) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for at in written.into_iter().flat_map(At::items) {
        let (Some(from), Some(to)) = (owned(at.get("from")), owned(at.get("to"))) else { continue };
        let known = pairs.iter().map(|(from, to)| format!("{from} {to}"));
        let all: Vec<String> = known.chain([format!("{from} {to}")]).collect();
        if let Err(error) = AddressMap::parse(all.iter().map(String::as_str)) {
            found.push(
                Diagnostic::error("plan.value", "an address of `guest.addresses` cannot be used")
                    .at(at.span(), error.to_string())
                    .help("write `{ from: 10.0.0.5/24, to: 10.1.0.5/24 }`, each old address once"),
            );
            continue;
        }
        pairs.push((from, to));
    }
    pairs
}

fn luks_key(at: At<'_>, folder: &Utf8Path) -> Option<(String, SecretRef)> {
    Some((owned(at.get("luks"))?.to_ascii_lowercase(), secret(at.get("key")?, folder)?))
}

fn owned(at: Option<At<'_>>) -> Option<String> {
    at.and_then(At::text).map(str::to_owned)
}

fn vm_name(machine: At<'_>) -> Option<At<'_>> {
    machine.get("target")?.get("vm_name")
}

fn inventory(machine: At<'_>, folder: &Utf8Path) -> Inventory {
    let Some(declared) = machine.get("inventory") else { return Inventory::default() };
    let nics = declared
        .get("nics")
        .into_iter()
        .flat_map(At::items)
        .filter_map(|nic| Some(Nic { mac: canonical_mac(nic.get("mac")?.text()?), name: owned(nic.get("name")) }));
    Inventory {
        memory: declared.get("memory").and_then(At::size),
        cpus: declared.get("cpus").and_then(At::whole),
        firmware: declared.get("firmware").and_then(At::choice),
        nics: nics.collect(),
        utilisation: capacity::utilisation(declared.get("utilisation")),
        facts: declared.get("facts").map(|facts| grammar::facts(facts.node())).unwrap_or_default(),
        document: declared
            .get("document")
            .or(Some(declared))
            .and_then(|at| at.spanned(|at| Some(absolute(folder, at.text()?)))),
    }
}

/// `52:54:00:AB-..` in one spelling.
pub(super) fn canonical_mac(written: &str) -> String {
    written.to_ascii_lowercase().replace('-', ":")
}

/// The VM to be, all but its name.
fn target(machine: At<'_>, context: &Context<'_>, found: &mut Diagnostics) -> Option<Target> {
    let defaults = &context.defaults;
    let own = machine.get("target");
    let layers = Layers::new(own, &defaults.target);
    let disks = Layers::new(own.and_then(|own| own.get("disks")), &defaults.target_disks);
    let host = target_host(machine, layers, context, found)?;
    let place = host.span.clone();
    Some(Target {
        host,
        vm_name: String::new(),
        memory: layers.get("memory").and_then(|at| at.spanned(At::size)),
        cpus: layers.get("cpus").and_then(|at| at.spanned(At::whole)),
        firmware: layers.get("firmware").and_then(At::choice),
        disk_format: disks.get("format").and_then(At::choice).unwrap_or(DiskFormat::Qcow2),
        allocation: disks.get("allocation").and_then(At::choice).unwrap_or(Allocation::Dynamic),
        deploy: layers.get("deploy").and_then(At::choice).unwrap_or(DeployBy::Host),
        budget: budgets::named(layers.get("budget"), context.budgets, context.complete, found),
        network: layers
            .get("network")
            .and_then(|at| at.spanned(|network| owned(Some(network))))
            .unwrap_or_else(|| Spanned::new(DEFAULT_NETWORK.to_owned(), place.clone())),
        settings: layers.merged_json("settings"),
        settings_span: layers.get("settings").map_or(place, At::span),
    })
}

fn target_host(
    machine: At<'_>,
    layers: Layers<'_>,
    context: &Context<'_>,
    found: &mut Diagnostics,
) -> Option<Spanned<HostName>> {
    let known = || context.hosts.keys().map(|host| &*host.0);
    let Some(written) = layers.get("host") else {
        let place = machine.get("name").unwrap_or(machine);
        // What is no mapping has been reported as that.
        if machine.is_map() && machine.get("target").is_none_or(At::is_map) {
            let help = match context.hosts.keys().next() {
                Some(host) => format!("write `target: {{ host: {host} }}` here or under `defaults`"),
                None => "declare a host under `hosts`, and name it in `target` here or under `defaults`".to_owned(),
            };
            found.push(
                Diagnostic::error("plan.missing-key", "a machine has no host to run on")
                    .at(place.headline(), "neither its `target` nor `defaults` names a `host`")
                    .help(help),
            );
        }
        return None;
    };
    let name = written.text()?;
    // The name is shared with the host's own, so that 10,000 machines hold one text.
    if let Some((shared, _)) = context.hosts.get_key_value(name) {
        return Some(Spanned::new(shared.clone(), written.span()));
    }
    if context.complete {
        let near = closest(name, known());
        let label = near.map_or_else(|| "no host of that name".to_owned(), |near| format!("did you mean `{near}`?"));
        let names: Vec<String> = known().take(8).map(|name| format!("`{name}`")).collect();
        let help = match names.is_empty() {
            true => format!("declare it: `hosts: {{ {name}: {{ provider: qemu }} }}`"),
            false => format!("the plan's hosts are {}", names.join(", ")),
        };
        let message = format!("the host `{}` is not declared", shortened(name));
        found.push(Diagnostic::error("plan.unknown-host", message).at(written.span(), label).help(help));
    }
    None
}

fn post_deploy(machine: At<'_>, defaults: &Defaults<'_>, found: &mut Diagnostics) -> PostDeploy {
    let layers = Layers::new(machine.get("post_deploy"), &defaults.post_deploy);
    let action = layers.get("action").and_then(At::choice).unwrap_or(EndState::Start);
    let wait_for = layers.get("wait_for");
    if let (Some(wait), EndState::Stop | EndState::Agent, Some(action)) = (wait_for, action, layers.get("action")) {
        found.push(
            Diagnostic::warning("plan.unused", "`wait_for` has no effect")
                .at(wait.span(), "this text is never waited for")
                .at(action.span(), "the virtual machine is not started")
                .help("take `wait_for` out, or write `action: start`"),
        );
    }
    PostDeploy {
        action,
        wait_for: owned(wait_for),
        probes: probes(layers.get("probes"), found),
        timeout: layers.get("timeout").and_then(At::duration).unwrap_or(DEFAULT_TIMEOUT),
    }
}

fn after(machine: At<'_>, context: &Context<'_>, found: &mut Diagnostics) -> Vec<Spanned<MachineName>> {
    let mut names: Vec<Spanned<MachineName>> = Vec::new();
    for written in machine.get("after").into_iter().flat_map(At::items) {
        let Some(name) = written.text() else { continue };
        if !context.names.contains_key(name) {
            if context.complete {
                found.push(unknown_machine(name, written.span(), context.names.keys().copied()));
            }
        } else if !names.iter().any(|known| &*known.value.0 == name) {
            names.push(Spanned::new(MachineName(Arc::from(name)), written.span()));
        }
    }
    names
}

fn unknown_machine<'a>(name: &str, span: Span, names: impl Iterator<Item = &'a str>) -> Diagnostic {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let near = closest(name, names);
    let label = near.map_or_else(|| "no machine of that name".to_owned(), |near| format!("did you mean `{near}`?"));
    Diagnostic::error("plan.unknown-machine", format!("the machine `{}` is not in the plan", shortened(name)))
        .at(span, label)
        .help("`after` names machines of this plan and of the files it includes")
}
