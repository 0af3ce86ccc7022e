//! What a controller says to an agent that it does not let in.

use replant::agent::{EnrolError, Enrolment, HttpError};

/// The status of a refused request.
#[track_caller]
pub fn status<T>(outcome: Result<T, HttpError>) -> u16 {
    match outcome {
        Err(HttpError::Refused { status, .. }) => status,
        Err(other) => panic!("not refused with a status: {other:?}"),
        Ok(_) => panic!("not refused at all"),
    }
}

/// The status of a refused enrolment.
#[track_caller]
pub fn enrolment_status(outcome: Result<Enrolment, EnrolError>) -> u16 {
    match outcome {
        Err(EnrolError::Http(error)) => status::<()>(Err(error)),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("enrolled"),
    }
}
