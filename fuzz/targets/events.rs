//! Fuzzes `events` of flare-decoders.

#![no_main]

flare_fuzz::target!("events");
