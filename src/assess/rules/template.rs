//! Messages of rules: text with expressions in braces.

use cel::Context;

use super::expression::{Expression, ExpressionError, Stop};

/// A compiled message: `{expression}` is replaced by its value, `{{` and `}}` are braces.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Expression),
}

impl Template {
    /// Compiles a text.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let here = &rest[at..];
            if let Some(after) = here.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = here.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else if let Some((inner, after)) = here.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Value(Expression::compile(inner)?));
                rest = after;
            } else {
                let message = "a brace without its other half; `{{` and `}}` are braces".to_owned();
                return Err(ExpressionError::Syntax { message });
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// The text; a value that is not known is shown as that.
    pub(super) fn fill(&self, context: &Context<'_, '_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Value(expression) => match expression.text(context) {
                    Ok(value) => text.push_str(&value),
                    Err(Stop::Unknown(fact)) => text.push_str(&format!("(unknown: {fact})")),
                    Err(Stop::Broken(why)) => text.push_str(&format!("({why})")),
                },
            }
        }
        text
    }
}
