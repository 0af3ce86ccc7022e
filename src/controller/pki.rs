//! The CA of a working directory, and the certificates that it issues: one for the controller, one for each device.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name that the controller's certificate carries: what it is, not where it is.
pub const SERVER_NAME: &str = "controller.replant";

/// How long a controller's certificate is good; it is made anew for every run.
const SERVER_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// How long a device's certificate is good; it is withdrawn when its job ends.
const DEVICE_LIFE: Duration = Duration::from_secs(86_400);
/// Clocks of machines that were off may be behind.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// Why certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Nobody can be heard at an address.
    #[error("cannot listen on {address}: choose another address or port, or stop the program that has it (`ss -ltnp`)")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Only one of the CA's two files is there.
    #[error("{present} is there without {missing}: restore the missing half, or remove both files to get a new CA")]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The missing file.
        missing: PathBuf,
    },
    /// A PEM file does not hold what it should.
    #[error("{what} is not what it should be: {message}")]
    Content {
        /// Which.
        what: String,
        /// Why.
        message: String,
    },
}

/// SHA-256 of a certificate, written `sha256:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.as_ref());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// From `sha256:HEX`.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The one cryptography provider of this program.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    order_suites(&mut provider, encrypts_aes());
    Arc::new(provider)
}

/// Whether this processor has instructions for AES. Where they lack, a controller that has them gains nothing by it: both
/// ends do the same work, and the one that asks says how.
fn encrypts_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

/// Without instructions for AES, ChaCha20 is several times faster and comes first. The suites stay the same.
fn order_suites(provider: &mut CryptoProvider, aes: bool) {
    if !aes {
        let chacha = rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != chacha);
    }
}

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, and what it was issued by.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// A CA that can issue.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `ca.pem` and `ca.key` of the state folder; makes both if neither is there.
    pub fn open(state: &Path) -> Result<Self, PkiError> {
        let (certificate, key) = (state.join("ca.pem"), state.join("ca.key"));
        match (certificate.exists(), key.exists()) {
            (true, true) => {}
            (false, false) => create(state, &certificate, &key)?,
            (true, false) => return Err(PkiError::Half { present: certificate, missing: key }),
            (false, true) => return Err(PkiError::Half { present: key, missing: certificate }),
        }
        Self::from_pem(&read(&certificate)?, &read(&key)?)
    }

    /// From the PEM texts of its certificate and its key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key).map_err(content("the CA's key"))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(content("the CA's certificate"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(content("the CA's certificate"))?;
        Ok(Self { certificate: der, issuer })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The fingerprint that boot orders carry.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A fresh identity for the controller; its chain ends in the CA, which agents know by fingerprint only.
    pub fn server_identity(&self) -> Result<Identity, PkiError> {
        let key = KeyPair::generate().map_err(content("the controller's key"))?;
        let mut params =
            CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(content("the controller's name"))?;
        params.distinguished_name.push(DnType::CommonName, "replant controller");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        limit(&mut params, SERVER_LIFE);
        let certificate = params.signed_by(&key, &self.issuer).map_err(content("the controller's certificate"))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(content("the controller's key"))?;
        Ok(Identity { chain: vec![certificate.der().clone(), self.certificate.clone()], key })
    }

    /// A certificate for a device's own key. Of the request only the public key is taken: names, uses and life are ours.
    pub fn device_certificate(&self, device: &str, csr: &str) -> Result<(String, Fingerprint), PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr).map_err(content("the certificate request"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        limit(&mut params, DEVICE_LIFE);
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(content("the device's certificate"))?;
        Ok((certificate.pem(), Fingerprint::of(certificate.der())))
    }
}

fn limit(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + life).into();
}

fn create(state: &Path, certificate: &Path, key: &Path) -> Result<(), PkiError> {
    fs::create_dir_all(state).map_err(|error| PkiError::Io { path: state.to_owned(), error })?;
    let pair = KeyPair::generate().map_err(content("the CA's key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "replant CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let made = params.self_signed(&pair).map_err(content("the CA's certificate"))?;
    // The key first: a certificate without key would look like a CA that has lost it.
    write(key, 0o600, &pair.serialize_pem())?;
    write(certificate, 0o644, &made.pem())
}

/// Writes beside the place and moves the finished file to it; what is there is never replaced.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), PkiError> {
    let io = |error| PkiError::Io { path: path.to_owned(), error };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".replant-ca-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    file.persist_noclobber(path).map_err(|error| io(error.error))?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|error| PkiError::Io { path: path.to_owned(), error })
}

fn content<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> PkiError {
    move |error| PkiError::Content { what: what.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_aes_asks_for_chacha() {
        let suites = |aes| -> Vec<rustls::CipherSuite> {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            order_suites(&mut provider, aes);
            provider.cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect()
        };
        let (with, without) = (suites(true), suites(false));
        assert_eq!(with[0], rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(without[0], rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert!(with.len() == without.len() && with.iter().all(|suite| without.contains(suite)));
    }

    #[test]
    fn a_ca_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path()).unwrap();
        let again = Authority::open(folder.path()).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(Fingerprint::parse(&first.fingerprint().to_string()), Some(first.fingerprint()));
        let mode = fs::metadata(folder.path().join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(matches!(Authority::open(folder.path()), Err(PkiError::Half { .. })));
    }

    #[test]
    fn fingerprints_that_are_none_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha256:zz",
            &format!("sha1:{}", "0".repeat(64)),
            &format!("sha256:{}", "g".repeat(64)),
            &format!("sha256:{}", "é".repeat(32)),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
