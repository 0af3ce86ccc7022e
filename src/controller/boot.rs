//! The registry's devices, as network boot sees them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::devices::{Boot, BootAnswer, Devices, Facts, Sighting, UNHEARD_BOOTS};
use super::pki::Fingerprint;
use crate::hardware::MacAddress;
use crate::netboot::{self, BootCount, BootDirectory, BootRequest};

/// Boots the devices of a registry into the agent of this controller.
pub struct DeviceBoot {
    devices: Arc<Devices>,
    controller: SocketAddr,
    ca: Fingerprint,
    extra: Vec<String>,
    token_life: Duration,
    /// The devices at the last look that succeeded.
    answered: Mutex<BTreeSet<MacAddress>>,
}

impl DeviceBoot {
    /// How long a machine may take from its boot script to its enrolment: firmware of servers is slow.
    pub const TOKEN_LIFE: Duration = Duration::from_secs(30 * 60);

    /// Agents find the controller at `controller`, recognise it by `ca`, and get the words of `extra` on their command
    /// line, such as `console=ttyS0`.
    pub fn new(devices: Arc<Devices>, controller: SocketAddr, ca: Fingerprint, extra: Vec<String>) -> Self {
        Self { devices, controller, ca, extra, token_life: Self::TOKEN_LIFE, answered: Mutex::default() }
    }
}

fn sighting(request: &BootRequest) -> Sighting {
    let mut facts = Facts::from([("nic.boot.mac".to_owned(), request.mac.to_string())]);
    facts.extend(request.uuid.map(|uuid| ("smbios.product_uuid".to_owned(), uuid.to_string())));
    facts.extend(request.serial.clone().map(|serial| ("smbios.product_serial".to_owned(), serial)));
    Sighting::from_facts(&facts)
}

impl BootDirectory for DeviceBoot {
    fn answer(&self, request: &BootRequest) -> netboot::BootAnswer {
        match self.devices.boot(&sighting(request), self.token_life) {
            Ok(Boot::Agent { device, token }) => {
                let mut order = vec![
                    format!("replant.controller=https://{}", self.controller),
                    format!("replant.ca={}", self.ca),
                    format!("replant.token={token}"),
                ];
                order.extend(self.extra.iter().cloned());
                let count = BootCount { boots: device.unheard, limit: UNHEARD_BOOTS };
                netboot::BootAnswer::Agent { name: device.label().to_owned(), order, count }
            }
            Ok(Boot::Local { device }) => {
                let count = BootCount { boots: device.unheard, limit: UNHEARD_BOOTS };
                let looped = (device.boot == BootAnswer::Agent).then_some(count);
                netboot::BootAnswer::Local { name: device.label().to_owned(), looped }
            }
            Ok(Boot::Ignore { why }) => {
                tracing::warn!(mac = %request.mac, ?why, "a machine gets nothing to boot");
                netboot::BootAnswer::Ignore
            }
            Err(error) => {
                tracing::error!(mac = %request.mac, %error, "a machine gets nothing to boot");
                netboot::BootAnswer::Ignore
            }
        }
    }

    fn answered(&self) -> BTreeSet<MacAddress> {
        let mut last = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match self.devices.list() {
            Ok(devices) => {
                let known = devices.into_iter().filter(|device| device.boot != BootAnswer::Ignore);
                *last = known.flat_map(|device| device.macs).collect();
            }
            Err(error) => tracing::error!(%error, "the devices cannot be listed: those of before are answered"),
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::controller::devices::NewDevice;

    #[test]
    fn a_device_boots_the_agent_once_and_its_token_is_in_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let devices = Arc::new(Devices::open(Utf8Path::from_path(folder.path()).unwrap()).unwrap());
        let mac: MacAddress = "52:54:00:00:00:01".parse().unwrap();
        let new = NewDevice { name: Some("web01".into()), macs: vec![mac], ..NewDevice::default() };
        let device = devices.add(&new).unwrap();
        let ca = Fingerprint::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap();
        let boot = DeviceBoot::new(devices.clone(), "10.0.0.1:4433".parse().unwrap(), ca, vec!["console=ttyS0".into()]);
        let asks = BootRequest::parse("mac=52-54-00-00-00-01&uuid=").unwrap();
        assert_eq!(boot.answered(), BTreeSet::from([mac]));
        assert!(matches!(boot.answer(&asks), netboot::BootAnswer::Local { looped: None, .. }));
        devices.set_boot(&device.id, BootAnswer::Agent, true).unwrap();
        let netboot::BootAnswer::Agent { name, order, .. } = boot.answer(&asks) else { panic!("it boots the agent") };
        assert_eq!((name.as_str(), order[0].as_str()), ("web01", "replant.controller=https://10.0.0.1:4433"));
        assert!(order[2].starts_with("replant.token=") && order[2].len() > 30 && order[3] == "console=ttyS0");
        assert!(matches!(boot.answer(&asks), netboot::BootAnswer::Local { looped: None, .. }), "once is once");
        devices.set_boot(&device.id, BootAnswer::Agent, false).unwrap();
        let agents = (0..20).filter(|_| matches!(boot.answer(&asks), netboot::BootAnswer::Agent { .. })).count();
        assert_eq!(agents, UNHEARD_BOOTS as usize, "a loop ends");
        assert!(matches!(boot.answer(&asks), netboot::BootAnswer::Local { looped: Some(_), .. }));
        devices.set_boot(&device.id, BootAnswer::Ignore, false).unwrap();
        assert!(boot.answered().is_empty());
        assert!(boot.answer(&asks) == netboot::BootAnswer::Ignore);
    }
}
