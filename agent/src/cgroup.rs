//! The control group of a process: what its memory is charged to, and what its threads wait for.
//!
//! Version 1 and version 2 may be mounted side by side; then memory comes from the hierarchy that has
//! the memory controller, and pressure from version 2, which alone counts it.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use procfs::process::Process;

use crate::stats::kept::{Buffer, Kept};
use crate::stats::parse;
use crate::stats::source::Subject;

/// Files of version 1 and of version 2.
mod names {
    pub const USAGE: [&str; 2] = ["memory.usage_in_bytes", "memory.current"];
    pub const LIMIT: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
    pub const KILLS: [&str; 2] = ["memory.oom_control", "memory.events"];
    pub const STAT: &str = "memory.stat";
    /// What is charged for files, which can be read again, and for what the kernel remembers of them.
    pub const FREED: [&[&str]; 2] = [
        &["total_inactive_file", "total_active_file"],
        &["inactive_file", "active_file", "slab_reclaimable"],
    ];
    /// What of these files is not free at once: it is in use, or has to be written first.
    pub const KEPT: [&[&str]; 2] = [
        &["total_mapped_file", "total_dirty", "total_writeback"],
        &["file_mapped", "file_dirty", "file_writeback"],
    ];
    /// Of version 1 only: the others stand in its events.
    pub const LIMIT_HITS: &str = "memory.failcnt";
    /// Of version 2 only.
    pub const PRESSURE: [&str; 3] = ["cpu.pressure", "memory.pressure", "io.pressure"];
}

/// A limit above this is none: version 1 says so by the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// Which kind of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where a control group is, and the mount that it is seen through.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    mount: PathBuf,
    folder: PathBuf,
}

/// Which groups a process is in. It may be moved to others.
#[derive(Debug)]
pub struct Membership {
    file: Kept,
    names: Vec<u8>,
}

impl Membership {
    /// The groups that the process is in now.
    ///
    /// # Errors
    /// Where that can't be read.
    pub fn of(process: &Process, buffer: &mut Buffer) -> Result<Self> {
        let file = process.open_relative("cgroup");
        let file = Kept::new(file.context("can't read its control groups")?);
        let names = file.read(buffer)?.to_vec();
        Ok(Self { file, names })
    }

    /// Whether `process`, which it is of, has been moved since the last time. One that is ending stays
    /// where it was: of such a process version 1 says that it is in the group of all.
    ///
    /// # Errors
    /// Where nothing is left of the process.
    pub fn has_changed(&mut self, process: &Subject, buffer: &mut Buffer) -> io::Result<bool> {
        let now = self.file.read(buffer)?;
        if now == self.names {
            return Ok(false);
        }
        let names = now.to_vec();
        // Only now: a process that is not ending after this was not when its groups were read.
        if process.is_ending(buffer)? {
            return Ok(false);
        }
        self.names = names;
        Ok(true)
    }
}

/// What a memory controller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// Bytes charged.
    pub bytes: Option<u64>,
    /// The least limit of the group and those around it, in bytes; `None` where there is none.
    pub limit_bytes: Option<u64>,
    /// Times that it was throttled (version 2).
    pub high_events: Option<u64>,
    /// Times that it reached its limit.
    pub max_events: Option<u64>,
    /// Processes that the OOM killer killed in it.
    pub oom_kills: Option<u64>,
}

/// The group of a process that its memory is charged to.
#[derive(Debug)]
pub struct Memory {
    version: Version,
    usage: Kept,
    /// Of the group, and of those around it.
    limits: Vec<Kept>,
    kills: Kept,
    /// Of version 1.
    limit_hits: Option<Kept>,
}

impl Memory {
    /// The group of the process.
    ///
    /// # Errors
    /// Where there is none, or it can't be read.
    pub fn of(process: &Process) -> Result<Self> {
        Self::at(&memory_place(process)?)
    }

    fn at(place: &Place) -> Result<Self> {
        let index = place.version as usize;
        Ok(Self {
            version: place.version,
            usage: place.open(names::USAGE[index]).with_context(|| {
                format!(
                    "the control group {} has no figures",
                    place.folder.display()
                )
            })?,
            limits: place.limits(names::LIMIT[index]),
            kills: place.open(names::KILLS[index])?,
            limit_hits: match place.version {
                Version::One => Some(place.open(names::LIMIT_HITS)?),
                Version::Two => None,
            },
        })
    }

