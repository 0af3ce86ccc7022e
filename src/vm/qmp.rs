//! The machine protocol on `qmp.sock`: a line of JSON for a line of JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// A conversation with a running VM.
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects and leaves negotiation.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        let mut qmp = Self { reader: BufReader::new(stream) };
        qmp.line()?;
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments and returns its answer. Events in between are passed over.
    pub fn execute(&mut self, command: &str) -> io::Result<Value> {
        self.ask(command, &json!({ "execute": command }))
    }

    /// Saves a picture of the screen, as PNG where the hypervisor knows how and as PPM where it does not.
    pub fn screenshot(&mut self, file: &Path) -> io::Result<()> {
        let name = file.to_string_lossy();
        let png = json!({ "execute": "screendump", "arguments": { "filename": name, "format": "png" } });
        let ppm = json!({ "execute": "screendump", "arguments": { "filename": name } });
        self.ask("screendump", &png).or_else(|_| self.ask("screendump", &ppm)).map(drop)
    }

    fn ask(&mut self, command: &str, request: &Value) -> io::Result<Value> {
        let mut text = request.to_string();
        text.push('\n');
        self.reader.get_mut().write_all(text.as_bytes())?;
        loop {
            let answer = self.line()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("`{command}` failed: {error}")));
            }
        }
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}
