//! Configuration: layers of TOML files, environment variables and arguments, checked as a whole before anything starts.
//!
//! From the bottom up, each layer over the one before:
//!
//! 1. the defaults in the types
//! 2. the preset of a service's own binary: its ports
//! 3. `base.toml`
//! 4. `services/<service>.toml` of each role that runs
//! 5. `environments/<environment>.toml`
//! 6. environment variables: `FLARE__TELEMETRY__LEVEL=debug` sets `telemetry.level`; names in tables that the user names are lower-case there
//! 7. arguments: `telemetry.level=debug`, and above them one that stands for several keys (`--listen`)
//!
//! A section is a struct made by [`section!`](crate::section); sections nest. All mistakes of all layers are reported at once,
//! each with its file, variable or argument, and its key. Units are part of a key's name: `_ms`, `_s`, `_bytes`.

mod document;
mod loader;
mod mistakes;
mod print;
mod secret;
mod section;
mod setting;
mod shape;
mod source;

pub use document::{KeyDoc, document};
pub use loader::{ConfigLoader, Loaded};
pub use mistakes::{ConfigMistakes, Mistake, Mistakes, mistakes_of};
pub use secret::Secret;
pub use section::Section;
pub use setting::Setting;
pub use shape::{Field, SectionShape, Shape, joined_shape, section_shape};
