//! What a reader may see, and which page he asks for.

pub mod page;
pub mod view;
