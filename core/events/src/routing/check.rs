//! Looking into a compiled condition: what it calls, how deep it goes, which fields of the event it names.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

/// Deepest expression; cel-go's own limit.
const MAX_DEPTH: usize = 250;

/// The functions of CEL's standard library. Dapr hangs on any other name; here it is refused.
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

/// Operators whose operands must be of one type, which cel-go checks before anything runs.
const SAME_TYPE: [&str; 11] =
    ["_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_"];

/// What is known about a condition that may be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) needs: Needs,
    /// How deep it goes.
    pub(super) depth: usize,
}

/// The fields of the event that conditions look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Needs {
    /// These, by name.
    Fields(BTreeSet<String>),
    /// Perhaps every field: the event is used as a whole.
    All,
}

impl Default for Needs {
    fn default() -> Self {
        Self::Fields(BTreeSet::new())
    }
}

impl Needs {
    pub(super) fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fields(mut fields), Self::Fields(more)) => {
                fields.extend(more.iter().cloned());
                Self::Fields(fields)
            }
            _ => Self::All,
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        match self {
            Self::Fields(fields) => fields.contains(field),
            Self::All => true,
        }
    }
}

/// Checks a condition. An error is the reason why it is refused.
pub(super) fn check(expression: &IdedExpr) -> Result<Checked, String> {
    let mut walk = Walk { checked: Checked { needs: Needs::default(), depth: 0 } };
    walk.enter(expression, 1)?;
    Ok(walk.checked)
}

struct Walk {
    checked: Checked,
}

impl Walk {
    fn enter(&mut self, expression: &IdedExpr, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
        }
        self.checked.depth = self.checked.depth.max(depth);
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                if is_event(name) {
                    self.checked.needs = Needs::All;
                }
                Ok(())
            }
            Expr::Select(select) => match (&select.operand.expr, &mut self.checked.needs) {
                (Expr::Ident(name), Needs::Fields(fields)) if is_event(name) => {
                    fields.insert(select.field.clone());
                    Ok(())
                }
                _ => self.enter(&select.operand, depth + 1),
            },
            Expr::Call(call) => {
                check_call(call)?;
                self.enter_all(call.target.as_deref().into_iter().chain(&call.args), depth)
            }
            Expr::List(list) => self.enter_all(&list.elements, depth),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.enter_all([&entry.key, &entry.value], depth)?;
                    }
                }
                Ok(())
            }
            Expr::Struct(message) => Err(format!("undeclared reference to '{}'", message.type_name)),
            Expr::Comprehension(comprehension) => {
                let range = [&comprehension.iter_range, &comprehension.accu_init, &comprehension.result];
                self.enter_all(range, depth + 1)?;
                self.enter_all([&comprehension.loop_cond, &comprehension.loop_step], depth + 1)
            }
        }
    }

    fn enter_all<'e>(
        &mut self,
        expressions: impl IntoIterator<Item = &'e IdedExpr>,
        depth: usize,
    ) -> Result<(), String> {
        expressions.into_iter().try_for_each(|expression| self.enter(expression, depth + 1))
    }
}

/// A leading dot names the variable past those of macros.
fn is_event(name: &str) -> bool {
    name.trim_start_matches('.') == "event"
}

fn check_call(call: &CallExpr) -> Result<(), String> {
    let name = call.func_name.as_str();
    if !is_operator(name) && !FUNCTIONS.contains(&name) {
        return Err(format!("undeclared reference to '{name}'"));
    }
    if let ([left, right], true) = (call.args.as_slice(), SAME_TYPE.contains(&name))
        && let (Some(left), Some(right)) = (literal_type(left), literal_type(right))
        && left != right
    {
        return Err(format!("found no matching overload for '{name}' applied to '({left}, {right})'"));
    }
    Ok(())
}

fn is_operator(name: &str) -> bool {
    let others = ["_?_:_", "_&&_", "_||_", "!_", "-_", "_[_]", "@in", "@not_strictly_false"];
    SAME_TYPE.contains(&name) || others.contains(&name)
}

fn literal_type(expression: &IdedExpr) -> Option<&'static str> {
    let Expr::Literal(literal) = &expression.expr else { return None };
    Some(match literal {
        LiteralValue::Boolean(_) => "bool",
        LiteralValue::Bytes(_) => "bytes",
        LiteralValue::Double(_) => "double",
        LiteralValue::Int(_) => "int",
        LiteralValue::Null => "null",
        LiteralValue::String(_) => "string",
        LiteralValue::UInt(_) => "uint",
    })
}
