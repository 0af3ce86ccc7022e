//! What iPXE says about its machine when it asks what to boot. Everything in it comes from whoever is on the network.

use crate::hardware::{MacAddress, SmbiosUuid};

/// Longest query that is read.
const MAX_QUERY: usize = 1024;

/// A machine that asks what to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRequest {
    /// The adapter that it boots from.
    pub mac: MacAddress,
    /// Its SMBIOS UUID, if its firmware has one that tells machines apart.
    pub uuid: Option<SmbiosUuid>,
    /// Its serial number, as its firmware says it.
    pub serial: Option<String>,
    /// Whether its firmware is UEFI, if it says.
    pub uefi: Option<bool>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is longer than any firmware's.
    #[error("the query is longer than {MAX_QUERY} bytes")]
    TooLong,
    /// A name is there twice: two readers could take it for two machines.
    #[error("`{name}` is there twice")]
    Twice {
        /// The name.
        name: &'static str,
    },
    /// There is no address.
    #[error("`mac` is missing")]
    NoMac,
    /// A value is not what it should be.
    #[error("`{name}` is not understood")]
    Malformed {
        /// The name.
        name: &'static str,
    },
}

impl BootRequest {
    /// Reads the query of `/boot`: `mac=52-54-00-12-34-56&uuid=...&platform=pcbios`. Other names are passed over. An
    /// empty or meaningless UUID (all zeros, all ones) counts as none.
    pub fn parse(query: &str) -> Result<Self, RequestError> {
        if query.len() > MAX_QUERY {
            return Err(RequestError::TooLong);
        }
        let value = |name: &'static str| {
            let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(RequestError::Twice { name }),
                (first, None) => Ok(first.map(|(_, value)| value)),
            }
        };
        let mac = value("mac")?.ok_or(RequestError::NoMac)?;
        let uuid = match value("uuid")? {
            None | Some("") => None,
            Some(text) => Some(uuid::Uuid::try_parse(text).map_err(|_| RequestError::Malformed { name: "uuid" })?),
        };
        let serial = match value("serial")? {
            None | Some("") => None,
            Some(text) => Some(unescape(text).ok_or(RequestError::Malformed { name: "serial" })?),
        };
        let uefi = match value("platform")? {
            None | Some("") => None,
            Some("pcbios") => Some(false),
            Some("efi") => Some(true),
            Some(_) => return Err(RequestError::Malformed { name: "platform" }),
        };
        Ok(Self {
            mac: mac.parse().map_err(|_| RequestError::Malformed { name: "mac" })?,
            // Zeros or ones throughout are no UUID.
            uuid: uuid.and_then(|uuid| uuid.to_string().parse().ok()),
            serial,
            uefi,
        })
    }
}

/// The text behind `%20`: printable ASCII, as SMBIOS has it.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            byte => byte,
        };
        plain.push(Some(char::from(byte)).filter(|c| (' '..='~').contains(c))?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_ipxe_sends_is_read() {
        let uuid = "4c4c4544-0043-3010-8052-b4c04f4c3532";
        let request =
            BootRequest::parse(&format!("mac=52-54-00-12-34-56&uuid={uuid}&serial=A%20b&platform=efi&x=y")).unwrap();
        assert_eq!(request.mac.to_string(), "52:54:00:12:34:56");
        assert_eq!(request.uuid.unwrap().to_string(), uuid);
        assert_eq!(request.uefi, Some(true));
        assert_eq!(request.serial.as_deref(), Some("A b"));
        let bare = BootRequest::parse("mac=52:54:00:12:34:56&uuid=").unwrap();
        assert_eq!((bare.uuid, bare.uefi), (None, None));
        let zeros = "mac=52-54-00-12-34-56&uuid=00000000-0000-0000-0000-000000000000";
        assert_eq!(BootRequest::parse(zeros).unwrap().uuid, None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let refused = |query: &str| BootRequest::parse(query).unwrap_err();
        assert_eq!(refused("mac=52-54-00-12-34-56&mac=52-54-00-12-34-57"), RequestError::Twice { name: "mac" });
        assert_eq!(refused("uuid="), RequestError::NoMac);
        assert_eq!(refused("mac=../../etc/passwd"), RequestError::Malformed { name: "mac" });
        assert_eq!(refused("mac=52-54-00-12-34-56&uuid=1"), RequestError::Malformed { name: "uuid" });
        for serial in ["%", "%2", "%0a", "%zz", "é"] {
            let query = format!("mac=52-54-00-12-34-56&serial={serial}");
            assert_eq!(refused(&query), RequestError::Malformed { name: "serial" }, "{serial}");
        }
        assert_eq!(refused(&"a".repeat(2000)), RequestError::TooLong);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_query_panics_and_what_is_read_is_what_was_said(
            query in prop_oneof![
                ".{0,200}",
                "(mac|uuid|platform|x)=[0-9a-fA-F:%-]{0,40}(&(mac|uuid|serial|platform)=[0-9a-fA-F:-]{0,40}){0,4}",
                "mac=([0-9a-f]{2}-){5}[0-9a-f]{2}&uuid=[0-9a-f-]{36}",
            ],
        ) {
            if let Ok(request) = BootRequest::parse(&query) {
                let said = format!("mac={}", request.mac);
                prop_assert!(query.to_lowercase().replace('-', ":").contains(&said));
                prop_assert!(!request.mac.bytes().iter().all(|byte| *byte == 0));
            }
        }
    }
}
