//! Fuzzes `certificates` of flare-decoders.

#![no_main]

flare_fuzz::target!("certificates");
