//! The boot scripts and dnsmasq's configuration, from the templates in `templates/netboot/`.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use serde_json::json;

use super::answer::BootAnswer;
use crate::render::{Engine, RenderError, Values};

const FIRST: &str = "netboot/first.ipxe";
const AGENT: &str = "netboot/agent.ipxe";
const LOCAL: &str = "netboot/local.ipxe";

/// The scripts that iPXE runs.
pub struct Scripts {
    engine: Engine,
    site: String,
}

impl Scripts {
    /// For a service that machines reach at `site`.
    pub fn new(site: SocketAddrV4) -> Result<Self, RenderError> {
        let templates = [
            (FIRST, include_str!("../../templates/netboot/first.ipxe.hbs")),
            (AGENT, include_str!("../../templates/netboot/agent.ipxe.hbs")),
            (LOCAL, include_str!("../../templates/netboot/local.ipxe.hbs")),
        ];
        let templates = templates.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
        Ok(Self { engine: Engine::new(&templates.collect())?, site: site.to_string() })
    }

    /// The script that every machine gets: it asks for the machine's own.
    pub fn first(&self) -> Result<String, RenderError> {
        self.engine.render(FIRST, "every machine", &Values::from(json!({ "site": self.site })))
    }

    /// The machine's own; `None` if it is ignored.
    pub fn answer(&self, answer: &BootAnswer) -> Result<Option<String>, RenderError> {
        let (template, name, values) = match answer {
            BootAnswer::Ignore => return Ok(None),
            BootAnswer::Agent { name, order, count } => {
                let values = json!({
                    "site": self.site, "name": name, "order": order, "boot": count.boots, "limit": count.limit,
                });
                (AGENT, name, values)
            }
            BootAnswer::Local { name, looped } => {
                let boots = looped.map_or(0, |count| count.boots);
                (LOCAL, name, json!({ "name": name, "looped": looped.is_some(), "boots": boots }))
            }
        };
        self.engine.render(template, name, &Values::from(values)).map(Some)
    }
}

/// dnsmasq's configuration from its values.
pub(super) fn dnsmasq_configuration(values: serde_json::Value) -> Result<String, RenderError> {
    const NAME: &str = "netboot/dnsmasq.conf";
    let text = include_str!("../../templates/netboot/dnsmasq.conf.hbs").to_owned();
    let engine = Engine::new(&BTreeMap::from([(NAME.to_owned(), text)]))?;
    engine.render(NAME, "network boot", &Values::from(values))
}

/// The boot menu of a medium.
pub(super) fn grub_menu(order: &[String]) -> Result<String, RenderError> {
    const NAME: &str = "netboot/grub.cfg";
    let text = include_str!("../../templates/netboot/grub.cfg.hbs").to_owned();
    let engine = Engine::new(&BTreeMap::from([(NAME.to_owned(), text)]))?;
    engine.render(NAME, "the medium", &Values::from(json!({ "order": order })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netboot::BootCount;

    fn scripts() -> Scripts {
        Scripts::new("10.77.0.1:8069".parse().unwrap()).unwrap()
    }

    fn agent(name: &str, word: &str) -> BootAnswer {
        let count = BootCount { boots: 1, limit: 3 };
        BootAnswer::Agent { name: name.into(), order: vec![word.into(), "console=ttyS0".into()], count }
    }

    #[test]
    fn each_answer_has_its_script() {
        let first = scripts().first().unwrap();
        assert!(first.starts_with("#!ipxe\n") && first.contains("http://10.77.0.1:8069/boot?mac=${netX/mac:hexhyp}"));
        let script = scripts().answer(&agent("web01", "replant.token=abc")).unwrap().unwrap();
        assert!(
            script.contains("initrd=agent.img BOOTIF=01-${netX/mac:hexhyp} replant.token=abc console=ttyS0"),
            "{script}"
        );
        let looped = Some(BootCount { boots: 3, limit: 3 });
        let local = scripts().answer(&BootAnswer::Local { name: "web01".into(), looped }).unwrap().unwrap();
        assert!(local.contains("before: 3") && local.contains("sanboot"), "{local}");
        assert!(scripts().answer(&BootAnswer::Ignore).unwrap().is_none());
    }

    #[test]
    fn a_name_or_a_word_cannot_become_a_command() {
        for word in ["a b", "${net0/mac}", "x\nboot", "a||b", "a&&b", "#x", "\"x\"", "a\\"] {
            assert!(scripts().answer(&agent("web01", word)).is_err(), "{word}");
            assert!(scripts().answer(&agent(word, "x")).is_err(), "{word}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_rendered_has_as_many_lines_as_its_template(name in ".{0,30}", word in ".{0,30}") {
            let lines = scripts().answer(&agent("web01", "x")).unwrap().unwrap().lines().count();
            if let Ok(Some(script)) = scripts().answer(&agent(&name, &word)) {
                prop_assert_eq!(script.lines().count(), lines);
                let ours = script.replace("${platform}", "").replace("${netX/mac:hexhyp}", "");
                let foreign = ours.contains("${");
                prop_assert!(!foreign);
            }
        }
    }
}
