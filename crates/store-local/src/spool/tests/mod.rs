//! The embedded spool against the suite of all spools, against damage, full disks and power cuts.

mod crash;
mod damage;
mod kill;
mod suite;
