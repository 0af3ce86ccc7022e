//! The verbs that have a device do something: they wait for it, and for what it reports.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use super::super::serve::socket_of;
use super::super::{Exit, Failure, Global};
use super::{BootSourceArgs, CaptureArgs, DeployArgs, WaitArgs};
use crate::controller::devices::{BootAnswer, Device, DeviceState, Devices, NewDevice};
use crate::controller::{
    CONTROLLER_SOCKET, CaptureGrant, CapturedImage, DeployGrant, LocalAnswer, LocalClient, LocalError, LocalJob, Report,
};
use crate::image::{Cipher, OnReadError, Store, StoreKey, StoreSettings};
use crate::power::{Force, Switch, Wait};
use crate::progress::EventClient;
use crate::sequence::{Node, Parameter, Sequence, Step, write};
use crate::units::ByteCount;

/// A device that was heard of so lately is there: its agent asks every twenty seconds.
const THERE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);
/// How long an agent may take to hear that its machine is given back.
const TO_LEAVE: Duration = Duration::from_secs(90);
/// How long a machine may take to shut down, and to be on again.
const TO_SWITCH: Duration = Duration::from_secs(15 * 60);

/// The controller that jobs are given to: the one of the run, else the service.
fn controller(root: &Utf8Path) -> PathBuf {
    let named = std::env::var_os(CONTROLLER_SOCKET).filter(|path| !path.is_empty());
    named.map_or_else(|| socket_of(root), PathBuf::from)
}

fn is_there(device: &Device) -> bool {
    let lately = jiff::Timestamp::now().as_millisecond() - THERE.as_millis() as i64;
    matches!(device.state, DeviceState::Enrolled | DeviceState::Working)
        && device.certificate.is_some()
        && device.last_seen.is_some_and(|seen| seen >= lately)
}

