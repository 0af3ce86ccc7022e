//! The registry: devices in the state database, found by what machines show of themselves.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::controller::pki::Fingerprint;
use crate::hardware::{MacAddress, SmbiosUuid};
use crate::journal;

use super::error::DeviceError;
use super::model::{BootAnswer, Device, DeviceId, DeviceState, Facts, NewDevice, Sighting, telling_serial};
use super::schema::TABLES;

pub(super) type Result<T> = std::result::Result<T, DeviceError>;

/// Every device of a plan root. Shared by threads; several processes may have it open.
pub struct Devices {
    connection: Mutex<Connection>,
    path: Utf8PathBuf,
}

const COLUMNS: &str =
    "id, name, uuid, serial, inventory, certificate, state, boot, one_shot, boots, unheard, last_seen, added";

impl Devices {
    /// Opens the registry of a plan root, making it if there is none.
    pub fn open(root: &Utf8Path) -> Result<Self> {
        let (connection, path) = journal::open_state(root)?;
        let devices = Self { connection: Mutex::new(connection), path };
        devices.write("making the device tables", |connection| {
            connection.execute_batch(TABLES)?;
            Ok(Ok(()))
        })?;
        devices
            .lock()
            .pragma_update(None, "foreign_keys", true)
            .map_err(|error| journal::state_error(&devices.path, "opening the device tables", error))?;
        Ok(devices)
    }

    /// Every device, in the order in which they were added.
    pub fn list(&self) -> Result<Vec<Device>> {
        self.read("reading the devices", |connection| {
            let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM device ORDER BY added, id"))?;
            let mut devices = select.query_map([], device)?.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut macs = macs(connection)?;
            for device in &mut devices {
                device.macs = macs.remove(&device.id).unwrap_or_default();
            }
            Ok(devices)
        })
    }

    /// The device with this id.
    pub fn get(&self, id: &DeviceId) -> Result<Device> {
        let found = self.read("reading a device", |connection| load(connection, id))?;
        found.ok_or_else(|| DeviceError::Unknown { asked: id.to_string() })
    }

    /// The one device that `text` means: its id or the begin of it, its name, a MAC address, its UUID or serial number.
    pub fn named(&self, text: &str) -> Result<Device> {
        let mac: Option<MacAddress> = text.parse().ok();
        let uuid: Option<SmbiosUuid> = text.parse().ok();
        let devices = self.list()?;
        if let Some(device) = devices.iter().find(|device| device.id.as_str() == text) {
            return Ok(device.clone());
        }
        let mut found = devices.into_iter().filter(|device| {
            device.name.as_deref() == Some(text)
                || mac.is_some_and(|mac| device.macs.contains(&mac))
                || uuid.is_some() && device.uuid == uuid
                || device.serial.as_deref() == Some(text)
                || text.len() >= 4 && device.id.as_str().starts_with(text)
        });
        match (found.next(), found.next()) {
            (None, _) => Err(DeviceError::Unknown { asked: text.to_owned() }),
            (Some(device), None) => Ok(device),
            (Some(one), Some(two)) => {
                let candidates = [one, two].into_iter().chain(found).map(|device| device.id).collect();
                Err(DeviceError::Ambiguous { asked: text.to_owned(), candidates })
            }
        }
    }

    /// Registers a device. Nothing that finds it may belong to another one. It is told to boot its own disk.
    pub fn add(&self, new: &NewDevice) -> Result<Device> {
        let serial = new.serial.as_deref().and_then(telling_serial);
        if new.macs.is_empty() && new.uuid.is_none() && serial.is_none() {
            return Err(DeviceError::Nameless);
        }
        if let Some(name) = new.name.as_deref().filter(|name| !is_name(name)) {
            return Err(DeviceError::Name { name: name.to_owned() });
        }
        let id = DeviceId::new(format!("dev-{}", super::token::random_hex::<6>()));
        self.write("adding a device", |connection| {
            let taken = |what: String, owner: DeviceId| Ok(Err(DeviceError::Taken { what, owner }));
            if let Some(name) = &new.name
                && let Some(owner) = owner(connection, "SELECT id FROM device WHERE name = ?1", name)?
            {
                return taken(format!("the name `{name}`"), owner);
            }
            if let Some(uuid) = &new.uuid
                && let Some(owner) = owner(connection, "SELECT id FROM device WHERE uuid = ?1", &uuid.to_string())?
            {
                return taken(format!("UUID {uuid}"), owner);
            }
            for mac in &new.macs {
                if let Some(owner) =
                    owner(connection, "SELECT device FROM device_mac WHERE mac = ?1", &mac.to_string())?
                {
                    return taken(format!("MAC address {mac}"), owner);
                }
            }
            connection.execute(
                "INSERT INTO device (id, name, uuid, serial, inventory, state, boot, one_shot, boots, unheard, added)
                 VALUES (?1, ?2, ?3, ?4, '{}', ?5, ?6, 0, 0, 0, ?7)",
                params![
                    id.as_str(),
                    new.name,
                    new.uuid.map(|uuid| uuid.to_string()),
                    serial,
                    DeviceState::Registered.word(),
                    BootAnswer::Local.word(),
                    now(),
                ],
            )?;
            for mac in &new.macs {
                connection.execute(
                    "INSERT OR IGNORE INTO device_mac VALUES (?1, ?2)",
                    params![mac.to_string(), id.as_str()],
                )?;
            }
            Ok(Ok(()))
        })?;
        self.get(&id)
    }

