//! The verbs that change what is known of a device.

use camino::Utf8Path;

use super::super::{Exit, Failure, Global};
use super::list::identity;
use super::{AddArgs, BootAgentArgs};
use crate::agent::{BootOrder, controller_address};
use crate::controller::Authority;
use crate::controller::devices::{BootAnswer, Device, Devices, NewDevice};

pub(super) fn add(devices: &Devices, args: &AddArgs, global: &Global) -> Result<Exit, Failure> {
    let new =
        NewDevice { name: args.name.clone(), uuid: args.uuid, serial: args.serial.clone(), macs: args.mac.clone() };
    let device = devices.add(&new)?;
    said(global, &device, &format!("registered ({}); it boots its own disk until told otherwise", identity(&device)))
}

pub(super) fn release(devices: &Devices, asked: &str, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(asked)?;
    devices.release(&device.id)?;
    said(global, &devices.get(&device.id)?, "released: its certificate opens nothing, it boots its own disk")
}

pub(super) fn revoke(devices: &Devices, asked: &str, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(asked)?;
    devices.revoke(&device.id)?;
    said(global, &devices.get(&device.id)?, "shut out: its certificate opens nothing, and it is ignored")
}

pub(super) fn forget(devices: &Devices, asked: &str, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(asked)?;
    devices.forget(&device.id)?;
    said(global, &device, "forgotten")
}

pub(super) fn boot_agent(
    devices: &Devices,
    root: &Utf8Path,
    args: &BootAgentArgs,
    global: &Global,
) -> Result<Exit, Failure> {
    let device = devices.named(&args.device)?;
    devices.set_boot(&device.id, BootAnswer::Agent, args.once)?;
    let Some(url) = &args.order else {
        let how_long =
            if args.once { "at its next boot from the network" } else { "whenever it boots from the network" };
        return said(global, &devices.get(&device.id)?, &format!("gets the agent {how_long}"));
    };
    let controller = controller_address(url).map_err(|error| Failure::with(Exit::Usage, error))?;
    let authority = Authority::open(root.join(".replant").as_std_path())?;
    let token = devices.issue_token(&device.id, args.life)?;
    let order = BootOrder { controller, ca: authority.fingerprint(), token };
    match global.json {
        true => println!("{}", serde_json::json!({ "device": device.id, "order": order.command_line() })),
        false => println!("{}", order.command_line()),
    }
    Ok(Exit::Done)
}

fn said(global: &Global, device: &Device, what: &str) -> Result<Exit, Failure> {
    match global.json {
        true => println!("{}", serde_json::to_string(device)?),
        false => match &device.name {
            Some(name) => println!("{} ({name}): {what}", device.id),
            None => println!("{}: {what}", device.id),
        },
    }
    Ok(Exit::Done)
}
