//! Fuzzes `log_segments` of flare-decoders.

#![no_main]

flare_fuzz::target!("log_segments");
