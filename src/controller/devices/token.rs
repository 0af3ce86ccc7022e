//! One-time tokens: what a boot order carries, good for one enrolment of one device before it expires.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::error::DeviceError;
use super::model::{DeviceId, DeviceState};
use super::registry::{Devices, Result, load, now};

impl Devices {
    /// A new token for a device, in clear for the only time. Tokens that were issued before stay good: a machine may
    /// have asked twice.
    pub fn issue_token(&self, id: &DeviceId, life: Duration) -> Result<String> {
        let token = random_hex::<32>();
        self.write("issuing a token", |connection| {
            match load(connection, id)? {
                None => return Ok(Err(DeviceError::Unknown { asked: id.to_string() })),
                Some(device) if device.state == DeviceState::Revoked => {
                    return Ok(Err(DeviceError::ShutOut { device: id.clone() }));
                }
                Some(_) => {}
            }
            let expires = now().saturating_add(life.as_millis().try_into().unwrap_or(i64::MAX));
            connection.execute("DELETE FROM device_token WHERE expires < ?1", [now()])?;
            connection.execute(
                "INSERT INTO device_token VALUES (?1, ?2, ?3)",
                params![digest(&token), id.as_str(), expires],
            )?;
            Ok(Ok(()))
        })?;
        Ok(token)
    }

    /// Uses a token up, and with it every other token of the device. Returns the device that it opens.
    pub fn redeem(&self, token: &str) -> Result<DeviceId> {
        let digest = digest(token);
        // An expired token is used up as well, so the refusal comes after the commit.
        let (device, expires) = self.write("using a token", |connection| {
            let found: Option<(String, i64)> = connection
                .query_row("SELECT device, expires FROM device_token WHERE digest = ?1", [&digest[..]], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((device, expires)) = found else { return Ok(Err(DeviceError::UnknownToken)) };
            match expires > now() {
                true => connection.execute("DELETE FROM device_token WHERE device = ?1", [&device])?,
                false => connection.execute("DELETE FROM device_token WHERE digest = ?1", [&digest[..]])?,
            };
            Ok(Ok((DeviceId::new(device), expires)))
        })?;
        match expires > now() {
            true => Ok(device),
            false => Err(DeviceError::ExpiredToken),
        }
    }
}

/// So many random bytes as hexadecimal digits.
pub(super) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
