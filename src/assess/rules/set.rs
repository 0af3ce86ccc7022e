//! The rules of a run, compiled: the common ones, each provider's, the plan's.

use std::sync::{Arc, OnceLock};

use cel::Context;

use super::expression::{Expression, ExpressionError};
use super::ids::code;
use super::template::Template;
use crate::diagnostic::{Diagnostic, Diagnostics, Span, closest};
use crate::plan::PlanRules;
use crate::provider::{Catalog, RuleSpec};

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It holds for every provider.
    Common,
    /// It holds on hosts of that provider.
    Provider(String),
    /// The plan adds it.
    Plan,
}

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    /// As it is written.
    pub spec: RuleSpec,
    /// Where it comes from.
    pub origin: Origin,
    /// The code of its diagnostics.
    pub code: &'static str,
    pub(super) each: Option<Expression>,
    pub(super) when: Option<Expression>,
    pub(super) violated: Expression,
    message: Message,
    help: Message,
}

/// A message; compiled when it is first needed, for most rules are never violated.
#[derive(Debug, Default)]
struct Message(OnceLock<Result<Template, ExpressionError>>);

impl Message {
    fn fill(&self, text: &str, context: &Context<'_, '_>) -> String {
        match self.0.get_or_init(|| Template::compile(text)) {
            Ok(template) => template.fill(context),
            Err(error) => format!("{text} ({error})"),
        }
    }
}

impl Rule {
    /// Compiles a rule; the error names the key that is wrong.
    pub fn compile(spec: &RuleSpec, origin: Origin) -> Result<Self, (&'static str, ExpressionError)> {
        let maybe = |text: &Option<String>, key| match text {
            Some(text) => Expression::compile(text).map(Some).map_err(|error| (key, error)),
            None => Ok(None),
        };
        Ok(Self {
            each: maybe(&spec.each, "each")?,
            when: maybe(&spec.when, "when")?,
            violated: Expression::compile(&spec.violated).map_err(|error| ("violated", error))?,
            message: Message::default(),
            help: Message::default(),
            code: code(&spec.id),
            origin,
            spec: spec.clone(),
        })
    }

    /// Compiles what is compiled late, too.
    pub fn compile_messages(&self) -> Result<(), (&'static str, ExpressionError)> {
        Template::compile(&self.spec.message).map_err(|error| ("message", error))?;
        Template::compile(&self.spec.help).map_err(|error| ("help", error)).map(drop)
    }

    pub(super) fn message(&self, context: &Context<'_, '_>) -> String {
        self.message.fill(&self.spec.message, context)
    }

    pub(super) fn help(&self, context: &Context<'_, '_>) -> String {
        self.help.fill(&self.spec.help, context)
    }

    /// Whether it holds on hosts of that provider.
    pub fn holds_for(&self, provider: &str) -> bool {
        match &self.origin {
            Origin::Provider(own) => own == provider,
            Origin::Common | Origin::Plan => true,
        }
    }
}

/// Every rule of a run.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules: common, provider by provider, the plan's.
    pub rules: Vec<Arc<Rule>>,
}

impl RuleSet {
    /// Compiles the rules of the catalog and of a plan; every mistake at once.
    pub fn compile(catalog: &Catalog, plan: &PlanRules) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut rules: Vec<Arc<Rule>> = Vec::new();
        let shipped = catalog.common_rules().iter().map(|spec| (spec, Origin::Common));
        let own = catalog.names().flat_map(|name| {
            let specs = catalog.get(name).map_or(&[][..], |provider| provider.rules());
            specs.iter().map(move |spec| (spec, Origin::Provider(name.to_owned())))
        });
        for (spec, origin) in shipped.chain(own) {
            let folder = match &origin {
                Origin::Provider(name) => name.clone(),
                Origin::Common | Origin::Plan => "common".to_owned(),
            };
            match Rule::compile(spec, origin) {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err((key, error)) => {
                    let message = format!("providers/{folder}/rules.yaml: rule `{}`: `{key}`: {error}", spec.id);
                    found.push(Diagnostic::error("rules.expression", message));
                }
            }
        }
        for added in &plan.add {
            if let Some(first) = rules.iter().find(|rule| rule.spec.id == added.spec.id) {
                let message = format!("there is a rule `{}` already", first.spec.id);
                let diagnostic = Diagnostic::error("rules.duplicate", message).at(added.id_span.clone(), "");
                found.push(diagnostic.help("give the new one an id of its own"));
                continue;
            }
            let rule = Rule::compile(&added.spec, Origin::Plan).and_then(|rule| rule.compile_messages().map(|()| rule));
            match rule {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err((key, error)) => found.push(broken(&added.spec.id, key, &error, &added.span)),
            }
        }
        for silence in &plan.silence {
            if !rules.iter().any(|rule| rule.spec.id == silence.id.value) {
                let near = closest(&silence.id.value, rules.iter().map(|rule| rule.spec.id.as_str()));
                let label = near.map_or_else(|| "no such rule".to_owned(), |near| format!("did you mean `{near}`?"));
                let message = format!("there is no rule `{}` to silence", silence.id.value);
                let diagnostic = Diagnostic::error("rules.unknown", message).at(silence.id.span.clone(), label);
                found.push(diagnostic.help("docs/rules.md lists every rule"));
            }
        }
        match found.is_empty() {
            true => Ok(Self { rules }),
            false => Err(found.finish()),
        }
    }
}

fn broken(id: &str, key: &str, error: &ExpressionError, span: &Span) -> Diagnostic {
    Diagnostic::error("rules.expression", format!("rule `{id}`: `{key}`: {error}"))
        .at(span.clone(), "")
        .help("docs/rules.md says what rules see and can call")
}
