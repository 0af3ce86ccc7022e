//! Enrolment: the boot order's token for a certificate. The key is made here and never leaves.

use hyper::Method;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::controller::{EnrolAnswer, EnrolRequest, Identity};

use super::discover::DeviceFacts;
use super::http::{Client, HttpError};
use super::order::BootOrder;

/// Who we are from now on.
pub struct Enrolment {
    /// Our name.
    pub device: String,
    /// A client that shows our certificate.
    pub client: Client,
    /// Whether we stay for one job after another.
    pub stays: bool,
    /// What people call us; empty if nobody has said.
    pub name: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The controller was not reached, is not trusted, or refuses.
    #[error("enrolment failed")]
    Http(#[from] HttpError),
    /// The key or the request cannot be made.
    #[error("no key could be made: {0}")]
    Key(String),
    /// The answer makes no sense.
    #[error("the controller's answer to the enrolment makes no sense: {0}")]
    Answer(String),
}

/// Proves the token and gets a certificate.
pub async fn enrol(order: &BootOrder, facts: DeviceFacts) -> Result<Enrolment, EnrolError> {
    let key_error = |error: rcgen::Error| EnrolError::Key(error.to_string());
    let key = KeyPair::generate().map_err(key_error)?;
    let request = CertificateParams::default().serialize_request(&key).map_err(key_error)?;
    let csr = request.pem().map_err(key_error)?;
    let body = serde_json::to_vec(&EnrolRequest { token: order.token.clone(), csr, facts })
        .map_err(|error| EnrolError::Answer(error.to_string()))?;
    let anonymous = Client::new(order.controller.clone(), order.ca, None)?;
    let answer = anonymous.request(Method::POST, "/v1/enrol", Some(body)).await?;
    let answer: EnrolAnswer = serde_json::from_slice(&answer).map_err(|error| EnrolError::Answer(error.to_string()))?;
    let certificate = CertificateDer::from_pem_slice(answer.certificate.as_bytes())
        .map_err(|error| EnrolError::Answer(error.to_string()))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| EnrolError::Key(error.to_owned()))?;
    let identity = Identity { chain: vec![certificate], key };
    let client = Client::new(order.controller.clone(), order.ca, Some(identity))?;
    Ok(Enrolment { device: answer.device, client, stays: answer.stays, name: answer.name })
}
