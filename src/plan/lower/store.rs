//! `store:` and secrets by reference.

use camino::Utf8Path;

use super::access::{At, Layers};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::plan::files::without_dots;
use crate::plan::{Encryption, SecretRef, Store};

/// Where `replant init` puts the store's key.
const DEFAULT_KEY: &str = ".replant/store.key";
const DEFAULT_PATH: &str = "store";
const DEFAULT_PARALLEL: u32 = 4;

/// The store of all files; `otherwise` is the place to blame if no file says anything.
pub(super) fn lower(roots: &[At<'_>], folder: &Utf8Path, otherwise: Span, found: &mut Diagnostics) -> Store {
    let declared: Vec<At<'_>> = roots.iter().filter_map(|root| root.get("store")).collect();
    let store = Layers::new(None, &declared);
    let key = store.get("key");
    let encryption = match store.get("encryption") {
        Some(word) if word.text() == Some("none") => {
            if let Some(key) = key {
                found.push(
                    Diagnostic::warning("plan.unused", "the store's key is not used")
                        .at(key.headline(), "this key is never read")
                        .at(word.span(), "images lie in the clear")
                        .help("take `key` out, or `encryption: none`"),
                );
            }
            Encryption::None
        }
        _ => {
            let default = || SecretRef::File(folder.join(DEFAULT_KEY));
            Encryption::Aes256Gcm { key: key.and_then(|key| secret(key, folder)).unwrap_or_else(default) }
        }
    };
    Store {
        path: absolute(folder, store.get("path").and_then(|path| path.text()).unwrap_or(DEFAULT_PATH)),
        encryption,
        parallel: store.get("parallel").and_then(|number| number.whole()).unwrap_or(DEFAULT_PARALLEL),
        span: declared.first().map_or(otherwise, |store| store.headline()),
    }
}

/// A secret by reference; never its value.
pub(super) fn secret(at: At<'_>, folder: &Utf8Path) -> Option<SecretRef> {
    let (kind, _, value) = at.entries().next()?;
    let text = value.text()?;
    match kind {
        "env" => Some(SecretRef::Env(text.to_owned())),
        "file" => Some(SecretRef::File(absolute(folder, text))),
        "command" => Some(SecretRef::Command(text.to_owned())),
        _ => None,
    }
}

/// A path of a plan: relative ones begin at the folder of the first plan file.
pub(super) fn absolute(folder: &Utf8Path, written: &str) -> camino::Utf8PathBuf {
    without_dots(&folder.join(written))
}
