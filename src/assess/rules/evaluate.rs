//! One rule, asked of one machine or host.

use cel::Context;
use cel::common::types::CelList;
use std::sync::Arc;

use super::cost::BUDGET;
use super::expression::Stop;
use super::functions::environment;
use super::set::Rule;
use super::values::Scope;

/// A violation: message, way out, and which item.
pub(super) type Violated = (String, String, Option<usize>);

/// What a rule says of one machine or host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub violations: Vec<Violated>,
    /// The fact that is unknown, if that kept it from an answer.
    pub unknown: Option<String>,
    /// Why it could not be evaluated at all.
    pub broken: Option<String>,
}

/// A context that sees the scope.
pub(super) fn context<'v>(scope: &'v Scope<'_>) -> Context<'v, 'v> {
    let mut context = Context::with_env(Arc::clone(environment()));
    context.set_variable_resolver(scope);
    context
}

/// Asks a rule; `plain` is the context of `scope`, made once for all rules, `longest` its longest list.
pub(super) fn ask(rule: &Rule, scope: &Scope<'_>, plain: &Context<'_, '_>, longest: usize) -> Answer {
    let mut answer = Answer::default();
    let expressions = [Some(&rule.violated), rule.when.as_ref(), rule.each.as_ref()];
    if !expressions.into_iter().flatten().all(|expression| expression.cost().allows(longest)) {
        let why = format!("it would take more than {BUDGET} steps: a list has {longest} entries");
        return Answer { broken: Some(why), ..answer };
    }
    match &rule.each {
        None => one(rule, plain, None, &mut answer),
        Some(each) => match each.value(plain) {
            Err(stop) => answer.stopped(stop),
            Ok(list) => match list.downcast_ref::<CelList<'_>>() {
                None => answer.stopped(Stop::Broken("`each` gives no list".to_owned())),
                Some(list) => {
                    for (index, item) in list.inner().iter().enumerate() {
                        let inner = scope.with_item(item.as_ref());
                        one(rule, &context(&inner), Some(index), &mut answer);
                    }
                }
            },
        },
    }
    if let (Some(fact), Some(each)) = (&mut answer.unknown, &rule.spec.each)
        && let Some(rest) = fact.strip_prefix("item.")
    {
        *fact = format!("{each}[].{rest}");
    }
    answer
}

fn one(rule: &Rule, context: &Context<'_, '_>, index: Option<usize>, answer: &mut Answer) {
    let applies = rule.when.as_ref().map_or(Ok(true), |when| when.truth(context));
    match applies.and_then(|applies| Ok(applies && rule.violated.truth(context)?)) {
        Ok(false) => {}
        Ok(true) => answer.violations.push((rule.message(context), rule.help(context), index)),
        Err(stop) => answer.stopped(stop),
    }
}

impl Answer {
    fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::Unknown(fact) => _ = self.unknown.get_or_insert(fact),
            Stop::Broken(why) => _ = self.broken.get_or_insert(why),
        }
    }
}
