//! The request metadata that the store understands. The component itself has no settings.

use mecha_plugin_api::{Error, Metadata, Result};

const TTL: &str = "ttlInSeconds";

/// The longest time to live that is kept as asked; a longer one (68 years) counts as this long.
const LONGEST_TTL: i64 = i32::MAX as i64;

/// Seconds until the key expires; `None` when it never does. Like Dapr's store, unlike others, any negative number means
/// "never".
pub(crate) fn seconds_to_live(metadata: &Metadata) -> Result<Option<u64>> {
    let Some(text) = metadata.get(TTL).filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds = text
        .parse::<i64>()
        .map_err(|_| Error::invalid(format!("incorrect value for {TTL}: '{text}'")).with_field(TTL))?;
    Ok(u64::try_from(seconds.min(LONGEST_TTL)).ok().filter(|&seconds| seconds > 0))
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::ErrorKind;

    use super::*;

    fn ttl(text: &str) -> Result<Option<u64>> {
        seconds_to_live(&Metadata::from_iter([("TTLinSeconds", text)]))
    }

    #[test]
    fn reads_a_time_to_live() {
        assert_eq!(seconds_to_live(&Metadata::new()), Ok(None));
        assert_eq!(ttl("30"), Ok(Some(30)));
        for never in ["", "0", "-1", "-30"] {
            assert_eq!(ttl(never), Ok(None), "{never}");
        }
        assert_eq!(ttl("99999999999999"), Ok(Some(2_147_483_647)));
    }

    #[test]
    fn refuses_what_is_no_whole_number() {
        for text in ["soon", "1.5", "1s", " 1"] {
            let error = ttl(text).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("ttlInSeconds")), "{text}");
        }
    }
}
