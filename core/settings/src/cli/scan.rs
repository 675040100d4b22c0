//! Arguments → flags with their text, by the rules of daprd's parser.
//!
//! They differ from those of most Rust programs: a long flag may have one dash, a switch takes its value only after
//! `=`, and a value may begin with a dash. Unlike daprd, an unknown flag is a warning: a stand-in must start with the
//! flags of a newer daprd.

use std::{iter::Peekable, slice::Iter};

use super::flags::{self, Flag};
use crate::Error;

/// The flags that were given, in order.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) given: Vec<(&'static Flag, String)>,
    pub(super) help: bool,
    pub(super) warnings: Vec<String>,
}

impl Scanned {
    /// A flag's text; the last one counts.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(flag, _)| flag.name == name).map(|(_, text)| text.as_str())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.last(name) == Some("true")
    }
}

pub(super) fn scan(args: &[String]) -> Result<Scanned, Error> {
    let mut scanned = Scanned::default();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let Some(body) = flag_body(arg) else {
            scanned.warnings.push(format!("argument {arg:?} is ignored"));
            continue;
        };
        if body.is_empty() {
            // `--` ends the flags, and there is nothing else.
            let rest: Vec<&String> = args.collect();
            if !rest.is_empty() {
                scanned.warnings.push(format!("arguments {rest:?} are ignored"));
            }
            break;
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        match flags::find(name) {
            Some(flag) => take(flag, value, &mut args, &mut scanned)?,
            None if matches!(name, "help" | "h") => scanned.help = true,
            None => skip_unknown(name, value, &mut args, &mut scanned),
        }
    }
    Ok(scanned)
}

fn flag_body(arg: &str) -> Option<&str> {
    arg.strip_prefix("--").or_else(|| arg.strip_prefix('-').filter(|body| !body.is_empty()))
}

fn take(
    flag: &'static Flag,
    value: Option<&str>,
    args: &mut Peekable<Iter<'_, String>>,
    scanned: &mut Scanned,
) -> Result<(), Error> {
    let text = match value {
        Some(value) => value,
        None if flag.kind.is_switch() => "true",
        None => args.next().ok_or(Error::NoArgument(flag.name))?,
    };
    if let Some(instead) = flag.instead {
        scanned.warnings.push(format!("flag --{} has been deprecated, {instead}", flag.name));
    }
    // Deployments template flags; one that came out empty means that nothing was chosen.
    if text.is_empty() {
        return Ok(());
    }
    let text = if flag.kind.is_switch() { switch(flag, text)? } else { text };
    scanned.given.push((flag, text.to_owned()));
    Ok(())
}

/// Go's words for true and false.
fn switch(flag: &Flag, text: &str) -> Result<&'static str, Error> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false"),
        _ => Err(Error::Flag { flag: flag.name, reason: format!("{text:?} is neither true nor false") }),
    }
}

/// What follows an unknown flag and is no flag itself is taken for its value.
fn skip_unknown(
    name: &str,
    value: Option<&str>,
    args: &mut Peekable<Iter<'_, String>>,
    scanned: &mut Scanned,
) {
    if value.is_none() {
        args.next_if(|next| flag_body(next).is_none());
    }
    scanned.warnings.push(format!("unknown flag --{name} is ignored"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(args: &[&str]) -> Result<Scanned, Error> {
        scan(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn reads_flags_as_go_does() {
        let scanned = scanned(&[
            "-app-id",
            "a",
            "--app-max-concurrency",
            "-1",
            "--enable-metrics=false",
            "--enable-profiling",
            "--log-level=a=b",
            "--config",
            "x",
            "--config=y",
        ])
        .unwrap();
        let pairs: Vec<(&str, &str)> =
            scanned.given.iter().map(|(flag, text)| (flag.name, text.as_str())).collect();
        let expected = [
            ("app-id", "a"),
            ("app-max-concurrency", "-1"),
            ("enable-metrics", "false"),
            ("enable-profiling", "true"),
            ("log-level", "a=b"),
            ("config", "x"),
            ("config", "y"),
        ];
        assert_eq!(pairs, expected);
        assert!(scanned.warnings.is_empty() && scanned.is_on("enable-profiling"));
    }

    #[test]
    fn warns_about_what_it_does_not_know() {
        let scanned = scanned(&[
            "--new-flag",
            "value",
            "--other=1",
            "-x",
            "--wait",
            "stray",
            "--components-path=c",
            "--",
            "z",
        ])
        .unwrap();
        assert_eq!(scanned.given.len(), 2);
        assert_eq!(
            scanned.warnings,
            [
                "unknown flag --new-flag is ignored",
                "unknown flag --other is ignored",
                "unknown flag --x is ignored",
                "argument \"stray\" is ignored",
                "flag --components-path has been deprecated, use --resources-path",
                "arguments [\"z\"] are ignored",
            ]
        );
    }

    #[test]
    fn takes_empty_text_as_not_given() {
        let scanned = scanned(&["--app-port", "", "--config=", "--enable-metrics="]).unwrap();
        assert!(scanned.given.is_empty());
    }

    #[test]
    fn refuses_what_has_no_value_or_a_wrong_one() {
        assert_eq!(scanned(&["--app-id"]).unwrap_err().to_string(), "flag needs an argument: --app-id");
        assert!(scanned(&["--enable-metrics=yes"]).is_err());
        assert!(scanned(&["-help"]).unwrap().help && scanned(&["-h"]).unwrap().help);
    }
}
