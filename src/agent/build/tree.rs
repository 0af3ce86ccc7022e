//! The agent's file tree, in memory, and its archive.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::guest::cpio::Writer;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File { permissions: u32, content: Vec<u8> },
    Link(String),
    CharDevice { major: u32, minor: u32 },
}

/// A tree of files; parents come by themselves.
#[derive(Clone, Debug, Default)]
pub struct AgentTree {
    nodes: BTreeMap<String, Node>,
}

impl AgentTree {
    /// An empty folder.
    pub fn folder(&mut self, path: &str) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::Folder);
    }

    /// A file.
    pub fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::File { permissions, content });
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::Link(to.to_owned()));
    }

    /// A character device.
    pub fn char_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::CharDevice { major, minor });
    }

    /// Whether something stands there.
    pub fn has(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Writes the archive; its bytes depend on the tree alone.
    pub fn archive<W: Write>(&self, to: W) -> io::Result<W> {
        let mut writer = Writer::new(to);
        for (path, node) in &self.nodes {
            match node {
                Node::Folder => writer.folder(path, 0o755)?,
                Node::File { permissions, content } => writer.file(path, *permissions, content)?,
                Node::Link(to) => writer.link(path, to)?,
                Node::CharDevice { major, minor } => writer.char_device(path, 0o600, *major, *minor)?,
            }
        }
        writer.finish()
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
    }
}
