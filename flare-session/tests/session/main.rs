//! The service against its contract: through `SessionService` and the stream, on the real database, with a log that can fail.

mod access;
mod commands;
mod crashes;
mod fake_log;
mod inbox;
mod inbox_random;
mod positions;
mod stores;
mod world;
