//! A map with a value for each thread, which goes with the thread: aya has none.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
        task_struct,
    },
    helpers::generated::bpf_task_storage_get,
};

/// The map; its fields are read by the loader only.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: nobody follows the pointers, which are null; the kernel guards what the map holds.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    /// The map, as the loader wants it described.
    pub const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The value of a thread that has one.
    #[inline(always)]
    pub fn get(&self, task: *const u8) -> Option<*mut T> {
        self.find(task, 0)
    }

    /// The value of a thread, which gets one of zeros where it has none. `None` without memory.
    #[inline(always)]
    pub fn get_or_zeros(&self, task: *const u8) -> Option<*mut T> {
        self.find(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn find(&self, task: *const u8, flags: u64) -> Option<*mut T> {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        let task = task.cast_mut().cast::<task_struct>();
        // SAFETY: the verifier lets no pointer pass that is not to a living thread.
        let value = unsafe { bpf_task_storage_get(map, task, ptr::null_mut(), flags) };
        (!value.is_null()).then_some(value.cast())
    }
}
