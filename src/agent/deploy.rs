//! An image of the controller's store on its way onto a disk of this machine.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use crate::controller::{DeployOpen, DeployOpened, MapFrom, Report};
use crate::image::remote::{DiskTarget, ImageGiver, Offer, SinkError, fetch_disk};
use crate::image::{Control, ImageId, Tick};

use super::capture::{CaptureError, Link, PATIENCE, connections};
use super::discover::SeenDisk;
use super::http::Channel;
use super::watchdog;

/// How often the controller hears of progress.
const TELL: Duration = Duration::from_secs(1);

struct Giver {
    channel: Channel,
    path: String,
}

impl ImageGiver for Giver {
    type Answer = Bytes;

    fn map(&mut self, first: u64) -> Result<Bytes, SinkError> {
        watchdog::alive_for(watchdog::CAPTURE);
        let body = serde_json::to_vec(&MapFrom { first })?;
        Ok(self.channel.post(&format!("{}/map", self.path), body)?)
    }

    fn contents(&mut self, wanted: Vec<u8>) -> Result<Bytes, SinkError> {
        watchdog::alive_for(watchdog::CAPTURE);
        Ok(self.channel.post(&format!("{}/contents", self.path), wanted)?)
    }
}

/// Puts the image that the job allows under the name `disk` on a disk. Returns facts. The disk itself knows how far it
/// is, so this goes on where it stopped, whoever began it.
pub fn deploy(
    link: &Link,
    disk: &str,
    found: &SeenDisk,
    told: &(dyn Fn(Report) + Sync),
) -> Result<Vec<(String, String)>, CaptureError> {
    let connections = connections()?;
    let path = format!("/v1/devices/{}/jobs/{}/deploys/{disk}", link.device, link.job);
    let standing = format!("/v1/devices/{}/jobs/{}/resume", link.device, link.job);
    let mut channel = link.client.channel(PATIENCE)?.asking(standing.clone());
    let open = DeployOpen { size: found.bytes, serial: found.serial.clone(), device: found.path.display().to_string() };
    let answer = |error: serde_json::Error| CaptureError::Answer(error.to_string());
    let body = serde_json::to_vec(&open).map_err(answer)?;
    let opened: DeployOpened = serde_json::from_slice(&channel.post(&format!("{path}/open"), body)?).map_err(answer)?;
    let offer = Offer {
        image: ImageId::parse(&opened.image)
            .ok_or_else(|| CaptureError::Answer(format!("`{}` is no image's id", opened.image)))?,
        size: opened.size,
        chunk_size: opened.chunk_size,
        digest: opened.digest.clone(),
    };
    let target = DiskTarget::open(&found.path)?;
    told(Report::Note { text: format!("{disk}: image {} to {found} over {connections} connections", offer.image) });
    let last = Mutex::new(Instant::now());
    let tick = |Tick { done, total }: Tick| {
        let mut last = last.lock().expect("no thread panics while it looks at the time");
        if last.elapsed() >= TELL || done == total {
            *last = Instant::now();
            told(Report::Deployed { disk: disk.to_owned(), done, total });
        }
    };
    let stop = AtomicBool::new(false);
    let control = Control::new(&stop, &tick).threads(connections);
    let connect =
        || -> Result<Giver, SinkError> { Ok(Giver { channel: link.client.channel(PATIENCE)?, path: path.clone() }) };
    let done = fetch_disk(&target, &offer, connect, &control)?;
    let fact = |name: &str, value: String| (format!("{disk}.{name}"), value);
    Ok(vec![
        fact("image", opened.image),
        fact("digest", opened.digest),
        fact("bytes-written", done.written.to_string()),
        fact("bytes-received", done.received.to_string()),
        fact("bytes-resumed", done.resumed.to_string()),
    ])
}
