//! What a reader may see, which page he asks for, and what of it was taken back.

pub mod page;
pub mod recalled;
pub mod view;
