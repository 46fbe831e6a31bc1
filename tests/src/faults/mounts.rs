//! File systems of a limited size.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when it is dropped.
pub struct Mount {
    /// Where it is mounted.
    pub path: PathBuf,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("can't start {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?} failed: {said}"
    );
}

impl Mount {
    /// A `tmpfs` of so many MiB in a new folder `name` below `folder`.
    ///
    /// # Panics
    /// Where this is not root.
    pub fn tmpfs(folder: &Path, name: &str, mib: u32) -> Self {
        let path = folder.join(name);
        fs::create_dir(&path).expect("the folder is writable");
        let text = path.to_str().expect("it is UTF-8");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mib}m"), "none", text],
        );
        Self { path }
    }

    /// An ext4 file system of so many MiB, in a file.
    ///
    /// # Panics
    /// Where this is not root, or there is no `mkfs.ext4`.
    pub fn ext4(folder: &Path, name: &str, mib: u32) -> Self {
        let (path, image) = (folder.join(name), folder.join(format!("{name}.img")));
        fs::create_dir(&path).expect("the folder is writable");
        let file = File::create(&image).expect("the folder is writable");
        file.set_len(u64::from(mib) << 20).expect("there is room");
        let image = image.to_str().expect("it is UTF-8");
        run("mkfs.ext4", &["-q", "-F", image]);
        let text = path.to_str().expect("it is UTF-8");
        run("mount", &["-o", "loop", image, text]);
        Self { path }
    }

    /// Fills what is left with a file.
    ///
    /// # Panics
    /// Where no file can be created.
    pub fn fill(&self) -> Filler {
        let path = self.path.join("filler");
        let mut file = File::create(&path).expect("it is writable");
        let mut block = vec![0_u8; 1 << 20];
        while !block.is_empty() {
            if file
                .write_all(&block)
                .and_then(|()| file.sync_data())
                .is_err()
            {
                block.truncate(block.len() / 2);
            }
        }
        Filler(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process of a failed case may still be in it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}

/// What fills a file system.
pub struct Filler(PathBuf);

impl Filler {
    /// Makes room again.
    ///
    /// # Panics
    /// Where it is gone already.
    pub fn remove(self) {
        fs::remove_file(&self.0).expect("it is there");
    }
}
