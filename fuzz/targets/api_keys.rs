//! Fuzzes `api_keys` of flare-decoders.

#![no_main]

flare_fuzz::target!("api_keys");
