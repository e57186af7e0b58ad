//! Fuzzes `log_records` of flare-decoders.

#![no_main]

flare_fuzz::target!("log_records");
