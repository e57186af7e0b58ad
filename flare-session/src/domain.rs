//! What a conversation is, who may change it, and what each user has of it. Synchronous, without I/O, time and ids are arguments.

pub mod caller;
pub mod change;
pub mod command;
pub mod conversation;
pub mod head;
pub mod ids;
pub mod inbox;
pub mod membership;
pub mod permission;
pub mod recent_heads;
pub mod role;
pub mod rule;
pub mod token;
