//! Fuzzes `asked_hosts` of flare-decoders.

#![no_main]

flare_fuzz::target!("asked_hosts");
