//! Templates in, text out: one registry a language, strict about names that are not there.

use std::collections::BTreeMap;

use handlebars::{
    Context as HandlebarsContext, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext,
    RenderErrorReason, Renderable, ScopedJson, handlebars_helper,
};
use serde_json::Value;

use super::escape::Language;

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template cannot be used.
    #[error("template `{template}` cannot be used: {message}")]
    Template {
        /// Its name.
        template: String,
        /// What is wrong, with line and column where known.
        message: String,
    },
    /// The template asks for something that is not there, or misuses a helper.
    #[error("template `{template}` could not be rendered for {subject}: {message}")]
    Render {
        /// Its name.
        template: String,
        /// The machine or host.
        subject: String,
        /// What is wrong, with line and column where known.
        message: String,
    },
    /// A value has a character that the language cannot say.
    #[error("template `{template}` for {subject}: a value holds {character:?}, which its language has no way to say")]
    Unspeakable {
        /// Its name.
        template: String,
        /// The machine or host.
        subject: String,
        /// The character.
        character: char,
    },
    /// The plan names a provider that does not exist; checked when the plan is read.
    #[error("host `{host}` names provider `{provider}`, which does not exist")]
    UnknownProvider {
        /// The host.
        host: String,
        /// The provider.
        provider: String,
    },
    /// The artifact could not be put where it belongs.
    #[error("cannot write {path}")]
    Write {
        /// Its path below `artifacts/`.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// The values that templates see.
pub struct Values(HandlebarsContext);

impl From<Value> for Values {
    fn from(values: Value) -> Self {
        Self(HandlebarsContext::from(values))
    }
}

/// Compiled templates.
pub struct Engine {
    registries: BTreeMap<Language, Handlebars<'static>>,
}

impl Engine {
    /// Compiles every template; the name's extension says how values are escaped.
    pub fn new(templates: &BTreeMap<String, String>) -> Result<Self, RenderError> {
        let mut registries: BTreeMap<Language, Handlebars<'static>> = BTreeMap::new();
        for (name, text) in templates {
            let wrong = |message: String| RenderError::Template { template: name.clone(), message };
            let language = Language::of(name).ok_or_else(|| {
                wrong("its extension is not one of sh, xml, ps1, cmd, yaml, json, ipxe, cfg, conf, html".to_owned())
            })?;
            if let Some(message) = forbidden(language, text) {
                return Err(wrong(message));
            }
            let registry = registries.entry(language).or_insert_with(|| registry(language));
            registry.register_template_string(name, text).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Self { registries })
    }

    /// Renders a template for `subject`, whom an error names.
    pub fn render(&self, template: &str, subject: &str, values: &Values) -> Result<String, RenderError> {
        let owned = || (template.to_owned(), subject.to_owned());
        let language = Language::of(template);
        let Some((language, registry)) = language.and_then(|l| self.registries.get(&l).map(|r| (l, r))) else {
            return Err(RenderError::Template { template: template.to_owned(), message: "it does not exist".into() });
        };
        let text = registry.render_with_context(template, &values.0).map_err(|error| {
            let (template, subject) = owned();
            RenderError::Render { template, subject, message: error.to_string() }
        })?;
        match language.unspeakable(&text) {
            // cmd.exe loses its way among labels where lines end as they do elsewhere.
            None if language == Language::Cmd => Ok(text.replace('\n', "\r\n")),
            None => Ok(text),
            Some(character) => {
                let (template, subject) = owned();
                Err(RenderError::Unspeakable { template, subject, character })
            }
        }
    }
}

/// What no template may hold: ways around the escapes.
fn forbidden(language: Language, text: &str) -> Option<String> {
    if text.contains("{{{") || text.contains("{{&") || text.contains("{{~{") {
        return Some("`{{{` and `{{&` would put a value into the text as it is".to_owned());
    }
    if language == Language::Html {
        return forbidden_in_html(text);
    }
    let begins = |line: &str| match language {
        Language::Shell => line.starts_with('#'),
        Language::Cmd => line.starts_with("::") || line.get(..4).is_some_and(|rem| rem.eq_ignore_ascii_case("rem ")),
        _ => false,
    };
    let comment = |line: &&str| begins(line.trim_start()) && line.contains("{{");
    text.lines().find(comment).map(|line| format!("a value in a comment could end it: `{}`", line.trim()))
}

/// Where the escape of a page's values would not do: programs, comments, attributes without quotes.
fn forbidden_in_html(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let programs = ["<script", " onclick", " onload", " onerror", "javascript:"];
    if let Some(found) = programs.iter().find(|program| lower.contains(**program)) {
        return Some(format!("a page holds no programs: `{}`", found.trim()));
    }
    if text.contains("={{") {
        return Some("the value of an attribute stands in quotes".to_owned());
    }
    let comment = lower.split("<!--").skip(1).find(|rest| rest.split("-->").next().is_some_and(|c| c.contains("{{")));
    comment.map(|_| "a value in a comment could end it".to_owned())
}

fn registry(language: Language) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    // Else a partial's indentation would go into the lines of its values, too.
    registry.set_prevent_indent(true);
    registry.register_escape_fn(move |value| language.escape(value));
    registry.register_helper("if", Box::new(Strictly { wanted: true }));
    registry.register_helper("unless", Box::new(Strictly { wanted: false }));
    registry.register_helper("number", Box::new(Number));
    handlebars_helper!(double_commas: |value: str| value.replace(',', ",,"));
    registry.register_helper("double_commas", Box::new(double_commas));
    registry
}

