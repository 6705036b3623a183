//! Several processes: the connections between the processes of one run.
//!
//! Timely lets the workers of several processes share one dataflow. This module makes the
//! connections, lets nobody else in, and notices when a process is gone. It knows neither dataflows
//! nor commits.
//!
//! # The start
//!
//! 1. All processes connect to process 0, each by two links ([`links`]). They prove to one another
//!    that they hold a shared secret, before anything else is read ([`handshake`]), and compare
//!    their configurations ([`Hello`]).
//! 2. Process 0 claims the next generation of the state. Meanwhile all processes exchange signs of
//!    life.
//! 3. Process 0 welcomes the others, with the generation and a random number: the session.
//! 4. Each process connects to all others, for timely ([`Mesh`]). The session is part of these
//!    handshakes. So a process of an earlier life of the run, which holds the secret too, is
//!    refused.
//!
//! # The end
//!
//! A process that ends closes its connections, which the others notice at once. A process that is
//! stopped, or whose machine is cut off, sends no signs of life, and is lost after some seconds. No
//! part of a run can continue without the others. So each failure is sent to process 0, which sends
//! the first cause to all; a process that has only lost another one reports that cause and not the
//! loss. Then the whole run starts again from its last commit: on one machine by a [`Supervisor`].

mod address;
mod board;
mod children;
mod dial;
mod folder;
mod frame;
mod handshake;
mod hello;
mod key;
mod leader;
mod limits;
mod link;
mod links;
mod lobby;
mod local;
mod meeting;
mod member;
mod membership;
mod mesh;
mod panics;
mod parent;
mod pulse;
mod socket;
mod supervisor;
#[cfg(test)]
mod tests;

pub(crate) use address::Address;
pub(crate) use folder::PrivateFolder;
pub(crate) use hello::Hello;
pub(crate) use key::Key;
pub(crate) use leader::{Leader, gather};
pub(crate) use limits::Limits;
pub(crate) use link::Outbox;
pub(crate) use links::Event;
pub(crate) use local::{LocalProcesses, in_one_process};
pub(crate) use member::{Member, join};
pub(crate) use membership::Membership;
pub(crate) use mesh::{Mesh, MeshBuilders};
pub(crate) use panics::lost_process;
pub(crate) use parent::parent;
pub(crate) use supervisor::{Patience, Supervisor, orders};