    /// What it says now.
    ///
    /// # Errors
    /// Where the group is gone.
    pub fn read(&self, buffer: &mut Buffer) -> io::Result<MemoryFigures> {
        let bytes = parse::single(self.usage.read(buffer)?);
        let mut limit_bytes = None;
        for limit in &self.limits {
            let limit = parse::single(limit.read(buffer)?).filter(|&limit| limit < NO_LIMIT);
            limit_bytes = limit_bytes.into_iter().chain(limit).min();
        }
        let max_events = match &self.limit_hits {
            Some(hits) => parse::single(hits.read(buffer)?),
            None => None,
        };
        let events = self.kills.read(buffer)?;
        Ok(MemoryFigures {
            bytes,
            limit_bytes,
            high_events: parse::keyed(events, "high"),
            max_events: match self.version {
                Version::One => max_events,
                Version::Two => parse::keyed(events, "max"),
            },
            oom_kills: parse::keyed(events, "oom_kill"),
        })
    }

    /// Processes that the OOM killer has killed in it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn oom_kills(&self, buffer: &mut Buffer) -> io::Result<Option<u64>> {
        Ok(parse::keyed(self.kills.read(buffer)?, "oom_kill"))
    }
}

/// Bytes that can still be charged to the process without anything being swapped out, before its group,
/// or one around it, is at its limit; `None` where there is no limit. What is charged for files is free,
/// for the kernel takes it back, unless they are mapped or not written yet: where it does not get these back in
/// time, it calls the OOM killer.
///
/// # Errors
/// Where no memory controller is to be seen.
pub fn room(process: &Process) -> Result<Option<u64>> {
    let place = memory_place(process)?;
    let folders = place.folder.ancestors();
    let inside = folders.take_while(|folder| folder.starts_with(&place.mount));
    let rooms = inside.filter_map(|folder| room_in(folder, place.version));
    Ok(rooms.min())
}

/// The same of one group; `None` also where it has no figures.
fn room_in(folder: &Path, version: Version) -> Option<u64> {
    let index = version as usize;
    let read = |name: &str| std::fs::read(folder.join(name)).ok();
    let number = |name: &str| parse::single(&read(name)?);
    let limit = number(names::LIMIT[index]).filter(|&limit| limit < NO_LIMIT)?;
    let usage = number(names::USAGE[index])?;
    let stat = read(names::STAT)?;
    let sum = |keys: &[&str]| -> u64 {
        let found = keys.iter().filter_map(|key| parse::keyed(&stat, key));
        found.sum()
    };
    let freed = sum(names::FREED[index]).saturating_sub(sum(names::KEPT[index]));
    Some(limit.saturating_sub(usage.saturating_sub(freed)))
}

/// The pressure files of the process's group: CPU, memory, and input and output.
///
/// # Errors
/// Where version 2 is not mounted, or does not count pressure.
pub fn pressure_files(process: &Process) -> Result<[Kept; 3]> {
    let place = places(process)?
        .into_iter()
        .find(|(place, controllers)| place.version == Version::Two && controllers.is_empty());
    let (place, _) = place.context("no control groups of version 2 are mounted")?;
    let [cpu, memory, io] = names::PRESSURE.map(|name| place.open(name));
    Ok([cpu?, memory?, io?])
}

impl Place {
    fn open(&self, name: &str) -> Result<Kept> {
        open(&self.folder.join(name))
    }

    /// The files `name` of the group and of those around it that have one.
    fn limits(&self, name: &str) -> Vec<Kept> {
        let inside = |folder: &&Path| folder.starts_with(&self.mount);
        let folders = self.folder.ancestors().take_while(inside);
        folders
            .filter_map(|folder| open(&folder.join(name)).ok())
            .collect()
    }
}

fn open(path: &Path) -> Result<Kept> {
    let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
    Ok(Kept::new(file))
}

fn memory_place(process: &Process) -> Result<Place> {
    let mut places = places(process)?;
    let one = places
        .iter()
        .position(|(_, controllers)| controllers.iter().any(|name| name == "memory"));
    let two = || {
        places
            .iter()
            .position(|(place, _)| place.version == Version::Two)
    };
    let chosen = one
        .or_else(two)
        .context("no control group that counts memory is mounted")?;
    Ok(places.swap_remove(chosen).0)
}

/// Every group of the process that is to be seen here, with its controllers (version 1).
fn places(process: &Process) -> Result<Vec<(Place, Vec<String>)>> {
    let mounts = mounts()?;
    let groups = process.cgroups().context("can't read its control groups")?;
    let mut places = Vec::new();
    for group in groups {
        let version = match group.controllers.iter().all(String::is_empty) {
            true => Version::Two,
            false => Version::One,
        };
        let controllers: Vec<String> = match version {
            Version::One => group.controllers.clone(),
            Version::Two => Vec::new(),
        };
        let mount = mounts.iter().find(|mount| {
            mount.version == version && controllers.iter().all(|name| mount.options.contains(name))
        });
        let folder = mount.and_then(|mount| mount.folder_of(Path::new(&group.pathname)));
        if let (Some(mount), Some(folder)) = (mount, folder) {
            let mount = mount.point.clone();
            places.push((
                Place {
                    version,
                    mount,
                    folder,
                },
                controllers,
            ));
        }
    }
    Ok(places)
}

