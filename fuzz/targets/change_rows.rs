//! Fuzzes `change_rows` of flare-decoders.

#![no_main]

flare_fuzz::target!("change_rows");
