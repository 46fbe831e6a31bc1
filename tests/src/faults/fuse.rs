//! A file system that fails on command: one folder, passed through to another one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

/// Nothing is cached: what the folder behind says counts.
const TTL: Duration = Duration::ZERO;

/// What is to go wrong. It may change at any time.
#[derive(Debug, Default)]
pub struct Faults {
    /// Error number of every write, creation and change of size; 0 for none. Where it is `EROFS`, no file
    /// is opened to be written either.
    pub error: AtomicI32,
    /// Every so many writes fail with an I/O error; 0 for none.
    pub every: AtomicU64,
    /// Every so many writes store half of their bytes and then fail; 0 for none.
    pub torn: AtomicU64,
    /// The number of a write that fails with an I/O error; 0 for none.
    nth: AtomicU64,
    /// So many after it fail, too.
    more: AtomicU64,
    /// Milliseconds that each write takes longer.
    pub delay_ms: AtomicU64,
    /// No write comes to an end.
    pub blocked: AtomicBool,
    writes: AtomicU64,
    done: AtomicU64,
}

impl Faults {
    /// Ends all of them.
    pub fn heal(&self) {
        self.error.store(0, Ordering::Relaxed);
        self.every.store(0, Ordering::Relaxed);
        self.torn.store(0, Ordering::Relaxed);
        self.delay_ms.store(0, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How often something has gone wrong.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The `nth` write from now on fails, and the `more` after it.
    pub fn fail_from(&self, nth: u64, more: u64) {
        self.more.store(more, Ordering::Relaxed);
        self.nth.store(self.writes() + nth, Ordering::Relaxed);
    }

    fn change(&self) -> Result<(), Errno> {
        match self.error.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Err(Errno::from_i32(number))
            }
        }
    }

    /// Whether a file may be opened with these flags.
    fn open(&self, flags: OpenFlags) -> Result<(), Errno> {
        let is_read_only = self.error.load(Ordering::Relaxed) == libc::EROFS;
        match flags.acc_mode() {
            OpenAccMode::O_RDONLY => Ok(()),
            _ if is_read_only => self.change(),
            _ => Ok(()),
        }
    }

    /// How many of `len` bytes are to be written, and what is to be said then.
    fn write(&self, len: usize) -> (usize, Result<(), Errno>) {
        std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)));
        while self.blocked.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let turn = |every: &AtomicU64| match every.load(Ordering::Relaxed) {
            0 => false,
            every => number.is_multiple_of(every),
        };
        let nth = self.nth.load(Ordering::Relaxed);
        let failing = nth..=nth + self.more.load(Ordering::Relaxed);
        let stored = match self.change() {
            Err(error) => return (0, Err(error)),
            Ok(()) if turn(&self.every) => 0,
            Ok(()) if nth > 0 && failing.contains(&number) => 0,
            Ok(()) if turn(&self.torn) => len / 2,
            Ok(()) => return (len, Ok(())),
        };
        self.done.fetch_add(1, Ordering::Relaxed);
        (stored, Err(Errno::EIO))
    }
}

/// The mounted file system; unmounted when it is dropped.
pub struct Flaky {
    /// Where it is mounted.
    pub path: PathBuf,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    session: Option<BackgroundSession>,
}

impl Flaky {
    /// Mounts one in a new folder `name` below `folder`, with nothing wrong with it.
    ///
    /// # Panics
    /// Where this is not root, or the kernel has no FUSE.
    pub fn mount(folder: &Path, name: &str) -> Self {
        let (path, behind) = (folder.join(name), folder.join(format!("{name}-behind")));
        fs::create_dir(&path).expect("the folder is writable");
        fs::create_dir(&behind).expect("the folder is writable");
        let faults = Arc::new(Faults::default());
        let passthrough = Passthrough {
            behind,
            faults: Arc::clone(&faults),
            state: Mutex::default(),
        };
        let mut config = Config::default();
        // Others go on while a write takes its time.
        config.n_threads = Some(4);
        let session = fuser::spawn_mount(passthrough, &path, &config);
        Self {
            path,
            faults,
            session: Some(session.expect("root may mount, and the kernel has FUSE")),
        }
    }
}

impl Drop for Flaky {
    fn drop(&mut self) {
        self.faults.heal();
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
        drop(self.session.take());
    }
}

struct Passthrough {
    behind: PathBuf,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

/// Numbers of files and of open ones. Names of files get numbers once, so that a file that was removed
/// and its successor are two.
#[derive(Default)]
struct State {
    inodes: BTreeMap<OsString, u64>,
    names: BTreeMap<u64, OsString>,
    open: BTreeMap<u64, Arc<File>>,
    last: u64,
}

impl Passthrough {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inode(&self, name: &OsStr) -> u64 {
        let mut state = self.state();
        if let Some(inode) = state.inodes.get(name) {
            return *inode;
        }
        state.last += 1;
        let inode = state.last + 1;
        state.inodes.insert(name.to_owned(), inode);
        state.names.insert(inode, name.to_owned());
        inode
    }

