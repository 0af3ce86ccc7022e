//! `replant device show`.

use super::super::{Exit, Failure, Global};
use super::list::when;
use crate::controller::devices::Devices;

/// Shows all that is known of one device.
pub(super) fn run(devices: &Devices, asked: &str, global: &Global) -> Result<Exit, Failure> {
    let device = devices.named(asked)?;
    if global.json {
        println!("{}", serde_json::to_string(&device)?);
        return Ok(Exit::Done);
    }
    let line = |name: &str, value: String| println!("{name:<13} {value}");
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    line("device", device.id.to_string());
    line("name", or_none(device.name.clone()));
    line("state", device.state.to_string());
    let once = if device.one_shot { ", once" } else { "" };
    line("boots", format!("{}{once} ({} times the agent so far)", device.boot, device.boots));
    line("last seen", when(device.last_seen));
    line("added", when(Some(device.added)));
    line("uuid", or_none(device.uuid.map(|uuid| uuid.to_string())));
    line("serial", or_none(device.serial.clone()));
    for mac in &device.macs {
        line("mac", mac.to_string());
    }
    line("certificate", or_none(device.certificate.map(|certificate| certificate.to_string())));
    match device.inventory.is_empty() {
        true => println!("\nno agent has reported what is in this machine yet"),
        false => println!("\nwhat its agent saw:"),
    }
    for (name, value) in &device.inventory {
        println!("  {name:<28} {value}");
    }
    Ok(Exit::Done)
}
