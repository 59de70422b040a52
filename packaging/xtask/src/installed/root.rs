//! Clean roots: a small system of this machine's distribution, from the registry that its apt is configured for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gatemq_tests::artifacts::target_directory;
use gatemq_tests::workspace;

use crate::install::{apt, said, succeeds};

/// What is in a root besides the essential packages: what ours depend on.
const PACKAGES: &str = "systemd,libgcc-s1";
/// What changes in a root by any package, or by looking at it, and is not looked at when it is asked whether one has left
/// something. Users stay.
const NOT_LOOKED_AT: &[&str] = &[
    "var/lib/dpkg",
    "var/log/dpkg.log",
    "var/cache",
    "run/systemd",
    "dev",
    "proc",
    "tmp",
    "mnt",
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/gshadow",
    "etc/.pwd.lock",
];

/// The archive that roots are made of. It is kept: `rm -r target/roots` has the next run make it anew.
pub(super) fn base() -> Result<PathBuf, String> {
    let (codename, sources) = match sources() {
        Ok(sources) => sources,
        // Its lists of packages may be absent.
        Err(_) => apt(&["update"]).and_then(|()| sources())?,
    };
    let directory = directory();
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let archive = directory.join(format!("{codename}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    let unfinished = directory.join("unfinished.tar");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--mode=root", "--variant=essential"]).arg(format!("--include={PACKAGES}"));
    for option in proxies()? {
        make.arg(format!("--aptopt={option}"));
    }
    succeeds(make.arg(&codename).arg(&unfinished).args(sources))?;
    fs::rename(&unfinished, &archive).map_err(|e| format!("{}: {e}", archive.display()))?;
    Ok(archive)
}

fn directory() -> PathBuf {
    target_directory().join("roots")
}

/// The distribution's name, and its packages as apt knows them here.
fn sources() -> Result<(String, Vec<String>), String> {
    let release = fs::read_to_string("/etc/os-release").map_err(|e| format!("/etc/os-release: {e}"))?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or("/etc/os-release names no VERSION_CODENAME: this is no Debian and no kin of it")?;
    let format = "$(CREATED_BY) $(RELEASE) $(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)";
    let targets = said(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    let of = |wanted: String| {
        let lines = targets.lines().filter_map(|line| line.strip_prefix(&wanted)?.split_once("deb "));
        lines.map(|(_, source)| format!("deb {source}")).collect::<BTreeSet<_>>()
    };
    // The distribution's own, or whatever stands for it here.
    let own = ["Debian", "Ubuntu"].map(|origin| of(format!("Packages {codename} {origin} "))).into_iter().flatten();
    let own: BTreeSet<_> = own.collect();
    let sources = if own.is_empty() { of(format!("Packages {codename} ")) } else { own };
    match sources.is_empty() {
        true => Err(format!("apt knows no packages of {codename}: apt-get update")),
        false => Ok((codename.to_owned(), sources.into_iter().collect())),
    }
}

/// How apt comes to its registry, where it is told.
fn proxies() -> Result<Vec<String>, String> {
    let options = said(Command::new("apt-config").args(["dump", "--format", "%f \"%v\";%n", "Acquire"]))?;
    let is_way = |line: &&str| line.starts_with("Acquire::http") && !line.ends_with("\"\";");
    Ok(options.lines().filter(is_way).map(str::to_owned).collect())
}

/// A root.
pub(super) struct Root {
    directory: PathBuf,
}

/// A directory outside, and where it is seen in a root.
pub(super) type Bind<'a> = (&'a Path, &'a Path);

impl Root {
    /// A new one of this name; one that a run before has left is removed.
    pub(super) fn new(name: &str, base: &Path) -> Result<Root, String> {
        let directory = directory().join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        }
        fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        // Devices come from outside, where somebody may forbid to make them.
        succeeds(Command::new("tar").arg("-C").arg(&directory).args(["--exclude=./dev/*", "-xpf"]).arg(base))?;
        Ok(Root { directory })
    }

    /// Where a file of it is, seen from outside.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file.trim_start_matches('/'))
    }

    /// A program in it, with the mounts of a system, which are gone with it. The process is the program's own: it can be sent
    /// signals.
    pub(super) fn command(&self, program: &[&str], binds: &[Bind<'_>]) -> Result<Command, String> {
        let mut command = self.mounted("exec chroot \"$root\" \"$@\"", binds)?;
        command.args(program);
        Ok(command)
    }

    /// A program that stays outside, and may run others in it.
    pub(super) fn around(&self, program: &[&str]) -> Result<Command, String> {
        let mut command = self.mounted("exec \"$@\"", &[])?;
        command.args(program);
        Ok(command)
    }

    /// A shell that mounts what a system has, then does `what` with the arguments that follow.
    fn mounted(&self, what: &str, binds: &[Bind<'_>]) -> Result<Command, String> {
        let mut script =
            String::from("root=$1; shift; mount -t proc proc \"$root/proc\" && mount --rbind /dev \"$root/dev\"");
        let mut command = Command::new("unshare");
        // Nothing of whoever runs it.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        for (n, (outside, inside)) in binds.iter().enumerate() {
            let to = self.path(&inside.display().to_string());
            fs::create_dir_all(&to).map_err(|e| format!("{}: {e}", to.display()))?;
            script += &format!(" && mount --bind \"$outside{n}\" \"$inside{n}\"");
            command.env(format!("outside{n}"), outside).env(format!("inside{n}"), to);
        }
        command.args(["--mount", "sh", "-c", &format!("{script} && {what}"), "sh"]).arg(&self.directory);
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a program in it; what it said.
    pub(super) fn run(&self, program: &[&str]) -> Result<String, String> {
        said(&mut self.command(program, &[])?)
    }

    /// Copies files into its `/tmp`; where they are there.
    pub(super) fn take(&self, files: &[PathBuf]) -> Result<Vec<String>, String> {
        let copied = files.iter().map(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let inside = format!("/tmp/{name}");
            fs::copy(file, self.path(&inside)).map(|_| inside).map_err(|e| format!("{}: {e}", file.display()))
        });
        copied.collect()
    }

    /// Removes it.
    pub(super) fn remove(self) -> Result<(), String> {
        fs::remove_dir_all(&self.directory).map_err(|e| format!("{}: {e}", self.directory.display()))
    }

    /// Owner, group and mode of a file of it, with the names that it knows.
    pub(super) fn owner(&self, file: &str) -> Result<String, String> {
        self.run(&["stat", "--format=%U:%G %a", file])
    }

    /// Every file and directory of it, but for what any package changes.
    pub(super) fn files(&self) -> Result<BTreeSet<String>, String> {
        let said = said(Command::new("find").current_dir(&self.directory).args([".", "-xdev", "-printf", "%P\n"]))?;
        let is_left_out = |file: &str| {
            // The workspace is mounted under its own name for the suite.
            let leads_to_us = workspace().starts_with(Path::new("/").join(file));
            leads_to_us || NOT_LOOKED_AT.iter().any(|not| file.starts_with(not))
        };
        Ok(said.lines().filter(|file| !is_left_out(file)).map(str::to_owned).collect())
    }
}
