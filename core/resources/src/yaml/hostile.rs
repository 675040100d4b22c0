//! Text that nobody would write: parsing must end in a value or an error.

use proptest::prelude::*;

use super::{parse, split};

proptest! {
    #[test]
    fn any_text_ends_in_a_value_or_an_error(text in "\\PC{0,200}") {
        for document in split(&text) {
            let _ = parse(document);
        }
    }

    #[test]
    fn yaml_like_text_ends_in_a_value_or_an_error(
        text in proptest::collection::vec(
            prop_oneof![
                Just("- "), Just("a: "), Just("b:"), Just("\n"), Just("  "), Just("["), Just("]"), Just("{"),
                Just("}"), Just("&x "), Just("*x"), Just("<<: "), Just("!!str "), Just("!t "), Just("|\n"),
                Just(">-\n"), Just("'"), Just("\""), Just("\\u12"), Just("? "), Just(","), Just("#"), Just("---"),
                Just("..."), Just("%YAML 1.1\n"), Just("0x"), Just("-0"), Just("1e999"), Just("\t"), Just("é"),
            ],
            0..60,
        )
    ) {
        for document in split(&text.concat()) {
            let _ = parse(document);
        }
    }

    #[test]
    fn json_reads_as_json(text in "[a-zA-Z0-9 :#,'<>&*!|%@{}\\[\\]-]{0,40}", number in any::<i64>(), flag: bool) {
        let value = serde_json::json!({ "text": text, "number": number, "list": [flag, null, [], {}] });
        prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
    }
}
