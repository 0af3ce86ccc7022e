//! [`TestSite`]: an empty folder in which `replant` runs as a user would run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder that is removed at the end, unless the test fails and `REPLANT_KEEP_SITES` is set.
pub struct TestSite {
    folder: TempDir,
}

/// A command that has ended.
pub struct Finished {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl TestSite {
    /// An empty site.
    pub fn new() -> Self {
        let mut folder = tempfile::Builder::new().prefix("replant-test-").tempdir().expect("a temporary folder");
        if std::env::var_os("REPLANT_KEEP_SITES").is_some() {
            folder.disable_cleanup(true);
        }
        Self { folder }
    }

    /// The site's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the site.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, making its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
        std::fs::write(&path, content).expect("files can be written");
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `replant` in this site, not started yet: no colour, no inherited settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replant"));
        command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REPLANT_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs `replant` in this site to its end.
    pub fn replant(&self, arguments: &[&str]) -> Finished {
        let output = self.command(arguments).output().expect("replant starts");
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    /// Fails the test, with everything that was printed, unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        );
        self
    }
}

/// Fails the test with the name of the Debian package when `tool` is not there.
#[track_caller]
pub fn require_tool(tool: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    assert!(found, "this test needs `{tool}`: apt-get install {package} (tests/run.sh installs it)");
}

/// Fails the test when it does not run as root.
#[track_caller]
pub fn require_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: it mounts file systems");
}
