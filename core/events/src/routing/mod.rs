//! Routing rules: which path of the application an event goes to.
//!
//! A rule's condition is a CEL expression over one variable, `event`, the envelope as a map. [`RuleCompiler`] compiles it at
//! load and refuses what could never work; [`Rules::route`] tries the rules in order, and the first that is true names the path.
//! `check` looks into compiled expressions, `value` turns an event into what they see.

mod check;
mod value;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread;

use cel::{Context, Env, Program, Value};

use crate::Event;
use check::{Checked, Needs};

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 16 * 1024;
/// Stack for compiling one: without optimisation the parser takes up to 170 KB for each of the 96 levels of nesting it allows and
/// 8 KB for each operator in a row.
const COMPILE_STACK: usize = 128 << 20;
/// Expressions of up to this depth are evaluated where they are asked for; deeper ones on a stack of their own.
const SHALLOW: usize = 16;
/// Stack for one level of evaluation, measured without optimisation.
const LEVEL_STACK: usize = 64 << 10;

/// Compiles conditions. One serves any number of subscriptions: it holds the functions of CEL, made with the first condition,
/// which all its rules share.
#[derive(Clone, Default)]
pub struct RuleCompiler(Arc<OnceLock<Arc<Env>>>);

/// A condition and the path of the events that meet it.
#[derive(Clone)]
pub struct Rule {
    condition: String,
    path: String,
    compiled: Option<Arc<Compiled>>,
}

struct Compiled {
    env: Arc<Env>,
    program: Program,
    checked: Checked,
}

/// The rules of one subscription, in the order in which they are tried.
#[derive(Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    needs: Needs,
    depth: usize,
}

/// A condition that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid match expression `{condition}`: {reason}")]
pub struct RuleError {
    /// The condition.
    pub condition: String,
    /// Why.
    pub reason: String,
}

/// Why no path could be found. The search ends with the first rule that fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// A condition is neither true nor false; the text is Dapr's.
    #[error("the result of match expression {0} was not a boolean")]
    NotBoolean(String),
    /// A condition failed.
    #[error("match expression {condition} failed: {reason}")]
    Failed {
        /// The condition.
        condition: String,
        /// Why.
        reason: String,
    },
    /// A field that a condition looks at cannot be read.
    #[error("cannot read the event's field {field}: {reason}")]
    Field {
        /// The field.
        field: String,
        /// Why.
        reason: String,
    },
    /// A deep condition needs a thread, and there is none.
    #[error("cannot evaluate match expressions: {0}")]
    Thread(String),
}

impl RuleCompiler {
    /// A compiler with CEL's standard functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compiles a rule. An empty condition is always met.
    ///
    /// # Errors
    /// A condition that does not compile, or that calls a function that does not exist.
    pub fn rule(&self, condition: &str, path: impl Into<String>) -> Result<Rule, RuleError> {
        let condition = condition.trim();
        let compiled = match condition {
            "" => None,
            condition => Some(Arc::new(self.compile(condition)?)),
        };
        Ok(Rule { condition: condition.to_owned(), path: path.into(), compiled })
    }

    /// Puts rules in the order in which they are to be tried.
    #[must_use]
    pub fn rules(&self, rules: Vec<Rule>) -> Rules {
        let compiled = || rules.iter().filter_map(|rule| rule.compiled.as_deref());
        let needs = compiled().fold(Needs::default(), |needs, rule| needs.and(&rule.checked.needs));
        let depth = compiled().map(|rule| rule.checked.depth).max().unwrap_or_default();
        Rules { needs, depth, rules }
    }

