//! The metadata of `objects.aws.s3`.

use mecha_plugin_api::{ComponentSpec, Result};

use crate::metadata::{AwsSettings, flag, number};

const MIB: u64 = 1024 * 1024;
/// S3 takes no more parts than this.
const MOST_PARTS: u64 = 10_000;
/// After so many parts of an object whose size nobody knew, parts get twice as large.
const PARTS_OF_ONE_SIZE: u64 = 1000;

/// Everything that a component's metadata settles.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) aws: AwsSettings,
    pub(super) bucket: String,
    pub(super) force_path_style: bool,
    pub(super) storage_class: Option<String>,
    /// Size of a part in MiB.
    part_size: u64,
    /// How many parts of one object are under way at once.
    pub(super) parts_at_once: usize,
}

impl Settings {
    pub(super) fn read(spec: &ComponentSpec) -> Result<Self> {
        let part_size = number(spec, "partSizeMiB", 8, 5..=5120)?;
        let parts_at_once = number(spec, "uploadConcurrency", 3, 1..=64)?;
        Ok(Self {
            aws: AwsSettings::read(spec)?,
            bucket: spec.required("bucket")?.to_owned(),
            force_path_style: flag(spec, "forcePathStyle")?,
            storage_class: spec.text("storageClass").map(str::to_owned),
            part_size: part_size.unsigned_abs().into(),
            parts_at_once: usize::try_from(parts_at_once).unwrap_or(1),
        })
    }

    /// Size in bytes of the part after `before` others, of an object of `size`: large enough for the object to fit.
    pub(super) fn part_size(&self, size: Option<u64>, before: u64) -> usize {
        let mib = match size {
            Some(size) => self.part_size.max(size.div_ceil(MOST_PARTS * MIB)),
            None => self.part_size << (before / PARTS_OF_ONE_SIZE).min(9),
        };
        usize::try_from(mib * MIB).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use mecha_plugin_api::Metadata;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let metadata = Metadata::from_iter(pairs.iter().copied());
        Settings::read(&ComponentSpec::new("s3", "objects.aws.s3", metadata))
    }

    #[test]
    fn every_object_fits_into_the_parts_that_s3_takes() {
        let settings = settings(&[("bucket", "b")]).unwrap();
        assert_eq!(settings.part_size(None, 0), 8 << 20);
        assert_eq!(settings.part_size(Some(1 << 30), 500), 8 << 20);
        let most = 5_u64 << 40;
        assert!(settings.part_size(Some(most), 0) as u64 * MOST_PARTS >= most);
        let room: u64 = (0..MOST_PARTS).map(|part| settings.part_size(None, part) as u64).sum();
        assert!(room >= most);
    }

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(settings(&[]).unwrap_err().field(), Some("bucket"));
        for (field, wrong) in [("partSizeMiB", "4"), ("uploadConcurrency", "0"), ("partSizeMiB", "big")] {
            let error = settings(&[("bucket", "b"), (field, wrong)]).unwrap_err();
            assert_eq!(error.field(), Some(field), "{wrong}");
        }
    }
}
