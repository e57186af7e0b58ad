//! Fuzzes `submit_items` of flare-decoders.

#![no_main]

flare_fuzz::target!("submit_items");