    fn compile(&self, condition: &str) -> Result<Compiled, RuleError> {
        let refused = |reason: String| RuleError { condition: condition.to_owned(), reason };
        if condition.len() > MAX_LENGTH {
            return Err(refused(format!("it is longer than {MAX_LENGTH} bytes")));
        }
        // Optional values are an extension that Dapr does not turn on.
        let env = self.0.get_or_init(|| Arc::new(Env::stdlib().with_optional_support(false)));
        // A deep expression is dropped on the stack it was made on, too.
        let compiled = on_stack(COMPILE_STACK, || {
            let program = env.compile(condition).map_err(|errors| first_lines(&errors.to_string()))?;
            let checked = check::check(program.expression())?;
            Ok(Compiled { env: env.clone(), program, checked })
        });
        compiled.unwrap_or_else(|error| Err(error.to_string())).map_err(refused)
    }
}

impl Rule {
    /// The condition; empty when it is always met.
    #[must_use]
    pub fn condition(&self) -> &str {
        &self.condition
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn is_met(&self, compiled: &Compiled, context: &Context<'_, '_>) -> Result<bool, RoutingError> {
        match compiled.program.execute(context) {
            Ok(Value::Bool(is_met)) => Ok(is_met),
            Ok(_) => Err(RoutingError::NotBoolean(self.condition.clone())),
            Err(error) => {
                Err(RoutingError::Failed { condition: self.condition.clone(), reason: error.to_string() })
            }
        }
    }
}

impl Rules {
    /// The rules, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there is no rule, so that no event goes anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The path of an event; `None` when no rule's condition is met.
    ///
    /// # Errors
    /// A condition that fails, or whose result is no boolean, before one is met.
    pub fn route(&self, event: &Event<'_>) -> Result<Option<&str>, RoutingError> {
        self.search(|| value::of_event(event, &self.needs))
    }

    /// The path of a message that comes without an envelope in a bulk subscription: there, `event` is the message as text.
    ///
    /// # Errors
    /// As [`Rules::route`].
    pub fn route_raw(&self, message: &[u8]) -> Result<Option<&str>, RoutingError> {
        self.search(|| Ok(Value::from(String::from_utf8_lossy(message).as_ref())))
    }

    fn search(
        &self,
        event: impl FnOnce() -> Result<Value, RoutingError> + Send,
    ) -> Result<Option<&str>, RoutingError> {
        if self.depth <= SHALLOW {
            return self.search_here(event);
        }
        let stack = (self.depth + SHALLOW) * LEVEL_STACK;
        let found = on_stack(stack, || self.search_here(event));
        found.unwrap_or_else(|error| Err(RoutingError::Thread(error.to_string())))
    }

    fn search_here(
        &self,
        event: impl FnOnce() -> Result<Value, RoutingError>,
    ) -> Result<Option<&str>, RoutingError> {
        // The event is looked into only when a condition asks for it.
        let (mut event, mut context) = (Some(event), None);
        for rule in &self.rules {
            let Some(compiled) = &rule.compiled else { return Ok(Some(&rule.path)) };
            let context = context.get_or_insert_with(|| Context::with_env(compiled.env.clone()));
            if let Some(event) = event.take() {
                context.add_variable_from_value("event", event()?);
            }
            if rule.is_met(compiled, context)? {
                return Ok(Some(&rule.path));
            }
        }
        Ok(None)
    }
}

/// Runs something that recurses deeply on a stack of its own. Only touched pages of it take memory.
fn on_stack<T: Send>(size: usize, run: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().name("mecha-rules".into()).stack_size(size).spawn_scoped(scope, run)?;
        thread.join().map_err(|_| std::io::Error::other("the evaluation ended abnormally"))
    })
}

/// Errors come with the source underlined, over several lines; the first of each says what is wrong.
fn first_lines(errors: &str) -> String {
    let lines = errors.lines().filter(|line| line.starts_with("ERROR"));
    let lines: Vec<&str> = lines.map(|line| line.trim_start_matches("ERROR: <input>:")).take(3).collect();
    if lines.is_empty() { errors.to_owned() } else { lines.join("; ") }
}

impl fmt::Debug for RuleCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RuleCompiler")
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("condition", &self.condition).field("path", &self.path).finish()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.condition == other.condition && self.path == other.path
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

#[cfg(test)]
mod tests;
