//! Asks the running service what a machine's firmware would ask: DHCP or ProxyDHCP for what to boot, TFTP for the first
//! stage. A process that runs and does not answer is not healthy.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::interface::BootInterface;
use crate::hardware::MacAddress;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
const SERVER_PORT: u16 = 67;
const PROXY_PORT: u16 = 4011;
const TFTP_PORT: u16 = 69;

/// Why the service is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A datagram could not be sent or received.
    #[error("{what} cannot be asked")]
    Io {
        /// Which part.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// No answer.
    #[error("{what} on {interface} did not answer within {ANSWER:?}")]
    Silent {
        /// Which part.
        what: &'static str,
        /// The interface.
        interface: String,
    },
    /// TFTP refuses the first stage.
    #[error("TFTP on {interface} does not serve {file}: {message}")]
    NoFile {
        /// The interface.
        interface: String,
        /// The file.
        file: &'static str,
        /// What it said.
        message: String,
    },
}

/// The adapter that the probe asks as: an address that nobody is given, listed like a device.
pub fn probe_mac() -> MacAddress {
    MacAddress::new([0x02, 0x72, 0x70, 0x6c, 0x6e, 0x74]).expect("a locally administered address")
}

/// Asks DHCP (or ProxyDHCP) and TFTP.
pub async fn probe(interface: &BootInterface, proxy: bool) -> Result<(), ProbeError> {
    let dhcp = if proxy { "ProxyDHCP" } else { "DHCP" };
    let silent = |what| ProbeError::Silent { what, interface: interface.name.clone() };
    let io = |what| move |error| ProbeError::Io { what, error };
    let socket = UdpSocket::bind(SocketAddrV4::new(interface.address, 0)).await.map_err(io(dhcp))?;
    socket.set_broadcast(true).map_err(io(dhcp))?;
    let question = question(interface.address, proxy);
    let port = if proxy { PROXY_PORT } else { SERVER_PORT };
    // To everybody: that is how a machine asks, and the way that reaches a server which listens on this interface only.
    socket.send_to(&question, SocketAddrV4::new(interface.broadcast(), port)).await.map_err(io(dhcp))?;
    let mut buffer = [0; 2048];
    let answered = timeout(ANSWER, async {
        loop {
            let (length, _) = socket.recv_from(&mut buffer).await?;
            // A reply to this question, and not the question itself.
            if length >= 240 && buffer[0] == 2 && buffer[4..8] == question[4..8] {
                return Ok::<_, io::Error>(());
            }
        }
    });
    answered.await.map_err(|_| silent(dhcp))?.map_err(io(dhcp))?;
    for file in ["undionly.kpxe", "snponly.efi"] {
        first_block(interface, file).await?;
    }
    Ok(())
}

/// Asks for a file and takes its first block.
async fn first_block(interface: &BootInterface, file: &'static str) -> Result<(), ProbeError> {
    let io = |error| ProbeError::Io { what: "TFTP", error };
    let socket = UdpSocket::bind(SocketAddrV4::new(interface.address, 0)).await.map_err(io)?;
    let mut request = vec![0, 1];
    request.extend(file.bytes().chain([0]).chain(*b"octet\0"));
    socket.send_to(&request, SocketAddrV4::new(interface.address, TFTP_PORT)).await.map_err(io)?;
    let mut buffer = [0; 2048];
    let received = timeout(ANSWER, socket.recv_from(&mut buffer)).await;
    let (length, from) =
        received.map_err(|_| ProbeError::Silent { what: "TFTP", interface: interface.name.clone() })?.map_err(io)?;
    if buffer.get(..4) == Some(&[0, 3, 0, 1]) && length > 4 {
        // The rest is not wanted: error code 0 ends the transfer.
        socket.send_to(b"\0\x05\0\0enough\0", from).await.map_err(io)?;
        return Ok(());
    }
    let said = String::from_utf8_lossy(buffer.get(4..length).unwrap_or_default()).trim_end_matches('\0').to_owned();
    Err(ProbeError::NoFile { interface: interface.name.clone(), file, message: said })
}

/// A DHCPINFORM: what is there to boot, I have an address. A ProxyDHCP server is asked as PXE firmware does it.
fn question(address: Ipv4Addr, proxy: bool) -> Vec<u8> {
    let id: [u8; 4] = uuid::Uuid::now_v7().as_bytes()[12..].try_into().expect("four of sixteen bytes");
    let mut packet = vec![1, 1, 6, 0];
    packet.extend(id);
    packet.extend([0; 4]);
    packet.extend(address.octets());
    packet.extend([0; 12]);
    packet.extend(probe_mac().bytes());
    packet.resize(236, 0);
    packet.extend([0x63, 0x82, 0x53, 0x63]);
    match proxy {
        false => packet.extend([53, 1, 8]),
        true => {
            packet.extend([53, 1, 3, 93, 2, 0, 0, 60, 32]);
            packet.extend(*b"PXEClient:Arch:00000:UNDI:002001");
        }
    }
    packet.push(255);
    packet.resize(packet.len().max(300), 0);
    packet
}
