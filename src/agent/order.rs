//! The boot order: what the kernel command line tells the agent.

use crate::controller::Fingerprint;

/// Where the controller is, how it is recognised, and the token that opens one enrolment.
#[derive(Clone, PartialEq, Eq)]
pub struct BootOrder {
    /// Host and port of the controller.
    pub controller: (String, u16),
    /// Its CA.
    pub ca: Fingerprint,
    /// The one-time token.
    pub token: String,
}

/// Why there is no usable boot order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A word is missing.
    #[error("the boot order has no `{word}...`: this machine was not booted by a controller")]
    Missing {
        /// How the word begins.
        word: &'static str,
    },
    /// A word is there and cannot be understood.
    #[error("`{word}` in the boot order is not understood: {wanted}")]
    Malformed {
        /// The word.
        word: String,
        /// What it should look like.
        wanted: &'static str,
    },
}

const CONTROLLER: &str = "replant.controller=";
const CA: &str = "replant.ca=";
const TOKEN: &str = "replant.token=";

impl BootOrder {
    /// Reads it from a kernel command line. Words of others are passed over.
    pub fn parse(command_line: &str) -> Result<Self, OrderError> {
        let word = |prefix: &'static str| {
            let found = command_line.split_whitespace().find_map(|word| word.strip_prefix(prefix));
            found.filter(|value| !value.is_empty()).ok_or(OrderError::Missing { word: prefix })
        };
        let url = word(CONTROLLER)?;
        let malformed =
            |prefix: &str, value: &str, wanted| OrderError::Malformed { word: format!("{prefix}{value}"), wanted };
        let controller = controller_address(url)?;
        let ca = word(CA)?;
        let ca = Fingerprint::parse(ca).ok_or_else(|| malformed(CA, ca, "write sha256: and 64 hexadecimal digits"))?;
        Ok(Self { controller, ca, token: word(TOKEN)?.to_owned() })
    }

    /// The words for a kernel command line.
    pub fn command_line(&self) -> String {
        let (host, port) = &self.controller;
        format!("{CONTROLLER}https://{host}:{port} {CA}{} {TOKEN}{}", self.ca, self.token)
    }
}

/// Host and port of `https://HOST:PORT`.
pub fn controller_address(url: &str) -> Result<(String, u16), OrderError> {
    url.strip_prefix("https://")
        .and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'))
        .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)))
        .filter(|(host, _)| !host.is_empty() && !host.contains(['/', ' ']))
        .ok_or_else(|| OrderError::Malformed { word: format!("{CONTROLLER}{url}"), wanted: "write https://HOST:PORT" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_reads_back() {
        let order = BootOrder {
            controller: ("10.0.2.2".into(), 4433),
            ca: Fingerprint::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap(),
            token: "secret".into(),
        };
        let line = format!("quiet {} console=ttyS0", order.command_line());
        assert!(BootOrder::parse(&line).unwrap() == order);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |line: &str| BootOrder::parse(line).err().map(|error| error.to_string()).unwrap();
        assert!(parse("quiet").contains("replant.controller="));
        assert!(parse("replant.controller=http://x:1").contains("https://HOST:PORT"));
        assert!(parse("replant.controller=https://x:1 replant.ca=md5:1").contains("sha256:"));
        let ca = format!("replant.ca=sha256:{}", "0".repeat(64));
        assert!(parse(&format!("replant.controller=https://x:1 {ca} replant.token=")).contains("replant.token="));
    }
}
