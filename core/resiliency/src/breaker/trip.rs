//! The condition that opens a circuit breaker: a CEL expression over its counts.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    thread,
};

use cel::{
    Context, Env, Program, Value,
    common::ast::{EntryExpr, Expr, IdedExpr},
};

use super::Counts;
use crate::error::TripError;

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 4 * 1024;
/// Deepest expression. It is evaluated on the caller's stack, of which a level takes up to 64 KB without optimisation.
const MAX_DEPTH: usize = 16;
/// Stack for compiling one: without optimisation the parser takes up to 170 KB for each of the 96 levels it allows.
const COMPILE_STACK: usize = 64 << 20;

/// CEL's functions, operators left out. Dapr hangs on any other name; here it is refused.
const FUNCTIONS: [&str; 25] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// Compiles conditions. One serves any number of breakers: it holds the functions of CEL, made with the first condition.
#[derive(Clone, Default)]
pub struct TripCompiler(Arc<OnceLock<Arc<Env>>>);

/// A compiled condition. Two are equal when their texts are.
pub struct Trip {
    condition: String,
    env: Arc<Env>,
    program: Program,
    /// What it gave for sample counts: whether that was a boolean.
    gives_boolean: bool,
}

impl TripCompiler {
    /// Compiles a condition.
    ///
    /// # Errors
    /// A condition that does not compile, calls a function that does not exist, or is too long or too deep.
    pub fn compile(&self, condition: &str) -> Result<Trip, TripError> {
        let refused = |reason: String| TripError { condition: condition.to_owned(), reason };
        if condition.len() > MAX_LENGTH {
            return Err(refused(format!("it is longer than {MAX_LENGTH} bytes")));
        }
        let env = self.0.get_or_init(|| Arc::new(Env::stdlib().with_optional_support(false)));
        // A deep expression is refused and dropped on the stack that it was made on, too.
        let compiled = on_own_stack(|| {
            let program = env.compile(condition).map_err(|errors| first_lines(&errors.to_string()))?;
            check(program.expression(), 1)?;
            Ok(program)
        });
        let program = compiled.unwrap_or_else(|error| Err(error.to_string())).map_err(refused)?;
        let mut trip =
            Trip { condition: condition.to_owned(), env: env.clone(), program, gives_boolean: false };
        let sample = Counts { requests: 1, total_failures: 1, consecutive_failures: 1, ..Counts::default() };
        trip.gives_boolean = trip.evaluate(&sample).is_some();
        Ok(trip)
    }
}

impl Trip {
    /// Its text.
    #[must_use]
    pub fn condition(&self) -> &str {
        &self.condition
    }

    /// Whether it gives a boolean at all. Dapr accepts one that does not: its breaker never opens.
    #[must_use]
    pub fn gives_boolean(&self) -> bool {
        self.gives_boolean
    }

    /// Whether the breaker is to open. A condition that fails does not open it.
    #[must_use]
    pub fn is_met(&self, counts: &Counts) -> bool {
        self.evaluate(counts).unwrap_or(false)
    }

    fn evaluate(&self, counts: &Counts) -> Option<bool> {
        let mut context = Context::with_env(self.env.clone());
        for (name, count) in [
            ("requests", counts.requests),
            ("totalSuccesses", counts.total_successes),
            ("totalFailures", counts.total_failures),
            ("consecutiveSuccesses", counts.consecutive_successes),
            ("consecutiveFailures", counts.consecutive_failures),
        ] {
            context.add_variable_from_value(name, Value::Int(count.into()));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(is_met)) => Some(is_met),
            Ok(_) | Err(_) => None,
        }
    }
}

fn on_own_stack<T: Send>(run: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("mecha-resiliency".into()).stack_size(COMPILE_STACK);
        let thread = builder.spawn_scoped(scope, run)?;
        thread.join().map_err(|_| std::io::Error::other("the compilation ended abnormally"))
    })
}

/// Errors come with the source underlined, over several lines; the first of each says what is wrong.
fn first_lines(errors: &str) -> String {
    let lines = errors.lines().filter(|line| line.starts_with("ERROR"));
    let lines: Vec<&str> = lines.map(|line| line.trim_start_matches("ERROR: <input>:")).take(3).collect();
    if lines.is_empty() { errors.to_owned() } else { lines.join("; ") }
}

