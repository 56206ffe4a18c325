//! Where else it is told what the hub knows. Each sink is a module here; it
//! listens to the live bus and reads from the hub like any surface.

pub(crate) mod mqtt;
