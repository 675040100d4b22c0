//! A plugin file before it is mapped: is it whole, is it ours, and where its private copy lies.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use memmap2::MmapMut;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, Object, ObjectSymbol};
use sha2::{Digest, Sha256};

use crate::Refusal;

/// The bytes of a plugin file that passed every check that needs no mapping.
pub struct Image {
    bytes: Content,
    sha256: String,
}

/// What a file held. Libraries are large, and an allocator would keep the space for long after its use: this goes back to
/// the system at once. It is no mapping of the file, which may change meanwhile.
struct Content {
    space: Option<MmapMut>,
    length: usize,
}

impl Content {
    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let wanted = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if wanted == 0 {
            return Ok(Self { space: None, length: 0 });
        }
        let (mut space, mut length) = (MmapMut::map_anon(wanted)?, 0);
        while length < wanted {
            match file.read(&mut space[length..])? {
                // It has become shorter; what is missing is found by the check.
                0 => break,
                read => length += read,
            }
        }
        Ok(Self { space: Some(space), length })
    }

    fn bytes(&self) -> &[u8] {
        self.space.as_ref().map_or(&[], |space| &space[..self.length])
    }
}

impl Image {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// A [`Refusal`] that names the cause. Nothing of the file has run.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let bytes = Content::read(path).map_err(|error| Refusal::Unreadable(error.to_string()))?;
        check(bytes.bytes())?;
        let sha256 = hex::encode(Sha256::digest(bytes.bytes()));
        Ok(Self { bytes, sha256 })
    }

    /// SHA-256 of the content, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Writes the private copy `<dir>/<sha256>.so` unless it is there already.
    ///
    /// The linker must never map the user's own path: the same path gives the old mapping for ever, and a file that is
    /// overwritten while mapped kills the process.
    ///
    /// # Errors
    /// [`Refusal::Copy`].
    pub fn copy_into(&self, dir: &Path) -> Result<PathBuf, Refusal> {
        let target = dir.join(format!("{}.so", self.sha256));
        if target.exists() {
            return Ok(target);
        }
        let failed = |error: std::io::Error| Refusal::Copy(target.clone(), error.to_string());
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        file.write_all(self.bytes.bytes()).map_err(failed)?;
        file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(target)
    }
}

/// Everything that can be known without running the file: mapping an incomplete file would end in SIGBUS.
fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let described = described_length(bytes)?;
    let actual = bytes.len() as u64;
    if described > actual {
        return Err(Refusal::Incomplete { described, actual });
    }
    let not_a_library = |error: object::Error| Refusal::NotALibrary(error.to_string());
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(not_a_library)?;
    let exported = file
        .dynamic_symbols()
        .any(|symbol| symbol.is_definition() && symbol.name() == Ok(mecha_plugin_api::module::ROOT_SYMBOL));
    if exported { Ok(()) } else { Err(Refusal::NoExport) }
}

/// The length up to which the file's own headers point.
fn described_length(bytes: &[u8]) -> Result<u64, Refusal> {
    type Header = object::elf::FileHeader64<Endianness>;
    let not_a_library = |error: object::Error| Refusal::NotALibrary(error.to_string());
    if bytes.len() < size_of::<Header>() {
        return Err(Refusal::NotALibrary(format!("{} bytes are too few", bytes.len())));
    }
    let header = Header::parse(bytes).map_err(not_a_library)?;
    let endian = header.endian().map_err(not_a_library)?;
    if header.e_type(endian) != object::elf::ET_DYN {
        return Err(Refusal::NotALibrary("an ELF file, but not a shared library".into()));
    }
    if header.e_machine(endian) != MACHINE {
        return Err(Refusal::NotALibrary("built for another processor".into()));
    }
    // The section table stands last in a linked file, so a file cut anywhere misses it.
    let table =
        |offset: u64, size: u16, count: u16| offset.saturating_add(u64::from(size) * u64::from(count));
    let sections = table(header.e_shoff(endian), header.e_shentsize(endian), header.e_shnum(endian));
    let programs = table(header.e_phoff(endian), header.e_phentsize(endian), header.e_phnum(endian));
    let mut described = sections.max(programs);
    if described > bytes.len() as u64 {
        return Ok(described);
    }
    for segment in header.program_headers(endian, bytes).map_err(not_a_library)? {
        described = described.max(segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
    }
    for section in header.section_headers(endian, bytes).map_err(not_a_library)? {
        if let Some((offset, size)) = section.file_range(endian) {
            described = described.max(offset.saturating_add(size));
        }
    }
    Ok(described)
}

#[cfg(target_arch = "x86_64")]
const MACHINE: object::elf::Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: object::elf::Machine = object::elf::EM_AARCH64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_read_and_a_missing_one_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Content::read(file.path()).unwrap().bytes(), b"");
        std::fs::write(file.path(), b"some bytes").unwrap();
        assert_eq!(Content::read(file.path()).unwrap().bytes(), b"some bytes");
        assert!(Content::read(Path::new("/nowhere/at/all.so")).is_err());
    }

    fn refused(bytes: &[u8]) -> Refusal {
        check(bytes).expect_err("must be refused")
    }

    /// The test's own executable is a whole ELF file of this machine (position independent, so ET_DYN).
    fn own_image() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn text_and_emptiness_are_no_libraries() {
        assert!(matches!(refused(b""), Refusal::NotALibrary(_)));
        assert!(matches!(refused(&[b'x'; 4096]), Refusal::NotALibrary(_)));
    }

    #[test]
    fn a_file_cut_anywhere_is_incomplete_or_no_library() {
        let whole = own_image();
        for part in [70, 4096, whole.len() / 2, whole.len() - 1] {
            let refusal = refused(&whole[..part]);
            assert!(matches!(refusal, Refusal::Incomplete { .. }), "{part}: {refusal}");
        }
    }

    #[test]
    fn a_whole_file_without_the_declaration_is_named_so() {
        assert!(matches!(refused(&own_image()), Refusal::NoExport));
    }
}
