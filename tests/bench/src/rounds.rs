//! Contenders taking turns, and what their turns come to.

use anyhow::{Result, ensure};

use crate::plan::Plan;
use crate::report::Table;
use crate::spread::Spread;

/// What is counted, which says how it is written and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Calls a second; more is better.
    Rate,
    /// Microseconds; less is better.
    Microseconds,
    /// Nanoseconds; less is better.
    Nanoseconds,
    /// Milliseconds; less is better.
    Milliseconds,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Rate if value >= 1000.0 => format!("{:.1} k/s", value / 1000.0),
            Self::Rate => format!("{value:.0} /s"),
            Self::Microseconds => format!("{value:.1} µs"),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::Milliseconds => format!("{value:.1} ms"),
        }
    }
}

/// What one turn gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// In the comparison's unit.
    pub(crate) value: f64,
    /// Processor time of the server for one call, in microseconds.
    pub(crate) server_cpu_us: Option<f64>,
}

impl From<f64> for Turn {
    fn from(value: f64) -> Self {
        Self { value, server_cpu_us: None }
    }
}

/// One of those who take turns; the first of a comparison is the product.
pub(crate) struct Contender<'a> {
    name: &'a str,
    turn: Box<dyn AsyncTurn + 'a>,
}

/// An async closure behind a pointer.
trait AsyncTurn {
    fn take(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Result<Turn>> + '_>>;
}

impl<F: AsyncFnMut() -> Result<Turn>> AsyncTurn for F {
    fn take(&mut self) -> std::pin::Pin<Box<dyn Future<Output = Result<Turn>> + '_>> {
        Box::pin(self())
    }
}

impl<'a> Contender<'a> {
    /// A name and what it does in a turn.
    pub(crate) fn new(name: &'a str, turn: impl AsyncFnMut() -> Result<Turn> + 'a) -> Self {
        Self { name, turn: Box::new(turn) }
    }
}

/// What is compared.
pub(crate) struct Comparison<'a> {
    /// The row's name.
    pub(crate) what: &'a str,
    /// What a turn's value is.
    pub(crate) unit: Unit,
    /// What the project wants the ratio to be, as text: nothing passes or fails on it here.
    pub(crate) wanted: &'a str,
}

impl Comparison<'_> {
    /// Lets the contenders take turns; a row for each but the first, which all are compared with.
    pub(crate) async fn run(&self, plan: &Plan, mut contenders: Vec<Contender<'_>>) -> Result<Vec<Row>> {
        ensure!(contenders.len() > 1, "a comparison needs two");
        let mut turns = vec![Vec::new(); contenders.len()];
        for round in 1..=plan.rounds {
            for (contender, turns) in contenders.iter_mut().zip(&mut turns) {
                plan.go_on()?;
                turns.push(contender.turn.take().await?);
            }
            println!(
                "    {}, round {round} of {}: {}",
                self.what,
                plan.rounds,
                self.progress(&contenders, &turns)
            );
        }
        let (product, baselines) = (&turns[0], turns.iter().zip(&contenders).skip(1));
        Ok(baselines.map(|(baseline, contender)| self.row(product, baseline, contender.name)).collect())
    }

    fn progress(&self, contenders: &[Contender<'_>], turns: &[Vec<Turn>]) -> String {
        let last = contenders.iter().zip(turns).filter_map(|(contender, turns)| {
            Some(format!("{} {}", contender.name, self.unit.show(turns.last()?.value)))
        });
        last.collect::<Vec<_>>().join(", ")
    }

    fn row(&self, product: &[Turn], baseline: &[Turn], name: &str) -> Row {
        // The kernel counts in ticks of 10 ms: a server that did next to nothing has none.
        let cpu = |(a, b): (&Turn, &Turn)| {
            Some(a.server_cpu_us? / b.server_cpu_us?).filter(|ratio| ratio.is_finite())
        };
        Row {
            what: self.what.to_owned(),
            unit: self.unit,
            wanted: self.wanted.to_owned(),
            baseline: name.to_owned(),
            product_value: median(product),
            baseline_value: median(baseline),
            ratio: Spread::of(product.iter().zip(baseline).map(|(a, b)| a.value / b.value)),
            cpu_ratio: Spread::of(product.iter().zip(baseline).filter_map(cpu)),
        }
    }
}

fn median(turns: &[Turn]) -> f64 {
    Spread::of(turns.iter().map(|turn| turn.value)).map_or(f64::NAN, |spread| spread.median)
}

/// The product against one baseline.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    unit: Unit,
    wanted: String,
    baseline: String,
    product_value: f64,
    baseline_value: f64,
    ratio: Option<Spread>,
    cpu_ratio: Option<Spread>,
}

/// The rows as a table.
pub(crate) fn table(title: &str, rows: &[Row]) -> Table {
    let mut table = Table::new(
        title,
        &["what", "measured", "against", "baseline", "ratio (min–max)", "wanted", "server CPU a call"],
    );
    for row in rows {
        let show = |spread: &Option<Spread>| spread.map_or_else(String::new, |spread| spread.show(2));
        table.row([
            row.what.clone(),
            row.unit.show(row.product_value),
            row.baseline.clone(),
            row.unit.show(row.baseline_value),
            show(&row.ratio),
            row.wanted.clone(),
            show(&row.cpu_ratio),
        ]);
    }
    if rows.iter().any(|row| row.unit == Unit::Rate) {
        table.note("ratio of rates: more is better, 1.00 is as fast as the baseline");
    }
    if rows.iter().any(|row| row.unit != Unit::Rate) {
        table.note("ratio of times: less is better, 1.00 is as fast as the baseline");
    }
    if rows.iter().any(|row| row.cpu_ratio.is_some()) {
        table.note("server CPU: processor time of the server a call, over the baseline's; the load generator has no part in it");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Interrupt;

    #[tokio::test]
    async fn the_ratio_is_the_median_of_the_rounds_and_not_of_the_values() {
        let plan = Plan::quick(Interrupt::default());
        let taken = std::cell::RefCell::new(String::new());
        let (mut fast, mut slow) = ([10.0, 100.0, 40.0].into_iter(), [20.0, 100.0, 50.0].into_iter());
        let product = Contender::new("product", async || {
            taken.borrow_mut().push('a');
            Ok(fast.next().unwrap().into())
        });
        let baseline = Contender::new("bare", async || {
            taken.borrow_mut().push('b');
            Ok(slow.next().unwrap().into())
        });
        let comparison = Comparison { what: "get", unit: Unit::Rate, wanted: "≥ 0.60" };
        let rows = comparison.run(&plan, vec![product, baseline]).await.unwrap();
        assert_eq!(*taken.borrow(), "ababab");
        let ratio = rows[0].ratio.unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.8, 0.5, 1.0));
        assert_eq!((rows[0].product_value, rows[0].baseline_value), (40.0, 50.0));
        assert!(rows[0].cpu_ratio.is_none());
    }

    #[tokio::test]
    async fn a_failed_turn_ends_the_comparison() {
        let plan = Plan::quick(Interrupt::default());
        let product = Contender::new("product", async || anyhow::bail!("3 of 5 calls failed"));
        let baseline = Contender::new("bare", async || Ok(1.0.into()));
        let comparison = Comparison { what: "get", unit: Unit::Rate, wanted: "" };
        let error = comparison.run(&plan, vec![product, baseline]).await.unwrap_err();
        assert!(error.to_string().contains("3 of 5"));
    }
}
