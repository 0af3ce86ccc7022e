//! Block devices and partition tables; all `unsafe` lives here.
