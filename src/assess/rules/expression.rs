//! One expression: compiled once, within bounds.

use cel::common::ast::Expr;
use cel::common::types::{CelBool, CelString};
use cel::common::value::CowVal;
use cel::parser::{Expression as Ast, Parser};
use cel::{Context, ExecutionError, Value};

use super::cost::{self, Cost};

/// Longest expression, in bytes.
pub const MAX_LENGTH: usize = 2_000;
/// Deepest nesting.
const MAX_DEPTH: u16 = 32;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    ast: Ast,
    cost: Cost,
    facts: Vec<Vec<String>>,
}

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It is too long.
    #[error("an expression has {MAX_LENGTH} bytes at most, this one has {length}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It would take too long.
    #[error("it does too much: {what}")]
    TooCostly {
        /// What there is too much of.
        what: String,
    },
    /// It is not CEL.
    #[error("it is not CEL: {message}")]
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// It names something that no rule can see.
    #[error(
        "`{name}` is not known; a rule sees `machine`, `host`, `provider`, `fleet`, `plan` and, with `each`, `item`"
    )]
    UnknownName {
        /// The name.
        name: String,
    },
    /// It calls a function that does not exist.
    #[error("there is no function `{name}`")]
    UnknownFunction {
        /// The name.
        name: String,
    },
}

/// What an evaluation ended with, if not with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A fact is unknown.
    Unknown(String),
    /// The expression is wrong for these values.
    Broken(String),
}

impl Expression {
    /// Compiles a text.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_LENGTH {
            return Err(ExpressionError::TooLong { length: text.len() });
        }
        cost::brackets(text, usize::from(MAX_DEPTH))?;
        let parsed = Parser::new().max_recursion_depth(MAX_DEPTH).error_recovery_limit(4).parse(text);
        let ast = parsed.map_err(|errors| {
            let message = errors.errors.first().map_or_else(|| errors.to_string(), |e| e.msg.clone());
            ExpressionError::Syntax { message: message.lines().next().unwrap_or_default().to_owned() }
        })?;
        let cost = cost::of(&ast)?;
        let mut facts = Vec::new();
        chains(&ast, &mut facts);
        Ok(Self { ast, cost, facts })
    }

    /// What it costs.
    pub(super) fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Its value.
    pub(super) fn value<'e, 'v>(&'e self, context: &'e Context<'_, 'v>) -> Result<CowVal<'e, 'v>, Stop> {
        Value::resolve_val(&self.ast, context).map_err(|error| self.stop(error))
    }

    /// Its value as a truth.
    pub(super) fn truth(&self, context: &Context<'_, '_>) -> Result<bool, Stop> {
        let value = self.value(context)?;
        match value.downcast_ref::<CelBool>() {
            Some(truth) => Ok(*truth.inner()),
            None => Err(Stop::Broken(format!("it gives {}, not true or false", value.get_type().name()))),
        }
    }

    /// Its value as people read it.
    pub(super) fn text(&self, context: &Context<'_, '_>) -> Result<String, Stop> {
        let value = self.value(context)?;
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            return Ok(text.inner().to_owned());
        }
        let value: Value = value.as_ref().try_into().map_err(|error| self.stop(error))?;
        Ok(match value {
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null => "nothing".to_owned(),
            other => return Err(Stop::Broken(format!("{} has no text", other.type_of()))),
        })
    }

    fn stop(&self, error: ExecutionError) -> Stop {
        match error {
            ExecutionError::NoSuchKey(key) => Stop::Unknown(self.fact(&key)),
            other => {
                let mut text = other.to_string();
                if let Some((at, _)) = text.char_indices().nth(200) {
                    text.truncate(at);
                }
                Stop::Broken(text)
            }
        }
    }

    /// The whole path of the fact that ends at `key`: `machine.os.name`, though `os` alone is missing.
    fn fact(&self, key: &str) -> String {
        let found = self.facts.iter().find(|chain| chain.iter().any(|name| name == key));
        found.map_or_else(|| key.to_owned(), |chain| chain.join("."))
    }
}

/// Every `a.b.c` of an expression.
fn chains(ast: &Ast, found: &mut Vec<Vec<String>>) {
    cost::walk(ast, &mut |node| {
        let mut names = Vec::new();
        let mut at = node;
        while let Expr::Select(select) = at {
            names.push(select.field.clone());
            at = &select.operand.expr;
        }
        if let (Expr::Ident(name), false) = (at, names.is_empty()) {
            names.push(name.clone());
            names.reverse();
            found.push(names);
        }
    });
}
