//! `netboot:` settings.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// Which part of DHCP is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpMode {
    /// All of it: nobody else serves DHCP on this network.
    Dhcp {
        /// First address that is given out.
        first: Ipv4Addr,
        /// Last one.
        last: Ipv4Addr,
    },
    /// Only what to boot: another server gives out the addresses.
    Proxy,
}

/// How network boot is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetbootSettings {
    /// The interface on the boot network; no other is listened on.
    pub interface: String,
    /// Which part of DHCP is ours.
    pub mode: DhcpMode,
    /// Where boot scripts, kernel and initramfs are served by plain HTTP.
    pub http_port: u16,
}

impl NetbootSettings {
    /// The port, if none is declared.
    pub const HTTP_PORT: u16 = 8069;
}

/// A range that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It does not read as one.
    #[error("`{0}` is not a range of addresses: write FIRST-LAST, such as 10.0.0.100-10.0.0.200")]
    NotRange(String),
    /// Full mode without a range.
    #[error("mode dhcp gives out addresses: say which with a range, such as 10.0.0.100-10.0.0.200")]
    NoRange,
    /// Proxy mode with one.
    #[error("mode proxy gives out no addresses: leave the range out")]
    RangeForProxy,
}

impl DhcpMode {
    /// From the mode's word and the range that is declared beside it.
    pub fn new(proxy: bool, range: Option<&str>) -> Result<Self, SettingsError> {
        match (proxy, range) {
            (true, None) => Ok(Self::Proxy),
            (true, Some(_)) => Err(SettingsError::RangeForProxy),
            (false, None) => Err(SettingsError::NoRange),
            (false, Some(range)) => range.parse(),
        }
    }
}

impl FromStr for DhcpMode {
    type Err = SettingsError;

    /// A range `FIRST-LAST`.
    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(Self::Dhcp { first, last })
        });
        parsed.ok_or_else(|| SettingsError::NotRange(text.to_owned()))
    }
}
