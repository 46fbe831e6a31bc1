//! How to give exoscope what it needs and no more: capabilities of its file, or a service of systemd.

use std::path::{Path, PathBuf};

use crate::privileges::NEEDED;

/// The unit, for the program at `PROGRAM`, with `CAPABILITIES`.
const UNIT: &str = include_str!("exoscope@.service");

/// The command that lets every user who may start this program look into their own processes.
pub fn setcap() -> String {
    setcap_of(&this_program())
}

fn setcap_of(program: &Path) -> String {
    let names = NEEDED.map(|capability| capability.to_string().to_lowercase());
    format!("setcap {}+ep {}", names.join(","), for_shell(program))
}

/// A unit of systemd that captures the process whose number is the name of its instance.
pub fn unit() -> String {
    unit_of(&this_program())
}

fn unit_of(program: &Path) -> String {
    let names = NEEDED.map(|capability| capability.to_string());
    UNIT.replace("CAPABILITIES", &names.join(" "))
        .replace("PROGRAM", &for_systemd(program))
}

/// This program's file. Its name alone does where `/proc` is not mounted, and nothing works anyway.
fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "exoscope".into())
}

/// A path as a word of a shell.
fn for_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+".contains(c);
    match path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// A path as the first word of `ExecStart=`, where `%` and `$` have a meaning.
fn for_systemd(path: &Path) -> String {
    let path = path.display().to_string();
    let path = path.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", path.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_that_is_needed() {
        let command = |path: &str| setcap_of(Path::new(path));
        assert_eq!(
            command("/usr/local/bin/exoscope"),
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep /usr/local/bin/exoscope"
        );
        assert!(command("/my tools/it's").ends_with(r" '/my tools/it'\''s'"));
        assert!(unit_of(Path::new("/50% $off")).contains(r#"ExecStart="/50%% $$off" attach"#));
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let unit = unit_of(Path::new("/bin/exoscope"));
        assert!(!unit.contains("PROGRAM") && !unit.contains("CAPABILITIES"));
        assert_eq!(
            unit.matches("=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE\n")
                .count(),
            2
        );
    }
}
