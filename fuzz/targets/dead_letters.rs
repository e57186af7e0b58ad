//! Fuzzes `dead_letters` of flare-decoders.

#![no_main]

flare_fuzz::target!("dead_letters");
