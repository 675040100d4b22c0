//! Compares the library's view of the boundary with ours, in both directions, and says in one line what differs.

use abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityErrors, check_layout_compatibility,
};
use abi_stable::type_layout::TypeLayout;

/// Accepts a library whose boundary is ours, an older 1.x (fewer fields at the end) or a newer one (more).
///
/// abi_stable lets prefix types grow in one direction only: when the first check fails because the library has fewer
/// fields, the second one, with the sides exchanged, passes; its missing fields then read as `None`.
pub(crate) fn check(host: &'static TypeLayout, library: &'static TypeLayout) -> Result<(), String> {
    let Err(errors) = check_layout_compatibility(host, library) else { return Ok(()) };
    if check_layout_compatibility(library, host).is_ok() {
        return Ok(());
    }
    Err(one_line(&errors))
}

/// abi_stable's own report is 15 KB; the first difference says it.
fn one_line(errors: &AbiInstabilityErrors) -> String {
    let Some(first) = errors.errors.first() else { return "the layouts differ".into() };
    let path: Vec<String> =
        first.stack_trace.iter().map(|place| short(&place.expected.to_string())).collect();
    let place = if path.is_empty() { "the root module".into() } else { path.join(" → ") };
    match first.errs.first() {
        Some(difference) => format!("{place}: {}", describe(difference)),
        None => format!("{place} differs"),
    }
}

fn describe(difference: &AbiInstability) -> String {
    match difference {
        AbiInstability::Name(name) => {
            format!(
                "expected type {}, found {}",
                short(&format!("{:?}", name.expected)),
                short(&format!("{:?}", name.found))
            )
        }
        AbiInstability::Package(name) => {
            format!("expected a type of crate {}, found {}", name.expected, name.found)
        }
        AbiInstability::PackageVersion(version) => {
            format!("expected version {}, found {}", version.expected, version.found)
        }
        AbiInstability::FieldCountMismatch(count) => {
            format!("expected {} fields, found {}", count.expected, count.found)
        }
        AbiInstability::Size(size) => format!("expected {} bytes, found {}", size.expected, size.found),
        AbiInstability::Alignment(bytes) => {
            format!("expected alignment {}, found {}", bytes.expected, bytes.found)
        }
        AbiInstability::UnexpectedField(field) => format!(
            "expected field {}, found {}",
            short(&field.expected.to_string()),
            short(&field.found.to_string())
        ),
        AbiInstability::TooManyVariants(count) => {
            format!("expected {} variants, found {}", count.expected, count.found)
        }
        other => short(&format!("{other:?}")),
    }
}

/// The first line of a description, cut to a length that fits a log line.
fn short(text: &str) -> String {
    const LONGEST: usize = 120;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
