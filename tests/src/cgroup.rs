//! A control group of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::eventually;

/// Where memory controllers are mounted, with the names of limit and usage: version 1, and version 2.
const CONTROLLERS: [(&str, &str, &str); 2] = [
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    ),
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
];

/// Where version 2, which alone counts pressure, is mounted: by itself, or beside version 1.
const PRESSURE: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A control group; removed when the test ends.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A group that may use so many bytes.
    ///
    /// # Panics
    /// Where no memory controller is mounted, or this is not root.
    pub fn limited(bytes: u64) -> Self {
        let made = |(mount, limit, _): &(&str, &str, &str)| Self::made(mount, limit);
        let group = CONTROLLERS.iter().find_map(made);
        let group = group.expect("a memory controller is mounted, and this is root");
        assert!(
            group.limit(bytes),
            "nothing of an empty group is in the way"
        );
        group
    }

    /// Sets the limit of memory; `false` where the kernel can't free enough for that.
    pub fn limit(&self, bytes: u64) -> bool {
        let files = CONTROLLERS.iter().map(|(_, limit, _)| self.0.join(limit));
        let mut there = files.filter(|file| file.exists());
        there.any(|file| fs::write(file, bytes.to_string()).is_ok())
    }

    /// Bytes of memory that are charged to it.
    ///
    /// # Panics
    /// Where it has no memory controller.
    pub fn usage(&self) -> u64 {
        let read = |(_, _, usage): &(&str, &str, &str)| fs::read_to_string(self.0.join(usage)).ok();
        let text = CONTROLLERS.iter().find_map(read);
        let bytes = text.and_then(|text| text.trim().parse().ok());
        bytes.expect("the group has a memory controller")
    }

    /// Bytes of memory charged to it that the kernel can't take back: all but its share of files that it
    /// could read again.
    ///
    /// # Panics
    /// Where it has no memory controller.
    pub fn needed(&self) -> u64 {
        let stat = fs::read_to_string(self.0.join("memory.stat"));
        let stat = stat.expect("the group has a memory controller");
        let is_file =
            |line: &&str| line.starts_with("inactive_file ") || line.starts_with("active_file ");
        let bytes = |line: &str| line.split(' ').nth(1)?.parse::<u64>().ok();
        let files: u64 = stat.lines().filter(is_file).filter_map(bytes).sum();
        self.usage().saturating_sub(files)
    }

    /// Sets the limit of memory to the least number of bytes from `bytes` on that the kernel accepts, and
    /// gives it back.
    ///
    /// # Panics
    /// Where the kernel accepts none.
    pub fn limit_from(&self, bytes: u64) -> u64 {
        const STEP: usize = 64 << 10;
        let mut limits = (bytes..bytes + (256 << 20)).step_by(STEP);
        limits
            .find(|limit| self.limit(*limit))
            .expect("a group may use what it uses")
    }

    /// Times that it was at its limit.
    ///
    /// # Panics
    /// Where it has no memory controller.
    pub fn hits(&self) -> u64 {
        let count = self.count("memory.failcnt", ("memory.events", "max "));
        count.expect("the group has a memory controller")
    }

    /// Bytes of its memory that are swapped out.
    ///
    /// # Panics
    /// Where it has no memory controller, or the kernel does not count that.
    pub fn swapped(&self) -> u64 {
        let bytes = self.count("memory.swap.current", ("memory.stat", "swap "));
        bytes.expect("the kernel counts what is swapped out")
    }

    /// The number in `file`, or where there is no such file the one in another, in the line that begins so.
    fn count(&self, file: &str, (other, begin): (&str, &str)) -> Option<u64> {
        let read = |file| fs::read_to_string(self.0.join(file)).ok();
        let of_line = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix(begin));
            line.map(str::to_owned)
        };
        let number = read(file).or_else(|| read(other).and_then(of_line));
        number.and_then(|text| text.trim().parse().ok())
    }

    /// Keeps its memory from being swapped out.
    ///
    /// # Panics
    /// Where it has no memory controller.
    pub fn without_swap(&self) {
        let old = self.0.join("memory.swappiness").exists();
        let file = if old {
            "memory.swappiness"
        } else {
            "memory.swap.max"
        };
        self.write(file, 0);
    }

    /// `program` as a command, started in this group: all its memory is charged to it.
    pub fn command(&self, program: &Path) -> Command {
        Self::command_in(&[self], program)
    }

    /// `program` as a command, started in several groups of different hierarchies.
    pub fn command_in(groups: &[&Self], program: &Path) -> Command {
        const JOIN: &str = r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done
            shift; exec "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", JOIN, "sh"]);
        command.args(groups.iter().map(|group| group.members()));
        command.arg("--").arg(program);
        command
    }

    /// Whether the kernel counts how long its processes wait for memory.
    pub fn has_pressure(&self) -> bool {
        self.0.join("memory.pressure").exists()
    }

    /// A group whose pressure is counted.
    ///
    /// # Panics
    /// Where version 2 is not mounted, or this is not root.
    pub fn with_pressure() -> Self {
        let made = |mount: &&str| Self::made(mount, "cpu.pressure");
        let group = PRESSURE.iter().find_map(made);
        group.expect("control groups of version 2 are mounted, and this is root")
    }

    /// A new group below `mount`; `None` where it has no such file.
    fn made(mount: &str, file: &str) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("exoscope-test-{}-{number}", std::process::id());
        let folder = Path::new(mount).join(&name);
        fs::create_dir(&folder).ok()?;
        if folder.join(file).exists() {
            return Some(Self(folder));
        }
        // Another kind of hierarchy.
        let _ = fs::remove_dir(&folder);
        None
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, file: &str, value: impl ToString) {
        let file = self.0.join(file);
        fs::write(&file, value.to_string())
            .unwrap_or_else(|error| panic!("can't write {}: {error}", file.display()));
    }

    /// Puts a process into it.
    pub fn add(&self, pid: u32) {
        self.write("cgroup.procs", pid);
    }

    /// The file by which a process puts itself into it.
    pub fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A process of a failed test may still be in it.
            let _ = fs::remove_dir(&self.0);
        } else {
            eventually("the control group to be empty", || {
                fs::remove_dir(&self.0).ok()
            });
        }
    }
}