/// Refuses what could never be evaluated. A variable may have any name: that of none fails when it is evaluated, as in Dapr.
fn check(expression: &IdedExpr, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
    }
    let below = |inner: &IdedExpr| check(inner, depth + 1);
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => Ok(()),
        Expr::Select(select) => below(&select.operand),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            if !is_operator(name) && !FUNCTIONS.contains(&name) {
                return Err(format!("undeclared reference to '{name}'"));
            }
            call.target.as_deref().into_iter().chain(&call.args).try_for_each(below)
        }
        Expr::List(list) => list.elements.iter().try_for_each(below),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => below(&entry.key).and_then(|()| below(&entry.value)),
            EntryExpr::StructField(field) => below(&field.value),
        }),
        Expr::Struct(message) => Err(format!("undeclared reference to '{}'", message.type_name)),
        Expr::Comprehension(inner) => {
            [&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result]
                .into_iter()
                .try_for_each(below)
        }
    }
}

/// The parser's names of operators have signs in them; a function's name has letters first.
fn is_operator(name: &str) -> bool {
    name.starts_with(['_', '!', '-', '@'])
}

impl PartialEq for Trip {
    fn eq(&self, other: &Self) -> bool {
        self.condition == other.condition
    }
}

impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trip").field(&self.condition).finish()
    }
}

impl fmt::Debug for TripCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TripCompiler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(condition: &str) -> bool {
        let counts = Counts {
            requests: 10,
            total_successes: 6,
            total_failures: 4,
            consecutive_successes: 0,
            consecutive_failures: 3,
        };
        TripCompiler::default().compile(condition).unwrap().is_met(&counts)
    }

    #[test]
    fn sees_every_count() {
        let counts = "[requests, totalSuccesses, totalFailures, consecutiveSuccesses, consecutiveFailures]";
        assert!(is_met(&format!("{counts} == [10, 6, 4, 0, 3]")));
    }

    #[test]
    fn evaluates_conditions() {
        assert!(is_met("consecutiveFailures > 2"));
        assert!(!is_met("consecutiveFailures > 3"));
        assert!(is_met("totalFailures >= 4 && requests > 5"));
        assert!(is_met("double(totalFailures) / double(requests) >= 0.4"));
        assert!(is_met("totalFailures > 3.5"), "numbers of different kinds compare");
    }

    #[test]
    fn what_fails_or_is_no_boolean_does_not_trip() {
        for condition in [
            "1",
            "requests",
            "unknown > 1",
            "requests / consecutiveSuccesses > 1",
            "requests * 9223372036854775807 > 1",
        ] {
            assert!(!is_met(condition), "{condition}");
        }
        let compiler = TripCompiler::default();
        assert!(compiler.compile("requests > 1").unwrap().gives_boolean());
        assert!(!compiler.compile("requests + 1").unwrap().gives_boolean());
        assert!(!compiler.compile("request > 1").unwrap().gives_boolean());
    }

    #[test]
    fn the_deepest_and_the_longest_useful_conditions_are_evaluated() {
        let row = ["totalFailures > 3"; 10].join(" && ");
        assert!(is_met(&row));
        let levels = MAX_DEPTH - 2;
        assert!(is_met(&format!("{}1{} == {}", "1 + (".repeat(levels), ")".repeat(levels), levels + 1)));
    }

    #[test]
    fn refuses_what_cannot_be_compiled() {
        let refused = |condition: &str| TripCompiler::default().compile(condition).unwrap_err().reason;
        assert!(!refused("requests >").is_empty());
        assert_eq!(refused("failures() > 1"), "undeclared reference to 'failures'");
        assert_eq!(refused(&"(".repeat(5000)), "it is longer than 4096 bytes");
        let deep = format!("{}requests > 1{}", "!(".repeat(40), ")".repeat(40));
        assert_eq!(refused(&deep), "it nests deeper than 16 levels");
        assert!(!refused(&format!("{}1{}", "(".repeat(2000), ")".repeat(2000))).is_empty());
    }
}
