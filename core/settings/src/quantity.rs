//! Kubernetes quantities (`4Mi`, `512k`, `1e6`), the form in which daprd's flags give sizes.

const SUFFIXES: [(&str, u64); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

/// Reads a quantity as whole bytes. `None` when it is not one, is negative, or is not whole.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, scale) = SUFFIXES
        .iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)))
        .unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte)) {
        return None;
    }
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).filter(|bytes| i64::try_from(*bytes).is_ok());
    }
    let bytes = number.parse::<f64>().ok()? * scale as f64;
    (bytes >= 0.0 && bytes.fract() == 0.0 && bytes < i64::MAX as f64).then_some(bytes as u64)
}

/// Writes bytes with the largest binary suffix that leaves a whole number.
pub(crate) fn format(bytes: u64) -> String {
    let suffix =
        SUFFIXES[..6].iter().rev().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    suffix.map_or_else(|| bytes.to_string(), |(suffix, scale)| format!("{}{suffix}", bytes / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quantities() {
        for (text, bytes) in [
            ("4Mi", 4 << 20),
            ("0", 0),
            ("1024", 1024),
            ("2k", 2000),
            ("1.5Ki", 1536),
            ("1e3", 1000),
            ("+8Gi", 8 << 30),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "Mi", "-1", "4MB", "4 Mi", "1.5", "inf", "99999999999999999999", "16Ei"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (bytes, text) in [(4 << 20, "4Mi"), (1536, "1536"), (0, "0"), (4096, "4Ki")] {
            assert_eq!(format(bytes), text);
        }
    }
}
