//! One field of a schedule: the numbers that match, as a set of bits.

/// What a field may hold.
pub(super) struct Bounds {
    min: u32,
    max: u32,
    /// Words for numbers; the first stands for `min`.
    names: &'static [&'static str],
}

impl Bounds {
    pub(super) const SECONDS: Self = Self { min: 0, max: 59, names: &[] };
    pub(super) const MINUTES: Self = Self { min: 0, max: 59, names: &[] };
    pub(super) const HOURS: Self = Self { min: 0, max: 23, names: &[] };
    pub(super) const DAYS_OF_MONTH: Self = Self { min: 1, max: 31, names: &[] };
    pub(super) const MONTHS: Self = Self {
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    };
    pub(super) const DAYS_OF_WEEK: Self =
        Self { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

    fn number(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        match named.and_then(|index| u32::try_from(index).ok()) {
            Some(index) => Ok(self.min + index),
            None => number(text),
        }
    }
}

/// The numbers that match.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field {
    bits: u64,
    /// Whether it is (or its list has) a star that leaves nothing out.
    pub(super) is_star: bool,
}

impl Field {
    /// Reads a list of ranges; an empty list matches nothing.
    pub(super) fn parse(text: &str, bounds: &Bounds) -> Result<Self, String> {
        let mut field = Self::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            field.add(range, bounds)?;
        }
        Ok(field)
    }

    pub(super) fn has(&self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }

    /// `*`, `N`, `N-M`, each with `/STEP` after it; `N/STEP` runs to the end.
    fn add(&mut self, text: &str, bounds: &Bounds) -> Result<(), String> {
        let (range, step) = match text.split('/').collect::<Vec<_>>().as_slice() {
            [range] => (*range, None),
            [range, step] => (*range, Some(*step)),
            _ => return Err(format!("too many slashes: {text}")),
        };
        let parts: Vec<&str> = range.split('-').collect();
        let is_star = matches!(parts[0], "*" | "?");
        let (start, mut end) = match parts.as_slice() {
            _ if is_star => (bounds.min, bounds.max),
            [only] => (bounds.number(only)?, bounds.number(only)?),
            [start, end] => (bounds.number(start)?, bounds.number(end)?),
            _ => return Err(format!("too many hyphens: {text}")),
        };
        let step = step.map(number).transpose()?;
        if step.is_some() && parts.len() == 1 {
            end = bounds.max;
        }
        let step = step.unwrap_or(1);
        check(text, bounds, start, end, step)?;
        for number in (start..=end).step_by(step as usize) {
            self.bits |= 1 << number;
        }
        self.is_star |= is_star && step == 1;
        Ok(())
    }
}

fn check(text: &str, bounds: &Bounds, start: u32, end: u32, step: u32) -> Result<(), String> {
    let Bounds { min, max, .. } = bounds;
    if start < *min {
        Err(format!("beginning of range ({start}) below minimum ({min}): {text}"))
    } else if end > *max {
        Err(format!("end of range ({end}) above maximum ({max}): {text}"))
    } else if start > end {
        Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"))
    } else if step == 0 {
        Err(format!("step of range should be a positive number: {text}"))
    } else {
        Ok(())
    }
}

fn number(text: &str) -> Result<u32, String> {
    let number: i64 = text.parse().map_err(|error| format!("failed to parse int from {text}: {error}"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    u32::try_from(number).map_err(|error| format!("failed to parse int from {text}: {error}"))
}
