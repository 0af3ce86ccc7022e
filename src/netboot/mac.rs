//! [`MacAddress`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of one network adapter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// A text that is no adapter's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the MAC address of an adapter: write six pairs of hexadecimal digits, such as 52:54:00:12:34:56")]
pub struct NotMac(String);

impl MacAddress {
    /// Its bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// From bytes, if they are one adapter's: neither a group's nor nobody's.
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }
}

impl FromStr for MacAddress {
    type Err = NotMac;

    /// Pairs separated by `:` throughout or by `-` throughout.
    fn from_str(text: &str) -> Result<Self, NotMac> {
        let wrong = || NotMac(text.chars().take(40).collect());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut pairs = text.split(separator);
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong)?;
        }
        match pairs.next() {
            Some(_) => Err(wrong()),
            None => Self::new(bytes).ok_or_else(wrong),
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = NotMac;

    fn try_from(text: String) -> Result<Self, NotMac> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_spellings_are_one_address_and_groups_are_none() {
        let mac: MacAddress = "52-54-00-AB-cd-01".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
        for wrong in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52:54-00:12:34:56",
            "+2:54:00:12:34:56",
            "5:254:00:12:34:56",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
        for nobody in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"] {
            assert!(nobody.parse::<MacAddress>().is_err(), "{nobody}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,40}") {
            if let Ok(mac) = text.parse::<MacAddress>() {
                prop_assert_eq!(mac.to_string(), text.to_ascii_lowercase().replace('-', ":"));
            }
        }
    }
}
