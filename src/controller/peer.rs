//! Who is at the other end of a connection.

use super::pki::Fingerprint;

/// The certificate that the peer has shown and that the CA has issued; `None` if it has shown none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) Option<Fingerprint>);