    /// The device that a machine seems to be; `None` for one that nobody registered. A machine that shows a device's
    /// address with another identity is an error, never that device.
    pub fn find(&self, seen: &Sighting) -> Result<Option<Device>> {
        let mut found: Option<(Device, Option<MacAddress>)> = None;
        for device in self.list()? {
            let same_uuid = matches!((&device.uuid, &seen.uuid), (Some(a), Some(b)) if a.names_same_machine(b));
            let same_serial = device.serial.is_some() && device.serial == seen.serial;
            let mac = device.macs.iter().find(|mac| seen.macs.contains(mac)).copied();
            // A serial number alone finds only a device that nobody knows more about.
            let only_serial = device.uuid.is_none() && device.macs.is_empty();
            if !same_uuid && mac.is_none() && !(same_serial && only_serial) {
                continue;
            }
            if let Some((other, _)) = found {
                return Err(DeviceError::Torn { one: other.id, other: device.id });
            }
            found = Some((device, mac));
        }
        let Some((device, mac)) = found else { return Ok(None) };
        let stranger = |what, expected: String, found: String| {
            Err(DeviceError::Stranger { device: device.id.clone(), mac, what, expected, found })
        };
        match (&device.uuid, &seen.uuid) {
            (Some(expected), Some(found)) if !expected.names_same_machine(found) => {
                return stranger("UUID", expected.to_string(), found.to_string());
            }
            _ => {}
        }
        match (&device.serial, &seen.serial) {
            (Some(expected), Some(found)) if expected != found => {
                stranger("serial number", expected.clone(), found.clone())
            }
            _ => Ok(Some(device)),
        }
    }

    /// Says what a device is told from now on when it boots from the network. `one_shot`: `agent` holds once.
    pub fn set_boot(&self, id: &DeviceId, boot: BootAnswer, one_shot: bool) -> Result<()> {
        let sql = "UPDATE device SET boot = ?2, one_shot = ?3, unheard = 0 WHERE id = ?1";
        self.update(id, sql, params![id.as_str(), boot.word(), one_shot])
    }

    /// Says where a device stands.
    pub fn set_state(&self, id: &DeviceId, state: DeviceState) -> Result<()> {
        let sql = "UPDATE device SET state = ?2, last_seen = ?3 WHERE id = ?1";
        self.update(id, sql, params![id.as_str(), state.word(), now()])
    }

    /// The device was heard of.
    pub fn touch(&self, id: &DeviceId) -> Result<()> {
        self.update(id, "UPDATE device SET last_seen = ?2 WHERE id = ?1", params![id.as_str(), now()])
    }

    /// An agent on the device has proven its token: this certificate opens its jobs now, and none before it does. What
    /// it says of its machine must fit what is known, and completes it.
    pub fn enrolled(&self, id: &DeviceId, certificate: Fingerprint, facts: &Facts) -> Result<Device> {
        let device = self.get(id)?;
        let seen = Sighting::from_facts(facts);
        match self.find(&seen)? {
            Some(found) if found.id != *id => {
                return Err(DeviceError::Torn { one: id.clone(), other: found.id });
            }
            _ => {}
        }
        let stranger = |what, expected: String, found: String| {
            Err(DeviceError::Stranger { device: id.clone(), mac: None, what, expected, found })
        };
        if let (Some(expected), Some(found)) = (&device.uuid, &seen.uuid)
            && !expected.names_same_machine(found)
        {
            return stranger("UUID", expected.to_string(), found.to_string());
        }
        if let (Some(expected), Some(found)) = (&device.serial, &seen.serial)
            && expected != found
        {
            return stranger("serial number", expected.clone(), found.clone());
        }
        let inventory = serde_json::to_string(facts).expect("texts are JSON");
        self.write("enrolling a device", |connection| {
            connection.execute(
                "UPDATE device SET certificate = ?2, inventory = ?3, state = ?4, last_seen = ?5, unheard = 0,
                 uuid = coalesce(uuid, ?6), serial = coalesce(serial, ?7) WHERE id = ?1",
                params![
                    id.as_str(),
                    certificate.to_string(),
                    inventory,
                    DeviceState::Enrolled.word(),
                    now(),
                    seen.uuid.map(|uuid| uuid.to_string()),
                    seen.serial,
                ],
            )?;
            for mac in &seen.macs {
                connection.execute(
                    "INSERT OR IGNORE INTO device_mac VALUES (?1, ?2)",
                    params![mac.to_string(), id.as_str()],
                )?;
            }
            Ok(Ok(()))
        })?;
        self.get(id)
    }

