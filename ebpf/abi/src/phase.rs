//! How far a session is.

/// How far a session is. Attaching and detaching take time, site by site; the phase makes the
/// session begin and end at one moment for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Not everything is attached: no marker counts.
    Attaching = 0,
    /// Every marker counts.
    Capturing = 1,
    /// No call begins any more; those that are open may end.
    Ending = 2,
}
