//! Answers IPv6 router solicitations of the devices that we boot: iPXE waits a dozen seconds for an answer before it
//! goes on without. The answer says "no router, no prefix" and goes to the asking device alone, so that no other host
//! on the network changes anything.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto, sockopt};

use crate::hardware::MacAddress;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// Starts a thread that answers until `stop` is set.
pub(super) fn answer(
    index: u32,
    devices: Arc<RwLock<BTreeSet<MacAddress>>>,
    stop: Arc<AtomicBool>,
) -> io::Result<std::thread::JoinHandle<()>> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6))?;
    sockopt::set_ipv6_add_membership(&socket, &ALL_ROUTERS, index)?;
    // What comes from farther away than the next cable is to be passed over: RFC 4861.
    sockopt::set_ipv6_multicast_hops(&socket, 255)?;
    sockopt::set_ipv6_unicast_hops(&socket, Some(255))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(300)))?;
    std::thread::Builder::new().name("router-advert".into()).spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = turn(&socket, index, &devices) {
                tracing::debug!(%error, "a router solicitation could not be answered");
            }
        }
    })
}

fn turn(socket: &OwnedFd, index: u32, devices: &RwLock<BTreeSet<MacAddress>>) -> io::Result<()> {
    let mut buffer = [0; 1500];
    let (length, from) = match recvfrom(socket, &mut buffer[..], RecvFlags::empty()) {
        Ok((length, _, from)) => (length, from),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
        Err(error) => {
            std::thread::sleep(Duration::from_millis(300));
            return Err(error.into());
        }
    };
    let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) else { return Ok(()) };
    let SocketAddr::V6(from) = from else { return Ok(()) };
    let Some(device) = solicits(&buffer[..length]) else { return Ok(()) };
    let known = devices.read().unwrap_or_else(PoisonError::into_inner).contains(&device);
    if from.scope_id() != index || !known {
        return Ok(());
    }
    let to = SocketAddrV6::new(*from.ip(), 0, 0, index);
    sendto(socket, &advertisement(), SendFlags::empty(), &to)?;
    Ok(())
}

/// The device that solicits: its link-layer address option.
fn solicits(message: &[u8]) -> Option<MacAddress> {
    if message.first() != Some(&SOLICITATION) || message.get(1) != Some(&0) {
        return None;
    }
    let mut options = message.get(8..)?;
    while let [kind, units, rest @ ..] = options {
        let length = usize::from(*units) * 8;
        if length == 0 {
            return None;
        }
        if *kind == 1 && *units == 1 {
            return rest.get(..6)?.try_into().ok().and_then(MacAddress::new);
        }
        options = options.get(length..)?;
    }
    None
}

/// Lifetime 0: not a router; no prefix: no address to make. The kernel fills in the checksum.
fn advertisement() -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = ADVERTISEMENT;
    message[4] = 64;
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_asking_device_is_read() {
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(solicits(&message), None);
        message.extend([1, 1, 0x52, 0x54, 0, 0, 0, 1]);
        assert_eq!(solicits(&message).unwrap().to_string(), "52:54:00:00:00:01");
    }

    proptest! {
        #[test]
        fn no_message_panics(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            solicits(&tail);
            solicits(&[&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &tail].concat());
        }
    }
}
