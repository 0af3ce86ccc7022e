//! Recorded samples as what a machine uses: peaks, the highest load that lasts, percentiles, gaps.
//!
//! ```text
//! file --read row by row--> Recorder (constant memory per machine and metric) --facts--> documents
//! ```

mod curve;
mod decimal;
mod histogram;
mod meter;
mod perfmon;
mod prometheus;
mod read;
mod recorder;
mod samples;
mod sysstat;

pub use histogram::Histogram;
pub use meter::{Meter, Summary};
pub use read::{RecordingKind, Settings, record_file, record_reader};
pub use recorder::{Metric, Recorder};
