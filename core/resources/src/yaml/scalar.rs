//! Plain scalars → null, boolean, number or text, and numbers → text, each as Dapr's YAML and JSON libraries do it.

use serde_json::{Number, Value};

/// Resolves a plain scalar by the YAML 1.1 rules that Dapr's component files are read with.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("{text} is not a finite number")),
        _ => {}
    }
    Ok(number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number))
}

fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() && !matches!(first, b'+' | b'-' | b'.') {
        return None;
    }
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Some(integer);
    }
    if !looks_like_float(&digits) {
        return None;
    }
    Number::from_f64(digits.parse().ok()?)
}

/// Go's integer literals: decimal, `0x`, `0o`, `0b`, and the old octal form with a leading zero.
fn integer(text: &str) -> Option<Number> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(magnitude.into());
    }
    let value = i64::try_from(-i128::from(magnitude)).ok()?;
    Some(value.into())
}

fn looks_like_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_holds = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !power.is_empty() && digits(power)
    });
    mantissa_holds && exponent_holds
}

/// A number as Go's JSON writer prints it: shortest form, an exponent only when very small or very large.
#[must_use]
pub fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{float:e}");
        return match text.split_once("e-") {
            Some(_) => text,
            None => text.replace('e', "e+"),
        };
    }
    format!("{float}")
}

/// What a scalar reads as when it stands as a key.
pub(super) fn key_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resolves_as_go_yaml_does() {
        for (text, expected) in [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("010", json!(8)),
            ("08", json!(8.0)),
            ("0x1F", json!(31)),
            ("-0b11", json!(-3)),
            ("+5", json!(5)),
            ("1_000", json!(1000)),
            ("1.50", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("-9223372036854775808", json!(-9_223_372_036_854_775_808_i64)),
            ("1.2.3", json!("1.2.3")),
            ("10s", json!("10s")),
            ("2026-01-02", json!("2026-01-02")),
            ("localhost:6379", json!("localhost:6379")),
            (".", json!(".")),
            ("-", json!("-")),
            ("0x", json!("0x")),
        ] {
            assert_eq!(resolve(text), Ok(expected), "{text}");
        }
        assert!(resolve(".inf").is_err());
    }

    #[test]
    fn prints_numbers_as_go_json_does() {
        let text = |value: Value| number_text(value.as_number().unwrap());
        assert_eq!(text(json!(8.0)), "8");
        assert_eq!(text(json!(1.5)), "1.5");
        assert_eq!(text(json!(1e21)), "1e+21");
        assert_eq!(text(json!(1e-7)), "1e-7");
        assert_eq!(text(json!(-42)), "-42");
    }
}