/// `if` and `unless` that refuse a name that is not there, where the usual ones take it for false.
struct Strictly {
    wanted: bool,
}

impl HelperDef for Strictly {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc HandlebarsContext,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let parameter = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("if", 0))?;
        let truth = match parameter.value() {
            _ if parameter.is_value_missing() => {
                let name = parameter.relative_path().cloned().unwrap_or_default();
                return Err(RenderErrorReason::MissingVariable(Some(name)).into());
            }
            Value::Bool(truth) => *truth,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            other => return Err(RenderErrorReason::Other(format!("`{other}` is neither true nor false")).into()),
        };
        let branch = if truth == self.wanted { helper.template() } else { helper.inverse() };
        branch.map_or(Ok(()), |template| template.render(registry, context, render, out))
    }
}

/// `{{number x}}`: a number as it is, where the language's escape would make a string of it. Anything else is refused.
struct Number;

impl HelperDef for Number {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc HandlebarsContext,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        match helper.param(0).map(|parameter| parameter.value()) {
            Some(Value::Number(number)) => Ok(out.write(&number.to_string())?),
            other => Err(RenderErrorReason::Other(format!("{other:?} is not a number")).into()),
        }
    }

    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc HandlebarsContext,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        Err(RenderErrorReason::Other("`number` is not a subexpression".to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(name: &str, text: &str) -> Result<Engine, RenderError> {
        Engine::new(&BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    fn render(name: &str, text: &str, values: Value) -> Result<String, String> {
        let engine = engine(name, text).map_err(|error| error.to_string())?;
        engine.render(name, "web01", &Values::from(values)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_absent_name_is_an_error() {
        let present = serde_json::json!({ "here": { "x": "1" }, "list": ["a"] });
        for template in [
            "{{nope}}",
            "{{here.nope}}",
            "{{#if nope}}x{{/if}}",
            "{{#unless here.nope}}x{{/unless}}",
            "{{#each nope}}x{{/each}}",
            "{{#each list}}{{../nope}}{{/each}}",
            "{{#if (eq here.nope \"1\")}}x{{/if}}",
            "{{double_commas nope}}",
            "{{nope here.x}}",
            "{{> nope.sh}}",
            "{{number here.x}}",
        ] {
            let outcome = render("t.sh", template, present.clone());
            assert!(outcome.is_err(), "{template}: {outcome:?}");
        }
    }

    #[test]
    fn values_are_escaped_by_the_extension() {
        let values = serde_json::json!({ "v": "a'b <&>, \"c\"", "n": 5 });
        assert_eq!(render("t.sh", "x {{v}}", values.clone()).unwrap(), "x 'a'\\''b <&>, \"c\"'");
        assert_eq!(render("t.xml", "{{v}}", values.clone()).unwrap(), "a&apos;b &lt;&amp;&gt;, &quot;c&quot;");
        assert_eq!(render("t.ps1", "{{v}}", values.clone()).unwrap(), "'a''b <&>, \"c\"'");
        assert_eq!(render("t.json", "{{v}} {{number n}}", values.clone()).unwrap(), "\"a'b <&>, \\\"c\\\"\" 5");
        assert_eq!(render("t.sh", "{{double_commas v}}", values.clone()).unwrap(), "'a'\\''b <&>,, \"c\"'");
        assert!(render("t.cmd", "{{v}}", values).unwrap_err().contains("no way to say"));
    }

    #[test]
    fn ways_around_the_escapes_are_refused() {
        for text in ["{{{v}}}", "{{& v}}", "{{&v}}", "# for {{v}}\n", "{{~{v}~}}"] {
            assert!(engine("t.sh", text).is_err(), "{text}");
        }
        for text in ["rem for {{v}}\n", "  REM {{v}}", ":: {{v}}"] {
            assert!(engine("t.cmd", text).is_err(), "{text}");
        }
        for text in ["<script>x</script>", "<a onclick=\"x\">", "<!-- {{v}} -->", "<a href={{v}}>"] {
            assert!(engine("t.html", text).is_err(), "{text}");
        }
        assert!(engine("t.txt", "x").is_err());
    }
}
