//! Fuzzes `store_rows` of flare-decoders.

#![no_main]

flare_fuzz::target!("store_rows");
