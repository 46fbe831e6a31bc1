//! The service that `exoscope doctor --unit` prints, run by systemd.
//!
//! systemd is the first process of namespaces of its own, with a root of its own (`service/boot.sh`): what
//! it does, it does there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use exoscope_tests::agent::Bench;
use exoscope_tests::build::exoscope;
use exoscope_tests::calls::Calls;
use exoscope_tests::cgroup::Cgroup;
use exoscope_tests::database::Database;
use exoscope_tests::eventually;
use exoscope_tests::process::{End, Process};
use rusqlite::{Connection, OpenFlags};

use crate::VARIANTS;

/// An ordinary user.
const USER: &str = "4711";
/// The bit of `CAP_SYS_PTRACE`, from `linux/capability.h`.
const SYS_PTRACE: u64 = 1 << 19;

/// A systemd, with what it has started; gone when the test ends.
struct Systemd {
    // The first of all, so that nothing runs in the group when that goes.
    _boot: Process,
    /// Its number.
    first: u32,
    bench: Bench,
    _group: Group,
}

/// A control group with groups in it.
struct Group(Cgroup);

impl Drop for Group {
    fn drop(&mut self) {
        eventually("the groups of services to be empty", || {
            remove_below(self.0.path()).ok()
        });
    }
}

fn remove_below(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_below(&path)?;
            fs::remove_dir(path)?;
        }
    }
    Ok(())
}

impl Systemd {
    fn start() -> Self {
        let bench = Bench::new();
        let root = bench.path().join("root");
        for folder in [&root, &bench.path().join("state")] {
            fs::create_dir(folder).expect("the folder is ours");
        }
        let agent = bench.path().join("exoscope");
        fs::copy(exoscope(), agent).expect("there is room");
        VARIANTS.copy_to(bench.path());
        let group = Group(Cgroup::with_pressure());
        let mut boot = group.0.command(Path::new("unshare"));
        boot.args(["--fork", "--kill-child", "--pid", "--mount", "--cgroup"])
            .args(["--ipc", "--uts", "bash", "-c"])
            .args([include_str!("service/boot.sh"), "boot"])
            .args([&root, bench.path()]);
        let boot = Process::start(&mut boot);
        let children = format!("/proc/{0}/task/{0}/children", boot.pid());
        let first = eventually("a systemd", || {
            let children = fs::read_to_string(&children).ok()?;
            let first = children.trim().parse().ok()?;
            let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
            (name.trim() == "systemd").then_some(first)
        });
        let systemd = Self {
            _boot: boot,
            first,
            bench,
            _group: group,
        };
        eventually("a systemd that listens", || {
            let end = systemd.ends("systemctl", &["is-active", "test.target"]);
            end.status.success().then_some(())
        });
        systemd
    }

    /// A program in its namespaces.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first.to_string()])
            .args([
                "--pid", "--mount", "--cgroup", "--ipc", "--uts", "--root", "--wd",
            ])
            .arg(program)
            .args(arguments)
            .env("RUST_BACKTRACE", "0");
        command
    }

    fn ends(&self, program: &str, arguments: &[&str]) -> End {
        Process::start(&mut self.command(program, arguments)).end()
    }

    /// What a program prints that does as it should.
    fn says(&self, program: &str, arguments: &[&str]) -> String {
        let end = self.ends(program, arguments);
        assert!(end.status.success(), "{arguments:?}: {end:#?}");
        end.stdout.join("\n")
    }

    /// A path as it looks from outside.
    fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.first).into()
    }
}

/// What a line of the file `status` of a process says.
fn status(status: &str, line: &str) -> u64 {
    let prefix = format!("{line}:");
    let value = status.lines().find_map(|line| line.strip_prefix(&prefix));
    u64::from_str_radix(value.expect("the kernel tells").trim(), 16).expect("it is a number")
}

/// Waits until the agent has attached, which stands in its file.
fn is_attached(file: &Path) {
    eventually("a service that has attached", || {
        let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let sql = "SELECT kind FROM agent_events WHERE kind = 'attached'";
        file.query_row(sql, [], |row| row.get::<_, String>(0)).ok()
    });
}

#[test]
fn the_unit_that_doctor_prints_captures_as_a_service_with_all_its_hardening() {
    let systemd = Systemd::start();
    let unit = systemd.says("/test/exoscope", &["doctor", "--unit"]);
    fs::write(systemd.path("/units/exoscope@.service"), unit + "\n").expect("there is room");

    let user = ["--reuid", USER, "--regid", USER, "--clear-groups"];
    let program = ["/test/variants", "--calls", "7", "--wait-stdin"];
    let mut target = systemd.command("setpriv", &[&user[..], &program].concat());
    let mut target = Process::start(&mut target);
    let ready = target.prints("ready", |line| line.starts_with("ready "));
    let pid = ready["ready ".len()..].to_owned();

    let service = format!("exoscope@{pid}.service");
    systemd.says("systemctl", &["start", &service]);
    // SQLite follows no links of /proc.
    let folder = systemd.bench.path().join("state/private/exoscope");
    let file = folder.join(format!("{pid}.db"));
    is_attached(&file);
    let agent = systemd.says(
        "systemctl",
        &["show", "--property=MainPID", "--value", &service],
    );
    let said = fs::read_to_string(systemd.path(&format!("/proc/{agent}/status")));
    let said = said.expect("it runs");
    for (line, value) in [
        ("CapEff", SYS_PTRACE),
        ("CapPrm", SYS_PTRACE),
        ("CapAmb", 0),
        ("NoNewPrivs", 1),
        ("Seccomp", 2),
    ] {
        assert_eq!(status(&said, line), value, "{line} of {said}");
    }

    target.go_on();
    let told = target.pauses_at("done");
    let truth = Calls::told(&told, pid.parse().expect("it is a number"));
    systemd.says("systemctl", &["stop", &service]);
    let result = systemd.says(
        "systemctl",
        &["show", "--property=Result", "--value", &service],
    );
    assert_eq!(result, "success");
    let database = Database::open(&file);
    database.holds(&truth);
    // Its self-test allowed that: nothing of the hardening is in the way.
    let fast =
        "SELECT count(*) FROM agent_events WHERE message LIKE '% sites with fast markers; %'";
    assert_eq!(database.number(fast), 1);
    target.ends_well();

    let (folder, file) = (fs::metadata(folder), fs::metadata(file));
    let (folder, file) = (folder.expect("it is there"), file.expect("it is there"));
    assert_eq!(folder.permissions().mode() & 0o7777, 0o700);
    assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    assert!(
        file.uid() != 0 && file.uid().to_string() != USER,
        "{}",
        file.uid()
    );
}
