//! Signs of life that a machine gives over the network: an answer to ping, an open port, a page that is served.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What is asked of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It answers to ping.
    Ping {
        /// Address or name.
        host: String,
    },
    /// It accepts a connection.
    Tcp {
        /// Address or name.
        host: String,
        /// The port.
        port: u16,
    },
    /// It serves a page with a status below 400.
    Http {
        /// Address or name.
        host: String,
        /// The port.
        port: u16,
        /// The path, with its `/`.
        path: String,
    },
}

/// Why a text is no probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of `ping:HOST`, `tcp:HOST:PORT` and `http://HOST[:PORT]/PATH`")]
pub struct ProbeTextError(String);

/// Longest wait for one answer.
const ONE_ANSWER: Duration = Duration::from_secs(5);

impl FromStr for Probe {
    type Err = ProbeTextError;

    fn from_str(text: &str) -> Result<Self, ProbeTextError> {
        let wrong = || ProbeTextError(text.to_owned());
        let is_host = |host: &str| {
            !host.is_empty()
                && !host.starts_with('-')
                && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:_%".contains(c))
        };
        let address = |text: &str, default: Option<u16>| {
            // `[fd00::5]:22` has colons of its own.
            let (host, port) = match text.strip_prefix('[') {
                Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
                None => match text.rsplit_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                },
            };
            let port = match port {
                Some(port) => port.parse().ok()?,
                None => default?,
            };
            (is_host(host) && port != 0).then(|| (host.to_owned(), port))
        };
        if let Some(rest) = text.strip_prefix("http://") {
            let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            let (host, port) = address(place, Some(80)).ok_or_else(wrong)?;
            let plain = path.chars().all(|c| c.is_ascii_graphic());
            return if plain { Ok(Self::Http { host, port, path: path.to_owned() }) } else { Err(wrong()) };
        }
        if let Some(rest) = text.strip_prefix("tcp:") {
            let (host, port) = address(rest, None).ok_or_else(wrong)?;
            return Ok(Self::Tcp { host, port });
        }
        match text.strip_prefix("ping:").filter(|host| is_host(host)) {
            Some(host) => Ok(Self::Ping { host: host.to_owned() }),
            None => Err(wrong()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping { host } => write!(f, "ping:{host}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Self::Http { host, port, path } => write!(f, "http://{host}:{port}{path}"),
        }
    }
}

impl Probe {
    /// Asks once; the error says why there was no sign of life.
    pub fn ask(&self) -> io::Result<()> {
        match self {
            Self::Ping { host } => {
                let status = Command::new("ping")
                    .args(["-c", "1", "-W", "2", "--", host])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .map_err(|error| io::Error::other(format!("`ping` (Debian package iputils-ping): {error}")))?;
                if status.success() { Ok(()) } else { Err(io::Error::other("no answer to ping")) }
            }
            Self::Tcp { host, port } => connect(host, *port).map(drop),
            Self::Http { host, port, path } => {
                let mut stream = connect(host, *port)?;
                write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
                let mut head = [0; 16];
                stream.read_exact(&mut head)?;
                let text = String::from_utf8_lossy(&head).into_owned();
                let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
                match status {
                    Some(status) if status < 400 => Ok(()),
                    Some(status) => Err(io::Error::other(format!("the server answers with status {status}"))),
                    None => Err(io::Error::other("what answers does not speak HTTP")),
                }
            }
        }
    }

    /// Asks until there is an answer, time is up, or nothing can come any more.
    pub fn wait(&self, patience: Duration, is_off: &dyn Fn() -> bool) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let off = is_off();
            match self.ask() {
                Ok(()) => return Ok(()),
                Err(error) if off => return Err(io::Error::other(format!("{error}, and the VM is off"))),
                Err(error) if begun.elapsed() >= patience => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(500)),
            }
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ONE_ANSWER) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ONE_ANSWER))?;
                stream.set_write_timeout(Some(ONE_ANSWER))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn probes_are_read_and_nonsense_is_not() {
        for text in ["ping:10.0.0.5", "tcp:web01:22", "http://10.0.0.5:8080/health?x=1"] {
            assert_eq!(text.parse::<Probe>().unwrap().to_string(), text);
        }
        assert_eq!("http://web01".parse::<Probe>().unwrap().to_string(), "http://web01:80/");
        assert_eq!("tcp:[fd00::5]:22".parse(), Ok(Probe::Tcp { host: "fd00::5".into(), port: 22 }));
        for text in ["ping:", "ping:-f", "tcp:web01", "tcp:web01:0", "http:///x", "https://x", "ping:a b", "tcp:a;b:1"]
        {
            assert!(text.parse::<Probe>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_open_port_and_a_served_page_are_signs_of_life() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            for answer in ["", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 503 Not Now\r\n\r\n"] {
                let (mut stream, _) = server.accept().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                let mut request = Vec::new();
                let _ = stream.read_to_end(&mut request);
            }
        });
        let tcp = Probe::Tcp { host: "127.0.0.1".into(), port };
        let http = Probe::Http { host: "127.0.0.1".into(), port, path: "/".into() };
        tcp.ask().unwrap();
        http.ask().unwrap();
        assert!(http.ask().unwrap_err().to_string().contains("503"));
        served.join().unwrap();
        let error = tcp.wait(Duration::ZERO, &|| true).unwrap_err().to_string();
        assert!(error.contains("the VM is off"), "{error}");
    }
}
