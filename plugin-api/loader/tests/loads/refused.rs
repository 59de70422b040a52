//! Promise 3: files that are no plugins are refused with one line, before any of their code runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use gatemq_plugin_loader::{Library, Reason};

use crate::host::{TEST_FAULTS, built, cc};

/// The reason, after the checks that hold for every refusal.
fn refused(file: &Path) -> Reason {
    let refusal = Library::open(file).err().unwrap_or_else(|| panic!("{} was loaded", file.display()));
    let line = refusal.to_string();
    assert!(!line.contains('\n') && line.starts_with(&*file.to_string_lossy()), "{line}");
    assert!(line.contains("wanted ") && line.contains("found "), "{line}");
    refusal.reason
}

fn written(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let file = dir.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

/// A library in C whose constructor leaves a mark behind.
struct Marked {
    dir: tempfile::TempDir,
    library: PathBuf,
    mark: PathBuf,
}

impl Marked {
    fn new(symbol: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (library, mark) = (dir.path().join("libmarked.so"), dir.path().join("mark"));
        let source = format!(
            "#include <fcntl.h>\n{symbol}\n__attribute__((constructor)) static void run(void) {{ \
             open(\"{}\", O_CREAT | O_WRONLY, 0600); }}\n",
            mark.display()
        );
        cc(&source, &library, &["-shared", "-fPIC"]);
        // The twin: where the library is loaded, the constructor does run.
        let loaded = Command::new("true").env("LD_PRELOAD", &library).status().unwrap();
        assert!(loaded.success() && mark.exists(), "the constructor does not work: the test would prove nothing");
        std::fs::remove_file(&mark).unwrap();
        Marked { dir, library, mark }
    }

    fn refused_unrun(&self) -> Reason {
        let reason = refused(&self.library);
        assert!(!self.mark.exists(), "its constructor ran in {}", self.dir.path().display());
        reason
    }
}

/// Promise 3: libraries that are no plugins never get to run their constructors.
#[test]
fn promise_3_foreign_libraries_are_refused_unrun() {
    assert_eq!(Marked::new("").refused_unrun(), Reason::NoEntrySymbol);
    assert_eq!(Marked::new("int gatemq_plugin = 7;").refused_unrun(), Reason::EntryTooSmall { found: 4 });
    // Used but not exported: as if somebody had linked against a plugin.
    let import = "extern char gatemq_plugin[]; char *use(void) { return gatemq_plugin; }";
    let dir = tempfile::tempdir().unwrap();
    let importing = dir.path().join("libimporting.so");
    cc(import, &importing, &["-shared", "-fPIC"]);
    assert_eq!(refused(&importing), Reason::NoEntrySymbol);
    assert!(Library::open(&built(TEST_FAULTS)).is_ok());
}

/// Promise 3: an entry symbol of the right size that is something else is found out before anything runs, wherever it lies.
#[test]
fn promise_3_a_wrong_header_is_refused_unrun() {
    for symbol in [
        "char gatemq_plugin[4096] = \"no header\";",
        "char gatemq_plugin[4096];",
        "const char gatemq_plugin[4096] = \"no header\";",
        "__attribute__((visibility(\"default\"))) int gatemq_plugin(int a) { \
         volatile int s = 0; for (int i = 0; i < a; i++) { s += i * a; s ^= a; s -= i; s += i * a; s ^= a; s -= i; \
         s += i * a; s ^= a; s -= i; s += i * a; s ^= a; s -= i; s += i * a; s ^= a; s -= i; s += i * a; s ^= a; \
         s += i * a; s ^= a; s -= i; s += i * a; s ^= a; s -= i; s += i * a; s ^= a; s -= i; s += i * a; } return s; }",
    ] {
        let reason = Marked::new(symbol).refused_unrun();
        assert!(matches!(reason, Reason::OtherAbi(_)), "{symbol}: {reason:?}");
    }
}

/// Promise 3: files that are no libraries.
#[test]
fn promise_3_other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = std::fs::read(built(TEST_FAULTS)).unwrap();
    assert!(matches!(refused(&dir.path().join("missing.so")), Reason::Unreadable(_)));
    assert!(matches!(refused(dir.path()), Reason::Unreadable(_)));
    assert!(matches!(refused(Path::new("/dev/zero")), Reason::Unreadable(_)));
    for (name, bytes) in [
        ("empty.so", vec![]),
        ("text.so", b"#!/bin/sh\nexit 0\n".to_vec()),
        ("random.so", (0u32..100_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("magic.so", [&b"\x7fELF"[..], &[0xff; 4096]].concat()),
        ("zeros-behind-the-header.so", [&plugin[..64], &[0; 4096]].concat()),
    ] {
        let reason = refused(&written(&dir, name, &bytes));
        assert!(matches!(reason, Reason::NotALibrary(_) | Reason::NoEntrySymbol), "{name}: {reason:?}");
    }
    assert!(Library::open(&written(&dir, "whole.so", &plugin)).is_ok());
}

/// Promise 3: a copy that was cut off anywhere is refused, never mapped (touching what is missing is SIGBUS).
#[test]
fn promise_3_truncated_libraries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = std::fs::read(built(TEST_FAULTS)).unwrap();
    let cuts = (0..64).map(|n| plugin.len() * n / 64).chain([1, 63, 64, 65, plugin.len() - 1]);
    for cut in cuts {
        let reason = refused(&written(&dir, "cut.so", &plugin[..cut]));
        assert!(
            matches!(reason, Reason::Truncated { .. } | Reason::NotALibrary(_) | Reason::NoEntrySymbol),
            "{reason:?}"
        );
    }
    assert!(Library::open(&written(&dir, "whole.so", &plugin)).is_ok());
}

/// Promise 3: a library for another machine, of another word size, or of another byte order.
#[test]
fn promise_3_libraries_of_other_machines_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = std::fs::read(built(TEST_FAULTS)).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = plugin.clone();
        bytes[at] = byte;
        written(&dir, "other.so", &bytes)
    };
    // e_machine: MIPS.
    assert!(matches!(refused(&changed(18, 8)), Reason::OtherArchitecture { .. }));
    // e_ident: ELFCLASS32, and big-endian.
    for (at, byte) in [(4, 1), (5, 2)] {
        let reason = refused(&changed(at, byte));
        assert!(matches!(reason, Reason::OtherArchitecture { .. } | Reason::NotALibrary(_)), "{reason:?}");
    }
    // e_type: core dump.
    assert!(matches!(refused(&changed(16, 4)), Reason::NotDynamic(_) | Reason::NotALibrary(_)));
    assert!(Library::open(&changed(18, plugin[18])).is_ok());
}