/// A mounted hierarchy.
struct Mount {
    version: Version,
    /// The part of the hierarchy that is seen at `point`.
    root: PathBuf,
    point: PathBuf,
    options: Vec<String>,
}

impl Mount {
    /// Where the group `path` is to be seen.
    fn folder_of(&self, path: &Path) -> Option<PathBuf> {
        // A group outside of what this process sees is given by a path that leads upwards.
        let outside = path.as_os_str().as_bytes().starts_with(b"/..");
        let below = path.strip_prefix(&self.root).ok().filter(|_| !outside)?;
        Some(self.point.join(below))
    }
}

fn mounts() -> Result<Vec<Mount>> {
    let mounts = Process::myself()
        .and_then(|process| process.mountinfo())
        .context("can't read what is mounted")?;
    let mounts = mounts.into_iter().filter_map(|mount| {
        let version = match mount.fs_type.as_str() {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        Some(Mount {
            version,
            root: mount.root.into(),
            point: mount.mount_point,
            options: mount.super_options.into_keys().collect(),
        })
    });
    Ok(mounts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str) -> Mount {
        Mount {
            version: Version::Two,
            root: root.into(),
            point: "/sys/fs/cgroup".into(),
            options: Vec::new(),
        }
    }

    #[test]
    fn groups_are_found_below_what_is_mounted() {
        let folder = |root, path| mount(root).folder_of(Path::new(path));
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(folder("/", "/a/b"), at("/sys/fs/cgroup/a/b"));
        assert_eq!(folder("/", "/"), at("/sys/fs/cgroup/"));
        assert_eq!(folder("/docker/7", "/docker/7/x"), at("/sys/fs/cgroup/x"));
        assert_eq!(folder("/docker/7", "/docker/77/x"), None);
        assert_eq!(folder("/", "/../other"), None);
        assert_eq!(folder("/..", "/../other"), None);
    }

    #[test]
    fn room_is_what_a_limit_leaves_beside_what_cannot_be_freed() {
        let folder = tempfile::tempdir().unwrap();
        let room = |version, limit: &str, usage: &str, stat: &str| {
            let index = version as usize;
            let write = |name: &str, text| std::fs::write(folder.path().join(name), text).unwrap();
            write(names::LIMIT[index], limit);
            write(names::USAGE[index], usage);
            write(names::STAT, stat);
            room_in(folder.path(), version)
        };
        let two = "anon 500\ninactive_file 200\nactive_file 100\nslab_reclaimable 50\n";
        assert_eq!(room(Version::Two, "1000\n", "900\n", two), Some(450));
        assert_eq!(room(Version::Two, "1000\n", "1350\n", two), Some(0));
        assert_eq!(room(Version::Two, "max\n", "900\n", two), None);
        let kept = "file_mapped 70\nfile_dirty 20\nfile_writeback 10\n";
        let kept = format!("{two}{kept}");
        assert_eq!(room(Version::Two, "1000\n", "900\n", &kept), Some(350));
        let all_kept = format!("{two}file_mapped 400\n");
        assert_eq!(room(Version::Two, "1000\n", "900\n", &all_kept), Some(100));
        let one =
            "inactive_file 7\ntotal_inactive_file 200\ntotal_active_file 100\ntotal_dirty 40\n";
        assert_eq!(room(Version::One, "1000\n", "1000\n", one), Some(260));
        let none = "9223372036854771712\n";
        assert_eq!(room(Version::One, none, "1000\n", one), None);
    }

    #[test]
    fn version_2_tells_of_limits_around_the_group_and_of_its_events() {
        let mount = tempfile::tempdir().unwrap();
        let folder = mount.path().join("outer/inner");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        write("../memory.max", "8192\n");
        write(
            "memory.events",
            "low 0\nhigh 3\nmax 2\noom 1\noom_kill 1\noom_group_kill 0\n",
        );
        let place = Place {
            version: Version::Two,
            mount: mount.path().to_owned(),
            folder: folder.clone(),
        };
        let memory = Memory::at(&place).unwrap();
        let mut expected = MemoryFigures {
            bytes: Some(4096),
            limit_bytes: Some(8192),
            high_events: Some(3),
            max_events: Some(2),
            oom_kills: Some(1),
        };
        let mut buffer = Buffer::default();
        assert_eq!(memory.read(&mut buffer).unwrap(), expected);
        write("../memory.max", "max\n");
        expected.limit_bytes = None;
        assert_eq!(memory.read(&mut buffer).unwrap(), expected);
    }

    #[test]
    fn this_process_is_charged_to_a_group() {
        let process = Process::myself().unwrap();
        let memory = Memory::of(&process).expect("this machine has a memory controller");
        let figures = memory.read(&mut Buffer::default()).unwrap();
        assert!(figures.bytes.is_some_and(|bytes| bytes > 0), "{figures:?}");
        assert!(figures.oom_kills.is_some(), "{figures:?}");
    }
}
