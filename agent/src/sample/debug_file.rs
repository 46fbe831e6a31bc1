//! Debug information that lies in a file of its own, as distributions package it and as
//! `objcopy --only-keep-debug` makes it.
//!
//! A candidate is taken only where it proves that it belongs to the binary: by the same build ID or,
//! where the binary has none, by the checksum in its debug link.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use object::Endianness;
use object::read::elf::ElfFile64;
use object::{Object as _, ReadCache, ReadRef};

/// Where systems keep debug information.
const SYSTEM: &str = "/usr/lib/debug";

/// What a binary says of its debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    build_id: Vec<u8>,
    /// Name of the file, and the checksum of its bytes.
    link: Option<(String, u32)>,
}

impl Wanted {
    /// What `elf` says.
    pub fn by<'a, R: ReadRef<'a>>(elf: &ElfFile64<'a, Endianness, R>) -> Self {
        let link = elf.gnu_debuglink().ok().flatten();
        Self {
            build_id: elf.build_id().ok().flatten().unwrap_or_default().to_vec(),
            link: link.map(|(name, sum)| (String::from_utf8_lossy(name).into_owned(), sum)),
        }
    }

    /// The file with the debug information of the binary that the target calls `binary`, opened:
    /// `through` leads to what the target calls by a path, and the machine's own files come last.
    pub fn find(&self, binary: &Path, through: impl Fn(&Path) -> PathBuf) -> Option<File> {
        let places = self.places(binary);
        let own = places.iter().cloned();
        let of_target = places.iter().map(|place| through(place));
        of_target.chain(own).find_map(|path| self.open(&path))
    }

    fn places(&self, binary: &Path) -> Vec<PathBuf> {
        let mut places = Vec::new();
        if let [first, rest @ ..] = self.build_id.as_slice()
            && !rest.is_empty()
        {
            let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
            places.push(format!("{SYSTEM}/.build-id/{first:02x}/{rest}.debug").into());
        }
        // A name with folders in it would lead anywhere.
        if let Some((name, _)) = &self.link
            && !name.is_empty()
            && !name.contains('/')
            && let Some(folder) = binary.parent()
        {
            let below = folder.strip_prefix("/").unwrap_or(folder);
            places.push(folder.join(name));
            places.push(folder.join(".debug").join(name));
            places.push(Path::new(SYSTEM).join(below).join(name));
        }
        places
    }

    fn open(&self, path: &Path) -> Option<File> {
        // Asked before it is opened: opening a pipe waits for whoever writes to it.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let file = File::open(path).ok()?;
        self.belongs(&file).then_some(file)
    }

    fn belongs(&self, file: &File) -> bool {
        let Ok(reader) = file.try_clone() else {
            return false;
        };
        let cache = ReadCache::new(reader);
        let Ok(elf) = ElfFile64::<Endianness, _>::parse(&cache) else {
            return false;
        };
        if !self.build_id.is_empty() {
            return elf.build_id().ok().flatten() == Some(self.build_id.as_slice());
        }
        match &self.link {
            Some((_, sum)) => checksum(file).is_ok_and(|found| found == *sum),
            None => false,
        }
    }
}

/// The checksum of a debug link: CRC-32 of all bytes.
fn checksum(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::FileExt as _;
    struct FromStart<'a>(&'a File, u64);
    impl io::Read for FromStart<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.0.read_at(buffer, self.1)?;
            self.1 += len as u64;
            Ok(len)
        }
    }
    let mut bytes = FromStart(file, 0);
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            len => hasher.update(&buffer[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_debugger() {
        let wanted = Wanted {
            build_id: vec![0xab, 0xcd, 0x0e],
            link: Some(("app.debug".into(), 7)),
        };
        let expected = [
            "/usr/lib/debug/.build-id/ab/cd0e.debug",
            "/opt/bin/app.debug",
            "/opt/bin/.debug/app.debug",
            "/usr/lib/debug/opt/bin/app.debug",
        ];
        assert_eq!(
            wanted.places(Path::new("/opt/bin/app")),
            expected.map(PathBuf::from)
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_followed() {
        let wanted = Wanted {
            build_id: vec![1],
            link: Some(("../../etc/shadow".into(), 7)),
        };
        assert!(wanted.places(Path::new("/opt/bin/app")).is_empty());
    }

    #[test]
    fn a_file_that_does_not_belong_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.debug");
        std::fs::copy("/proc/self/exe", &path).unwrap();
        let sum = checksum(&File::open(&path).unwrap()).unwrap();
        let wanted = |build_id: &[u8], sum| Wanted {
            build_id: build_id.to_vec(),
            link: Some(("app.debug".into(), sum)),
        };
        let found = |wanted: Wanted| {
            let binary = folder.path().join("app");
            wanted.find(&binary, Path::to_owned).is_some()
        };
        assert!(found(wanted(&[], sum)));
        assert!(!found(wanted(&[], sum ^ 1)));
        assert!(!found(wanted(&[1, 2, 3], sum)));
    }
}
