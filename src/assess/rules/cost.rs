//! What an expression may cost. Lists of facts are the only thing that makes one slow: each loop over a list, and
//! each loop inside it, multiplies; so loops are few, and what they would do is estimated before they run.

use cel::common::ast::{EntryExpr, Expr};
use cel::parser::Expression as Ast;

use super::expression::ExpressionError;

/// Most nodes of an expression.
const MAX_NODES: usize = 400;
/// Most loops (`all`, `exists`, `filter`, `map`) of an expression.
const MAX_LOOPS: usize = 4;
/// Most loops inside one another.
const MAX_NESTING: usize = 2;
/// Steps that one evaluation may take.
pub(super) const BUDGET: u64 = 2_000_000;

/// Names that a rule sees.
const NAMES: [&str; 6] = ["machine", "host", "provider", "fleet", "plan", "item"];

/// How the steps of an expression grow with the lists it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    nodes: usize,
    loops: usize,
    nesting: usize,
}

impl Cost {
    /// Whether it stays within the budget where no list is longer than `longest`.
    pub fn allows(self, longest: usize) -> bool {
        // Lists can be joined, so a list inside is as long as all of them.
        let length = (longest.max(16) as u64).saturating_mul(1 + self.loops as u64);
        (0..self.nesting).try_fold(self.nodes as u64, |steps, _| steps.checked_mul(length)).is_some_and(|s| s <= BUDGET)
    }
}

/// Refuses a text whose brackets or signs nest deeper than any rule needs, before a parser has to follow them.
pub(super) fn brackets(text: &str, most: usize) -> Result<(), ExpressionError> {
    let (mut depth, mut signs) = (0usize, 0usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = match byte {
            b'!' | b'-' => signs + 1,
            b' ' | b'\n' => signs,
            _ => 0,
        };
        if depth > most || signs > most {
            return Err(ExpressionError::TooCostly { what: format!("more than {most} levels") });
        }
    }
    Ok(())
}

/// Measures an expression; refuses what is too much, and names that mean nothing.
pub(super) fn of(ast: &Ast) -> Result<Cost, ExpressionError> {
    let mut measure = Measure::default();
    measure.visit(ast, &mut Vec::new(), 0)?;
    let Cost { nodes, loops, nesting } = measure.cost;
    let too = |what: String| Err(ExpressionError::TooCostly { what });
    if nodes > MAX_NODES {
        return too(format!("{nodes} parts, {MAX_NODES} at most"));
    }
    if loops > MAX_LOOPS {
        return too(format!("{loops} loops, {MAX_LOOPS} at most"));
    }
    if nesting > MAX_NESTING {
        return too(format!("{nesting} loops inside one another, {MAX_NESTING} at most"));
    }
    Ok(measure.cost)
}

#[derive(Default)]
struct Measure {
    cost: Cost,
}

impl Measure {
    fn visit(&mut self, ast: &Ast, bound: &mut Vec<String>, nesting: usize) -> Result<(), ExpressionError> {
        self.cost.nodes += 1;
        self.cost.nesting = self.cost.nesting.max(nesting);
        match &ast.expr {
            Expr::Ident(name) if !NAMES.contains(&name.as_str()) && !bound.iter().any(|known| known == name) => {
                return Err(ExpressionError::UnknownName { name: name.clone() });
            }
            Expr::Struct(value) => return Err(ExpressionError::UnknownName { name: value.type_name.clone() }),
            Expr::Call(call) if !super::functions::is_known(&call.func_name) => {
                return Err(ExpressionError::UnknownFunction { name: call.func_name.clone() });
            }
            Expr::Comprehension(each) => {
                self.cost.loops += 1;
                self.visit(&each.iter_range, bound, nesting)?;
                self.visit(&each.accu_init, bound, nesting)?;
                let outside = bound.len();
                bound.push(each.iter_var.clone());
                bound.extend(each.iter_var2.clone());
                bound.push(each.accu_var.clone());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.visit(part, bound, nesting + 1)?;
                }
                bound.truncate(outside);
                return Ok(());
            }
            _ => {}
        }
        for child in children(&ast.expr) {
            self.visit(child, bound, nesting)?;
        }
        Ok(())
    }
}

/// Calls `seen` with every node.
pub(super) fn walk(ast: &Ast, seen: &mut dyn FnMut(&Expr)) {
    seen(&ast.expr);
    for child in children(&ast.expr) {
        walk(child, seen);
    }
}

fn children(expr: &Expr) -> Vec<&Ast> {
    match expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(each) => {
            vec![&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        Expr::Struct(value) => value.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entries(entry: &EntryExpr) -> Vec<&Ast> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
