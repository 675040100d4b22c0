//! Settings that are written as text: durations (`500ms`, `1m30s`) and sizes (`4Mi`). For `#[serde(with = …)]`.

pub(crate) mod duration {
    use std::time::Duration;

    use mecha_resources::duration;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&duration::format(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        duration::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a duration such as 500ms or 1m30s")))
    }
}

pub(crate) mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Given(#[serde(with = "super::duration")] Duration);

    pub(crate) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => super::duration::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Given>::deserialize(from)?.map(|given| given.0))
    }
}

pub(crate) mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::quantity;

    pub(crate) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&quantity::format(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        quantity::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a size such as 4Mi or 65536")))
    }
}
