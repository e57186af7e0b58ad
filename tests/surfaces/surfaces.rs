//! What the tests of a running server's surfaces share: the process, how each surface is asked, and what it answers in one shape.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod backend;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod state;
