//! Fuzzes `authorities` of flare-decoders.

#![no_main]

flare_fuzz::target!("authorities");