/// Promise 3: executables, position-independent ones too.
#[test]
fn promise_3_executables_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fixed = dir.path().join("fixed");
    cc("int main(void) { return 0; }", &fixed, &["-no-pie"]);
    assert_eq!(refused(&fixed), Reason::NotDynamic("an executable".into()));
    // These look like libraries; the second even has our symbol.
    assert_eq!(refused(&std::env::current_exe().unwrap()), Reason::NoEntrySymbol);
    let exporting = dir.path().join("exporting");
    cc("char gatemq_plugin[4096] = \"?\"; int main(void) { return 0; }", &exporting, &["-pie", "-fPIE", "-rdynamic"]);
    assert!(matches!(refused(&exporting), Reason::OtherAbi(_)));
    let object = dir.path().join("object.o");
    cc("int gatemq_plugin[4096];", &object, &["-c"]);
    assert_eq!(refused(&object), Reason::NotDynamic("an object file".into()));
}

/// Promise 3: a library that needs another one which is not there.
#[test]
fn promise_3_a_library_with_something_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let needed = dir.path().join("libneeded.so");
    cc("int needed(void) { return 1; }", &needed, &["-shared", "-fPIC"]);
    let plugin = std::fs::read(built(TEST_FAULTS)).unwrap();
    let text = b"libgcc_s.so.1";
    let at = plugin.windows(text.len()).position(|w| w == text).expect("a Rust library needs libgcc_s");
    let mut missing = plugin.clone();
    missing[at..at + text.len()].copy_from_slice(b"libnope_s.so.");
    assert!(matches!(refused(&written(&dir, "missing.so", &missing)), Reason::NotLoadable(_)));
}
