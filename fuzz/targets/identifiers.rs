//! Fuzzes `identifiers` of flare-decoders.

#![no_main]

flare_fuzz::target!("identifiers");
