//! Two domains exchange mail: the real services as processes, over real sockets. A story for each file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;

mod cache_outlives_its_server;
mod every_message_arrives_unchanged;
mod mailbox_service_dies_while_it_takes_a_message;
mod mta_is_killed_after_250;
mod mx_is_down;
mod nobody_gets_a_bounce;
mod receiver_is_down;
mod strangers_are_refused;
mod the_lab_tells_its_story;
mod the_mta_is_killed_in_every_state;
mod the_mta_is_stopped;
mod zones_are_changed_by_the_command;
