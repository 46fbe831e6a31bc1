//! The attributes of exoscope.