    fn path(&self, inode: INodeNo) -> Result<PathBuf, Errno> {
        if inode == INodeNo::ROOT {
            return Ok(self.behind.clone());
        }
        let state = self.state();
        let name = state.names.get(&inode.0).ok_or(Errno::ENOENT)?;
        Ok(self.behind.join(name))
    }

    fn handle(&self, file: File) -> FileHandle {
        let mut state = self.state();
        state.last += 1;
        let handle = state.last;
        state.open.insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> Result<Arc<File>, Errno> {
        let state = self.state();
        state.open.get(&handle.0).cloned().ok_or(Errno::EIO)
    }

    /// What is known of a file that is open, or of one that is there.
    fn attributes(&self, inode: INodeNo, handle: Option<FileHandle>) -> Result<FileAttr, Errno> {
        let metadata = match handle.and_then(|handle| self.file(handle).ok()) {
            Some(file) => file.metadata()?,
            None => fs::metadata(self.path(inode)?)?,
        };
        Ok(attributes(inode, &metadata))
    }

    fn create_file(&self, name: &OsStr, mode: u32) -> Result<(FileAttr, FileHandle), Errno> {
        self.faults.change()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(mode)
            .open(self.behind.join(name))?;
        let inode = INodeNo(self.inode(name));
        let attributes = attributes(inode, &file.metadata()?);
        Ok((attributes, self.handle(file)))
    }

    fn write_file(&self, handle: FileHandle, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let file = self.file(handle)?;
        let (len, said) = self.faults.write(data.len());
        file.write_all_at(&data[..len], offset)?;
        said.map(|()| data.len() as u32)
    }

    fn change_file(
        &self,
        inode: INodeNo,
        size: Option<u64>,
        mode: Option<u32>,
        handle: Option<FileHandle>,
    ) -> Result<FileAttr, Errno> {
        self.faults.change()?;
        if let Some(size) = size {
            match handle.and_then(|handle| self.file(handle).ok()) {
                Some(file) => file.set_len(size)?,
                None => OpenOptions::new()
                    .write(true)
                    .open(self.path(inode)?)?
                    .set_len(size)?,
            }
        }
        if let Some(mode) = mode {
            fs::set_permissions(self.path(inode)?, fs::Permissions::from_mode(mode))?;
        }
        self.attributes(inode, handle)
    }

    fn remove_file(&self, name: &OsStr) -> Result<(), Errno> {
        self.faults.change()?;
        fs::remove_file(self.behind.join(name))?;
        let mut state = self.state();
        if let Some(inode) = state.inodes.remove(name) {
            state.names.remove(&inode);
        }
        Ok(())
    }
}

fn attributes(ino: INodeNo, metadata: &fs::Metadata) -> FileAttr {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    FileAttr {
        ino,
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: if metadata.is_dir() {
            FileType::Directory
        } else {
            FileType::RegularFile
        },
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Passthrough {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match fs::metadata(self.behind.join(name)) {
            Ok(metadata) => {
                let inode = INodeNo(self.inode(name));
                reply.entry(&TTL, &attributes(inode, &metadata), Generation(0));
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode, handle) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.change_file(inode, size, mode, handle) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        let path = self.faults.open(flags).and_then(|()| self.path(inode));
        match path.and_then(|path| Ok(open(path)?)) {
            Ok(file) => reply.opened(self.handle(file), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.create_file(name, mode) {
            Ok((attributes, handle)) => {
                reply.created(
                    &TTL,
                    &attributes,
                    Generation(0),
                    handle,
                    FopenFlags::empty(),
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || -> Result<Vec<u8>, Errno> {
            let file = self.file(handle)?;
            let mut bytes = vec![0; size as usize];
            let mut len = 0;
            while len < bytes.len() {
                match file.read_at(&mut bytes[len..], offset + len as u64)? {
                    0 => break,
                    more => len += more,
                }
            }
            bytes.truncate(len);
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_file(handle, offset, data) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.faults.change() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.state().open.remove(&handle.0);
        reply.ok();
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.remove_file(name) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = || -> io::Result<Vec<OsString>> {
            let entries = self.behind.read_dir()?;
            entries.map(|entry| Ok(entry?.file_name())).collect()
        };
        match names() {
            Ok(names) => {
                for (at, name) in (1_u64..).zip(names).skip(offset as usize) {
                    let inode = INodeNo(self.inode(&name));
                    if reply.add(inode, at, FileType::RegularFile, &name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 24, 1 << 24, 1 << 24, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}