    /// The device whose jobs a certificate opens.
    pub fn by_certificate(&self, certificate: Fingerprint) -> Result<Option<DeviceId>> {
        self.read("looking for a certificate", |connection| {
            owner(connection, "SELECT id FROM device WHERE certificate = ?1", &certificate.to_string())
        })
    }

    /// Ends a device's part: its certificate and its tokens open nothing, and it boots its own disk.
    pub fn release(&self, id: &DeviceId) -> Result<()> {
        self.close(id, DeviceState::Released, BootAnswer::Local)
    }

    /// Shuts a device out: as [`Self::release`], and it is ignored until it is released.
    pub fn revoke(&self, id: &DeviceId) -> Result<()> {
        self.close(id, DeviceState::Revoked, BootAnswer::Ignore)
    }

    fn close(&self, id: &DeviceId, state: DeviceState, boot: BootAnswer) -> Result<()> {
        self.get(id)?;
        self.write("closing a device", |connection| {
            connection.execute("DELETE FROM device_token WHERE device = ?1", [id.as_str()])?;
            connection.execute(
                "UPDATE device SET certificate = NULL, state = ?2, boot = ?3, one_shot = 0, unheard = 0 WHERE id = ?1",
                params![id.as_str(), state.word(), boot.word()],
            )?;
            Ok(Ok(()))
        })
    }

    /// Removes a device with its tokens; it is a stranger from now on.
    pub fn forget(&self, id: &DeviceId) -> Result<()> {
        self.update(id, "DELETE FROM device WHERE id = ?1", params![id.as_str()])
    }

    /// Proves that the database takes writes, and leaves nothing behind.
    pub fn probe(&self) -> Result<()> {
        let mut connection = self.lock();
        let fail = |error| journal::state_error(&self.path, "probing it", error);
        let probe = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        probe.execute("DELETE FROM device_token WHERE expires < ?1", [now()]).map_err(fail)?;
        Ok(probe.rollback().map_err(fail)?)
    }

    pub(super) fn update(&self, id: &DeviceId, sql: &str, values: impl rusqlite::Params) -> Result<()> {
        let changed = self.write("changing a device", |connection| Ok(Ok(connection.execute(sql, values)?)))?;
        match changed {
            0 => Err(DeviceError::Unknown { asked: id.to_string() }),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        Ok(run(&self.lock()).map_err(|error| journal::state_error(&self.path, doing, error))?)
    }

    /// All or nothing; a refusal takes back what was done before it.
    pub(super) fn write<T>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&Connection) -> rusqlite::Result<Result<T>>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let fail = |error| journal::state_error(&self.path, doing, error);
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let done = run(&change).map_err(fail)??;
        change.commit().map_err(fail)?;
        Ok(done)
    }
}

/// Whether a text may name a device or a machine.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn owner(connection: &Connection, sql: &str, value: &str) -> rusqlite::Result<Option<DeviceId>> {
    connection.query_row(sql, [value], |row| row.get::<_, String>(0).map(DeviceId::new)).optional()
}

fn macs(connection: &Connection) -> rusqlite::Result<BTreeMap<DeviceId, Vec<MacAddress>>> {
    let mut macs: BTreeMap<DeviceId, Vec<MacAddress>> = BTreeMap::new();
    let mut select = connection.prepare("SELECT device, mac FROM device_mac ORDER BY mac")?;
    let rows = select.query_map([], |row| Ok((DeviceId::new(row.get::<_, String>(0)?), parsed(row, 1)?)))?;
    for row in rows {
        let (device, mac) = row?;
        macs.entry(device).or_default().push(mac);
    }
    Ok(macs)
}

pub(super) fn load(connection: &Connection, id: &DeviceId) -> rusqlite::Result<Option<Device>> {
    let sql = format!("SELECT {COLUMNS} FROM device WHERE id = ?1");
    let Some(mut device) = connection.query_row(&sql, [id.as_str()], device).optional()? else { return Ok(None) };
    device.macs = macs(connection)?.remove(id).unwrap_or_default();
    Ok(Some(device))
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let optional = |index| row.get::<_, Option<String>>(index);
    Ok(Device {
        id: DeviceId::new(row.get::<_, String>(0)?),
        name: optional(1)?,
        uuid: optional(2)?.map(|text| text.parse().map_err(|error| damaged(2, error))).transpose()?,
        serial: optional(3)?,
        macs: Vec::new(),
        inventory: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|error| damaged(4, error))?,
        certificate: optional(5)?.as_deref().map(|text| word(5, text, Fingerprint::parse)).transpose()?,
        state: word(6, &row.get::<_, String>(6)?, DeviceState::parse)?,
        boot: word(7, &row.get::<_, String>(7)?, BootAnswer::parse)?,
        one_shot: row.get(8)?,
        boots: row.get(9)?,
        unheard: row.get(10)?,
        last_seen: row.get(11)?,
        added: row.get(12)?,
    })
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, String>(index)?.parse().map_err(|error| damaged(index, error))
}

fn word<T>(index: usize, text: &str, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    parse(text).ok_or_else(|| damaged(index, std::io::Error::other(format!("`{text}` means nothing here"))))
}

fn damaged(index: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
}
