//! The rig behind `make bench`: the floor that everything is compared with, and the load that is put on it.
//!
//! It measures nothing about processes: CPU time and memory are read by `benches/overhead.py`, which runs this binary.

pub mod floor;
pub mod load;
pub mod wire;
