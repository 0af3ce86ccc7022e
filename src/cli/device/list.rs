//! `replant device ls`.

use super::super::{Exit, Failure, Global};
use crate::controller::devices::{Device, Devices};

/// Lists every device, oldest first.
pub(super) fn run(devices: &Devices, global: &Global) -> Result<Exit, Failure> {
    let devices = devices.list()?;
    if global.json {
        println!("{}", serde_json::to_string(&devices)?);
        return Ok(Exit::Done);
    }
    if devices.is_empty() {
        println!("no device is registered: `replant device add --mac ...` registers one");
        return Ok(Exit::Done);
    }
    println!(
        "{:<17} {:<16} {:<11} {:<7} {:>5}  {:<20} IDENTITY",
        "DEVICE", "NAME", "STATE", "BOOTS", "COUNT", "LAST SEEN"
    );
    for device in &devices {
        println!(
            "{:<17} {:<16} {:<11} {:<7} {:>5}  {:<20} {}",
            device.id.as_str(),
            device.name.as_deref().unwrap_or("-"),
            device.state,
            device.boot,
            device.boots,
            when(device.last_seen),
            identity(device)
        );
    }
    Ok(Exit::Done)
}

/// What finds a device, in one line.
pub(super) fn identity(device: &Device) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(device.uuid.map(|uuid| format!("uuid {uuid}")));
    parts.extend(device.serial.as_ref().map(|serial| format!("serial {serial}")));
    parts.extend(device.macs.iter().map(|mac| format!("mac {mac}")));
    parts.join(", ")
}

/// A time as people read it, to the second.
pub(super) fn when(time: Option<i64>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::from_millisecond(time - time.rem_euclid(1000)).ok());
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}
