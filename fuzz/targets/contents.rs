//! Fuzzes `contents` of flare-decoders.

#![no_main]

flare_fuzz::target!("contents");