/// Waits until a device's agent has enrolled and asks for work.
pub(super) fn wait(devices: &Devices, args: &WaitArgs, global: &Global) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let events = EventClient::from_environment();
    let mut said = false;
    loop {
        let device = devices.named(&args.device)?;
        if is_there(&device) {
            if !global.json {
                println!("{} is in the agent", device.label());
            }
            return Ok(Exit::Done);
        }
        if args.check {
            return Ok(Exit::Absent);
        }
        if begun.elapsed() >= args.timeout {
            let message = format!("{} has not come into the agent within {:?}", device.label(), args.timeout);
            return Err(Failure::with(Exit::TryAgain, message));
        }
        if !std::mem::replace(&mut said, true) {
            let line = format!("waiting for {} to boot into the agent: switch it on, or restart it", device.label());
            events.note(line.clone());
            if !global.json {
                println!("{line}");
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Registers a machine unless it is, has it boot into the agent, and waits for it.
pub(super) fn boot_source(
    devices: &Devices,
    root: &Utf8Path,
    args: &BootSourceArgs,
    global: &Global,
) -> Result<Exit, Failure> {
    let known = devices.list()?.into_iter().find(|device| device.name.as_deref() == Some(args.name.as_str()));
    let device = match (known, args.undo || args.check) {
        (Some(device), _) => device,
        (None, true) => return Ok(if args.undo { Exit::Done } else { Exit::Absent }),
        (None, false) => devices.add(&NewDevice {
            name: Some(args.name.clone()),
            uuid: args.uuid,
            serial: args.serial.clone(),
            macs: args.mac.clone(),
        })?,
    };
    if args.undo {
        return give_back(devices, root, &device, global);
    }
    if !args.check && !is_there(&device) {
        devices.set_boot(&device.id, BootAnswer::Agent, false)?;
        if let Some(switch) = Switch::open(&args.power.power())? {
            let line = format!("{} shuts down if it runs, and boots from the network", device.label());
            EventClient::from_environment().note(line.clone());
            if !global.json {
                println!("{line}");
            }
            switch.boot_from_network(Force::Never, Wait(TO_SWITCH))?;
        }
    }
    wait(devices, &WaitArgs { device: args.name.clone(), timeout: args.timeout, check: args.check }, global)
}

/// Has a machine leave the agent for its own disk, then releases it. One that is not there, or does not listen, is released
/// all the same: what it boots next is its own disk.
fn give_back(devices: &Devices, root: &Utf8Path, device: &Device, global: &Global) -> Result<Exit, Failure> {
    devices.set_boot(&device.id, BootAnswer::Local, false)?;
    if is_there(device) {
        let sequence = Sequence {
            id: format!("{}_restart", device.label()),
            description: "The machine goes back to its own system".to_owned(),
            nodes: vec![step("restart", "restart", "Start again, from the machine's own disk", &[])],
        };
        let job =
            LocalJob { device: Some(device.id.to_string()), ..LocalJob::alone(device.label(), write(&sequence), 0) };
        let events = EventClient::from_environment();
        if let Err(failure) = follow(&controller(root), &job, device, TO_LEAVE, &events, global) {
            events.note(format!("{} may still be in the agent: restart it ({failure:?})", device.label()));
        }
    }
    devices.release(&device.id)?;
    Ok(Exit::Done)
}

fn step(id: &str, command: &str, description: &str, parameters: &[(&str, String)]) -> Node {
    let mut step = Step::new(id, command);
    step.description = description.to_owned();
    let parameter = |(name, value): &(&str, String)| Parameter { name: (*name).to_owned(), value: value.clone() };
    step.parameters = parameters.iter().map(parameter).collect();
    Node::Step(step)
}

/// Has a device's agent capture one of its disks.
pub(super) fn capture(
    devices: &Devices,
    root: &Utf8Path,
    args: &CaptureArgs,
    global: &Global,
) -> Result<Exit, Failure> {
    let device = devices.named(&args.device)?;
    let key = args.key.as_deref().filter(|reference| !reference.is_empty());
    if !Store::exists(&args.store) {
        let key = key.map(StoreKey::resolve).transpose()?;
        let cipher = if key.is_some() { Cipher::Aes256Gcm } else { Cipher::None };
        Store::create(&args.store, StoreSettings::new(cipher), key.as_ref())?;
    }
    let mut parameters = vec![("disk", args.disk.clone()), ("size", args.size.0.to_string())];
    parameters.extend(args.serial.clone().map(|serial| ("serial", serial)));
    let sequence = Sequence {
        id: format!("{}_capture-{}", args.machine, args.disk),
        description: "Hands a disk over to the store".to_owned(),
        nodes: vec![
            step("protect", "disk.protect", "Nobody writes a disk of this machine any more", &[]),
            step("capture", "disk.capture", &format!("Capture {}", args.disk), &parameters),
        ],
    };
    let grant = CaptureGrant {
        machine: args.machine.clone(),
        disk: args.disk.clone(),
        store: std::path::absolute(&args.store)?,
        key: key.map(str::to_owned),
        identity: args.identity.clone(),
        size: args.size.0,
        serial: args.serial.clone(),
        compress: !args.no_compression,
        zero_unreadable: args.on_read_error.policy() == OnReadError::ZeroAndReport,
        limit: args.limit.map(|limit| limit.0),
    };
    let job = LocalJob {
        device: Some(device.id.to_string()),
        captures: vec![grant],
        ..LocalJob::alone(&args.machine, write(&sequence), 0)
    };
    let events = EventClient::from_environment();
    let (image, _) = follow(&controller(root), &job, &device, args.timeout, &events, global)?;
    let Some(image) = image else {
        return Err(Failure::with(Exit::Error, "the agent has ended without an image"));
    };
    for (name, value) in [("image", image.id.clone()), ("digest", image.digest.clone())] {
        events.output(name, value);
    }
    events.output("bytes_received", image.received);
    events.output("bytes_repeated", image.repeated);
    events.output("bytes_stored", image.stored);
    events.output("bytes_resumed", image.resumed);
    events.output("bytes_unreadable", image.unreadable);
    if image.unreadable > 0 {
        let (lost, machine, disk) = (ByteCount(image.unreadable), &args.machine, &args.disk);
        let line = format!(
            "warning: {lost} of {machine}/{disk} could not be read and are zeros in the image; `replant image show` names them"
        );
        anstream::eprintln!("{line}");
        events.note(line);
    }
    match global.json {
        true => println!("{}", serde_json::to_string(&image)?),
        false => println!(
            "captured {}/{} as image {}: {} bytes travelled ({} of them in vain), {} stored, the first {} were done before\n{}",
            args.machine,
            args.disk,
            image.id,
            image.received,
            image.repeated,
            image.stored,
            image.resumed,
            image.digest
        ),
    }
    Ok(Exit::Done)
}

/// Has a device's agent put an image on one of its disks.
pub(super) fn deploy(devices: &Devices, root: &Utf8Path, args: &DeployArgs, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(&args.device)?;
    let parameters = [("disk", args.disk.clone()), ("serial", args.serial.clone())];
    let sequence = Sequence {
        id: format!("{}_deploy-{}", args.machine, args.disk),
        description: "Puts an image on a disk".to_owned(),
        nodes: vec![step("deploy", "disk.deploy", &format!("Fetch {} from the store", args.disk), &parameters)],
    };
    let grant = DeployGrant {
        machine: args.machine.clone(),
        disk: args.disk.clone(),
        image: args.image.clone(),
        store: std::path::absolute(&args.store)?,
        key: args.key.clone().filter(|reference| !reference.is_empty()),
        serial: Some(args.serial.clone()),
        limit: args.limit.as_ref().map(ToString::to_string),
        budgets: Some((std::path::absolute(super::super::image::limits::folder())?, args.budget.clone())),
    };
    let job = LocalJob {
        device: Some(device.id.to_string()),
        deploys: vec![grant],
        ..LocalJob::alone(&args.machine, write(&sequence), 0)
    };
    let events = EventClient::from_environment();
    let (_, facts) = follow(&controller(root), &job, &device, args.timeout, &events, global)?;
    let prefix = format!("{}.", args.disk);
    let found: BTreeMap<&str, &str> =
        facts.iter().filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, value.as_str()))).collect();
    for (name, value) in &found {
        events.output(&name.replace('-', "_"), value);
    }
    match global.json {
        true => println!("{}", serde_json::to_string(&found)?),
        false => println!(
            "image {} of {}/{} is on the disk: {} bytes travelled, {} were done before",
            found.get("image").unwrap_or(&"?"),
            args.machine,
            args.disk,
            found.get("bytes-received").unwrap_or(&"?"),
            found.get("bytes-resumed").unwrap_or(&"?")
        ),
    }
    Ok(Exit::Done)
}

