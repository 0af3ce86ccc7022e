//! Redfish: one system of a service, its power and its next boot.

use base64::Engine as _;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::PowerError;
use super::https::{Answer, Service};
use super::switch::PowerState;
use crate::controller::Fingerprint;
use crate::plan::RedfishAccess;

const SYSTEMS: &str = "/redfish/v1/Systems";

/// A Redfish service that we are let into.
pub(super) struct Redfish {
    service: Service,
    user: String,
    /// The path of the one system, if the plan names it.
    system: Option<String>,
}

/// A kind of reset, as Redfish names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reset {
    On,
    ForceOff,
    GracefulShutdown,
    ForceRestart,
}

impl Reset {
    fn word(self) -> &'static str {
        match self {
            Self::On => "On",
            Self::ForceOff => "ForceOff",
            Self::GracefulShutdown => "GracefulShutdown",
            Self::ForceRestart => "ForceRestart",
        }
    }
}

/// Host, port and path of `https://HOST[:PORT][/PATH]`.
pub(super) fn parts(url: &str) -> Option<(String, u16, &str)> {
    let rest = url.strip_prefix("https://")?;
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match place.rsplit_once(':') {
        // The colons of `[fe80::1]` are not a port's.
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (place, 443),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port, path.trim_end_matches('/')))
}

impl Redfish {
    pub(super) fn open(access: &RedfishAccess, password: &Zeroizing<String>) -> Result<Self, PowerError> {
        let nonsense = |message: &str| PowerError::Nonsense { at: access.url.clone(), message: message.to_owned() };
        let (host, port, path) = parts(&access.url).ok_or_else(|| nonsense("that is no address"))?;
        let certificate =
            Fingerprint::parse(&access.certificate).ok_or_else(|| nonsense("`certificate` is no fingerprint"))?;
        let pair = Zeroizing::new(format!("{}:{}", access.user, **password));
        let authorization = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
        let system = path.strip_prefix(SYSTEMS).is_some_and(|rest| rest.len() > 1).then(|| path.to_owned());
        Ok(Self {
            service: Service::new(&host, port, authorization, Some(certificate)),
            user: access.user.clone(),
            system,
        })
    }

    pub(super) async fn state(&self) -> Result<PowerState, PowerError> {
        let (_, system) = self.system().await?;
        match system.json["PowerState"].as_str() {
            Some("On") => Ok(PowerState::On),
            Some("Off") => Ok(PowerState::Off),
            Some("PoweringOn" | "PoweringOff" | "Paused") => Ok(PowerState::Changing),
            other => Err(self.nonsense(format!("the power state {other:?}"))),
        }
    }

    pub(super) async fn reset(&self, kind: Reset) -> Result<(), PowerError> {
        let (path, system) = self.system().await?;
        let action = &system.json["Actions"]["#ComputerSystem.Reset"];
        let allowed: Vec<&str> = action["ResetType@Redfish.AllowableValues"]
            .as_array()
            .map(|values| values.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        if !allowed.is_empty() && !allowed.contains(&kind.word()) {
            let message = format!("it offers {} only", allowed.join(", "));
            return Err(PowerError::Refused { at: self.service.at(), what: format!("do `{}`", kind.word()), message });
        }
        let target = action["target"].as_str().filter(|target| target.starts_with('/'));
        let target = target.map_or_else(|| format!("{path}/Actions/ComputerSystem.Reset"), str::to_owned);
        let body = json!({ "ResetType": kind.word() });
        let answer = self.service.request(Method::POST, &target, None, Some(&body)).await?;
        self.accepted(answer, &format!("do `{}`", kind.word())).map(drop)
    }

    /// The next boot, and that one alone, is from the network.
    pub(super) async fn boot_from_network(&self) -> Result<(), PowerError> {
        let (path, system) = self.system().await?;
        let body = json!({ "Boot": { "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe" } });
        let answer = self.service.request(Method::PATCH, &path, system.tag.as_deref(), Some(&body)).await?;
        self.accepted(answer, "boot from the network").map(drop)
    }

    /// The system's path and what the service says of it.
    async fn system(&self) -> Result<(String, Answer), PowerError> {
        let path = match &self.system {
            Some(path) => path.clone(),
            None => self.only_system().await?,
        };
        let answer = self.get(&path).await?;
        Ok((path, answer))
    }

    async fn only_system(&self) -> Result<String, PowerError> {
        let answer = self.get(SYSTEMS).await?;
        let members = answer.json["Members"].as_array().cloned().unwrap_or_default();
        let mut systems: Vec<String> = members
            .iter()
            .filter_map(|member| member["@odata.id"].as_str())
            .filter(|path| path.starts_with('/'))
            .map(str::to_owned)
            .collect();
        match systems.len() {
            0 => Err(self.nonsense(format!("`{SYSTEMS}` lists no system"))),
            1 => Ok(systems.remove(0)),
            _ => Err(PowerError::WhichSystem { at: self.service.at(), systems }),
        }
    }

    async fn get(&self, path: &str) -> Result<Answer, PowerError> {
        let answer = self.service.request(Method::GET, path, None, None).await?;
        self.accepted(answer, &format!("show `{path}`"))
    }

    fn accepted(&self, answer: Answer, what: &str) -> Result<Answer, PowerError> {
        let at = self.service.at();
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(PowerError::NoEntry { at, user: self.user.clone() })
            }
            status => {
                let error = &answer.json["error"];
                let told = error["@Message.ExtendedInfo"][0]["Message"].as_str().or_else(|| error["message"].as_str());
                let message = told.map_or_else(|| status.to_string(), |told| format!("{told} ({status})"));
                Err(PowerError::Refused { at, what: what.to_owned(), message })
            }
        }
    }

    fn nonsense(&self, message: String) -> PowerError {
        PowerError::Nonsense { at: self.service.at(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_host_port_and_path() {
        let read = |url: &'static str| parts(url).unwrap();
        assert_eq!(read("https://bmc7"), ("bmc7".into(), 443, ""));
        assert_eq!(read("https://bmc7:8443/redfish/v1/Systems/1/"), ("bmc7".into(), 8443, "/redfish/v1/Systems/1"));
        assert_eq!(read("https://[fe80::1]/x"), ("[fe80::1]".into(), 443, "/x"));
        assert_eq!(read("https://[fe80::1]:44/"), ("[fe80::1]".into(), 44, ""));
        for wrong in ["http://bmc7", "https://", "https://bmc7:99999", "https://bmc7:x"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
