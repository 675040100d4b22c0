//! Sizes as Kubernetes spells quantities: `100`, `1k`, `1.5M`, `10Ki`, `1e6`.

/// The size in bytes, rounded up; `None` when the text is not a quantity.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(bytes) = text.parse::<i64>() {
        return Some(bytes);
    }
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number = number.parse::<f64>().ok()?;
    let bytes = (number * factor(unit)?).ceil();
    // Beyond 2^53 a float no longer holds every whole number; no body is that large.
    (bytes.abs() <= 9_007_199_254_740_992.0).then_some(bytes as i64)
}

fn factor(unit: &str) -> Option<f64> {
    let power = |base: f64, exponent: i32| Some(base.powi(exponent));
    match unit {
        "" => Some(1.0),
        "m" => power(10.0, -3),
        "k" => power(10.0, 3),
        "M" => power(10.0, 6),
        "G" => power(10.0, 9),
        "T" => power(10.0, 12),
        "P" => power(10.0, 15),
        "Ki" => power(1024.0, 1),
        "Mi" => power(1024.0, 2),
        "Gi" => power(1024.0, 3),
        "Ti" => power(1024.0, 4),
        "Pi" => power(1024.0, 5),
        _ => power(10.0, unit.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, bytes) in [
            ("100", 100),
            ("1k", 1000),
            ("10Ki", 10_240),
            ("100Mi", 104_857_600),
            ("1.5M", 1_500_000),
            ("1e3", 1000),
            ("1500m", 2),
            ("-1", -1),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "Ki", "10KiB", "10 Ki", "ten", "1e", "99999P"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