/// Gives a job to a device and follows it to its end. Returns the image that was made, if one was, and what was found.
fn follow(
    socket: &std::path::Path,
    job: &LocalJob,
    device: &Device,
    timeout: Duration,
    events: &EventClient,
    global: &Global,
) -> Result<(Option<CapturedImage>, BTreeMap<String, String>), Failure> {
    let again = |error: LocalError| match error {
        LocalError::Gone | LocalError::Socket { .. } => Failure::with(Exit::TryAgain, error),
        other => Failure::from(other),
    };
    let (mut client, _) = LocalClient::create(socket, job).map_err(again)?;
    let mut last = Instant::now();
    let mut made = None;
    loop {
        let Some(answer) = client.next(LOOK).map_err(again)? else {
            if last.elapsed() >= timeout {
                let message = format!("{} has said nothing for {timeout:?}", device.label());
                return Err(Failure::with(Exit::TryAgain, message));
            }
            continue;
        };
        last = Instant::now();
        let LocalAnswer::Report { report } = answer else { continue };
        let line = match report {
            Report::Captured { done, total, image, .. } => {
                events.progress(done, Some(total), "bytes");
                made = image.or(made);
                continue;
            }
            Report::Deployed { done, total, .. } => {
                events.progress(done, Some(total), "bytes");
                continue;
            }
            Report::Result { ok: true, facts, .. } => return Ok((made, facts)),
            Report::Result { message, .. } => return Err(Failure::with(Exit::Error, message)),
            Report::Begin { what, .. } => what,
            Report::End { message, .. } if message.is_empty() => continue,
            Report::End { step, outcome, message } => format!("{step}: {outcome}: {message}"),
            Report::Note { text } => text,
            Report::Restart(point) => format!("the machine restarts, and goes on behind step {}", point.after),
            Report::Enrolled { .. } | Report::Edit(_) => continue,
        };
        events.note(line.clone());
        if !global.json {
            println!("{line}");
        }
    }
}

/// Has a device's agent switch its machine off, then releases it.
pub(super) fn shut_down(devices: &Devices, root: &Utf8Path, args: &WaitArgs, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(&args.device)?;
    let released = device.state == DeviceState::Released;
    match (released, args.check) {
        (true, _) => return Ok(Exit::Done),
        (false, true) => return Ok(Exit::Absent),
        (false, false) => {}
    }
    let sequence = Sequence {
        id: format!("{}_shutdown", device.label()),
        description: "The source stays off from here on".to_owned(),
        nodes: vec![step("shutdown", "shutdown", "Switch off", &[])],
    };
    let job = LocalJob { device: Some(device.id.to_string()), ..LocalJob::alone(device.label(), write(&sequence), 0) };
    let events = EventClient::from_environment();
    follow(&controller(root), &job, &device, args.timeout, &events, global)?;
    devices.release(&device.id)?;
    if !global.json {
        println!("{} is switched off and released", device.label());
    }
    Ok(Exit::Done)
}
