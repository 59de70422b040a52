//! Understanding a library file without running it: `dlopen` runs constructors.

use abi_stable::library::AbiHeader;
use gatemq_plugin_api::abi::Header;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Architecture, Object, ObjectKind, ObjectSegment};

use crate::{Reason, platform};

const WANTED: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else {
    Architecture::Unknown
};

/// Checks that `bytes` are a whole dynamic library for this machine that exports the entry symbol.
///
/// # Errors
/// What it is instead.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Reason> {
    let file = object::File::parse(bytes).map_err(|e| Reason::NotALibrary(e.to_string()))?;
    let found = file.architecture();
    if found != WANTED || file.is_64() != cfg!(target_pointer_width = "64") {
        return Err(Reason::OtherArchitecture { wanted: format!("{WANTED:?}"), found: format!("{found:?}") });
    }
    match file.kind() {
        ObjectKind::Dynamic => {}
        ObjectKind::Executable => return Err(Reason::NotDynamic("an executable".into())),
        ObjectKind::Relocatable => return Err(Reason::NotDynamic("an object file".into())),
        other => return Err(Reason::NotDynamic(format!("{other:?}"))),
    }
    whole(bytes)?;
    let entry = platform::entry(&file).ok_or(Reason::NoEntrySymbol)?;
    if let Some(found) = entry.bytes.filter(|bytes| *bytes < size_of::<Header>() as u64) {
        return Err(Reason::EntryTooSmall { found });
    }
    header(&file, entry.address)
}

/// What the entry symbol names begins as abi_stable's header of this version does. The linker does not change this part.
fn header(file: &object::File<'_>, address: u64) -> Result<(), Reason> {
    let ours = AbiHeader::VALUE;
    let size = ours.magic_string.len() as u64 + 8;
    let found = file.segments().find_map(|s| s.data_range(address, size).ok().flatten()).unwrap_or_default();
    let Some((magic, versions)) = found.split_at_checked(ours.magic_string.len()) else {
        return Err(Reason::OtherAbi("an entry symbol without data".into()));
    };
    if magic != ours.magic_string {
        return Err(Reason::OtherAbi("an entry symbol that is something else".into()));
    }
    let version = |at: usize| versions.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    match (version(0), version(4)) {
        (Some(major), Some(minor)) if major == ours.abi_major && (major != 0 || minor == ours.abi_minor) => Ok(()),
        (major, minor) => Err(Reason::OtherAbi(format!("{}.{}", major.unwrap_or(0), minor.unwrap_or(0)))),
    }
}

/// Every byte that would be mapped is there: the linker maps what it is told, and touching the rest is SIGBUS.
fn whole(bytes: &[u8]) -> Result<(), Reason> {
    let Ok(header) = object::elf::FileHeader64::<object::Endianness>::parse(bytes) else { return Ok(()) };
    let damaged = |e: object::Error| Reason::NotALibrary(e.to_string());
    let endian = header.endian().map_err(damaged)?;
    let segments = header.program_headers(endian, bytes).map_err(damaged)?;
    let end = segments
        .iter()
        .filter(|s| s.p_type(endian) == object::elf::PT_LOAD)
        .map(|s| s.p_offset(endian).saturating_add(s.p_filesz(endian)))
        .max();
    match end {
        Some(wanted) if wanted > bytes.len() as u64 => Err(Reason::Truncated { wanted, found: bytes.len() as u64 }),
        _ => Ok(()),
    }
}
